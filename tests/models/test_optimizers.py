"""The optimizers against their textbook formulas, and the cosine schedule at the points where it is known."""

import numpy as np
import pytest

from problems import array_modules, dtypes
from skrelu._models.optimizers import Adam, GradientDescent, cosine

N_STEPS = 300


def make_gradients(size=40):
    """A sequence of gradients whose entries span nine orders of magnitude, some of them zero now and then or always."""
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((N_STEPS, size)) * 10.0 ** rng.uniform(-6.0, 3.0, size)
    gradients[rng.random((N_STEPS, size)) < 0.1] = 0.0
    gradients[:, 0] = 0.0
    return gradients


def textbook_adam(theta, gradients, rates, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Algorithm 1 of Kingma and Ba (2015), and the moments it ends with."""
    m = v = np.zeros_like(theta)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta = theta - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
    return theta, m, v


def textbook_momentum(theta, gradients, rates, momentum):
    """Gradient descent with a heavy ball."""
    velocity = np.zeros_like(theta)
    for g, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity + g
        theta = theta - rate * velocity
    return theta


def run(optimizer, theta, gradients, rates):
    """The same with an optimizer of the package."""
    for g, rate in zip(gradients, rates, strict=True):
        optimizer.step(theta, g.copy(), float(rate))
    return theta


@array_modules
@dtypes
def test_adam_is_the_textbook_formula(am, dtype):
    gradients = make_gradients().astype(dtype)
    rates = 0.01 * np.linspace(1.0, 0.0, N_STEPS)
    start = np.random.default_rng(1).standard_normal(gradients.shape[1]).astype(dtype)
    theta = start.copy()
    optimizer = Adam(am, theta)
    run(optimizer, theta, gradients, rates)
    exact = [a.astype(np.float64) for a in (start, gradients)]
    expected, m, v = textbook_adam(*exact, rates)
    eps = np.finfo(dtype).eps
    # A step is at most 3.2 rates long ((1 - beta1) / sqrt(1 - beta2)) and rounds about 30 times, 10 of them in m, whose
    # terms may cancel; subtracting it rounds theta.
    atol = N_STEPS * eps * (np.abs(expected).max() + 100 * 0.01)
    np.testing.assert_allclose(theta, expected, rtol=0, atol=atol)
    assert theta.dtype == dtype
    # The moments are kept without the factors 1 - beta: each is a sum with geometric weights, so rounding stays with
    # the last 1 / (1 - beta) terms.
    sum_of_sizes = textbook_adam(exact[0], np.abs(exact[1]), rates)[1]
    np.testing.assert_array_less(np.abs((1 - 0.9) * optimizer.moments[0] - m), 20 * eps * sum_of_sizes + 1e-300)
    np.testing.assert_allclose((1 - 0.999) * optimizer.moments[1], v, rtol=(N_STEPS + 10) * eps)


@array_modules
def test_the_first_step_of_adam_is_the_rate_for_any_gradient(am):
    g = np.array([1e-3, -1.0, 1e6, 0.0])
    theta = np.zeros(4)
    Adam(am, theta).step(theta, g.copy(), 0.25)
    # theta = -rate g / (|g| + epsilon), and 0 where there is no gradient.
    eps = np.finfo(np.float64).eps
    np.testing.assert_allclose(theta, -0.25 * g / (np.abs(g) + 1e-8), rtol=20 * eps)
    assert theta[3] == 0.0


@array_modules
def test_adam_after_very_many_steps(am):
    # With a constant gradient the corrected moments are g and g^2 at every t, so every step is the rate.
    theta = np.zeros(1)
    optimizer = Adam(am, theta)
    g, t = 3.0, 10**7
    optimizer.step_count = t
    optimizer.moments[0][...] = g / (1 - 0.9)
    optimizer.moments[1][...] = g**2 / (1 - 0.999)
    optimizer.step(theta, np.full(1, g), 0.125)
    assert optimizer.step_count == t + 1
    assert theta[0] == pytest.approx(
        -0.125 * g / (g + 1e-8), rel=1e3 * np.finfo(np.float64).eps, abs=0.0
    )  # 1 / (1 - beta2)


@array_modules
def test_resuming_adam_from_its_moments_is_exact(am):
    gradients, rates = make_gradients(), np.full(N_STEPS, 0.01)
    at_once = run(Adam(am, np.ones(40)), np.ones(40), gradients, rates)
    first = Adam(am, np.ones(40))
    theta = run(first, np.ones(40), gradients[:100], rates[:100])
    second = Adam(am, theta)
    second.step_count = first.step_count
    for mine, theirs in zip(second.moments, first.moments, strict=True):
        mine[...] = theirs
    np.testing.assert_array_equal(run(second, theta, gradients[100:], rates[100:]), at_once)


@array_modules
@dtypes
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_gradient_descent_is_the_textbook_formula(am, dtype, momentum):
    gradients = make_gradients().astype(dtype)
    rates = 0.01 * np.linspace(1.0, 0.5, N_STEPS)
    start = np.random.default_rng(1).standard_normal(gradients.shape[1]).astype(dtype)
    theta = start.copy()
    run(GradientDescent(am, theta, momentum), theta, gradients, rates)
    exact = [a.astype(np.float64) for a in (start, gradients)]
    expected = textbook_momentum(*exact, rates, momentum)
    # The path without signs bounds every intermediate; each of the steps rounds theta once, the velocity twice.
    reach = np.abs(start) + textbook_momentum(np.zeros(len(start)), -np.abs(exact[1]), rates, momentum)
    bound = 4 * N_STEPS * np.finfo(dtype).eps * reach
    assert np.all(np.abs(theta - expected) <= bound)
    assert theta.dtype == dtype


@array_modules
def test_gradient_descent_with_a_constant_gradient(am):
    # u_t = g (1 - mu^t) / (1 - mu), so theta_t = -rate g (t - mu (1 - mu^t) / (1 - mu)) / (1 - mu).
    mu, rate, g, t = 0.9, 0.1, 2.0, 50
    theta = np.zeros(3)
    run(GradientDescent(am, theta, mu), theta, np.full((t, 3), g), np.full(t, rate))
    expected = -rate * g * (t - mu * (1 - mu**t) / (1 - mu)) / (1 - mu)
    np.testing.assert_allclose(theta, expected, rtol=4 * t * np.finfo(np.float64).eps)  # all terms have one sign


@array_modules
@pytest.mark.parametrize("curvature", [0.1, 1.0, 3.5])
def test_heavy_ball_on_a_parabola(am, curvature):
    # x_{t+1} = (1 + mu - rate l) x_t - mu x_{t-1}, which is a power of a 2 x 2 matrix applied to (x_0, x_0).
    mu, rate, t = 0.8, 1.0, 60
    theta = np.array([2.0])
    optimizer = GradientDescent(am, theta, mu)
    for _ in range(t):
        optimizer.step(theta, curvature * theta, rate)
    matrix = np.array([[1 + mu - rate * curvature, -mu], [1.0, 0.0]])
    expected = np.linalg.matrix_power(matrix, t) @ [2.0, 2.0]
    # Stable, so no rounding grows by more than the transient (below 10); t steps make t of them.
    np.testing.assert_allclose(theta, expected[:1], rtol=0, atol=100 * t * np.finfo(np.float64).eps)


@array_modules
def test_gradient_descent_without_momentum_needs_no_memory(am):
    assert GradientDescent(am, np.zeros(3), 0.0).moments == []
    assert len(GradientDescent(am, np.zeros(3), 0.5).moments) == 1


@array_modules
@pytest.mark.parametrize("make", [Adam, lambda am, theta: GradientDescent(am, theta, 0.9)], ids=["adam", "gd"])
def test_steps_are_counted_and_a_rate_of_zero_stays(am, make):
    theta = np.arange(3.0)
    optimizer = make(am, theta)
    run(optimizer, theta, np.ones((7, 3)), np.zeros(7))
    assert optimizer.step_count == 7
    np.testing.assert_array_equal(theta, np.arange(3.0))


@pytest.mark.parametrize("n_steps", [1, 2, 10, 16000])
def test_cosine(n_steps):
    eps = np.finfo(np.float64).eps
    assert cosine(0, n_steps) == 1.0
    assert cosine(n_steps, n_steps) == 0.0
    if n_steps % 2 == 0:
        assert cosine(n_steps // 2, n_steps) == pytest.approx(0.5, abs=eps)  # pi is rounded
    factors = np.array([cosine(step, n_steps) for step in range(n_steps + 1)])
    assert np.all(np.diff(factors) < 0.0)
    np.testing.assert_allclose(factors + factors[::-1], 1.0, rtol=4 * eps)  # symmetric about the middle
    steps = np.arange(n_steps + 1)
    np.testing.assert_allclose(factors, np.cos(np.pi * steps / n_steps / 2.0) ** 2, rtol=0, atol=4 * eps)
