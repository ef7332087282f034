"""One and several outputs: shapes follow y, dtypes follow X, and outputs of the linear model do not meet."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from problems import ENGINES, arrays_of, dtypes, every_engine, problem, weights_for
from skrelu import LinearGDRegressor, TwoLayerReLURegressor


@pytest.mark.one_in(7)
@dtypes
@pytest.mark.parametrize(
    "options", [{}, {"fit_intercept": False}, {"standardize": False}, {"reduction": "sum"}], ids=str
)
@every_engine
def test_two_outputs(name, options, dtype):
    X, y = problem(24, m=2, dtype=dtype)
    fitted = clone(ENGINES[name]).set_params(**options).fit(X, y)
    predicted = fitted.predict(X)
    assert predicted.shape == (24, 2)
    assert predicted.dtype == dtype
    assert fitted.n_outputs_ == 2
    assert isinstance(fitted.score(X, y), float)
    assert all(a.dtype == dtype for a in arrays_of(fitted))
    # A product over rows may round differently in another number of rows: by some eps per term, relative to the terms.
    one_by_one = np.concatenate([fitted.predict(X[i : i + 1]) for i in range(24)])
    scale = np.abs(X).max() * sum(np.abs(a).max() for a in arrays_of(fitted)) ** 2 + 1
    np.testing.assert_allclose(predicted, one_by_one, rtol=0, atol=100 * np.finfo(dtype).eps * scale)


def test_two_outputs_of_the_linear_model_are_two_models():
    X, y = problem(24, m=2)
    weights = weights_for(X, whole=True)
    both = LinearGDRegressor(max_iter=50).fit(X, y, weights)
    for k in range(2):
        one = LinearGDRegressor(max_iter=50).fit(X, y[:, k], weights)
        # The step is the same for both, so each column sees the same arithmetic up to the order of sums.
        tolerance = 50 * 24 * np.finfo(np.float64).eps
        np.testing.assert_allclose(both.coef_[k], one.coef_, rtol=0, atol=tolerance * np.abs(one.coef_).max())
        np.testing.assert_allclose(both.intercept_[k], one.intercept_, rtol=0, atol=tolerance)


@pytest.mark.parametrize("m", [None, 1, 2])
def test_shapes_follow_y(m):
    X, y = problem(m=m)
    outputs = m or 1
    network = TwoLayerReLURegressor(9, max_iter=2, random_state=0).fit(X, y)
    assert [a.shape for a in arrays_of(network)] == [(3, 9), (9, outputs), (9,), (outputs,)]
    linear = LinearGDRegressor(max_iter=2).fit(X, y)
    assert linear.coef_.shape == ((3,) if m is None else (m, 3))
    assert isinstance(linear.intercept_, float) if m is None else linear.intercept_.shape == (m,)
    for model in (network, linear):
        assert model.n_outputs_ == outputs
        assert model.predict(X).shape == y.shape
        assert isinstance(model.score(X, y), float)


@every_engine
def test_one_column_trains_as_none(name):
    X, y = problem()
    flat = clone(ENGINES[name]).fit(X, y)
    column = clone(ENGINES[name]).fit(X, y[:, None])
    assert flat.loss_curve_ == column.loss_curve_
    np.testing.assert_array_equal(flat.predict(X), column.predict(X)[:, 0])
    if isinstance(flat, LinearGDRegressor):
        assert flat.coef_.shape == (3,)
        assert isinstance(flat.intercept_, float)
        np.testing.assert_array_equal(column.coef_, flat.coef_[None, :])
        np.testing.assert_array_equal(column.intercept_, [flat.intercept_])


@pytest.mark.exhaustive
def test_ten_thousand_outputs():
    X, _ = problem(40, 4)
    Y = np.random.RandomState(2).standard_normal((len(X), 10_000))
    linear = LinearGDRegressor(max_iter=30, learning_rate=0.1).fit(X, Y)
    some = [0, 77, 9_999]
    alone = LinearGDRegressor(max_iter=30, learning_rate=0.1).fit(X, Y[:, some])
    assert_allclose(linear.predict(X)[:, some], alone.predict(X), rtol=0, atol=100 * 30 * np.finfo(float).eps)
    for solver in ("adam", "gd"):
        network = TwoLayerReLURegressor(4, solver=solver, max_iter=3, random_state=0).fit(X, Y)
        assert network.predict(X).shape == Y.shape
        assert network.loss_curve_[-1] < network.loss_curve_[0]
