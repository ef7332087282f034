"""`LinearGDRegressor` on problems made from an SVD: the known solution, every iterate on the way, and Ridge."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from problems import EPS
from skrelu import LinearGDRegressor

reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])
weights = pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])
intercepts = pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"])
outputs = pytest.mark.parametrize("n_outputs", [1, 3])
engines = pytest.mark.parametrize("precompute", [False, True], ids=["plain", "precomputed"])


def make_problem(*, n=30, d=5, n_outputs=1, condition=10.0, intercept=True, weighted=True, alpha=0.0, rank=None):
    """X, y and sample weights whose penalized least-squares solution is known.

    With s the weights, sqrt(s) X = sqrt(S) U diag(sigma) V^T, sigma from 1 to 1 / condition, where with an intercept U
    is orthogonal to sqrt(s), so that X has a weighted mean of zero. The solution is chosen, and y is what it predicts
    plus residuals r with X^T s r = alpha coef and, with an intercept, sum(s r) = 0: the normal equations of
    sum s r^2 + alpha |coef|^2.
    """
    rng = np.random.default_rng(0)
    rank = rank or min(n - 2, d)
    s = rng.uniform(0.2, 3.0, n) if weighted else np.ones(n)
    root = np.sqrt(s)[:, None]
    basis = np.linalg.qr(np.hstack([root, rng.standard_normal((n, rank + 1))]))[0]
    U, unexplained = (basis[:, 1:-1], basis[:, -1:]) if intercept else (basis[:, :-2], basis[:, -1:])
    V = np.linalg.qr(rng.standard_normal((d, U.shape[1])))[0]
    sigma = np.geomspace(1.0, 1.0 / condition, U.shape[1])
    total = s.sum()
    X = np.sqrt(total) * (U * sigma) @ V.T / root
    coef = V @ V.T @ rng.standard_normal((d, n_outputs))  # in the row space, so that it is the only solution
    bias = 3.0 * rng.standard_normal(n_outputs) if intercept else np.zeros(n_outputs)
    residual = alpha * (U / sigma) @ (V.T @ coef) / np.sqrt(total) / root
    residual = residual + unexplained @ rng.standard_normal((1, n_outputs)) / root
    return SimpleNamespace(
        X=X,
        y=X @ coef + bias + residual,
        sample_weight=s if weighted else None,
        s=s,
        total=total,
        coef=coef,
        bias=bias,
        alpha=alpha,
        intercept=intercept,
        condition=condition,
    )


def fit(problem, **parameters):
    model = LinearGDRegressor(
        alpha=parameters.pop("alpha", problem.alpha),
        fit_intercept=problem.intercept,
        standardize=parameters.pop("standardize", False),
        **parameters,
    )
    return model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)


def quadratic(problem, alpha, reduction):
    """Hessian and linear term of the objective in theta = (coef, bias): gradient = H theta - linear."""
    n, d = problem.X.shape
    inputs = np.hstack([problem.X, np.ones((n, 1))]) if problem.intercept else problem.X
    factor = 1.0 / problem.total if reduction == "mean" else 2.0
    hessian = factor * inputs.T @ (problem.s[:, None] * inputs)
    hessian[:d, :d] += alpha / problem.total * np.eye(d)
    return hessian, factor * inputs.T @ (problem.s[:, None] * problem.y), inputs


def loss_of(problem, inputs, theta, reduction):
    squares = problem.s @ np.square(inputs @ theta - problem.y).sum(axis=1)
    return squares if reduction == "sum" else squares / (2.0 * problem.total)


def iterate(hessian, linear, start, rate, t):
    """theta_t of gradient descent: mode by mode (1 - rate l)^t theta_0 + (1 - (1 - rate l)^t) / l linear."""
    values, modes = np.linalg.eigh(hessian)
    values[np.abs(values) < 1e3 * EPS * values.max()] = 0.0
    power = (1.0 - rate * values) ** t
    geometric = np.where(values == 0.0, rate * t, (1.0 - power) / np.where(values == 0.0, 1.0, values))
    return modes @ (power[:, None] * (modes.T @ start) + geometric[:, None] * (modes.T @ linear))


@pytest.mark.one_in(11)
@engines
@weights
@intercepts
@outputs
@pytest.mark.parametrize("alpha", [0.0, 4.0])
@pytest.mark.parametrize("condition", [1.0, 6.0, 15.0])
def test_it_converges_to_the_known_solution(condition, alpha, n_outputs, intercept, weighted, precompute):
    problem = make_problem(
        condition=condition, alpha=alpha, n_outputs=n_outputs, intercept=intercept, weighted=weighted
    )
    # The slowest mode shrinks by 1 - 1 / (condition^2 (1 + lambda)) an iteration or faster: exp(-40) is below eps.
    model = fit(problem, max_iter=int(50 * condition**2), precompute=precompute)
    # Every step rounds by a few eps; the slowest mode sums condition^2 roundings before they fade.
    atol = 30 * EPS * condition**2 * max(1.0, np.abs(problem.coef).max())
    np.testing.assert_allclose(model.coef_.T, problem.coef, rtol=0, atol=atol)
    np.testing.assert_allclose(model.intercept_, problem.bias, rtol=0, atol=atol * 10)  # |bias| < 10
    hessian, _, inputs = quadratic(problem, alpha, "mean")
    # A residual of 1e-9 is asked for.
    assert model.learning_rate_ == pytest.approx(1.0 / np.linalg.eigvalsh(hessian)[-1], rel=1e-9, abs=0.0)
    theta = np.vstack([problem.coef, problem.bias]) if intercept else problem.coef
    assert model.loss_curve_[-1] == pytest.approx(
        loss_of(problem, inputs, theta, "mean"), rel=1e3 * EPS * condition**2, abs=0.0
    )


@pytest.mark.one_in(3)
@engines
@weights
@intercepts
@reductions
def test_standardization_has_the_same_solution_without_penalty(reduction, intercept, weighted, precompute):
    problem = make_problem(condition=5.0, intercept=intercept, weighted=weighted, n_outputs=2)
    model = fit(problem, standardize=True, max_iter=5000, reduction=reduction, precompute=precompute)
    # The condition after scaling, squared, is below 100 (tested): as many iterations' rounding stays, and exp(-50) is
    # below eps.
    scaled = problem.X * np.sqrt(problem.s)[:, None]
    assert np.linalg.cond(scaled / np.linalg.norm(scaled, axis=0)) ** 2 < 100
    np.testing.assert_allclose(model.coef_.T, problem.coef, rtol=0, atol=30 * EPS * 100)
    np.testing.assert_allclose(model.intercept_, problem.bias, rtol=0, atol=30 * EPS * 100)


@engines
def test_float32_stays_float32_and_converges(precompute):
    problem = make_problem(condition=5.0)
    problem.X, problem.y = problem.X.astype(np.float32), problem.y.astype(np.float32)
    model = fit(problem, max_iter=2000, precompute=precompute)
    assert model.coef_.dtype == np.float32
    # As above; rounding X and y moves the solution as much.
    np.testing.assert_allclose(model.coef_.T, problem.coef, rtol=0, atol=30 * np.finfo(np.float32).eps * 25)


@pytest.mark.one_in(29)
@engines
@weights
@intercepts
@reductions
@outputs
@pytest.mark.parametrize("rate", [0.3, 1.0, 1.9])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize(("n", "d"), [(30, 4), (7, 12)], ids=["tall", "wide"])
def test_iterates_and_losses_are_the_closed_form(
    n, d, alpha, rate, n_outputs, reduction, intercept, weighted, precompute
):
    problem = make_problem(n=n, d=d, n_outputs=n_outputs, intercept=intercept, weighted=weighted)
    hessian, linear, inputs = quadratic(problem, alpha, reduction)
    rate = float(rate / np.linalg.eigvalsh(hessian)[-1])  # in units of 1 / L; below 2 it is stable
    rng = np.random.RandomState(3)  # weights are drawn first, the intercept after them
    start = np.vstack([rng.standard_normal((d, n_outputs)), rng.standard_normal((int(intercept), n_outputs))])
    for t in (1, 2, 13, 250):
        model = fit(
            problem,
            alpha=alpha,
            learning_rate=rate,
            max_iter=t,
            reduction=reduction,
            init="standard_normal",
            random_state=3,
            precompute=precompute,
        )
        expected = iterate(hessian, linear, start, rate, t)
        # A step is a contraction, so the rounding of t steps at most adds up: each of sums of n and d products.
        rtol = 4 * (t + 10) * (n + d) * EPS
        atol = rtol * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(model.coef_.T, expected[:d], rtol=0, atol=atol)
        np.testing.assert_allclose(model.intercept_, expected[d] if intercept else 0.0, rtol=0, atol=atol)
        assert len(model.loss_curve_) == t
        for k in {0, t // 2, t - 1}:  # entry k is the loss before update k
            loss = loss_of(problem, inputs, iterate(hessian, linear, start, rate, k), reduction)
            assert model.loss_curve_[k] == pytest.approx(loss, rel=10 * rtol, abs=0.0)


@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")
@engines
@pytest.mark.parametrize("rate", [1.999, 2.001])
def test_the_limit_of_the_learning_rate_is_two_over_the_curvature(rate, precompute):
    problem = make_problem(condition=3.0)
    hessian, _, _ = quadratic(problem, 0.0, "mean")
    model = fit(
        problem,
        learning_rate=rate / np.linalg.eigvalsh(hessian)[-1],
        max_iter=3000,
        random_state=0,
        init="uniform",
        precompute=precompute,
    )
    assert (model.loss_curve_[-1] > model.loss_curve_[-2]) == (rate > 2.0)


@pytest.mark.one_in(11)
@engines
@weights
@intercepts
@reductions
@outputs
@pytest.mark.parametrize("alpha", [0.0, 1.0, 50.0])
def test_ridge(alpha, n_outputs, reduction, intercept, weighted, precompute):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((60, 4)) + 0.5, rng.standard_normal((60, n_outputs)) + 2.0
    s = rng.integers(0, 4, 60).astype(float) if weighted else None
    total = s.sum() if weighted else 60.0
    model = LinearGDRegressor(
        alpha=alpha,
        standardize=False,
        fit_intercept=intercept,
        reduction=reduction,
        max_iter=1000,
        precompute=precompute,
    ).fit(X, y, sample_weight=s)
    # The loss of Ridge, sum s e^2 + alpha |w|^2, is 2 S that of "mean"; that of "sum" has alpha / (2 S) in its place.
    equivalent = alpha if reduction == "mean" else alpha / (2.0 * total)
    ridge = Ridge(alpha=equivalent, fit_intercept=intercept, solver="svd").fit(X, y, sample_weight=s)
    # 1000 iterations converge (the condition of the Hessian is below 10, tested) to rounding, on sums of 60.
    assert np.linalg.cond(np.cov(X.T)) < 10
    assert model.coef_.shape == (n_outputs, 4)
    np.testing.assert_allclose(model.coef_, np.reshape(ridge.coef_, (n_outputs, 4)), rtol=0, atol=1e3 * EPS)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_, rtol=0, atol=1e3 * EPS)
    np.testing.assert_allclose(model.predict(X), ridge.predict(X).reshape(60, -1), rtol=0, atol=1e4 * EPS)
    assert model.alpha_ == pytest.approx(alpha, rel=4 * EPS, abs=0.0)


@engines
@intercepts
def test_the_loss_falls_at_the_automatic_learning_rate(intercept, precompute):
    problem = make_problem(condition=30.0, intercept=intercept)
    curve = np.array(fit(problem, max_iter=300, precompute=precompute).loss_curve_)
    assert np.all(np.diff(curve) <= 100 * EPS * curve[0])  # rounding of sums of 30 squares
    assert len(curve) == 300


@pytest.mark.one_in(2)
@engines
def test_what_is_not_there_does_not_grow(precompute):
    """A mode with a rate above its limit, but without a part in the gradient; iterating leaves it at zero."""
    X = np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])
    model = LinearGDRegressor(
        standardize=False, fit_intercept=False, learning_rate=0.51, max_iter=20_000, precompute=precompute
    )
    model.fit(X, X[:, 0], X_val=X, y_val=X[:, 0])
    np.testing.assert_array_equal(model.coef_, [1.0, 0.0])
    assert [model.loss_curve_[-1], model.validation_loss_curve_[-1]] == pytest.approx([0.0, 0.0], abs=1e-30)
    constant = LinearGDRegressor(learning_rate=2.1, max_iter=8_000, precompute=precompute)
    np.testing.assert_array_equal(constant.fit(np.arange(5.0)[:, None], np.full(5, 3.0)).predict([[1.0]]), [3.0])
