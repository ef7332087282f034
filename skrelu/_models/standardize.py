"""Centering and scaling of X and y: measured once, applied to rows as they are read, folded into the coefficients.

Let x' = (x - shift_x) / scale_x and y' = (y - shift_y) / scale_y. A model of x', y' with first-layer weights W', b' and
last-layer weights V', c' is the model of x, y with ::

    W = W' / scale_x        b = b' - (shift_x / scale_x) W'        V = V' scale_y        c = c' scale_y + shift_y

Rows of W' are divided; columns of V' are multiplied. Everything here is NumPy in float64: a few numbers per column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skrelu._arrays import Array


def blocks_of(n: int, rows: int) -> Iterator[slice]:
    """Slices of up to `rows` rows that cover range(n) and end at n."""
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


Blocks = Callable[[], Iterator[tuple[np.ndarray, np.ndarray | None]]]


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of each column, rounded to the dtype of the data, so that folding undoes them exactly."""

    shift: np.ndarray
    scale: np.ndarray
    constant: np.ndarray

    @cached_property
    def is_identity(self) -> bool:
        return bool(not self.shift.any() and (self.scale == 1).all())


def identity(n_columns: int) -> Scaling:
    """No centering and no scaling."""
    return Scaling(np.zeros(n_columns), np.ones(n_columns), np.zeros(n_columns, dtype=bool))


def row_blocks(A: Array, weights: np.ndarray | None, to_numpy: Callable[[Array], np.ndarray]) -> Blocks:
    """The rows with positive weight and their weights, in float64 blocks of about a megabyte."""
    n_rows = max(1, 2**17 // A.shape[1])

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for rows in blocks_of(A.shape[0], n_rows):
            block = np.asarray(to_numpy(A[rows, ...]), dtype=np.float64)
            w = None if weights is None else weights[rows]
            if w is not None and not w.all():
                block, w = block[w > 0], w[w > 0]
            if block.shape[0]:
                yield block, w

    return blocks


def measure(blocks: Blocks, *, center: bool, dtype: np.dtype, two_values: bool = False) -> Scaling:
    """Weighted mean and standard deviation of each column (without `center`: zero and root mean square).

    The first pass finds the largest magnitude of each column. The second pass works on columns divided by about this
    magnitude, so squares neither overflow nor underflow. Means and squares are relative to the first row and are merged
    block by block (Chan, Golub and LeVeque, 1983). A constant column therefore has exactly its value as mean and
    exactly 0 as deviation.

    If a column varies only by rounding, its scale is its largest magnitude (1 if the column is all zero). With
    `two_values`, the scale of a column of exactly two values is their distance: the rare value would otherwise be many
    standard deviations away.
    """
    ranges = [(block.min(axis=0), block.max(axis=0)) for block, _ in blocks()]
    low, high = np.min([low for low, _ in ranges], axis=0), np.max([high for _, high in ranges], axis=0)
    unit = unit_of(low, high)
    mean, squares, total = np.zeros_like(unit), np.zeros_like(unit), 0.0
    first: np.ndarray | None = None
    has_two = np.full_like(unit, two_values, dtype=bool)
    for block, weights in blocks():
        if has_two.any():
            has_two &= ((block == low) | (block == high)).all(axis=0)
        u = block / unit  # then relative to the first row, then to the mean of the block
        if first is None:
            first = u[0].copy() if center else np.zeros_like(u[0])
        u -= first
        block_total = len(u) if weights is None else weights.sum()
        block_mean = np.zeros_like(first)
        if center:
            block_mean = (u.sum(axis=0) if weights is None else weights @ u) / block_total
            u -= block_mean
        np.square(u, out=u)
        block_squares = u.sum(axis=0) if weights is None else weights @ u
        total += block_total
        # Merge: squares += delta^2 n_block n_before / n, mean += delta n_block / n, with n = n_block + n_before.
        delta = block_mean - mean
        squares = squares + block_squares + np.square(delta) * (block_total * (total - block_total) / total)
        mean = mean + delta * (block_total / total)
    return scaling_of(low, high, unit, (mean + first) * unit, np.sqrt(squares / total), has_two, center, dtype)


def unit_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A power of two near the largest magnitude of each column: dividing by it does not round."""
    largest = np.maximum(high, -low)
    # The smallest normal number as lower bound keeps the inverse finite.
    _, exponent = np.frexp(np.where(largest > 0, np.maximum(largest, np.finfo(np.float64).tiny), 1.0))
    return np.ldexp(1.0, exponent - 1)


def scaling_of(
    low: np.ndarray,
    high: np.ndarray,
    unit: np.ndarray,
    shift: np.ndarray,
    deviation: np.ndarray,
    has_two: np.ndarray,
    center: bool,
    dtype: np.dtype,
) -> Scaling:
    """The scaling of columns between `low` and `high`; `deviation` is that of the columns divided by `unit`."""
    largest = np.maximum(high, -low)
    constant = deviation <= (10 * np.finfo(dtype).eps if center else 0.0) * (largest / unit)
    scale = np.where(constant, np.where(largest > 0, largest, 1.0), deviation * unit)
    scale = np.where(has_two & (high > low), np.minimum(high - low, np.finfo(dtype).max), scale)
    scale = np.maximum(scale, np.finfo(dtype).tiny)  # keeps its inverse finite
    return Scaling(_representable(shift, dtype), _representable(scale, dtype), constant)


def _representable(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        return a.astype(dtype).astype(np.float64)


def standardize(a: np.ndarray, scaling: Scaling, dtype: np.dtype) -> np.ndarray:
    """(a - shift) / scale, computed in float64 and rounded to `dtype`; the identity only converts `a`."""
    if not scaling.is_identity:
        a = (np.asarray(a, dtype=np.float64) - scaling.shift) / scaling.scale
    with np.errstate(over="ignore"):
        return a.astype(dtype, copy=False)


def fold_inputs(W: np.ndarray, b: np.ndarray, x: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """First-layer W (d, h) and b (h,) for raw inputs, from W and b for standardized inputs."""
    if x.is_identity:
        return W, b
    W = np.asarray(W, dtype=np.float64) / x.scale[:, None]  # W = W' / scale_x
    return W, b - x.shift @ W  # b = b' - shift_x W


def fold_outputs(V: np.ndarray, c: np.ndarray, y: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """Last-layer V (h, m) and c (m,) for raw outputs, from V and c for standardized outputs."""
    if y.is_identity:
        return V, c
    return np.asarray(V, dtype=np.float64) * y.scale, c * y.scale + y.shift  # V' scale_y, c' scale_y + shift_y
