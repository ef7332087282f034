"""float32 columns far from zero: days, seconds and meters keep what their dtype holds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import ENGINES, every_engine
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

COLUMNS = {
    "Julian day, a week": (2459000.5, 7.0),
    "Unix seconds, an hour": (1.7e9, 3600.0),
    "UTM northing in meters": (5.4e6, 5.0),
    "two values": (1.7e9, 128.0),
}


def far(name, n=300, dtype=np.float32):
    origin, width = COLUMNS[name]
    rng = np.random.default_rng(0)
    X = (origin + rng.uniform(0, width, n)).astype(dtype)[:, None]
    y = X[:, 0].astype(np.float64)
    return X, (y - y.mean()) / y.std()


@pytest.mark.parametrize("name", COLUMNS)
def test_such_a_column_has_its_effect(name):
    """R2 was 0.000: a column with 11 to 29 distinct values counted as constant."""
    X, y = far(name)
    reference = make_pipeline(StandardScaler(), LinearRegression()).fit(X, y).score(X, y)
    for model in (TwoLayerReLURegressor(max_iter=100, random_state=0), LinearGDRegressor()):
        assert model.fit(X, y).score(X, y) > reference - 1e-3


@pytest.mark.parametrize("name", COLUMNS)
def test_coefficients_are_float64_where_float32_would_lose_the_digits(name):
    X, y = far(name)
    linear, network = LinearGDRegressor().fit(X, y), TwoLayerReLURegressor(5, max_iter=3, random_state=0).fit(X, y)
    assert linear.coef_.dtype == np.float64
    assert {a.dtype for a in network.coefs_ + network.intercepts_} == {np.dtype(np.float64)}
    assert {a.dtype for a in network._state["parameters"]} == {np.dtype(np.float32)}
    assert network.predict(X).dtype == np.float64


def test_other_columns_stay_float32():
    X, y = far("Unix seconds, an hour", dtype=np.float64)
    X = np.float32(X - 1.7e9 + 1e6)  # a thousand deviations from zero
    for model in (LinearGDRegressor().fit(X, y), TwoLayerReLURegressor(5, max_iter=3, random_state=0).fit(X, y)):
        assert model.predict(X).dtype == np.float32


def test_the_mean_of_the_far_column_is_that_of_float64():
    X, y = far("Unix seconds, an hour")
    near, exact = LinearGDRegressor().fit(X, y), LinearGDRegressor().fit(X.astype(np.float64), y)
    assert_allclose(near.predict(X), exact.predict(X.astype(np.float64)), atol=1e-3)


@every_engine
def test_it_resumes_as_any_other(name):
    X, y = far("Julian day, a week", n=40)
    X = np.column_stack([X, np.random.default_rng(0).standard_normal((40, 2))]).astype(np.float32)
    at_once = clone(ENGINES[name]).set_params(max_iter=6).fit(X, y)
    model = clone(ENGINES[name]).set_params(max_iter=3, warm_start=True).fit(X, y).fit(X, y)
    assert_allclose(model.predict(X), at_once.predict(X), rtol=0, atol=0)
