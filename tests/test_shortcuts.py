"""The engines of gradient descent agree: sample space and closed form against the plain iteration."""

import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrelu import LinearGDRegressor, TwoLayerReLURegressor, _linear, _two_layer

EPS = {"float32": np.finfo(np.float32).eps, "float64": np.finfo(np.float64).eps}


def data(n, d, m, dtype="float64", seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * np.exp(rng.uniform(-1, 1, d)) + rng.standard_normal(d)
    y = np.tanh(X @ rng.standard_normal((d, m)) / np.sqrt(d)) + 0.1 * rng.standard_normal((n, m)) + 2.0
    return X.astype(dtype), (y if m > 1 else y[:, 0]), rng.uniform(0, 3, n) * (rng.uniform(size=n) > 0.2)


def parameters(model):
    if hasattr(model, "coefs_"):
        return [*model.coefs_, *model.intercepts_]
    return [model.coef_, np.asarray(model.intercept_)]


def assert_same_fit(a, b, n_iter, dtype):
    # Each iteration rounds once more, and the iteration is stable (rate below 2 / L), so errors at most add up; 200
    # covers the lengths of the sums and the folding of the scales.
    tol = 200 * n_iter * EPS[dtype]
    largest = max(np.abs(p).max() for p in parameters(b))
    for u, v in zip(parameters(a), parameters(b), strict=True):
        assert u.dtype == v.dtype
        assert_allclose(u, v, rtol=0, atol=tol * largest)
    # The loss is a sum of squares of residuals that are off by tol times the first ones.
    assert a.n_iter_ == b.n_iter_
    ours, plain = np.array(a.loss_curve_), np.array(b.loss_curve_)
    assert np.all(np.abs(ours - plain) <= tol * np.sqrt(plain * plain.max()) + tol**2 * plain.max())


GRID = list(itertools.product([False, True], [1, 3], [False, True], [0.0, 2.0], [0.0, 0.8], [False, True]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("weighted", "m", "intercept", "alpha", "momentum", "standardize"), GRID)
def test_sample_space_agrees_with_the_plain_iteration(weighted, m, intercept, alpha, momentum, standardize, dtype):
    X, y, w = data(12, 30, m, dtype)
    params = {
        "hidden_layer_size": 7,
        "solver": "gd",
        "learning_rate": 0.002,
        "max_iter": 25,
        "alpha": alpha,
        "momentum": momentum,
        "fit_intercept": intercept,
        "standardize": standardize,
        "random_state": 0,
    }
    fits = [
        TwoLayerReLURegressor(**params, precompute=precompute).fit(X, y, sample_weight=w if weighted else None)
        for precompute in (True, False)
    ]
    assert_same_fit(*fits, 25, dtype)


LINEAR = list(
    itertools.product([False, True], [1, 3], [False, True], [0.0, 2.0], ["zeros", "standard_normal"], [False, True])
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(40, 6), (8, 20)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("weighted", "m", "intercept", "alpha", "init", "standardize"), LINEAR)
def test_closed_form_agrees_with_the_plain_iteration(
    weighted, m, intercept, alpha, init, standardize, reduction, shape, dtype
):
    X, y, w = data(*shape, m, dtype)
    params = {
        "max_iter": 60,
        "alpha": alpha,
        "init": init,
        "fit_intercept": intercept,
        "standardize": standardize,
        "reduction": reduction,
        "random_state": 0,
    }
    weights = w if weighted else None
    fast = LinearGDRegressor(**params, precompute=True).fit(X, y, sample_weight=weights)
    plain = LinearGDRegressor(**params, precompute=False, learning_rate=fast.learning_rate_)
    assert_same_fit(fast, plain.fit(X, y, sample_weight=weights), 60, dtype)
    # "auto" finds the same rate by the Lanczos iteration, whose residual of 1e-9 leaves an error near its square.
    auto = LinearGDRegressor(**params, precompute=False).fit(X, y, sample_weight=weights)
    assert_allclose(auto.learning_rate_, fast.learning_rate_, rtol=1e-12 + 200 * EPS[dtype])
