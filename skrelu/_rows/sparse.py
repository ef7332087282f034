"""The training rows of a sparse X: a CSR matrix of which at most a batch becomes dense."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from skrelu._arrays import Array, SparseArrayModule
from skrelu._models.moments import Moments
from skrelu._models.standardize import Scaling
from skrelu._rows.batches import Batches
from skrelu._rows.rows import Rows
from skrelu._rows.sparse_batches import ProductBatches, SparseBatches, products_pay, zeros_become
from skrelu._rows.sparse_columns import measure_columns


class SparseRows(Rows):
    """`Rows` whose X is a canonical CSR matrix. On a GPU, the rows of a batch pass to it as they are read."""

    is_sparse = True
    _dense_batches = SparseBatches

    @cached_property
    def training_X(self) -> Array:
        return self.X

    def _kind_of_batches(self, x: Scaling, ones: bool, rows: int) -> type[Batches]:
        counted = self.X if self._index is None else self._taken(self._index)
        can = isinstance(self.am, SparseArrayModule) and products_pay(counted, rows)
        return ProductBatches if can and zeros_become(counted, x) is not None else SparseBatches

    def _taken(self, indices: np.ndarray) -> Array:
        return self.X[indices]

    def _dense(self, X: Array) -> np.ndarray:
        return X.toarray()

    def _numbers(self, X: Array) -> list[np.ndarray]:
        # One type of index, whatever that of X is.
        return [X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)]

    def _moments_of_X(self, *, center: bool, two_values: bool) -> Moments:
        X, weights = self.X, self._weights
        if self._index is not None and weights is not None:
            X, weights = self._taken(self._index), weights[self._index]
        return measure_columns(X, weights, center=center, two_values=two_values)
