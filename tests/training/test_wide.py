"""Adam on wide data in the space of the rows: against the same network on the projected data, and how it resumes."""

import pickle
from contextlib import nullcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.decomposition import PCA

from problems import EPS, assert_same_fit, dtypes, unchanged
from skrelu import TwoLayerReLURegressor
from skrelu._arrays import NumpyArrayModule
from skrelu._models.standardize import Scaling
from skrelu._rows.row_space import reduced, with_basis
from skrelu._rows.rows import Rows

WIDE = TwoLayerReLURegressor(8, n_members=2, max_iter=30, learning_rate_schedule="constant", random_state=0)


def wide_problem(n=30, d=120, seed=0, m=None):
    """Columns that are mixtures of five factors, and y of two of these."""
    rng = np.random.default_rng(seed)
    factors, loadings = rng.standard_normal((n, 5)), np.random.default_rng(1).standard_normal((5, d))
    X = 3.0 + factors @ loadings + 0.5 * rng.standard_normal((n, d))
    y = factors[:, 0] + np.abs(factors[:, 1])
    return X, y if m is None else np.column_stack([y, factors[:, 2:][:, : m - 1]])


def is_in_row_space(model):
    return bool(model._state["row_space"])


def coordinates_of(X, x, seed=0):
    am = NumpyArrayModule()
    rows = Rows(am, am, X, np.zeros(len(X)), None, X.dtype)
    return rows, with_basis(x, rows, seed)


def test_the_basis_spans_the_rows_and_is_orthogonal():
    X, _ = wide_problem()
    x = Scaling(X.mean(axis=0), X.std(axis=0), np.zeros(120, dtype=bool))
    rows, x = coordinates_of(X, x)
    B = x.basis
    assert B.shape == (120, 29)  # centered rows: their sum is zero
    assert_allclose(B.T @ B, np.eye(29) * (B.T @ B)[0, 0], atol=1e-12)
    Z = (X - x.shift) / x.scale
    P = rows.standardized(x)
    assert_allclose(P, Z @ B, atol=1e-12)
    assert_allclose(np.square(P).mean(), 1.0, rtol=1e-12)
    assert_allclose(P @ B.T / (B.T @ B)[0, 0], Z, atol=1e-12)
    W = np.random.default_rng(0).standard_normal((120, 4))
    assert_allclose(P @ reduced(W, x), Z @ W, atol=1e-11)
    # the same space as that of the principal components
    components = PCA(29).fit(Z).components_
    assert_allclose(components @ (B @ B.T / (B.T @ B)[0, 0]), components, atol=1e-10)


def test_equal_rows_have_no_basis():
    X = np.ones((5, 120))
    _, x = coordinates_of(X, Scaling(np.ones(120), np.ones(120), np.ones(120, dtype=bool)))
    assert x.basis is None
    model = clone(WIDE).fit(X, np.arange(5.0))
    assert not is_in_row_space(model)
    assert np.isfinite(model.predict(X)).all()


@dtypes
@pytest.mark.parametrize("m", [None, 3])
def test_it_is_the_network_on_the_projected_rows(m, dtype):
    """The same initial weights and shuffles on X B as a plain network without scaling gives the same loss curve."""
    X, y = wide_problem(m=m)
    X = X.astype(dtype)
    model = clone(WIDE).set_params(scaling_layer=False, alpha=0.1).fit(X, y)
    assert is_in_row_space(model)
    x = Scaling(*model._state["x_scaling"])
    rows, x = coordinates_of(X, x, model._state["seed"])
    P = rows.standardized(x).astype(dtype)
    first = clone(WIDE).set_params(scaling_layer=False, precompute=False, learning_rate=1e-300, max_iter=1)
    start = first.fit(X, y)  # draws the weights for all columns
    W1 = start._state["parameters"][0]
    W1 = np.concatenate([reduced(W1[:120].astype(float), x), W1[120:]]).astype(dtype)
    plain = clone(first).fit(P, y)
    plain._state["parameters"] = [W1, *start._state["parameters"][1:]]
    plain._state["x_scaling"] = [np.zeros(29), np.ones(29), np.zeros(29, dtype=bool)]
    for key in ("seed", "y_scaling"):
        plain._state[key] = model._state[key]
    plain._state |= {"engine": None, "auto_rate": None, "loss_curve": [], "epoch": 0}
    plain.set_params(warm_start=True, learning_rate="auto", max_iter=30, alpha=0.1).fit(P, y)
    assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e4 * np.finfo(dtype).eps)
    assert_allclose(model.predict(X), plain.predict(P), rtol=0, atol=1e4 * np.finfo(dtype).eps)


