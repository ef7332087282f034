"""Centering and scaling of X and y: applied to rows as they are read, folded into the coefficients.

Let x' = (x - shift_x) / scale_x and y' = (y - shift_y) / scale_y. A model of x', y' with first-layer weights W', b' and
last-layer weights V', c' is the model of x, y with ::

    W = W' / scale_x        b = b' - (shift_x / scale_x) W'        V = V' scale_y        c = c' scale_y + shift_y

Rows of W' are divided; columns of V' are multiplied. If the coordinates have a basis B (d, q), training sees x' B, and
W' is B times the weights of training. Everything here is NumPy in float64: a few numbers per column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


def blocks_of(n: int, rows: int) -> Iterator[slice]:
    """Slices of up to `rows` rows that cover range(n) and end at n."""
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of each column, rounded to the dtype of the data, so that folding undoes them exactly."""

    shift: np.ndarray
    scale: np.ndarray
    constant: np.ndarray
    basis: np.ndarray | None = None

    @cached_property
    def is_identity(self) -> bool:
        return bool(self.basis is None and not self.shift.any() and (self.scale == 1).all())


def identity(n_columns: int) -> Scaling:
    """No centering and no scaling."""
    return Scaling(np.zeros(n_columns), np.ones(n_columns), np.zeros(n_columns, dtype=bool))


def between(old: Scaling, new: Scaling) -> Scaling:
    """What takes numbers in the coordinates of `new` to those of `old`: a_old = (a_new - shift) / scale."""
    return Scaling((old.shift - new.shift) / new.scale, old.scale / new.scale, new.constant)


def standardize(a: np.ndarray, scaling: Scaling, dtype: np.dtype) -> np.ndarray:
    """(a - shift) / scale, times the basis, in float64 and rounded to `dtype`; the identity only converts `a`."""
    if not scaling.is_identity:
        a = (np.asarray(a, dtype=np.float64) - scaling.shift) / scaling.scale
    if scaling.basis is not None:
        a = a @ scaling.basis
    with np.errstate(over="ignore"):
        return a.astype(dtype, copy=False)


def fold_inputs(W: np.ndarray, b: np.ndarray, x: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """First-layer W (d, h) and b (h,) for raw inputs, from W and b for standardized inputs."""
    if x.is_identity:
        return W, b
    if x.basis is not None:
        W = x.basis @ W  # W' = B times the weights of training
    W = np.asarray(W, dtype=np.float64) / x.scale[:, None]  # W = W' / scale_x
    return W, b - x.shift @ W  # b = b' - shift_x W


def fold_outputs(V: np.ndarray, c: np.ndarray, y: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """Last-layer V (h, m) and c (m,) for raw outputs, from V and c for standardized outputs."""
    if y.is_identity:
        return V, c
    return np.asarray(V, dtype=np.float64) * y.scale, c * y.scale + y.shift  # V' scale_y, c' scale_y + shift_y
