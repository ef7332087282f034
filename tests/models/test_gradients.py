"""The hand-written gradients and products with the curvature, against numerical derivatives and by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from problems import (
    BUILDS_DZ,
    EPS,
    SKIPS_DZ,
    THREE_OUTPUTS,
    assert_away_from_kinks,
    assert_matches_derivative,
    batch_of,
    every_option,
    explicit_gauss_newton,
    five_point,
    model_for,
    objective,
    problem_for,
    read,
    write,
)
from skrelu import TwoLayerReLURegressor
from skrelu._arrays import NumpyArrayModule
from skrelu._models.base import Batch
from skrelu._models.network import TwoLayerNetwork


@every_option
def test_loss_and_gradient(shape, reduction, weighted, intercept):
    problem = problem_for(shape, weighted=weighted, intercept=intercept, reduction=reduction)
    if shape[2]:
        assert_away_from_kinks(problem)
    model = model_for(problem)
    loss = model.loss_and_gradient(batch_of(problem))
    expected = objective(problem, problem.parameters)
    # A sum of n m squares, each of a prediction that is a sum of d h products.
    assert loss == pytest.approx(expected, rel=100 * EPS, abs=0.0)
    derivatives = five_point(lambda p: objective(problem, p), problem.parameters)
    for gradient, derivative in zip(read(problem, model, model.gradient), derivatives, strict=True):
        assert_matches_derivative(gradient, derivative[: len(gradient)], expected)


@pytest.mark.parametrize(("shape", "builds_dZ"), [(SKIPS_DZ, False), (BUILDS_DZ, True), (THREE_OUTPUTS, True)])
def test_the_shapes_take_both_branches_of_the_backward_pass(shape, builds_dZ, monkeypatch):
    calls = []
    for name in ("mask_backward", "multiply_blocks"):  # dZ, and dZ without the factor w for one output
        original = getattr(NumpyArrayModule, name)

        def record(self, *args, original=original, **kwargs):
            calls.append(args)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(NumpyArrayModule, name, record)
    problem = problem_for(shape)
    model_for(problem).loss_and_gradient(batch_of(problem))
    assert bool(calls) == builds_dZ


def test_both_branches_give_the_same_gradient():
    problem = problem_for((5, 9, 7, 1), weighted=True)
    gradients = []
    for rows in (5, 500):  # the branch is chosen by the rows there is room for
        model = model_for(problem, rows=rows)
        model.loss_and_gradient(batch_of(problem))
        gradients.append(read(problem, model, model.gradient))
    n, _, h, _ = problem.shape
    for built, skipped in zip(*gradients, strict=True):
        # Sums of n products of three factors taken in another order; h roundings in the residuals.
        np.testing.assert_allclose(built, skipped, rtol=0, atol=2 * (n + h + 3) * EPS * np.abs(built).max())


def test_a_batch_smaller_than_the_buffers():
    problem = problem_for(THREE_OUTPUTS, weighted=True)
    gradients = []
    for rows in (problem.shape[0], 40):
        model = model_for(problem, rows=rows)
        model.loss_and_gradient(batch_of(problem))
        gradients.append(model.gradient.copy())
    np.testing.assert_allclose(*gradients, rtol=0, atol=50 * EPS * np.abs(gradients[0]).max())  # sums of 9 products


@pytest.mark.parametrize("rows", [2, 40], ids=["builds dZ", "skips dZ"])
def test_relu_has_derivative_zero_at_zero(rows):
    # z = (0, 0): f = 0 W2 = 0, E = -1. No gradient may pass a unit at exactly zero.
    problem = problem_for((2, 1, 2, 1), intercept=False)
    model = model_for(problem, rows=rows)
    model.theta[...] = 0.0
    model.W2[...] = 3.0
    model.loss_and_gradient(Batch(problem.X, np.ones((2, 1)), None, 0.5))
    np.testing.assert_array_equal(model.gradient, 0.0)


# A step with small integers, reduction="sum", learning rate 1/2:
#
#   X = [[1, 2], [3, -1]]   W1 = [[1, -1], [-1, 1]]   b1 = [1, 1]   W2 = [[2], [3]]   b2 = [1]   y = [[5], [14]]
#
#   Z = X W1 + b1   = [[1 - 2 + 1, -1 + 2 + 1], [3 + 1 + 1, -3 - 1 + 1]] = [[0, 2], [5, -3]]
#   H = relu(Z)     = [[0, 2], [5, 0]]        mask = [[0, 1], [1, 0]]        the unit at exactly 0 passes nothing
#   F = H W2 + b2   = [[6 + 1], [10 + 1]]     = [[7], [11]]
#   E = F - y       = [[2], [-3]]             L = 4 + 9 = 13
#   D = 2 E         = [[4], [-6]]
#   dW2 = H^T D     = [[5 * -6], [2 * 4]]     = [[-30], [8]]                 db2 = 4 - 6 = -2
#   dH = D W2^T     = [[8, 12], [-12, -18]]   dZ = [[0, 12], [-12, 0]]
#   dW1 = X^T dZ    = [[3 * -12, 1 * 12], [-1 * -12, 2 * 12]] = [[-36, 12], [12, 24]]     db1 = [-12, 12]
#
#   W1 - dW1 / 2 = [[19, -7], [-7, -11]]      b1 - db1 / 2 = [7, -5]
#   W2 - dW2 / 2 = [[17], [-1]]               b2 - db2 / 2 = 2
#
# Everything is an integer, so floating point has nothing to round and the comparison is exact.
HAND = SimpleNamespace(
    shape=(2, 2, 2, 1),
    X=np.array([[1.0, 2.0], [3.0, -1.0]]),
    y=np.array([[5.0], [14.0]]),
    before=[np.array(a, float) for a in ([[1, -1], [-1, 1]], [1, 1], [[2], [3]], [1])],
    gradient=[np.array(a, float) for a in ([[-36, 12], [12, 24]], [-12, 12], [[-30], [8]], [-2])],
    after=[np.array(a, float) for a in ([[19, -7], [-7, -11]], [7, -5], [[17], [-1]], [2])],
)


@pytest.mark.parametrize("rows", [2, 40], ids=["builds dZ", "skips dZ"])
def test_a_step_by_hand(rows):
    model = TwoLayerNetwork(NumpyArrayModule(), 2, 2, 1, True, np.float64)
    model.allocate(rows)
    write(model, model.theta, HAND.before)
    inputs = np.hstack([HAND.X, np.ones((2, 1))])
    np.testing.assert_array_equal(model.forward(inputs), [[7.0], [11.0]])
    assert model.loss_and_gradient(Batch(inputs, HAND.y, None, 2.0)) == 13.0
    for gradient, expected in zip(read(HAND, model, model.gradient), HAND.gradient, strict=True):
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")  # so it does
def test_a_step_by_hand_through_the_estimator(monkeypatch):
    W1, b1, W2, b2 = HAND.before
    monkeypatch.setattr(TwoLayerNetwork, "draw", lambda *_: [np.vstack([W1, b1]), W2, b2, np.ones(0)])
    model = TwoLayerReLURegressor(
        2, solver="gd", learning_rate=0.5, max_iter=1, alpha=0, standardize=False, reduction="sum"
    ).fit(HAND.X, HAND.y)
    assert model.loss_curve_ == [13.0]
    fitted = [model.coefs_[0], model.intercepts_[0], model.coefs_[1], model.intercepts_[1]]
    for parameter, expected in zip(fitted, HAND.after, strict=True):
        np.testing.assert_array_equal(parameter, expected)


@every_option
def test_curvature_product(shape, reduction, weighted, intercept):
    problem = problem_for(shape, weighted=weighted, intercept=intercept, reduction=reduction)
    model = model_for(problem, rows=shape[0] + 3)
    matrix = explicit_gauss_newton(problem, model)
    rng = np.random.default_rng(5)
    for _ in range(3):
        v = rng.standard_normal(len(model.theta))
        model.curvature_product(batch_of(problem), v.copy())
        assert_matches_derivative(model.gradient, matrix @ v, np.abs(matrix).sum())