def test_rows_kept_aside_are_predicted_better_than_with_all_columns():
    """The part of W1 that is orthogonal to the training rows is noise for others; in the row space there is none."""
    X, y = wide_problem(400, 500)
    scores = {}
    for precompute in ("auto", False):
        model = TwoLayerReLURegressor(50, max_iter=200, precompute=precompute, random_state=0).fit(X[:60], y[:60])
        assert is_in_row_space(model) == (precompute == "auto")
        scores[precompute] = model.score(X[60:], y[60:])
    assert scores["auto"] > scores[False] + 0.02


@pytest.mark.parametrize(
    ("n", "d", "parameters", "expected"),
    [
        (30, 120, {}, True),
        (60, 120, {}, True),
        (61, 120, {}, False),
        (61, 120, {"precompute": True}, True),
        (30, 90, {}, False),
        (30, 90, {"precompute": True}, True),
        (30, 120, {"precompute": False}, False),
        (30, 120, {"solver": "gd", "n_members": 1}, False),
    ],
)
def test_when_it_is_used(n, d, parameters, expected):
    X, y = wide_problem(n, d)
    assert is_in_row_space(clone(WIDE).set_params(max_iter=2, **parameters).fit(X, y)) is expected


@dtypes
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"alpha": 2.0}, {"n_members": 1, "batch_size": 7}])
def test_it_resumes_to_the_bit(options, dtype):
    X, y = wide_problem(m=2)
    X, weights = X.astype(dtype), np.random.default_rng(0).integers(0, 4, 30).astype(float)
    at_once = clone(WIDE).set_params(**options).fit(X, y, weights)
    model = clone(WIDE).set_params(max_iter=10, warm_start=True, **options).fit(X, y, weights)
    model = pickle.loads(pickle.dumps(model)).fit(X, y, weights)
    for _ in range(10):
        model.partial_fit(X, y, weights)
    assert is_in_row_space(model)
    assert_same_fit(model, at_once, but=("max_iter", "warm_start"))


@pytest.mark.parametrize("how", ["fit", "partial_fit", "gd", "precompute"])
def test_other_rows_resume_in_all_columns_from_the_same_function(how):
    X, y = wide_problem(60)
    model = clone(WIDE).set_params(warm_start=True).fit(X[:30], y[:30])
    before = model.predict(X)
    model.set_params(learning_rate=1e-300, max_iter=1)
    if how == "gd":
        model.set_params(solver="gd").fit(X[:30], y[:30])
    elif how == "precompute":
        model.set_params(precompute=False).fit(X[:30], y[:30])
    elif how == "fit":
        model.fit(X[30:], y[30:])
    else:
        model.set_params(standardize=True).partial_fit(X[30:], y[30:])
    assert not is_in_row_space(model)
    # the weights of a feature follow its scale by no more than a tenth in a call of partial_fit
    tolerance = 1e4 * EPS if how != "partial_fit" else 0.3
    assert_allclose(model.predict(X), before, rtol=0, atol=tolerance * np.abs(before).max())
    assert model.n_iter_ == 31


