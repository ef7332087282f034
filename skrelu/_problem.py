"""The validated training problem: X where it lives, y and the sample weights in the form that training takes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from skrelu._batches import Batches
from skrelu._fingerprint import fingerprint
from skrelu._standardize import Scaling, identity, measure, row_blocks, standardize

Array = Any


class Problem:
    """n_samples rows of X, y and weights; y and weights pass through NumPy, X stays.

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
        self.am, self._home, self.X, self.dtype = am, home, X, dtype
        if isinstance(X, np.ndarray):
            self.X = X.view(np.ndarray)  # taking slices of a memory map is slow, of its array not
        self.y_ndim = y.ndim
        self._y = np.ascontiguousarray(y.reshape(-1, 1) if y.ndim == 1 else y)
        self.n_samples, self.n_features = X.shape
        self.n_outputs = self._y.shape[1]
        self._sample_weight = sample_weight
        self.total_weight = float(self.n_samples)
        self._weights = None  # divided by their mean
        if sample_weight is not None:
            largest = float(sample_weight.max())
            relative = sample_weight / largest  # their sum cannot overflow; that of the weights is kept from it
            self.total_weight = min(float(relative.sum()) * largest, np.finfo(np.float64).max / 4)
            self._weights = relative / relative.mean()

    def rows(self, indices: np.ndarray) -> Problem:
        """The problem of some of the rows, copied."""
        y = self._y[indices] if self.y_ndim == 2 else self._y[indices, 0]
        weights = None if self._sample_weight is None else self._sample_weight[indices]
        home = self._home
        X = home.xp.take(self.X, home.from_numpy(indices, None), axis=0)
        return Problem(self.am, home, X, y, weights, self.dtype)

    @property
    def rows_that_count(self) -> np.ndarray:
        """Indices of the rows whose weight is not zero."""
        weights = self._sample_weight
        return np.arange(self.n_samples) if weights is None else np.flatnonzero(weights)

    @property
    def data(self) -> str:
        """Names the rows: two problems with the same have the same X, y and weights."""
        weights = () if self._sample_weight is None else (self._sample_weight,)
        return fingerprint(np.ascontiguousarray(self._home.to_numpy(self.X)), self._y, *weights)

    def measure(self, *, center: bool) -> tuple[Scaling, Scaling]:
        """Scaling of X and of y."""
        x = measure(row_blocks(self.X, self._weights, self._home.to_numpy), center=center, dtype=self.dtype)
        y_dtype = np.dtype(np.float32 if self._y.dtype == np.float32 else np.float64)  # y is standardized in float64
        y = measure(row_blocks(self._y, self._weights, np.asarray), center=center, dtype=y_dtype)
        return x, y

    def unscaled(self) -> tuple[Scaling, Scaling]:
        """The scalings that change nothing."""
        return identity(self.n_features), identity(self.n_outputs)

    def batches(self, x_scaling: Scaling, y_scaling: Scaling, *, ones: bool, rows: int) -> Batches:
        """The rows in standardized coordinates, at most `rows` at a time."""
        am, dtype = self.am, self.training_X.dtype
        y = standardize(self._y, y_scaling, self.dtype)
        if not np.isfinite(y).all():
            raise ValueError(
                f"y has values of magnitude {np.abs(self._y).max():.3g}, beyond the range of {self.dtype.name}, the "
                "dtype of X. Pass X as float64, or divide y by a constant."
            )
        weights = None if self._weights is None else am.from_numpy(self._weights.reshape(-1, 1), dtype)
        return Batches(am, self.training_X, am.from_numpy(y, dtype), weights, x_scaling, ones=ones, rows=rows)

    @cached_property
    def training_X(self) -> Array:
        """X where training takes place."""
        return self.X if self.am is self._home else self.am.from_numpy(self._home.to_numpy(self.X), self.dtype)

    def stored(self, a: np.ndarray) -> Array:
        """A coefficient, rounded to the precision of X and where X lives."""
        with np.errstate(over="ignore"):
            rounded = a.astype(self.dtype, copy=False)
        if not np.isfinite(rounded).all():
            raise ValueError(
                f"A coefficient for the raw X and y has magnitude {np.abs(a).max():.3g}, beyond the range of "
                f"{self.dtype.name}, the dtype of X. Pass X as float64, or divide X or y by a constant."
            )
        return self._home.from_numpy(rounded, self.X.dtype)
