"""Gradient descent on all rows: blocks of rows, and the curvature of the objective."""

import numpy as np
import pytest

from problems import EPS, explicit_gauss_newton, full_batch_for, problem_for, write


@pytest.mark.parametrize("rows", [1, 7, 22])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shape", [(23, 3, 6, 1), (23, 9, 4, 3), (23, 4, None, 2)], ids=str)
def test_blocks_of_rows_give_the_gradient_of_one_block(shape, weighted, rows):
    problem = problem_for(shape, weighted=weighted, reduction="sum")
    kept = {}
    for n_rows in (rows, 23):
        engine = full_batch_for(problem, n_rows, strength=0.3)
        before = engine.model.theta.copy()
        (loss,) = engine.advance(1)
        kept[n_rows] = loss, before - engine.model.theta  # the gradient: the rate is 1
    n, d, h, _ = shape
    # Each entry sums n rows in another order, and the residuals in it have rounded d + h times.
    rtol = 4 * (n + d + (h or 0)) * EPS
    (loss, gradient), (loss_of_one, gradient_of_one) = kept[rows], kept[23]
    assert loss == pytest.approx(loss_of_one, rel=rtol, abs=0.0)
    np.testing.assert_allclose(gradient, gradient_of_one, rtol=0, atol=rtol * np.abs(gradient_of_one).max())


@pytest.mark.parametrize("rows", [4, 23])
@pytest.mark.parametrize("strength", [0.0, 0.8])
@pytest.mark.parametrize("shape", [(23, 2, 4, 1), (23, 3, None, 2)], ids=str)
def test_curvature_of_the_objective(shape, strength, rows):
    problem = problem_for(shape, weighted=True)
    engine = full_batch_for(problem, rows, strength=strength)
    matrix = explicit_gauss_newton(problem, engine.model)
    is_weight = np.empty(len(matrix))
    write(engine.model, is_weight, [np.full(p.shape, p.ndim == 2) for p in problem.parameters])
    exact = np.linalg.eigvalsh(matrix + strength * np.diag(is_weight))[-1]
    before = engine.model.theta.copy()
    # 1e-10 asked for, and the rounding of the numerical derivative.
    assert engine.curvature(1e-10) == pytest.approx(exact, rel=1e-9, abs=0.0)
    np.testing.assert_array_equal(engine.model.theta, before)
