"""NumPy's array functions for an X that is a sparse matrix: rows become dense as they are read, or stay sparse."""

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


class ShiftedRows:
    """The matrix B + 1 b^T, for a CSR matrix B and a row b: standardized rows of a sparse matrix."""

    def __init__(self, B: Any, b: np.ndarray) -> None:
        self.B, self.b, self.shape = B, b, B.shape

    def rows(self, rows: Any) -> ShiftedRows:
        """Some of the rows, by a slice or indices."""
        return ShiftedRows(self.B[rows], self.b)


class SparseArrayModule(NumpyArrayModule):
    """`NumpyArrayModule` whose `take_rows` and `matmul` also take a CSR matrix, and its products `ShiftedRows`."""

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
        if isinstance(A, ShiftedRows):  # (B + 1 b^T) W = B W + 1 (b^T W)
            self.xp.add(A.B @ B, A.b @ B, out=out)
        elif issparse(A):
            out[...] = A @ B
        else:
            super().matmul(A, B, out)

    def matmul_transposed(self, A: Array, B: Array, out: Array) -> None:
        if isinstance(A, ShiftedRows):  # (B + 1 b^T)^T D = B^T D + b (1^T D)
            self.xp.multiply(A.b[:, None], self.xp.add.reduce(B, axis=0), out=out)
            self.xp.add(out, A.B.T @ B, out=out)
        else:
            super().matmul_transposed(A, B, out)

    def multiply(self, A: Array, B: Array, out: Array) -> None:
        if isinstance(A, ShiftedRows):
            self.xp.add(A.B.toarray(), A.b, out=out)
            A = out
        super().multiply(A, B, out)
