"""Centering and scaling of the columns of a sparse X, measured from its entries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from skrelu._models.moments import Moments, unit_of

_BLOCK_ENTRIES = 2**16  # entries in a block of rows: the copies of them stay small

# Columns, values in float64 and weights of the entries of a block of rows.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def measure_columns(X: Any, weights: np.ndarray | None, *, center: bool, two_values: bool) -> Moments:
    """What `measure` gives for X as a dense matrix, from the entries of a canonical CSR matrix; no weight is zero.

    A column with a zero is measured relative to zero, and a full column relative to its first row. So the zeros that
    are not stored add nothing to the mean, and the weight of the zeros times the squared mean to the squares. All else
    is as in `measure`: columns are divided by a power of two, and a constant column has exactly the deviation 0.
    """
    n, d = X.shape
    count, low, high, is_either = _ranges(X)
    full = count == n
    unit, total = unit_of(low, high), float(n if weights is None else weights.sum())
    first = np.zeros(d)
    if center:
        first[X.indices[: X.indptr[1]]] = X.data[: X.indptr[1]]
        first = np.where(full, first / unit, 0.0)
    mean, stored = np.zeros(d), np.zeros(d)
    for j, values, w in _entries(X, weights):
        if center:
            u = values / unit[j] - first[j]
            mean += np.bincount(j, u if w is None else w * u, minlength=d)
        stored += np.bincount(j, w, minlength=d)
    mean /= total
    # The weight of the zeros is a difference: what is lost in it matters if the zeros weigh next to nothing.
    lightest = 1.0 if weights is None else weights.min()
    zeros = np.where(full, 0.0, np.maximum(total - stored, (n - count) * lightest))
    squares = zeros * np.square(mean)
    for j, values, w in _entries(X, weights):
        square = np.square(values / unit[j] - first[j] - mean[j])
        squares += np.bincount(j, square if w is None else w * square, minlength=d)
    has_two = is_either & (full | (low == 0) | (high == 0)) if two_values else np.zeros(d, dtype=bool)
    return Moments(total, low, high, (mean + first) * unit, np.sqrt(squares / total), has_two)


def _ranges(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each column: the number of its entries, its bounds, and whether each entry is one of these."""
    n, d = X.shape
    count = np.zeros(d, dtype=np.int64)
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    for j, values, _ in _entries(X, None):
        count += np.bincount(j, minlength=d)
        np.minimum.at(low, j, values)
        np.maximum.at(high, j, values)
    low, high = (np.where(count == n, a, bound(a, 0.0)) for a, bound in ((low, np.minimum), (high, np.maximum)))
    is_either = np.ones(d, dtype=bool)
    for j, values, _ in _entries(X, None):
        is_either[j[(values != low[j]) & (values != high[j])]] = False
    return count, low, high, is_either


def _entries(X: Any, weights: np.ndarray | None) -> Iterator[Entries]:
    """The entries in blocks of whole rows."""
    n, nnz = X.shape[0], int(X.indptr[-1])
    edges = np.searchsorted(X.indptr, np.arange(0, nnz, _BLOCK_ENTRIES))
    edges = np.unique(np.concatenate([[0], edges, [n]]))
    for start, stop in pairwise(edges):
        entries = slice(X.indptr[start], X.indptr[stop])
        w = None if weights is None else np.repeat(weights[start:stop], np.diff(X.indptr[start : stop + 1]))
        yield X.indices[entries], X.data[entries].astype(np.float64), w
