"""The largest eigenvalue of a symmetric matrix known by its products: the curvature that limits the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

Array = Any


def largest_eigenvalue(
    am: Any, product: Callable[[Array], Array], size: int, dtype: Any, *, rtol: float, max_products: int = 300
) -> float:
    """Largest eigenvalue, from below, by the Lanczos iteration (Golub and Van Loan, Matrix Computations, 10.1).

    `product` returns the matrix times a vector in a buffer that may be overwritten. The residual of the Ritz pair,
    which bounds its distance from an eigenvalue, is brought under `rtol` times the value; the start vector is random
    and fixed. No reorthogonalization: losing orthogonality repeats eigenvalues and leaves the largest one as it is.
    """
    q = am.from_numpy(np.random.default_rng(0).standard_normal(size), dtype)
    previous, stage = am.zeros((size,), dtype), am.empty((size,), dtype)
    products = am.empty((size,), am.accumulator)

    def dot(a: Array, b: Array) -> float:
        return am.to_floats([am.dot(a, b, 1.0, stage=products)])[0]

    am.multiply(q, 1.0 / math.sqrt(dot(q, q)), out=q)
    rtol = max(rtol, 10.0 * float(am.xp.finfo(dtype).eps))  # residuals do not get smaller than rounding
    alphas: list[float] = []
    betas: list[float] = []
    value, unit = 0.0, 1.0
    while len(alphas) < max_products:
        w = product(q)
        if not alphas:
            unit = _unit(am.to_numpy(w))
        if unit != 1.0:
            am.multiply(w, 1.0 / unit, out=w)
        alphas.append(dot(q, w))
        am.add_scaled(q, -alphas[-1], stage=stage, out=w)
        if betas:
            am.add_scaled(previous, -betas[-1], stage=stage, out=w)
        beta = math.sqrt(dot(w, w))
        if not math.isfinite(beta):
            return float("inf")
        last = len(alphas) - 1
        values, vectors = eigh_tridiagonal(alphas, betas, select="i", select_range=(last, last))
        value = float(values[0])
        if beta * abs(vectors[-1, 0]) <= rtol * value or beta == 0.0:
            break
        betas.append(beta)
        q, previous = previous, q
        am.multiply(w, 1.0 / beta, out=q)
    return max(value, 0.0) * unit


def _unit(w: np.ndarray) -> float:
    """A power of two of the size of `w`, where its squares may be out of range; 1 else."""
    size = float(np.abs(w).max())
    if 1e-100 < size < 1e100 or size == 0.0 or not math.isfinite(size):
        return 1.0
    return math.ldexp(1.0, max(-1000, min(math.frexp(size)[1], 1000)))
