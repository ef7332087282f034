"""The penalty: its gradient, and the strength that follows the error."""

import numpy as np
import pytest

from problems import (
    EPS,
    LINEAR_SHAPES,
    SKIPS_DZ,
    THREE_OUTPUTS,
    assert_away_from_kinks,
    assert_matches_derivative,
    batch_of,
    every_option,
    five_point,
    model_for,
    objective,
    problem_for,
    read,
)
from skrelu._models.penalty import Penalty


@pytest.mark.parametrize("shape", [SKIPS_DZ, THREE_OUTPUTS, LINEAR_SHAPES[2]], ids=str)
@pytest.mark.parametrize("intercept", [True, False])
def test_the_gradient_of_the_penalty_leaves_intercepts_alone(shape, intercept):
    problem = problem_for(shape, intercept=intercept)
    model, strength = model_for(problem), 0.7

    def penalty(parameters):
        return strength / 2.0 * sum(np.square(p).sum() for p in parameters if p.ndim == 2)

    model.gradient[...] = 1.0
    Penalty(model, fixed=strength, c=1.0, total_weight=3.0).add_gradient(model.theta)
    derivatives = five_point(penalty, problem.parameters)
    for gradient, derivative in zip(read(problem, model, model.gradient), derivatives, strict=True):
        assert_matches_derivative(gradient, 1.0 + derivative[: len(gradient)], penalty(problem.parameters))


@every_option
def test_loss_and_penalty_together(shape, reduction, weighted, intercept):
    problem = problem_for(shape, weighted=weighted, intercept=intercept, reduction=reduction, seed=3)
    if shape[2]:
        assert_away_from_kinks(problem)
    model, alpha = model_for(problem), 2.5

    def total(parameters):
        squares = sum(np.square(p).sum() for p in parameters if p.ndim == 2)
        return objective(problem, parameters) + alpha / problem.total / 2.0 * squares

    model.loss_and_gradient(batch_of(problem))
    Penalty(model, fixed=alpha / problem.total, c=problem.c, total_weight=problem.total).add_gradient(model.theta)
    derivatives = five_point(total, problem.parameters)
    for gradient, derivative in zip(read(problem, model, model.gradient), derivatives, strict=True):
        assert_matches_derivative(gradient, derivative[: len(gradient)], total(problem.parameters))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [SKIPS_DZ, THREE_OUTPUTS], ids=str)
def test_the_automatic_penalty_follows_a_running_mean_of_the_error(shape, reduction):
    problem = problem_for(shape, weighted=True, reduction=reduction)
    model = model_for(problem)
    penalty = Penalty(model, fixed=None, c=problem.c, total_weight=problem.total)
    mse = 0.0
    for t, error in enumerate([3.0, 0.5, 0.01, *np.linspace(0.0, 2.0, 200)], start=1):  # mean squared errors
        penalty.observe(error * problem.c / 2.0 * shape[3])  # the loss of such a batch
        mse += max(0.01, 1.0 / t) * (error - mse)
        expected = min(20.0 * min(mse, 1.0) / problem.total, 0.1) * (1.0 if reduction == "mean" else 2 * problem.total)
        # t steps, each of which rounds a few times.
        assert penalty.mse == pytest.approx(mse, rel=8 * t * EPS, abs=0.0)
        assert penalty.strength == pytest.approx(expected, rel=8 * (t + 3) * EPS, abs=0.0)
