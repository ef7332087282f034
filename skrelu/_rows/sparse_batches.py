"""Batches of a sparse X: dense ones, with Gram matrices from sparse products, or sparse ones for products."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from skrelu._arrays import Array, ArrayModule, ShiftedRows
from skrelu._models.base import Batch
from skrelu._models.standardize import Scaling, identity
from skrelu._rows.batches import Batches

# A multiplication of a product of two sparse matrices takes as long as this many of a large dense product.
_SPARSE_COST = 200
# Largest |shift| / scale of a column that is stored without its shift: rounding grows by about the square of it.
_FAR = 2.0
# A multiplication of sparse rows and a dense matrix takes as long as this many of two dense ones.
_ROWS_COST = 16
_FEW_NUMBERS = 2**15  # in a dense batch: its products take less time than SciPy's checks


def zeros_become(X: Any, scaling: Scaling) -> np.ndarray | None:
    """What zeros of each column become by standardization: the b of `shifted_rows`, or None if it loses digits.

    It is 0 for a full column far from zero, which has no zeros. If at least a fifth of the rows (by weight) are zero in
    a column then |shift| <= 2 scale, by Cauchy and Schwarz: the squared mean is at most the share of the other rows
    times the mean square. So |b| <= 2, and products lose less than a digit. For a far column with some zeros the result
    is None, and dense rows have to do.
    """
    (n, d), b = X.shape, np.zeros(X.shape[1], X.dtype)
    if not scaling.is_identity:
        b = (b - scaling.shift.astype(X.dtype)) * (1.0 / scaling.scale).astype(X.dtype)
    far = np.abs(b) > _FAR
    if far.any() and (np.bincount(X.indices, minlength=d)[far] < n).any():
        return None
    b[far] = 0.0
    return b.astype(np.float64)


def shifted_rows(X: Any, scaling: Scaling, ones: bool, dtype: Any) -> ShiftedRows | None:
    """The standardized X, with a column of `ones`, as B + 1 b^T; None if that would lose digits.

    The row b is what zeros become. B holds the difference from that for each entry, from the numbers of dense batches.
    """
    b = zeros_become(X, scaling)
    if b is None:
        return None
    (n, d), j, values = X.shape, X.indices, X.data
    if not scaling.is_identity:
        shift, inverse_scale = scaling.shift.astype(X.dtype), (1.0 / scaling.scale).astype(X.dtype)
        values = (values - shift[j]) * inverse_scale[j]
    B = csr_array(((values - b[j]).astype(dtype, copy=False), j, X.indptr), shape=(n, d + ones))
    return ShiftedRows(B, np.concatenate([b, np.ones(int(ones))]).astype(dtype, copy=False))


def products_pay(X: Any, rows: int) -> bool:
    """Whether products of sparse batches of `rows` rows take less time than those of dense ones."""
    numbers = X.shape[0] * X.shape[1]
    return _ROWS_COST * X.nnz < numbers and min(rows, X.shape[0]) * X.shape[1] > _FEW_NUMBERS


class SparseBatches(Batches):
    """Dense batches of a canonical CSR matrix."""

    def __init__(
        self, am: ArrayModule, X: Any, y: Array, weights: Array | None, scaling: Scaling, *, ones: bool, **options: Any
    ) -> None:
        super().__init__(am, X, y, weights, scaling, ones=ones, **options)
        self._scaling, self._ones = scaling, ones

    def gram(self, *, weighted: bool = False) -> np.ndarray | None:
        X = self._counted()
        n, p = self.n_samples, self._n_inputs
        if not _pays(np.bincount(X.indices, minlength=p), n * n * p):
            return None
        parts = shifted_rows(X, self._scaling, self._ones, np.float64)
        if parts is None:
            return None
        B, b = parts.B, parts.b
        # (B + 1 b^T)(B + 1 b^T)^T = B B^T + (B b) 1^T + 1 (B b)^T + |b|^2 1 1^T
        gram, Bb = (B @ B.T).toarray(), B @ b
        gram += Bb[:, None]
        gram += Bb + b @ b
        if weighted:
            root = np.sqrt(self._shares())
            gram *= root[:, None]
            gram *= root
        return gram if np.isfinite(gram).all() else None

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        X = self._counted()
        n, p = self.n_samples, self._n_inputs
        if not _pays(np.diff(X.indptr), n * p * p):
            return None
        parts = shifted_rows(X, self._scaling, self._ones, np.float64)
        if parts is None:
            return None
        B, b = parts.B, parts.b
        s, y = self._shares(), np.asarray(self.am.to_numpy(self._y), dtype=np.float64)
        sy = s[:, None] * y
        # (B + 1 b^T)^T S (B + 1 b^T) = B^T S B + (B^T s) b^T + b (B^T s)^T + (1^T s) b b^T
        square, Bs = (B.T @ diags_array(s) @ B).toarray(), B.T @ s
        square += np.outer(Bs + s.sum() * b, b)
        square += np.outer(b, Bs)
        moment = B.T @ sy + np.outer(b, sy.sum(axis=0))
        return (square, moment, np.asarray(np.sum(sy * y))) if np.isfinite(square).all() else None

    def _counted(self) -> Any:
        """The rows of X that count."""
        return self._X if self._index is None else self._X[self.am.to_numpy(self._index)]

    def _shares(self) -> np.ndarray:
        """c s / n of each row."""
        shares = np.full(self.n_samples, self.c / self.n_samples)
        if self._weights is not None:
            shares *= np.asarray(self.am.to_numpy(self._weights), dtype=np.float64)[:, 0]
        return shares


class ProductBatches(Batches):
    """Batches of a canonical CSR matrix whose X is `ShiftedRows`: y and weights pass through the buffer, X does not."""

    def __init__(
        self,
        am: ArrayModule,
        X: Any,
        y: Array,
        weights: Array | None,
        scaling: Scaling,
        *,
        ones: bool,
        index: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        parts = shifted_rows(X if index is None else X[index], scaling, ones, X.dtype)
        assert parts is not None, "see `SparseRows._kind_of_batches`"
        self._parts = parts
        super().__init__(am, np.empty((len(y), 0), X.dtype), y, weights, identity(0), ones=False, **options)

    def _read(self, rows: slice | Array, buffer: list[Array]) -> Batch:
        return super()._read(rows, buffer)._replace(X=self._parts.rows(rows))


def _pays(counts: np.ndarray, dense: int) -> bool:
    """Whether a sparse product, whose terms are pairs of entries, takes less time than `dense` multiplications."""
    return _SPARSE_COST * float(np.square(counts.astype(np.float64)).sum()) < dense