@pytest.mark.parametrize("then", [{"early_stopping": False}, {"validation_fraction": 0.3}, {"early_stopping": True}])
@pytest.mark.parametrize("first", [{"early_stopping": True}, {}])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_rows_held_out_may_change(first, then, method):
    """Other rows span another space: training resumes from the function, in all columns."""
    X, y = wide_problem(40)
    model = clone(WIDE).set_params(warm_start=True, **first).fit(X, y)
    before = model.predict(X)
    model.set_params(learning_rate=1e-300, max_iter=1, **then)
    if method == "partial_fit":
        model.set_params(early_stopping=False)
    getattr(model, method)(X, y)
    if first.get("early_stopping") and model.early_stopping and then == {"early_stopping": True}:
        assert is_in_row_space(model)
    else:
        scale = np.abs(before).max()
        assert_allclose(model.predict(X), before, rtol=0, atol=scale * (0.3 if method == "partial_fit" else 1e-8))


def test_the_basis_does_not_depend_on_the_choice_of_eigenvectors(monkeypatch):
    """Equal eigenvalues leave it open: another processor may choose others, and a model must resume there, too."""
    A = np.kron(np.eye(50), np.ones((1, 4)))
    x = Scaling(A.mean(axis=0), A.std(axis=0), np.zeros(200, dtype=bool))
    _, expected = coordinates_of(A, x)
    eigh = np.linalg.eigh

    def others(G):
        values, U = eigh(G)
        turned, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((49, 49)))
        return values, np.concatenate([U[:, :1], U[:, 1:] @ turned], axis=1)

    monkeypatch.setattr(np.linalg, "eigh", others)
    _, again = coordinates_of(A, x)
    assert_allclose(again.basis, expected.basis, atol=1e-12)


def test_weights_are_repeated_rows():
    X, y = wide_problem()
    weights = np.random.default_rng(0).integers(1, 3, 30)
    model = clone(WIDE).set_params(batch_size=100)
    weighted, repeated = clone(model).fit(X, y, weights), clone(model).fit(X.repeat(weights, axis=0), y.repeat(weights))
    assert is_in_row_space(weighted)
    assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7, atol=1e-7)


def test_early_stopping_validation_and_callbacks():
    X, y = wide_problem(60)
    model = clone(WIDE).set_params(early_stopping=True, max_iter=60).fit(X[:40], y[:40])
    assert is_in_row_space(model)
    X_val, y_val = X[40:], y[40:]
    model = clone(WIDE).fit(X[:40], y[:40], X_val=X_val, y_val=y_val)
    # the last validation loss is that of the predictions
    loss = 0.5 * np.mean(np.square((model.predict(X_val) - y_val) / y[:40].std()))
    assert model.validation_loss_curve_[-1] == pytest.approx(loss, rel=1e-10)


def test_coefficients_set_by_hand_count():
    X, y = wide_problem()
    model = clone(WIDE).set_params(warm_start=True).fit(X, y)
    model.coefs_ = [0.5 * a for a in model.coefs_]
    expected = model.predict(X)
    model.set_params(learning_rate=1e-300, max_iter=1).fit(X, y)
    assert_allclose(model.predict(X), expected, rtol=0, atol=1e4 * EPS * np.abs(expected).max())


def test_constant_columns_and_other_libraries_of_frames():
    X, y = wide_problem()
    X[:, 3] = 5.0
    model = clone(WIDE).fit(X, y)
    assert_array_equal(model.coefs_[0][3], 0.0)
    Fortran = np.asfortranarray(X)
    Fortran.flags.writeable = False
    assert_allclose(clone(WIDE).fit(Fortran, y).predict(X), model.predict(X), rtol=1e-9)
    with unchanged(model, X), pytest.raises(ValueError, match="NaN"):
        model.fit(X * np.nan, y)


def test_the_state_is_as_small_as_the_rows():
    X, y = wide_problem(30, 3000)
    model = clone(WIDE).fit(X, y)
    assert len(pickle.dumps(model)) < 2 * sum(a.nbytes for a in model.coefs_) + 2**20 // 2


# --- new rows after a fit, and streams of few rows --------------------------------------------------------------------


def chunks_after_a_fit(model, X, y, n_fit, size):
    model.fit(X[:n_fit], y[:n_fit])
    for start in range(n_fit, len(X), size):
        model.partial_fit(X[start : start + size], y[start : start + size])
    return model


