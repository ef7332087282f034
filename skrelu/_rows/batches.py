"""The training rows, read a batch at a time into one buffer: standardized, with a column of ones for the intercept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skrelu._arrays import Array, ArrayModule
from skrelu._models.base import Batch
from skrelu._models.standardize import Scaling, blocks_of

# Data of up to this many numbers (16 MB in float64) are standardized once and kept; larger data, batch by batch.
KEPT_NUMBERS = 2**21
_STAGE_NUMBERS = 2**16  # numbers standardized at a time


class Batches:
    """Batches of up to `rows` rows of X, y and the weights.

    Beyond X, y and the weights this needs memory for one batch, or for `KEPT_NUMBERS` numbers. If one batch holds all
    rows, it is read once.

    Parameters
    ----------
    am : ArrayModule
    X : array of shape (n_samples, n_features)
        Raw, in the dtype of training; never written to. With `index`, it may have more rows.
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
    c : float, default=1.0
        The constant of the objective; a batch of r rows carries c / r.
    index : array of shape (n_samples,), default=None
        The rows of X to read; None reads all.
    """

    def __init__(
        self,
        am: ArrayModule,
        X: Array,
        y: Array,
        weights: Array | None,
        scaling: Scaling,
        *,
        ones: bool,
        rows: int,
        c: float = 1.0,
        index: Array | None = None,
    ) -> None:
        self.am, self.c, self._X, self._y, self._weights, self._index = am, c, X, y, weights, index
        self.n_samples, self._n_features = y.shape[0], X.shape[1]
        self.rows = min(rows, self.n_samples)
        self._shift = self._inverse_scale = None
        if not scaling.is_identity:
            if scaling.shift.any():
                self._shift = am.from_numpy(scaling.shift, X.dtype)
            self._inverse_scale = am.from_numpy(1.0 / scaling.scale, X.dtype)
        # A buffer holds X, the ones, y and the weights side by side, if that saves passes.
        self._n_inputs = self._n_features + ones
        self._n_columns = self._n_inputs + y.shape[1] + (weights is not None)
        self._buffer = self._new_buffer(self.rows)
        self._whole: Batch | None = None
        self._kept: list[Array] | None = None
        if (
            self.rows < self.n_samples
            and self.n_samples * self._n_columns <= KEPT_NUMBERS
            and not am.takes_in_one_pass
            and self._n_features > 0
        ):
            self._kept = self._new_buffer(self.n_samples)
        # A few rows are standardized at a time: the numbers that one pass writes are in the cache for the next.
        n_read = self.rows if self._kept is None else self.n_samples
        self._stage, self._y_stage = (
            am.empty((min(n_read, max(1, _STAGE_NUMBERS // max(1, a.shape[1]))), a.shape[1]), X.dtype) for a in (X, y)
        )
        if self._kept is not None:
            self._read(slice(0, self.n_samples), self._kept)
        elif self.rows == self.n_samples:
            self._whole = self._read(slice(0, self.n_samples), self._buffer)

    @property
    def per_epoch(self) -> int:
        """Number of batches in a pass over the rows."""
        return -(-self.n_samples // self.rows)

    def gram(self, *, weighted: bool = False) -> np.ndarray | None:
        """X X^T of all rows in float64, or None if dense rows give it sooner; `weighted`: of sqrt(c s / n) X."""
        return None

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """R^T R, R^T y and |y|^2 for R = sqrt(c s / n) X, and y likewise, in float64; None as for `gram`."""
        return None

    def in_order(self) -> Iterator[Batch]:
        """Successive batches; each is valid until the next one."""
        if self._whole is not None:
            yield self._whole
            return
        for rows in blocks_of(self.n_samples, self.rows):
            if self._kept is not None:
                yield self._batch(_rows_of(self._kept, rows))
            else:
                yield self._read(rows, _rows_of(self._buffer, slice(0, rows.stop - rows.start)))

    def shuffled(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Batches of shuffled rows, whose sizes differ by up to one row; the order depends only on (seed, epoch).

        One batch of all rows stays in order.
        """
        if self._whole is not None:
            yield self._whole
            return
        # Of intp, which is shuffled twice as fast as a shorter type and taken by without a cast.
        order = np.arange(self.n_samples, dtype=np.intp)
        np.random.default_rng((seed, epoch)).shuffle(order)
        order = self.am.from_numpy(order, None)
        buffer, batch = self._buffer, self._batch(self._buffer)
        for rows in equal_slices(self.n_samples, self.per_epoch):
            if rows.stop - rows.start < batch.X.shape[0]:
                buffer = _rows_of(self._buffer, slice(0, rows.stop - rows.start))
                batch = self._batch(buffer)
            if self._kept is not None:
                self.am.take_rows(self._kept[0], order[rows], None, None, stage=buffer[0], out=buffer[0])
                yield batch
            else:
                yield self._read(order[rows], buffer)

    def _new_buffer(self, rows: int) -> list[Array]:
        """One array for all columns, or one for X with the ones and another for y and the weights."""
        n_inputs, n_columns = self._n_inputs, self._n_columns
        widths = (n_inputs, n_columns - n_inputs) if self.am.takes_in_one_pass else (n_columns,)
        buffer = [self.am.empty((rows, width), self._X.dtype) for width in widths]
        buffer[0][:, self._n_features : n_inputs] = 1.0
        return buffer

    def _batch(self, buffer: list[Array]) -> Batch:
        """The batch whose columns are in `buffer`."""
        n_inputs, m = self._n_inputs, self._y.shape[1]
        X, others = buffer[0][:, :n_inputs], buffer[-1]
        start = n_inputs if len(buffer) == 1 else 0
        s = None if self._weights is None else others[:, start + m :]
        return Batch(X, others[:, start : start + m], s, self.c / X.shape[0])

    def _read(self, rows: slice | Array, buffer: list[Array]) -> Batch:
        """Standardize rows of X into `buffer`, with y and weights beside them."""
        take = self.am.take_rows
        batch = self._batch(buffer)
        rows_of_X = rows if self._index is None else self._index[rows]
        X = batch.X[:, : self._n_features]
        take(self._X, rows_of_X, self._shift, self._inverse_scale, stage=self._stage, out=X)
        take(self._y, rows, None, None, stage=self._y_stage, out=batch.y)
        if self._weights is not None:
            take(self._weights, rows, None, None, stage=self._y_stage[:, :1], out=batch.s)
        return batch


def equal_slices(n: int, k: int) -> Iterator[slice]:
    """k slices that cover range(n), the larger ones first."""
    size, n_larger = divmod(n, k)
    start = 0
    for j in range(k):
        stop = start + size + (j < n_larger)
        yield slice(start, stop)
        start = stop


def _rows_of(buffer: list[Array], rows: slice) -> list[Array]:
    return [a[rows, ...] for a in buffer]
