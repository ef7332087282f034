"""The validation set: its loss after each iteration, the kinds of arrays it takes, and the sets that are refused."""

import copy
import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone

import skrelu._engines.closed_form
from problems import DESCENT, ENGINES, EPS, N_ITER, NETWORKS, assert_same_fit, every_engine, every_library, problem
from skrelu import TwoLayerReLURegressor


def loss_of(model, X, y, scale, weights=None):
    """L of the rows, from the predictions; the errors in units of `scale`."""
    s = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    squares = np.sum(((model.predict(X) - y) / scale).reshape(len(X), -1) ** 2, axis=1)
    return float(s @ squares if model.reduction == "sum" else s @ squares / (2 * s.sum()))


def curve_by_hand(estimator, X, y, X_val, y_val, weights_val=None, weights=None):
    """The validation loss of fits of 1, 2, ... iterations."""
    s = np.ones(len(X)) if weights is None else weights
    mean = np.average(y, axis=0, weights=s)
    center = mean if estimator.fit_intercept else 0.0
    scale = np.sqrt(np.average((y - center) ** 2, axis=0, weights=s)) if estimator.standardize else 1.0
    models = [clone(estimator).set_params(max_iter=t).fit(X, y, weights) for t in range(1, estimator.max_iter + 1)]
    return [loss_of(model, X_val, y_val, scale, weights_val) for model in models]


VARIANTS = {
    "default": {},
    "sum": {"reduction": "sum", "learning_rate": 1e-3},
    "no_intercept": {"fit_intercept": False},
    "raw": {"standardize": False},
}


@pytest.mark.one_in(13)
@every_engine
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(30, 3, None), (30, 3, 2), (10, 25, None), (10, 25, 2)], ids=str)
def test_entry_t_of_the_curve_is_that_of_a_fit_of_t_iterations(name, variant, shape):
    n, d, m = shape
    X, y = problem(n, d, m)
    X_val, y_val = problem(40, d, m, seed=1)
    weights, weights_val = np.random.RandomState(2).randint(0, 4, n), np.random.RandomState(3).randint(0, 4, 40)
    model = clone(ENGINES[name]).set_params(**VARIANTS[variant])
    model.fit(X, y, X_val=X_val, y_val=y_val)
    expected = curve_by_hand(model, X, y, X_val, y_val)
    # Both take sums of d + h products of numbers up to the size of the largest; measured: 400 eps
    assert_allclose(model.validation_loss_curve_, expected, rtol=1e4 * EPS)
    model.fit(X, y, weights, X_val=X_val, y_val=y_val, sample_weight_val=weights_val)
    expected = curve_by_hand(model, X, y, X_val, y_val, weights_val, weights)
    assert_allclose(model.validation_loss_curve_, expected, rtol=1e4 * EPS)


@every_engine
def test_a_validation_set_changes_nothing_else(name):
    (X, y), (X_val, y_val) = problem(m=2), problem(50, m=2, seed=1)
    with_set = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    without = clone(ENGINES[name]).fit(X, y)
    assert without.validation_loss_curve_ is None
    assert len(with_set.validation_loss_curve_) == with_set.n_iter_
    with_set._state["validation_loss_curve"] = None
    assert_same_fit(with_set, without)


@pytest.mark.parametrize("name", [name for name in ENGINES if "minibatches" not in name])
def test_on_the_rows_of_training_it_is_the_next_loss(name):
    X, y = problem()
    model = clone(ENGINES[name])
    if isinstance(model, TwoLayerReLURegressor):
        model.set_params(n_members=1)  # the validation loss is that of the average, the other the mean of the members'
    model.fit(X, y, X_val=X, y_val=y)
    assert_allclose(model.validation_loss_curve_[:-1], model.loss_curve_[1:], rtol=1e4 * EPS)


