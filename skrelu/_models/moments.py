"""Mean, deviation and bounds of the columns of X or y: measured at once or in parts, and the scaling they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from skrelu._arrays import Array
from skrelu._models.standardize import Scaling, blocks_of

Blocks = Callable[[], Iterator[tuple[np.ndarray, np.ndarray | None]]]


@dataclass(frozen=True)
class Moments:
    """Of each column of some rows.

    Parameters
    ----------
    total : float
        Weight of the rows.
    low, high : ndarray of shape (n_columns,)
        Smallest and largest value.
    mean : ndarray of shape (n_columns,)
        Weighted mean; zero if the deviation is about zero.
    deviation : ndarray of shape (n_columns,)
        Weighted standard deviation (or root mean square), divided by `unit`.
    has_two : ndarray of shape (n_columns,)
        Whether the column is to be scaled by the distance of its two values, if it has no more than two.
    """

    total: float
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    has_two: np.ndarray

    @property
    def unit(self) -> np.ndarray:
        return unit_of(self.low, self.high)

    def scaling(self, *, center: bool, dtype: np.dtype) -> Scaling:
        """Shift by the mean and scale by the deviation.

        A column in which no value differs (without `center`: of zeros) is constant, and its scale is its magnitude, or
        1. The scale of a column of exactly two values, if they count, is their distance: the rare value would otherwise
        be many standard deviations away.
        """
        low, high, unit = self.low, self.high, self.unit
        largest = np.maximum(high, -low)
        constant = (low == high) | (self.deviation == 0) if center else largest == 0
        scale = np.where(constant, np.where(largest > 0, largest, 1.0), self.deviation * unit)
        scale = np.where(self.has_two & (high > low), np.minimum(high - low, np.finfo(dtype).max), scale)
        scale = np.maximum(scale, np.finfo(dtype).tiny)  # keeps its inverse finite
        return Scaling(_representable(self.mean, dtype), _representable(scale, dtype), constant)

    def merged(self, other: Moments) -> Moments:
        """The moments of the rows of both (Chan, Golub and LeVeque, 1983)."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        unit, total = unit_of(low, high), self.total + other.total
        share, total = other.total / total, min(total, np.finfo(np.float64).max / 4)
        delta = other.mean / unit - self.mean / unit
        squares = (1.0 - share) * np.square(self.deviation * (self.unit / unit))
        squares += share * np.square(other.deviation * (other.unit / unit)) + share * (1.0 - share) * np.square(delta)
        bounds = (self.low, self.high, other.low, other.high)
        has_two = self.has_two & other.has_two & np.all([(a == low) | (a == high) for a in bounds], axis=0)
        mean = (self.mean / unit + share * delta) * unit
        return Moments(total, low, high, mean, np.sqrt(squares), has_two)

    def arrays(self) -> list[np.ndarray]:
        """All of it as arrays: ``Moments.of(moments.arrays())`` is the same."""
        return [np.array(self.total), self.low, self.high, self.mean, self.deviation, self.has_two]

    @classmethod
    def of(cls, arrays: list[np.ndarray]) -> Moments:
        return cls(float(arrays[0]), *arrays[1:])


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


def measure(blocks: Blocks, *, center: bool, two_values: bool = False) -> Moments:
    """The moments of each column, without `center` about zero.

    The first pass finds the largest magnitude of each column. The second pass works on columns divided by about this
    magnitude, so squares neither overflow nor underflow. Means and squares are relative to the first row and are merged
    block by block (Chan, Golub and LeVeque, 1983). A constant column therefore has exactly its value as mean and
    exactly 0 as deviation. Without `two_values`, no column counts as one of two values.
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
    return Moments(total, low, high, (mean + first) * unit, np.sqrt(squares / total), has_two)


def unit_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A power of two near the largest magnitude of each column: dividing by it does not round."""
    largest = np.maximum(high, -low)
    # The smallest normal number as lower bound keeps the inverse finite.
    _, exponent = np.frexp(np.where(largest > 0, np.maximum(largest, np.finfo(np.float64).tiny), 1.0))
    return np.ldexp(1.0, exponent - 1)


def _representable(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        return a.astype(dtype).astype(np.float64)
