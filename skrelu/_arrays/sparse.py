"""NumPy's array functions for an X that is a sparse matrix: rows become dense in the buffer that they are read into."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse

from skrelu._arrays.base import Array
from skrelu._arrays.numpy import NumpyArrayModule


def canonical(X: Any) -> Any:
    """X, and if it is sparse, X in CSR with sorted indices, without duplicates and explicit zeros; never in place."""
    if not issparse(X) or X.ndim != 2:
        return X
    given, X = X, X.tocsr()
    if not X.has_canonical_format:
        X = X.copy() if X is given else X
        X.sum_duplicates()
    if not X.data.all():
        X = X.copy() if X is given else X
        X.eliminate_zeros()
    return X


def dense_rows(X: Any, rows: Any, shift: np.ndarray | None, inverse_scale: np.ndarray | None, out: np.ndarray) -> None:
    """out = (X[rows] - shift) * inverse_scale for a canonical CSR matrix X; each number is rounded as for a dense X.

    Filling `out` with the row that zeros become and then placing the entries takes less time than `X[rows].toarray()`.
    """
    if isinstance(rows, slice):
        start, stop = X.indptr[rows.start], X.indptr[rows.stop]
        counts = np.diff(X.indptr[rows.start : rows.stop + 1])
        columns, values = X.indices[start:stop], X.data[start:stop]
    else:
        first = X.indptr[rows]
        counts = X.indptr[rows + 1] - first
        ends = np.cumsum(counts)
        # The entries of row i are at first_i, first_i + 1, ..., and in `values` they end at ends_i.
        entries = np.arange(ends[-1]) + np.repeat(first - ends + counts, counts)
        columns, values = X.indices[entries], X.data[entries]
    zero: Any = 0.0
    if shift is not None:
        zero, values = zero - shift, values - shift[columns]
    if inverse_scale is not None:
        zero, values = zero * inverse_scale, values * inverse_scale[columns]
    out[...] = zero
    out[np.repeat(np.arange(len(counts)), counts), columns] = values


class SparseArrayModule(NumpyArrayModule):
    """`NumpyArrayModule`, of which two functions also take a canonical CSR matrix: `take_rows` and `matmul`."""

    def to_numpy(self, a: Array) -> np.ndarray:
        return a.toarray() if issparse(a) else a

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
        if issparse(X):
            dense_rows(X, rows, shift, inverse_scale, out)
        else:
            super().take_rows(X, rows, shift, inverse_scale, stage, out)

    def matmul(self, A: Array, B: Array, out: Array) -> None:
        if issparse(A):
            out[...] = A @ B
        else:
            super().matmul(A, B, out)
