"""Training that is resumed is training at once, to the last bit; a changed objective starts from the model before."""

import itertools
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from problems import (
    ADAM,
    ENGINES,
    EPS,
    N_ITER,
    assert_same_fit,
    dtypes,
    every_class,
    every_engine,
    every_kind,
    every_noisy,
    every_shape,
    noisy,
    noisy_problem,
    problem,
    weights_for,
)
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._models.network import TwoLayerNetwork

CONSTANT = clone(ADAM).set_params(hidden_layer_size=8, batch_size=7)
RESUMED = {
    "adam": CONSTANT,
    "adam alpha": clone(CONSTANT).set_params(alpha=0.5),
    "adam sum": clone(CONSTANT).set_params(reduction="sum"),
    "adam raw": clone(CONSTANT).set_params(standardize=False, learning_rate=0.003),
    "adam whole batch": clone(CONSTANT).set_params(batch_size=100),
    "adam no intercept": clone(CONSTANT).set_params(fit_intercept=False),
    "gd": TwoLayerReLURegressor(8, solver="gd", random_state=0),
    "gd rate": TwoLayerReLURegressor(8, solver="gd", learning_rate=0.01, alpha=0.5, random_state=0),
    "gd no intercept": TwoLayerReLURegressor(8, solver="gd", fit_intercept=False, random_state=0),
    "momentum": TwoLayerReLURegressor(8, solver="gd", momentum=0.9, random_state=0),
    "momentum alpha": TwoLayerReLURegressor(8, solver="gd", momentum=0.5, alpha=0.5, random_state=0),
    "linear": LinearGDRegressor(),
    "linear rate": LinearGDRegressor(learning_rate=0.01, alpha=0.5),
    "linear raw": LinearGDRegressor(standardize=False, init="uniform", random_state=0),
    "linear sum": LinearGDRegressor(reduction="sum", init="standard_normal", random_state=0),
    "linear no intercept": LinearGDRegressor(fit_intercept=False),
    "gd plain": TwoLayerReLURegressor(8, solver="gd", precompute=False, random_state=0),
    "gd shortcut": TwoLayerReLURegressor(8, solver="gd", precompute=True, random_state=0),
    "momentum shortcut": TwoLayerReLURegressor(
        8, solver="gd", momentum=0.9, alpha=0.5, precompute=True, random_state=0
    ),
    "linear plain": LinearGDRegressor(precompute=False, init="uniform", random_state=0),
    "linear shortcut": LinearGDRegressor(precompute=True, alpha=0.5, init="uniform", random_state=0),
}
every_resumed = pytest.mark.parametrize("name", RESUMED)


def unchanged(model, _):
    return model


def pickled(model, _=None):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model, folder, *, compress=0, mmap_mode=None):
    path = folder / f"{len(list(folder.iterdir()))}.joblib"  # a new one, as an earlier one may be in use
    joblib.dump(model, path, compress=compress)
    return joblib.load(path, mmap_mode=mmap_mode)


def compressed(model, folder):
    return through_joblib(model, folder, compress=3)


def memory_mapped(model, folder):
    """As joblib hands it to a worker: all arrays read-only."""
    return through_joblib(model, folder, mmap_mode="r")


def through_skops(model, _):
    skops = pytest.importorskip("skops.io", reason="needs skops")
    cls = type(model)
    return skops.loads(skops.dumps(model), trusted=[f"{cls.__module__}.{cls.__qualname__}"])


@pytest.mark.one_in(47)
@pytest.mark.parametrize("between", [unchanged, pickled, through_joblib, compressed, memory_mapped, through_skops])
@dtypes
@pytest.mark.parametrize("m", [None, 2])
@every_resumed
@every_shape
def test_a_resumed_fit_is_the_fit_at_once(shape, name, m, dtype, between, tmp_path):
    X, y = problem(*shape, m)
    X, weights = X.astype(dtype), weights_for(X)
    at_once = clone(RESUMED[name]).set_params(max_iter=9).fit(X, y, weights)
    first = clone(RESUMED[name]).set_params(max_iter=4, warm_start=True).fit(X, y, weights)
    then = between(first, tmp_path)
    assert then.get_params() == first.get_params()
    assert vars(then).keys() == vars(first).keys()
    assert_same_fit(then, first)
    np.testing.assert_array_equal(then.predict(X), first.predict(X))
    then = between(then.fit(X, y, weights), tmp_path).partial_fit(X, y, weights)
    assert then.n_iter_ == len(then.loss_curve_) == 9
    assert_same_fit(then, at_once)
    np.testing.assert_array_equal(then.predict(X), at_once.predict(X))


@pytest.mark.one_in(13)
@pytest.mark.parametrize("parts", [(1, 8), (8, 1), (2, 1, 1, 5), (3, 3, 3), (30, 3, 63, 1)], ids=str)
@every_resumed
@every_shape
def test_fit_in_any_parts_is_the_fit_at_once(shape, name, parts):
    X, y = problem(*shape)
    at_once = clone(RESUMED[name]).set_params(max_iter=sum(parts)).fit(X, y)
    in_parts = clone(RESUMED[name]).set_params(warm_start=True)
    for part in parts:
        in_parts.set_params(max_iter=part).fit(X, y)
    assert_same_fit(in_parts, at_once)


