"""Defaults that depend on the data: the number of iterations, the learning rate, and the penalty."""

import math

import numpy as np
import pytest

from problems import EPS, curvature_of_the_linear_model, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("n", "batch_size"),
    [(30, 128), (30, 7), (30, 2), (300, 128), (97, 1), (1, 1), (17000, 1)],
    ids=["one batch", "few", "between", "real", "many", "one row", "a pass is too much"],
)
def test_the_step_budget_of_auto(n, batch_size):
    X, y = problem(n, d=1)
    model = TwoLayerReLURegressor(1, batch_size=batch_size, random_state=0).fit(X, y)
    steps = min(max(150 * n / batch_size, 1500), 12000)
    batches = max(1, math.floor(n / batch_size + 0.5))  # of equal size, which is then near to batch_size
    assert model.n_iter_ == math.ceil(steps / batches)


def test_iterations_of_the_other_solvers():
    assert TwoLayerReLURegressor(3, solver="gd", random_state=0).fit(*problem()).n_iter_ == 500
    assert LinearGDRegressor().fit(*problem()).n_iter_ == 1000


@pytest.mark.one_in(7)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("center", [0.0, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 50.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_auto_rate_of_the_linear_model_is_one_over_L(
    fit_intercept, standardize, reduction, alpha, weighted, center, precompute
):
    X, y = problem(d=5, center=center)
    weights = np.random.RandomState(1).uniform(0, 3, len(X)) if weighted else None
    choices = {"alpha": alpha, "fit_intercept": fit_intercept, "standardize": standardize, "reduction": reduction}
    model = LinearGDRegressor(**choices, max_iter=1, precompute=precompute).fit(X, y, weights)
    L = curvature_of_the_linear_model(X, weights, **choices)
    # L is promised to 1e-10 of itself; sums over 30 rows round by less.
    assert model.learning_rate_ == pytest.approx(1 / L, rel=2e-10)
    assert model.alpha_ == pytest.approx(alpha, rel=4 * EPS)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("m", [1, 2])
def test_auto_rate_of_gd_is_one_over_L(m, reduction):
    """L of the Gauss-Newton matrix J^T J, with J the finite differences of the predictions by the weights."""
    X, y = problem(n=12, m=m)
    h = 4
    model = TwoLayerReLURegressor(
        h, solver="gd", fit_intercept=False, standardize=False, reduction=reduction, max_iter=1, random_state=0
    ).fit(X, y)
    random = np.random.RandomState(0)
    start = np.concatenate(
        [
            (random.standard_normal((3, h)) * np.sqrt(2 / 3)).ravel(),
            (random.standard_normal((h, m)) * np.sqrt(2 / h)).ravel(),
        ]
    )

    def predict(theta):
        return (np.maximum(X @ theta[: 3 * h].reshape(3, h), 0) @ theta[3 * h :].reshape(h, m)).ravel()

    # Linear in each weight between the kinks, so central differences are exact up to rounding.
    step = 1e-6
    J = np.stack([(predict(start + step * e) - predict(start - step * e)) / (2 * step) for e in np.eye(len(start))])
    L = np.linalg.eigvalsh(J @ J.T)[-1] * (1 / 12 if reduction == "mean" else 2.0)
    assert 1 / L * (1 - 1e-6) <= model.learning_rate_ <= 1 / L * 1.0102  # from below to 1%, differences to 1e-9


@pytest.mark.parametrize("rate", [0.003, "auto"])
def test_learning_rate_of_adam(rate):
    model = TwoLayerReLURegressor(3, learning_rate=rate, max_iter=2, random_state=0).fit(*problem())
    assert model.learning_rate_ == (0.01 if rate == "auto" else rate)


def test_auto_alpha_of_gd_is_zero():
    assert TwoLayerReLURegressor(3, solver="gd", max_iter=2, random_state=0).fit(*problem()).alpha_ == 0.0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", [30, 2000], ids=["many steps at the cap", "under the cap"])
def test_auto_alpha_follows_the_noise(n, m, reduction):
    X, y = problem(n, m=m)
    model = TwoLayerReLURegressor(5, batch_size=n, max_iter=130, reduction=reduction, random_state=0).fit(X, y)
    c = 1.0 if reduction == "mean" else 2.0 * n
    mse = 0.0
    for t, loss in enumerate(model.loss_curve_):  # one batch an iteration: these are the batches' losses
        mse += max(0.01, 1 / (t + 1)) * (2 * loss / (c * m) - mse)
    # one rounding in each of 130 running means
    assert model.alpha_ == pytest.approx(c * n * min(20 * min(mse, 1.0) / n, 0.1), rel=130 * 4 * EPS)


def with_ballast(X, y, values):
    """Rows of weight 0 that hold `values`, between those of X and y; with the weights and where the others are."""
    where = np.arange(0, len(X), 3)
    rows = np.resize(np.array(values, dtype=X.dtype), (len(where), 1))
    X_all, y_all = np.insert(X, where, rows, axis=0), np.insert(y, where, rows, axis=0)
    weights = np.insert(np.random.RandomState(1).uniform(0.5, 2.0, len(X)), where, 0.0)
    return X_all, y_all, weights, weights > 0


def test_the_step_budget_counts_rows_with_weight():
    X, y = problem(300, m=2)
    X_all, y_all, weights, counts = with_ballast(X, y, [0.0])
    model = TwoLayerReLURegressor(1, batch_size=10, random_state=0)
    assert model.fit(X_all, y_all, weights).n_iter_ == model.fit(X, y, weights[counts]).n_iter_
