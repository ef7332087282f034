"""The validated training problem: X where it lives, y and the sample weights in the form that training takes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from skrelu._batches import Batches
from skrelu._fingerprint import fingerprint
from skrelu._standardize import Scaling, blocks_of, identity, measure, row_blocks, standardize

Array = Any

_BLOCK_NUMBERS = 2**20  # in a block of raw rows


class Problem:
    """n_samples rows of X, y and weights; y and weights pass through NumPy, X stays.

    Rows without weight are not there: neither counted nor read, whatever they hold.

    Parameters
    ----------
    am : array module
        Trains.
    home : array module
        Of the library of X; `am` itself, or one whose X `am` takes by way of NumPy.
    X : array of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
    dtype : dtype
        NumPy's dtype of the precision of X.
    """

    def __init__(self, am: Any, home: Any, X: Array, y: np.ndarray, sample_weight: np.ndarray | None, dtype: np.dtype):
        self.am, self.home, self.X, self.dtype = am, home, X, dtype
        if isinstance(X, np.ndarray):
            self.X = X.view(np.ndarray)  # taking slices of a memory map is slow, of its array not
        self.y_ndim = y.ndim
        self._y = np.ascontiguousarray(y.reshape(-1, 1) if y.ndim == 1 else y)
        self.n_samples, self.n_features = X.shape
        self.n_outputs = self._y.shape[1]
        self._sample_weight = sample_weight
        self.total_weight = float(self.n_samples)
        self._weights = None  # divided by their mean
        self._index: np.ndarray | None = None  # of the rows that count, if not all do
        if sample_weight is not None:
            largest = float(sample_weight.max())
            relative = sample_weight / largest  # their sum cannot overflow; that of the weights is kept from it
            counted = relative
            if not relative.all():
                self._index = np.flatnonzero(relative)
                self.n_samples = len(self._index)
                counted = relative[self._index]  # zeros between numbers change how their sum is rounded
            self.total_weight = min(float(counted.sum()) * largest, np.finfo(np.float64).max / 4)
            self._weights = relative / counted.mean()

    def rows(self, indices: np.ndarray) -> Problem:
        """The problem of some of the rows, copied."""
        y = self._y[indices] if self.y_ndim == 2 else self._y[indices, 0]
        weights = None if self._sample_weight is None else self._sample_weight[indices]
        return Problem(self.am, self.home, self._taken(indices), y, weights, self.dtype)

    def _taken(self, indices: np.ndarray) -> Array:
        return self.home.xp.take(self.X, self.home.from_numpy(indices, None), axis=0)

    @property
    def rows_that_count(self) -> np.ndarray:
        """Indices of the rows whose weight is not zero."""
        return np.arange(self.n_samples) if self._index is None else self._index

    @property
    def data(self) -> str:
        """Names the rows: two problems with the same have the same X, y and weights."""
        weights = () if self._sample_weight is None else (self._sample_weight,)
        return fingerprint(np.ascontiguousarray(self.home.to_numpy(self.X)), self._y, *weights)

    def measure(self, *, center: bool) -> tuple[Scaling, Scaling]:
        """Scaling of X and of y."""
        x = measure(row_blocks(self.X, self._weights, self.home.to_numpy), center=center, dtype=self.dtype)
        return x, self._measure_y(center=center)

    def _measure_y(self, *, center: bool) -> Scaling:
        dtype = np.dtype(np.float32 if self._y.dtype == np.float32 else np.float64)  # y is standardized in float64
        return measure(row_blocks(self._y, self._weights, np.asarray), center=center, dtype=dtype)

    def loss_of_a_constant(self, y_scaling: Scaling, c: float, *, center: bool) -> float:
        """The loss of predicting the mean of the standardized y, or zero without `center`; no penalty."""
        y = self._measure_y(center=center)
        return 0.5 * c * float(np.square(y.scale / y_scaling.scale)[~y.constant].sum())

    def unscaled(self) -> tuple[Scaling, Scaling]:
        """The scalings that change nothing."""
        return identity(self.n_features), identity(self.n_outputs)

    def batches(self, x_scaling: Scaling, y_scaling: Scaling, *, ones: bool, rows: int) -> Batches:
        """The rows in standardized coordinates, at most `rows` at a time."""
        am, dtype, index = self.am, self.training_X.dtype, self._index
        raw = self._y if index is None else self._y[index]
        y = standardize(raw, y_scaling, self.dtype)
        if not np.isfinite(y).all():
            raise ValueError(self.beyond_the_range("y has values", raw))
        weights = self._weights if self._weights is None or index is None else self._weights[index]
        if weights is not None:
            weights = am.from_numpy(weights.reshape(-1, 1), dtype)
        index = None if index is None else am.from_numpy(index, None)
        y = am.from_numpy(y, dtype)
        return Batches(am, self.training_X, y, weights, x_scaling, ones=ones, rows=rows, index=index)

    @cached_property
    def training_X(self) -> Array:
        """X where training takes place."""
        return self.X if self.am is self.home else self.am.from_numpy(self.home.to_numpy(self.X), self.dtype)

    def raw_blocks(self) -> Iterator[Array]:
        """Blocks of the rows of X as they are."""
        for rows in blocks_of(self.n_samples, max(1, _BLOCK_NUMBERS // self.n_features)):
            yield self.X[rows, ...] if self._index is None else self._taken(self._index[rows])

    def rounded(self, a: np.ndarray) -> Array:
        """A coefficient in the precision of X and where X lives."""
        return self.home.from_numpy(a.astype(self.dtype, copy=False), self.X.dtype)

    def stored(self, a: np.ndarray) -> Array:
        """The same, for good: ValueError if it is too large for that precision."""
        stored = self.rounded(a)
        if not self.home.is_finite(stored):
            raise ValueError(self.beyond_the_range("A coefficient for the raw X and y is", a, "X or y"))
        return stored

    def beyond_the_range(self, what: str, values: np.ndarray, which: str = "y") -> str:
        """The message for `values` that the dtype of X cannot hold."""
        remedy = "Pass X as float64, or divide" if self.dtype == np.float32 else "Divide"
        return (
            f"{what} of magnitude {np.abs(values).max():.3g}, beyond the range of {self.dtype.name}, the dtype of X. "
            f"{remedy} {which} by a constant."
        )