@pytest.mark.one_in(11)
@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("m", [None, 2])
@every_resumed
@every_shape
def test_partial_fit_resumes_exactly_where_fit_ended(shape, name, m):
    X, y = problem(*shape, m)
    at_once = clone(RESUMED[name]).set_params(max_iter=6).fit(X, y)
    mixed = clone(RESUMED[name]).set_params(max_iter=2, warm_start=True).fit(X, y)
    for k in (3, 4):
        mixed = pickled(mixed.partial_fit(X, y))
        assert mixed.n_iter_ == k
    assert_same_fit(mixed.fit(X, y), at_once)


@pytest.mark.one_in(11)
@pytest.mark.parametrize("m", [None, 2])
@every_resumed
@every_shape
def test_partial_fit_alone_is_fit_without_shortcut(shape, name, m):
    X, y = problem(*shape, m)
    at_once = clone(RESUMED[name]).set_params(max_iter=6, precompute=False).fit(X, y)
    passes = clone(RESUMED[name])
    for k in range(6):
        passes = pickled(passes.partial_fit(X, y)) if k % 2 else passes.partial_fit(X, y)
        assert passes.n_iter_ == k + 1
    assert_same_fit(passes, at_once)


@pytest.mark.one_in(7)
@every_resumed
@every_shape
def test_partial_fit_alone_is_fit_to_rounding(shape, name):
    X, y = problem(*shape)
    at_once = clone(RESUMED[name]).set_params(max_iter=6).fit(X, y)
    passes = clone(RESUMED[name])
    for _ in range(6):
        passes.partial_fit(X, y)
    # Sums of at most 40 terms in each of 6 iterations, relative to the largest entries. The "auto" rate of the network
    # is 1/L with L found to the square of 1e-5, and one step passes on at most twice that.
    tolerance = 6 * (40 * EPS + 2 * TwoLayerNetwork.curvature_rtol**2)
    np.testing.assert_allclose(passes.loss_curve_, at_once.loss_curve_, rtol=0, atol=tolerance * at_once.loss_curve_[0])
    np.testing.assert_allclose(passes.predict(X), at_once.predict(X), rtol=0, atol=tolerance * np.abs(y).max())


def test_without_warm_start_fit_starts_anew():
    X, y = problem()
    for estimator in RESUMED.values():
        model = clone(estimator).set_params(max_iter=3)
        assert_same_fit(clone(model).fit(X, y).partial_fit(X, y).fit(X, y), clone(model).fit(X, y))
        other = problem(n=25, d=5, m=2, seed=3)
        assert_same_fit(clone(model).fit(X, y).fit(*other), clone(model).fit(*other))


@every_class
def test_the_learning_rate_of_auto_is_kept(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=2, warm_start=True, random_state=0)
    if estimator_class is TwoLayerReLURegressor:
        model.set_params(solver="gd")
    rate = model.fit(X, y).learning_rate_
    assert model.fit(X, y).learning_rate_ == rate
    assert model.partial_fit(X, y).learning_rate_ == rate


def test_auto_after_another_solver_is_one_over_L():
    X, y = problem(30, 5)  # with fewer columns Adam's initial intercepts are others
    adam = TwoLayerReLURegressor(8, n_members=1, max_iter=1, warm_start=True, random_state=0).fit(X, y)
    rate = adam.set_params(solver="gd").fit(X, y).learning_rate_
    automatic = TwoLayerReLURegressor(8, solver="gd", max_iter=1, random_state=0).fit(X, y).learning_rate_
    # One step of Adam moves each weight by 0.01, of weights around 0.5: L changes by a few percent.
    assert rate == pytest.approx(automatic, rel=0.2)


def test_cosine_starts_anew_in_each_fit():
    """Of a run of two steps, the first has the whole learning rate and the second half of it."""
    X, y = problem()
    cosine = TwoLayerReLURegressor(8, alpha=1.0, learning_rate=0.02, max_iter=2, warm_start=True, random_state=0)
    stepwise = clone(cosine).set_params(learning_rate_schedule="constant", max_iter=1)
    for _ in range(3):
        cosine.fit(X, y)
        stepwise.set_params(learning_rate=0.02).fit(X, y)
        stepwise.set_params(learning_rate=0.01).fit(X, y)
        assert cosine.loss_curve_ == stepwise.loss_curve_
        np.testing.assert_array_equal(cosine.predict(X), stepwise.predict(X))
    assert cosine.n_iter_ == 6
    assert cosine.learning_rate_ == 0.02
    at_once = clone(cosine).set_params(max_iter=6).fit(X, y)
    assert at_once.loss_curve_ != cosine.loss_curve_


