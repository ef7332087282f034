"""Predictions are the formula of the fitted coefficients, in blocks of any number of rows."""

import numpy as np
import pytest

import skrelu._models.base
from problems import problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor


@pytest.mark.one_in(5)
@pytest.mark.parametrize("block", [1, 64, 10**9])
@pytest.mark.parametrize("m", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_network_predicts_its_formula(fit_intercept, dtype, m, block, monkeypatch):
    monkeypatch.setattr(skrelu._models.base, "_PREDICT_BLOCK", block)
    X, y = problem(m=m)
    model = TwoLayerReLURegressor(9, max_iter=5, fit_intercept=fit_intercept, random_state=0).fit(X.astype(dtype), y)
    X = np.random.RandomState(2).normal(size=(101, 3)).astype(dtype)
    (W1, W2), (b1, b2) = [[a.astype(np.float64) for a in arrays] for arrays in (model.coefs_, model.intercepts_)]
    expected = np.maximum(X @ W1 + b1, 0) @ W2 + b2
    # Each of the d + h + 2 operations rounds by eps relative to the sum of the magnitudes.
    bound = (3 + 9 + 2) * np.finfo(dtype).eps * ((np.abs(X) @ np.abs(W1) + np.abs(b1)) @ np.abs(W2) + np.abs(b2))
    predicted = model.predict(X)
    assert predicted.shape == ((101,) if m is None else (101, m))
    assert np.all(np.abs(predicted.reshape(101, -1) - expected) <= bound)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("block", [1, 64, 10**9])
@pytest.mark.parametrize("m", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_linear_predicts_its_formula(dtype, m, block, monkeypatch):
    monkeypatch.setattr(skrelu._models.base, "_PREDICT_BLOCK", block)
    X, y = problem(m=m)
    model = LinearGDRegressor(max_iter=5).fit(X.astype(dtype), y)
    X = np.random.RandomState(2).normal(size=(101, 3)).astype(dtype)
    W, b = model.coef_.astype(np.float64).reshape(-1, 3).T, np.asarray(model.intercept_, dtype=np.float64)
    bound = (3 + 1) * np.finfo(dtype).eps * (np.abs(X) @ np.abs(W) + np.abs(b))
    predicted = model.predict(X)
    assert predicted.shape == ((101,) if m is None else (101, m))
    assert np.all(np.abs(predicted.reshape(101, -1) - (X @ W + b)) <= bound)