@every_engine
def test_rows_of_weight_zero_do_not_count_and_repeated_rows_count_as_often(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    weights = np.random.RandomState(0).randint(0, 3, 20)
    model = clone(ENGINES[name])
    weighted = clone(model).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    rows = np.repeat(np.arange(20), weights)
    repeated = clone(model).fit(X, y, X_val=X_val[rows], y_val=y_val[rows])
    assert_allclose(weighted.validation_loss_curve_, repeated.validation_loss_curve_, rtol=1e3 * EPS)


@every_engine
def test_the_curve_does_not_depend_on_how_the_rows_are_read(name):
    (X, y), (X_val, y_val) = problem(), problem(3000, seed=1)
    whole = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    parts = np.zeros(N_ITER)
    for part in np.array_split(np.arange(3000), 7):
        model = clone(ENGINES[name]).fit(X, y, X_val=X_val[part], y_val=y_val[part])
        parts += np.array(model.validation_loss_curve_) * len(part) / 3000
    assert_allclose(whole.validation_loss_curve_, parts, rtol=1e4 * EPS)


@every_engine
def test_single_precision_stays_so(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    exact = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    single = clone(ENGINES[name]).fit(X.astype(np.float32), y, X_val=X_val, y_val=y_val)
    coefficients = single.coefs_[0] if hasattr(single, "coefs_") else single.coef_
    assert coefficients.dtype == np.float32
    assert all(type(loss) is float for loss in single.validation_loss_curve_)
    rounded = clone(single).fit(X.astype(np.float32), y, X_val=X_val.astype(np.float32), y_val=y_val)
    assert single.validation_loss_curve_ == rounded.validation_loss_curve_
    rtol = 1e3 * np.finfo(np.float32).eps
    assert_allclose(single.validation_loss_curve_, exact.validation_loss_curve_, rtol=rtol)


def _frames(X, y):
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]), pd.Series(y)


def _read_only(X, y):
    X, y = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    return X, y


FORMS = {
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "frames": _frames,
    "read_only": _read_only,
    "fortran": lambda X, y: (np.asfortranarray(X), y),
    "column": lambda X, y: (X, y.reshape(-1, 1)),
}


@pytest.mark.one_in(7)
@every_engine
@pytest.mark.parametrize("kind", FORMS)
def test_kinds_of_input(name, kind):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    expected = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    X_kind, _ = FORMS[kind](X, y)
    X_val, y_val = FORMS[kind](X_val, y_val)
    model = clone(ENGINES[name]).fit(X_kind, y, X_val=X_val, y_val=y_val)
    assert model.validation_loss_curve_ == expected.validation_loss_curve_


@pytest.mark.one_in(5)
@every_engine
@every_library
def test_other_arrays(name, library):
    xp = pytest.importorskip(library, reason=f"needs {library}")
    (X, y), (X_val, y_val) = problem(m=2), problem(20, m=2, seed=1)
    weights = np.random.RandomState(0).randint(0, 3, 20).astype(float)
    expected = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    X, X_val, moved = xp.asarray(X), xp.asarray(X_val), xp.asarray(y_val)
    with config_context(array_api_dispatch=True):
        for given in (y_val, moved):
            model = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=given, sample_weight_val=weights)
            assert_allclose(model.validation_loss_curve_, expected.validation_loss_curve_, rtol=1e4 * EPS)
        if hasattr(model, "early_stopping"):
            model.set_params(early_stopping=True).fit(X, y)
            assert type(model.coefs_[0]) is type(X)
            model.fit(X, y, X_val=X_val, y_val=y_val)
        with pytest.raises(ValueError, match="X_val must be from the same array library and device as X: got ndarray"):
            model.fit(X, y, X_val=np.asarray(problem(20)[0]), y_val=y_val)


def test_names_of_columns_are_checked():
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    frame, _ = _frames(X, y)
    with pytest.raises(ValueError, match=r"(?s)validation set.*feature names"):
        clone(DESCENT).fit(frame, y, X_val=_frames(X_val, y_val)[0].rename(columns={"x0": "other"}), y_val=y_val)


@pytest.mark.one_in(3)
@every_engine
def test_a_look_at_the_validation_set_needs_no_memory(name):
    (X, y), (X_val, y_val) = problem(200, 20), problem(20_000, 20, seed=1)

    def peak(n_iter):
        model = clone(ENGINES[name]).set_params(max_iter=n_iter)
        tracemalloc.start()
        model.fit(X, y, X_val=X_val, y_val=y_val)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(1)
    # a column of X_val would be 160 kB
    assert abs(peak(20) - peak(2)) < 50_000


def test_the_closed_form_computes_many_losses_at_once_where_each_is_looked_at(monkeypatch):
    computed, losses = [], skrelu._engines.closed_form.ClosedForm._losses

    def counted(self, start, stop):
        computed.append(stop - start)
        return losses(self, start, stop)

    monkeypatch.setattr(skrelu._engines.closed_form.ClosedForm, "_losses", counted)
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    model = clone(ENGINES["closed form, penalty"]).set_params(max_iter=1000)
    watched = clone(model).fit(X, y, X_val=X_val, y_val=y_val)
    assert len(computed) <= 10
    assert sum(computed) < 2 * 1000 + 1
    assert watched.loss_curve_ == model.fit(X, y).loss_curve_