def test_partial_fit_has_no_schedule():
    X, y = problem()
    cosine = clone(CONSTANT).set_params(learning_rate_schedule="cosine")
    constant = clone(CONSTANT)
    for _ in range(3):
        assert_same_fit(cosine.partial_fit(X, y), constant.partial_fit(X, y))


@every_kind
def test_tol_holds_over_calls(name):
    X, y = problem()
    model = clone(ENGINES[name]).set_params(tol=1e-2, max_iter=150)
    at_once = clone(model).fit(X, y)
    assert at_once.n_iter_ < 150
    in_parts = clone(model).set_params(max_iter=at_once.n_iter_ - 1, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        in_parts.fit(X, y)
    in_parts.set_params(max_iter=100).fit(X, y)
    assert_same_fit(in_parts, at_once)


# The validation set


@pytest.mark.one_in(5)
@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")
@every_noisy
@pytest.mark.parametrize("own_set", [True, False])
@pytest.mark.parametrize("first", [1, 4, 30])
def test_a_fit_continued_is_the_fit_at_once(name, own_set, first):
    X, y, X_val, y_val = noisy_problem()
    held_out = {"X_val": X_val, "y_val": y_val} if own_set else {}
    params = {"early_stopping": True, "n_iter_no_change": 40, "warm_start": True}
    whole = noisy(name, max_iter=60, **params).fit(X, y, **held_out)
    parts = noisy(name, max_iter=first, **params).fit(X, y, **held_out)
    parts = pickle.loads(pickle.dumps(parts)).set_params(max_iter=whole.n_iter_ - first).fit(X, y, **held_out)
    assert_same_fit(whole, parts)


@every_engine
def test_a_curve_continued_is_the_curve_at_once(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    whole = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    parts = clone(ENGINES[name]).set_params(warm_start=True, max_iter=2).fit(X, y, X_val=X_val, y_val=y_val)
    parts.set_params(max_iter=N_ITER - 2).fit(X, y, X_val=X_val, y_val=y_val)
    assert_same_fit(whole, parts)


def test_training_resumes_from_the_last_iterate_and_not_from_the_best():
    X, y, X_val, y_val = noisy_problem()
    model = noisy("full batch", early_stopping=True, warm_start=True).fit(X, y, X_val=X_val, y_val=y_val)
    n_iter = model.n_iter_
    assert n_iter < 200
    model.set_params(early_stopping=False).partial_fit(X, y)
    assert_array_equal(model.coefs_[0], noisy("full batch", max_iter=n_iter + 1).fit(X, y).coefs_[0])


# Other rows, and another objective


def test_rows_with_the_same_gram_matrix_are_not_taken_for_the_same_rows():
    rng = np.random.RandomState(0)
    X = rng.randint(0, 2, (12, 60)).astype(float)
    y = rng.randint(0, 3, 12).astype(float)
    pairs = itertools.combinations(range(60), 2)
    j, k = next((j, k) for j, k in pairs if X[:, j] @ y == X[:, k] @ y and (X[:, j] != X[:, k]).any())
    swapped = X.copy()
    swapped[:, [j, k]] = X[:, [k, j]]  # the same X X^T, X^T y and y
    params = {"solver": "gd", "max_iter": 50, "standardize": False, "warm_start": True, "random_state": 0}
    fits = [
        TwoLayerReLURegressor(8, **params, precompute=precompute).fit(X, y).fit(swapped, y)
        for precompute in (True, False)
    ]
    assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-6)


CHANGES = [{"reduction": "sum"}, {"alpha": 1e4}, {"reduction": "sum", "alpha": 10.0}]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("precompute", ["auto", False])
@pytest.mark.parametrize("model", [LinearGDRegressor(), TwoLayerReLURegressor(5, solver="gd", random_state=0)])
def test_the_automatic_rate_follows_a_change_of_the_objective(model, precompute, change):
    X, y = problem()
    model.set_params(warm_start=True, max_iter=20, precompute=precompute, alpha=0.0, reduction="mean").fit(X, y)
    before = model.learning_rate_
    model.set_params(**change).fit(X, y)
    assert model.learning_rate_ < before
    assert np.isfinite(model.loss_curve_).all()


def test_the_automatic_rate_of_a_sum_follows_the_weight_of_the_rows():
    X, y = problem(60)
    model = LinearGDRegressor(reduction="sum", standardize=False, learning_rate="auto").partial_fit(X[:6], y[:6])
    before = model.learning_rate_
    model.partial_fit(X, y)
    assert_allclose(model.learning_rate_, before / 10, rtol=4 * EPS)


def test_a_network_fitted_to_one_row_can_go_on():
    X, y = problem(200)
    model = TwoLayerReLURegressor(20, random_state=0, warm_start=True, max_iter=50).fit(X[:1], y[:1])
    assert_allclose(model.predict(X[:1]), y[:1], rtol=8 * EPS)
    assert model.set_params(max_iter=300).fit(X, y).score(X, y) > 0.8
