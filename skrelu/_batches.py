"""The training rows, read a batch at a time into one buffer: standardized, with a column of ones for the intercept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skrelu._standardize import Scaling, blocks_of

Array = Any


class Batches:
    """Batches of at most `rows` rows of X, y and the weights.

    Beyond X, y and the weights this needs memory for one batch. When one batch holds all rows it is read once.

    Parameters
    ----------
    am : array module
    X : array of shape (n_samples, n_features)
        Raw, in the dtype of training; never written to.
    y : array of shape (n_samples, n_outputs)
        Standardized, in the dtype of training.
    weights : array of shape (n_samples, 1) or None
        Sample weights divided by their mean.
    scaling : Scaling
        Of X.
    ones : bool
        Append a column of ones.
    rows : int
        Rows of a batch.
    """

    def __init__(self, am: Any, X: Array, y: Array, weights: Array | None, scaling: Scaling, *, ones: bool, rows: int):
        self.am, self._X, self._y, self._weights = am, X, y, weights
        self.n_samples, n_features = X.shape
        self.rows = min(rows, self.n_samples)
        self._shift = self._inverse_scale = None
        if not scaling.is_identity:
            if scaling.shift.any():
                self._shift = am.from_numpy(scaling.shift, X.dtype)
            self._inverse_scale = am.from_numpy(1.0 / scaling.scale, X.dtype)
        self._n_features = n_features
        self._inputs = am.empty((self.rows, n_features + ones), X.dtype)
        if ones:
            self._inputs[:, n_features:] = 1.0
        self._stage = am.empty((self.rows, n_features), X.dtype)
        self._targets = am.empty((self.rows, y.shape[1]), X.dtype)
        self._batch_weights: Any = None if weights is None else am.empty((self.rows, 1), X.dtype)
        self._whole = self._read(slice(0, self.n_samples)) if self.rows == self.n_samples else None

    @property
    def per_epoch(self) -> int:
        """Number of batches in a pass over the rows."""
        return -(-self.n_samples // self.rows)

    def in_order(self) -> Iterator[tuple[Array, Array, Array | None]]:
        """X (rows, n_features or one more), y and weights of successive blocks; valid until the next is asked for."""
        if self._whole is not None:
            yield self._whole
            return
        for rows in blocks_of(self.n_samples, self.rows):
            yield self._read(rows)

    def shuffled(self, seed: int, epoch: int) -> Iterator[tuple[Array, Array, Array | None]]:
        """The same in an order that depends on (seed, epoch) alone; in order when one batch holds all rows."""
        if self._whole is not None:
            yield self._whole
            return
        order = np.arange(self.n_samples, dtype=np.int32 if self.n_samples < 2**31 else np.int64)
        np.random.default_rng((seed, epoch)).shuffle(order)
        order = self.am.from_numpy(order, None)
        for rows in blocks_of(self.n_samples, self.rows):
            yield self._read(order[rows])

    def _read(self, rows: Any) -> tuple[Array, Array, Array | None]:
        r = rows.stop - rows.start if isinstance(rows, slice) else rows.shape[0]
        am, X, y = self.am, self._inputs[:r, ...], self._targets[:r, ...]
        stage = self._stage[:r, ...]
        am.take_rows(self._X, rows, self._shift, self._inverse_scale, stage=stage, out=X[:, : self._n_features])
        am.take_rows(self._y, rows, None, None, stage=y, out=y)
        if self._weights is None:
            return X, y, None
        s = self._batch_weights[:r, ...]
        am.take_rows(self._weights, rows, None, None, stage=s, out=s)
        return X, y, s
