"""Batches of a sparse X, with the matrices of its inner products where sparse products find them in less time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from skrelu._rows.batches import Batches

# A multiplication of a sparse product takes as long as this many of a large dense product.
_SPARSE_COST = 200
# Largest |shift| / scale of a column that is stored without its shift: rounding grows by about the square of it.
_FAR = 2.0


class SparseBatches(Batches):
    """Batches of a canonical CSR matrix.

    The standardized X, with its column of ones, is B + 1 b^T. The row b is what zeros become; B is sparse and holds the
    difference from that for each entry of X. A full column far from zero is in B as it is, with 0 in b.

    If at least a fifth of the rows (by weight) are zero in a column then |shift| <= 2 scale, by Cauchy and Schwarz:
    the squared mean is at most the share of the other rows times the mean square. So |b| <= 2, and the products below
    lose less than a digit. For a far column with some zeros there is no product, and dense rows have to do.
    """

    def gram(self, *, weighted: bool = False) -> np.ndarray | None:
        parts = self._parts()
        if parts is None:
            return None
        B, b = parts
        n, p = B.shape
        if not _pays(np.bincount(B.indices, minlength=p), n * n * p):
            return None
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
        parts = self._parts()
        if parts is None:
            return None
        B, b = parts
        n, p = B.shape
        if not _pays(np.diff(B.indptr), n * p * p):
            return None
        s, y = self._shares(), np.asarray(self.am.to_numpy(self._y), dtype=np.float64)
        sy = s[:, None] * y
        # (B + 1 b^T)^T S (B + 1 b^T) = B^T S B + (B^T s) b^T + b (B^T s)^T + (1^T s) b b^T
        square, Bs = (B.T @ diags_array(s) @ B).toarray(), B.T @ s
        square += np.outer(Bs + s.sum() * b, b)
        square += np.outer(b, Bs)
        moment = B.T @ sy + np.outer(b, sy.sum(axis=0))
        return (square, moment, np.asarray(np.sum(sy * y))) if np.isfinite(square).all() else None

    def _shares(self) -> np.ndarray:
        """c s / n of each row."""
        shares = np.full(self.n_samples, self.c / self.n_samples)
        if self._weights is not None:
            shares *= np.asarray(self.am.to_numpy(self._weights), dtype=np.float64)[:, 0]
        return shares

    def _parts(self) -> tuple[Any, np.ndarray] | None:
        """B and b in float64, from the very numbers of the dense batches; None for a far column with zeros."""
        X = self._X if self._index is None else self._X[self.am.to_numpy(self._index)]
        (n, d), j, values, b = X.shape, X.indices, X.data, np.zeros(X.shape[1], X.dtype)
        if self._shift is not None:
            shift = self.am.to_numpy(self._shift)
            b, values = b - shift, values - shift[j]
        if self._inverse_scale is not None:
            inverse_scale = self.am.to_numpy(self._inverse_scale)
            b, values = b * inverse_scale, values * inverse_scale[j]
        b = np.asarray(b, dtype=np.float64)
        far = np.abs(b) > _FAR
        if (np.bincount(j, minlength=d)[far] < n).any():
            return None
        b[far] = 0.0
        ones = np.ones(self._n_inputs - d)
        B = csr_array((values.astype(np.float64) - b[j], j, X.indptr), shape=(n, self._n_inputs))
        return B, np.concatenate([b, ones])


def _pays(counts: np.ndarray, dense: int) -> bool:
    """Whether a sparse product, whose terms are pairs of entries, takes less time than `dense` multiplications."""
    return _SPARSE_COST * float(np.square(counts.astype(np.float64)).sum()) < dense
