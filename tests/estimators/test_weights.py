"""Sample weights of any size, and rows of weight zero, which may hold anything."""

from contextlib import nullcontext

import array_api_strict
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone

import skrelu._rows.batches
from problems import ENGINES, EPS, dtypes, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

MODELS = {
    name: clone(model).set_params(max_iter=50 if isinstance(model, LinearGDRegressor) else 10)
    for name, model in ENGINES.items()
    if name in ("minibatches", "full batch", "sample space, momentum", "linear", "closed form")
}
every_model = pytest.mark.parametrize("name", MODELS)


def with_ballast(X, y, values):
    """Rows of weight 0 that hold `values`, between those of X and y; with the weights and where the others are."""
    where = np.arange(0, len(X), 3)
    rows = np.resize(np.array(values, dtype=X.dtype), (len(where), 1))
    X_all, y_all = np.insert(X, where, rows, axis=0), np.insert(y, where, rows, axis=0)
    weights = np.insert(np.random.RandomState(1).uniform(0.5, 2.0, len(X)), where, 0.0)
    return X_all, y_all, weights, weights > 0


@pytest.mark.one_in(7)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "read again"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("shape", [(40, 4), (12, 40)], ids=["tall", "wide"])
@dtypes
@every_model
def test_rows_of_weight_zero_may_hold_anything(name, dtype, shape, standardize, kept, monkeypatch):
    if not kept:
        monkeypatch.setattr(skrelu._rows.batches, "KEPT_NUMBERS", 0)
    X, y = problem(*shape, 2, dtype=dtype, center=0.0)
    largest = np.finfo(dtype).max
    X_all, y_all, weights, counts = with_ballast(X, y, [largest, -largest, 0.0])
    model = clone(MODELS[name]).set_params(standardize=standardize, learning_rate=1e-3)
    if name == "minibatches":
        model.set_params(batch_size=7)  # which rows are in a batch does not depend on them either
    with_them = clone(model).fit(X_all, y_all, weights)
    without = clone(model).fit(X, y, weights[counts])
    assert with_them.loss_curve_ == without.loss_curve_
    assert_array_equal(with_them.predict(X), without.predict(X))
    with_them.partial_fit(X_all, y_all, weights)
    without.partial_fit(X, y, weights[counts])
    assert_array_equal(with_them.predict(X), without.predict(X))
    assert with_them.alpha_ == without.alpha_


@pytest.mark.one_in(3)
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
@every_model
def test_rows_of_weight_zero_in_another_array_library(name, library):
    xp = pytest.importorskip(library)
    X, y = problem(m=2)
    X_all, y_all, weights, counts = with_ballast(X, y, [np.finfo(np.float64).max])
    expected = clone(MODELS[name]).fit(X, y, weights[counts])
    with config_context(array_api_dispatch=True):
        model = clone(MODELS[name]).fit(*(xp.asarray(a) for a in (X_all, y_all, weights)))
        predicted = np.asarray(model.predict(xp.asarray(X)))
    # `test_invariances.py` says why: what eps becomes in a few iterations, where Adam divides by no less than 1e-8.
    atol = 100 * model.max_iter * EPS + (name == "minibatches") * model.max_iter * 0.01 * 10 * EPS / 1e-8
    assert_allclose(predicted, expected.predict(X), rtol=0, atol=atol * np.abs(y).max())


def descent_in_extended_precision(X, y, weights, n_iter, rate):
    """Weighted gradient descent on the linear model, standardized, from zero, without any of the package."""
    X, y, s = (a.astype(np.longdouble) for a in (X, y, weights))
    s = s / s.sum()
    x_mean, y_mean = s @ X, s @ y
    x_scale, y_scale = np.sqrt(s @ (X - x_mean) ** 2), np.sqrt(s @ (y - y_mean) ** 2)
    A = np.column_stack([(X - x_mean) / x_scale, np.ones(len(X))])
    target, theta = (y - y_mean) / y_scale, np.zeros((X.shape[1] + 1, y.shape[1]), dtype=np.longdouble)
    for _ in range(n_iter):
        theta -= rate * A.T @ (s[:, None] * (A @ theta - target))
    return (A @ theta * y_scale + y_mean).astype(np.float64)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("shape", [(40, 4), (12, 40)], ids=["tall", "wide"])
def test_weights_over_24_decades(shape, shortcut, zeros):
    X, y = problem(*shape, 2, center=0.0)
    weights = 10.0 ** np.random.RandomState(1).uniform(-12, 12, len(X))
    if zeros:
        weights[::3] = 0.0
    model = LinearGDRegressor(precompute=shortcut, max_iter=20, learning_rate=0.02).fit(X, y, weights)
    expected = descent_in_extended_precision(X, y, weights, 20, 0.02)
    # A few rows carry the weight: others lie far outside in their deviations, and round relative to that.
    outside = np.abs(X - np.average(X, axis=0, weights=weights)).max() / X[weights > 0].std()
    assert_allclose(
        model.predict(X), expected, rtol=0, atol=1000 * outside * np.finfo(float).eps * np.abs(expected).max()
    )


@pytest.mark.parametrize("weight", [1e-311, 1e300])
def test_weights_of_any_size_are_as_good_as_ones(weight):
    X, y = problem(40, 6)
    heavy = TwoLayerReLURegressor(5, max_iter=5, alpha=0.0, random_state=0).fit(X, y, np.full(40, weight))
    plain = TwoLayerReLURegressor(5, max_iter=5, alpha=0.0, random_state=0).fit(X, y)
    # A subnormal weight has 10 bits fewer; divided by itself it is one, but for the rounding of a mean.
    assert_allclose(heavy.coefs_[0], plain.coefs_[0], rtol=1e4 * EPS)
    auto = TwoLayerReLURegressor(5, max_iter=5, random_state=0)
    with pytest.warns(UserWarning, match="sum 4e-310 for 40 rows") if weight < 1.0 else nullcontext():
        auto.fit(X, np.ones(40), np.full(40, weight))
    assert np.isfinite(auto.loss_curve_).all()


def test_weights_and_columns_at_the_end_of_the_range():
    X, y = problem(40, 6)
    reference = LinearGDRegressor(max_iter=5).fit(X, y)
    heavy = LinearGDRegressor(max_iter=5).fit(X, y, sample_weight=np.full(40, 1e308))
    assert np.isfinite(heavy.alpha_)
    assert_allclose(heavy.coef_, reference.coef_, rtol=1e3 * EPS)
    tiny = (1e-40 * X).astype(np.float32)  # subnormal: few digits are left
    assert np.isfinite(TwoLayerReLURegressor(5, max_iter=3, random_state=0).fit(tiny, y).loss_curve_).all()


@pytest.mark.parametrize(
    "model", [LinearGDRegressor(max_iter=5), TwoLayerReLURegressor(5, solver="gd", max_iter=5, random_state=0)]
)
def test_predictions_near_the_end_of_the_range_are_checked_without_the_rows_of_weight_zero(model):
    rng = np.random.default_rng(0)
    X, y, weights = rng.standard_normal((20, 3)), 1e100 * rng.standard_normal(20), np.arange(20.0) % 3
    expected = sklearn.clone(model).fit(X, y, weights).predict(X)
    with sklearn.config_context(array_api_dispatch=True):
        there = [array_api_strict.asarray(a) for a in (X, y, weights)]
        predictions = np.asarray(sklearn.clone(model).fit(*there).predict(there[0]))
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=1e3 * np.finfo(float).eps * np.abs(y).max())