@dtypes
def test_chunks_of_new_rows_do_not_spoil_a_wide_fit(dtype):
    """A full step of adam in all columns would change every hidden unit by many times its value."""
    X, y = (a.astype(dtype) for a in wide_problem(260, 1200))
    train, test = slice(0, 60), slice(60, None)
    default = TwoLayerReLURegressor(random_state=0, max_iter=300)
    fitted = clone(default).fit(X[:40], y[:40]).score(X[test], y[test])
    resumed = chunks_after_a_fit(clone(default), X[train], y[train], 40, 5)
    at_full_rate = chunks_after_a_fit(clone(default).set_params(learning_rate=0.01), X[train], y[train], 40, 5)
    assert at_full_rate.score(X[test], y[test]) < 0 < fitted - 0.1 < resumed.score(X[test], y[test])


def test_the_rate_while_rows_are_few_for_their_columns():
    X, y = wide_problem(70)
    model = TwoLayerReLURegressor(8, n_members=1, random_state=0)
    for n in (10, 20, 30, 40, 50, 60):
        rows = slice(n - 10, n)
        assert model.partial_fit(X[rows], y[rows]).learning_rate_ == pytest.approx(0.01 * n / 240, rel=4 * EPS)
    assert model.partial_fit(X[60:], y[60:]).learning_rate_ == 0.01
    assert clone(model).partial_fit(csr_array(X[:10]), y[:10]).learning_rate_ == pytest.approx(0.01 / 24, rel=4 * EPS)
    assert clone(model).partial_fit(X[:10, :99], y[:10]).learning_rate_ == 0.01
    assert clone(model).set_params(learning_rate=0.01).partial_fit(X[:10], y[:10]).learning_rate_ == 0.01
    for weight, n in ((3.0, 30), (0.01, 10)):  # shares are no numbers of rows
        with pytest.warns(UserWarning, match="sum") if weight < 1 else nullcontext():
            weighted = clone(model).partial_fit(X[:10], y[:10], np.full(10, weight))
        assert weighted.learning_rate_ == pytest.approx(0.01 * n / 240, rel=4 * EPS)


@pytest.mark.parametrize("change", ["order", "coefficient", "row"])
def test_a_fit_that_leaves_the_space_of_the_rows_does_not_spoil_the_model(change):
    X, y = wide_problem(260, 1200)
    model = TwoLayerReLURegressor(random_state=0, warm_start=True, max_iter=300).fit(X[:40], y[:40])
    before = model.score(X[60:], y[60:])
    rows = {"order": np.arange(40)[::-1], "row": np.arange(41)}.get(change, np.arange(40))
    if change == "coefficient":
        model.coefs_[0][0, 0] += 1e-9
    for _ in range(2):
        model.set_params(max_iter=2).fit(X[rows], y[rows])
        assert not is_in_row_space(model)
        assert model.score(X[60:], y[60:]) > before - 0.1


def test_the_smaller_rate_ends_with_the_few_rows():
    X, y = wide_problem(100)
    model = TwoLayerReLURegressor(8, n_members=1, max_iter=2, warm_start=True, random_state=0)
    assert model.partial_fit(X[:5], y[:5]).learning_rate_ == pytest.approx(0.01 * 5 / 240, rel=4 * EPS)
    assert model.fit(X, y).learning_rate_ == 0.01


def test_a_chunk_of_new_sparse_rows_after_a_fit_has_the_smaller_rate_and_the_same_rows_have_not():
    X, y = wide_problem(40)
    X = csr_array(X)
    model = clone(WIDE).fit(X[:30], y[:30]).partial_fit(X[:30], y[:30])
    assert model.learning_rate_ == 0.01  # a further pass of `fit`
    assert model.partial_fit(X[30:], y[30:]).learning_rate_ < 0.01 * 40 / 240


def test_the_rows_of_a_wide_fit_again_are_passes_at_its_rate():
    X, y = wide_problem()
    model = clone(WIDE).fit(X, y).partial_fit(X, y)
    assert is_in_row_space(model)
    assert model.learning_rate_ == 0.01