@every_engine
def test_iterations_without_a_validation_set_have_no_validation_loss(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    model = clone(ENGINES[name]).set_params(warm_start=True).fit(X, y)
    model.fit(X, y, X_val=X_val, y_val=y_val).partial_fit(X, y)
    missing = np.isnan(model.validation_loss_curve_)
    assert missing.tolist() == [True] * N_ITER + [False] * N_ITER + [True]
    whole = clone(ENGINES[name]).set_params(max_iter=2 * N_ITER).fit(X, y, X_val=X_val, y_val=y_val)
    assert_allclose(model.validation_loss_curve_[N_ITER:-1], whole.validation_loss_curve_[N_ITER:], rtol=1e4 * EPS)
    assert clone(model).set_params(warm_start=False).fit(X, y).validation_loss_curve_ is None


def test_a_validation_loss_that_is_not_finite_is_recorded_as_infinite():
    X, y = problem()
    X, X_val, y_val = (0.01 * X).astype(np.float32), *problem(5, seed=1)
    X_val[2, 1] = 3e38  # is infinite in units of the deviation of X
    for estimator in ENGINES.values():
        with pytest.warns(UserWarning, match="the loss of the validation set was (inf|nan)"):
            model = clone(estimator).fit(X, y, X_val=X_val, y_val=y_val)
        assert model.validation_loss_curve_ == [math.inf] * N_ITER
        assert np.isfinite(model.predict(X)).all()
    for name in NETWORKS:
        model = clone(ENGINES[name]).set_params(early_stopping=True)
        with pytest.raises(ValueError, match="validation loss was not finite after any iteration"):
            model.fit(X, y, X_val=X_val, y_val=y_val)
        assert not hasattr(model, "coefs_")


X_0, Y_0 = problem(8, seed=1)
INVALID = {
    "no y_val": ({"X_val": X_0}, "X_val given without y_val: a validation set needs X_val and y_val"),
    "no X_val": ({"y_val": Y_0}, "y_val given without X_val"),
    "weights alone": ({"sample_weight_val": Y_0}, "sample_weight_val given without X_val"),
    "features": ({"X_val": X_0[:, :2], "y_val": Y_0}, r"validation set .*X has 2 features.*expecting 3"),
    "rows": ({"X_val": X_0, "y_val": Y_0[:5]}, r"validation set .*inconsistent numbers of samples: \[8, 5\]"),
    "no rows": ({"X_val": X_0[:0], "y_val": Y_0[:0]}, r"validation set .*0 sample"),
    "outputs": ({"X_val": X_0, "y_val": np.stack([Y_0, Y_0], axis=1)}, "y_val has 2 outputs, and y has 1"),
    "NaN in X_val": ({"X_val": X_0 * np.nan, "y_val": Y_0}, "validation set .*NaN"),
    "infinite y_val": ({"X_val": X_0, "y_val": np.append(Y_0[1:], np.inf)}, "validation set .*infinity"),
    "negative weights": (
        {"X_val": X_0, "y_val": Y_0, "sample_weight_val": -np.ones(8)},
        r"validation set .*[Nn]egative",
    ),
    "zero weights": ({"X_val": X_0, "y_val": Y_0, "sample_weight_val": np.zeros(8)}, "validation set .*weight.*zero"),
    "text": ({"X_val": [["a"] * 3], "y_val": [1.0]}, "validation set .*could not convert"),
}


@pytest.mark.one_in(7)
@every_engine
@pytest.mark.parametrize("case", INVALID)
def test_what_is_not_valid_is_refused_by_name(name, case):
    X, y = problem()
    given, message = INVALID[case]
    model = clone(ENGINES[name])
    before = dict(vars(model))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X, y, **given)
    assert vars(model) == before
    before = copy.deepcopy(vars(model.set_params(warm_start=True).fit(X, y)))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X, y, **given)
    np.testing.assert_equal(vars(model), before)


def test_targets_beyond_single_precision_are_refused():
    X, y = problem()
    with pytest.raises(ValueError, match=r"validation set .*y has values of magnitude"):
        clone(DESCENT).fit(X.astype(np.float32), y, X_val=X_0, y_val=Y_0 * 1e60)
