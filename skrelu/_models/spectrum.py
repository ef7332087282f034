"""The largest eigenvalue of a symmetric matrix from matrix-vector products: the curvature limits the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh_tridiagonal

from skrelu._arrays import Array, ArrayModule, DType


def largest_eigenvalue(
    am: ArrayModule, product: Callable[[Array], Array], size: int, dtype: DType, *, rtol: float, max_products: int = 300
) -> float:
    """Largest eigenvalue, from below, by the Lanczos iteration (Golub and Van Loan, Matrix Computations, 10.1).

    `product` returns the matrix A times a vector, in a buffer that is overwritten here. The iteration stops when the
    residual of the Ritz pair is below `rtol` times the Ritz value. The residual bounds the distance of the Ritz value
    from an eigenvalue. The start vector is random with a fixed seed. Vectors are not reorthogonalized: losing
    orthogonality repeats eigenvalues but does not change the largest one.
    """
    q = am.from_numpy(np.random.default_rng(0).standard_normal(size), dtype)
    previous, stage = am.zeros((size,), dtype), am.empty((size,), dtype)
    products = am.empty((size,), am.accumulator)

    def dot(a: Array, b: Array) -> float:
        return am.to_floats([am.dot(a, b, 1.0, stage=products)])[0]

    am.multiply(q, 1.0 / math.sqrt(dot(q, q)), out=q)  # q = q / |q|
    rtol = max(rtol, 10.0 * float(am.xp.finfo(dtype).eps))  # residuals cannot fall below rounding
    alphas: list[float] = []
    betas: list[float] = []
    value, unit = 0.0, 1.0
    while len(alphas) < max_products:
        w = product(q)  # w = A q
        if not alphas:
            unit = _unit(am.to_numpy(w))
        if unit != 1.0:
            am.multiply(w, 1.0 / unit, out=w)  # from here on for A / unit
        alphas.append(dot(q, w))  # alpha = q . A q
        am.add_scaled(q, -alphas[-1], stage=stage, out=w)  # w = w - alpha q
        if betas:
            am.add_scaled(previous, -betas[-1], stage=stage, out=w)  # w = w - beta q_previous
        beta = math.sqrt(dot(w, w))  # beta = |w|
        if not math.isfinite(beta):
            return float("inf")
        last = len(alphas) - 1
        values, vectors = eigh_tridiagonal(alphas, betas, select="i", select_range=(last, last))
        value = float(values[0])
        # The residual of the Ritz pair is beta times the last entry of the eigenvector of the tridiagonal matrix.
        if beta * abs(vectors[-1, 0]) <= rtol * value or beta == 0.0:
            break
        betas.append(beta)
        q, previous = previous, q
        am.multiply(w, 1.0 / beta, out=q)  # q = w / beta
    return max(value, 0.0) * unit


def _unit(w: np.ndarray) -> float:
    """A power of two near the largest magnitude in `w` if squares may be out of range, otherwise 1."""
    size = float(np.abs(w).max())
    if 1e-100 < size < 1e100 or size == 0.0 or not math.isfinite(size):
        return 1.0
    return math.ldexp(1.0, max(-1000, min(math.frexp(size)[1], 1000)))
