"""The training rows: X in its own library, y and the sample weights as NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np

from skrelu._arrays import Array, ArrayModule
from skrelu._models.base import Layers, Model
from skrelu._models.moments import Moments, measure, row_blocks
from skrelu._models.standardize import Scaling, blocks_of, identity, standardize
from skrelu._rows.batches import Batches
from skrelu._rows.fingerprint import fingerprint

_BLOCK_NUMBERS = 2**20  # numbers in a block of raw rows
# Standard deviations from zero, beyond which a float32 coefficient is off by 2^13 eps = 0.001 of the effect of one.
_FAR = 2.0**13


class Rows:
    """n_samples rows of X, y and weights.

    Rows of weight zero are ignored: they are neither counted nor read.

    Parameters
    ----------
    am : ArrayModule
        Trains.
    home : ArrayModule
        Of the library of X: `am` itself, or another one from which X passes to `am` through NumPy.
    X : array of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
    dtype : dtype
        NumPy's dtype of the precision of X.
    """

    is_sparse = False

    def __init__(
        self,
        am: ArrayModule,
        home: ArrayModule,
        X: Array,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        dtype: np.dtype,
    ) -> None:
        self.am, self.home, self.X, self.dtype = am, home, X, dtype
        if isinstance(X, np.ndarray):
            self.X = X.view(np.ndarray)  # slicing a memory map is slow, slicing its array is not
        self.y_ndim = y.ndim
        self._y = np.ascontiguousarray(y.reshape(-1, 1) if y.ndim == 1 else y)
        self.n_samples, self.n_features = X.shape
        self.n_outputs = self._y.shape[1]
        self._sample_weight = sample_weight
        self.total_weight = float(self.n_samples)
        self._weights = None  # divided by their mean
        self._index: np.ndarray | None = None  # of the rows with a positive weight, if some have none
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

    def hold_out(self, fraction: float, seed: int) -> tuple[Rows, Rows]:
        """The rows to train on, and the others: at least `fraction` of all. Both are copies.

        The choice depends only on `seed` and the number of rows. Rows of weight zero are in neither part.
        """
        indices = np.arange(self.n_samples) if self._index is None else self._index
        n_val = math.ceil(fraction * len(indices))
        if n_val >= len(indices):
            raise ValueError(
                f"early_stopping=True with validation_fraction={fraction} leaves no rows to train on: "
                f"n_samples={len(indices)} (with a positive weight), of which {n_val} would be held out. "
                "Pass more rows, a smaller validation_fraction, or X_val and y_val."
            )
        # Another stream than (seed, epoch), which orders the rows of an epoch.
        indices = np.random.default_rng((seed, 0, 1)).permutation(indices)
        return self._subset(np.sort(indices[n_val:])), self._subset(np.sort(indices[:n_val]))

    def _subset(self, indices: np.ndarray) -> Rows:
        y = self._y[indices] if self.y_ndim == 2 else self._y[indices, 0]
        weights = None if self._sample_weight is None else self._sample_weight[indices]
        return type(self)(self.am, self.home, self._taken(indices), y, weights, self.dtype)

    def _taken(self, indices: np.ndarray) -> Array:
        return self.home.xp.take(self.X, self.home.from_numpy(indices, None), axis=0)

    @property
    def fingerprint(self) -> str:
        """A hash of X, y and the weights."""
        weights = () if self._sample_weight is None else (self._sample_weight,)
        return fingerprint(*self._numbers(self.X), self._y, *weights)

    @property
    def signature(self) -> str:
        """A hash of up to 256 of the rows, spread evenly, and of their number: to recognize large data quickly."""
        indices = np.linspace(0, self.X.shape[0] - 1, min(self.X.shape[0], 256)).astype(np.intp)
        weights = () if self._sample_weight is None else (self._sample_weight[indices],)
        return fingerprint(*self._numbers(self._taken(indices)), self._y[indices], np.array(self.X.shape), *weights)

    def _numbers(self, X: Array) -> list[np.ndarray]:
        """The arrays whose bytes are hashed for X."""
        return [self.home.to_numpy(X)]

    def refuse_missing(self) -> None:
        """Raise ValueError if X is not finite: scikit-learn's check can be switched off."""
        start = 0
        for X in self._raw_blocks():
            bad = np.argwhere(~np.isfinite(self._dense(X)))
            if len(bad):
                row, column = bad[0]
                value = "NaN" if np.isnan(self._dense(X)[row, column]) else "infinity"
                place = start + row if self._index is None else self._index[start + row]
                raise ValueError(
                    f"X contains {value} in row {place}, column {column}. Impute it, or leave out the row."
                )
            start += X.shape[0]

    def _dense(self, X: Array) -> np.ndarray:
        return self.home.to_numpy(X)

    @property
    def counted_weights(self) -> np.ndarray | None:
        """The positive weights, divided by their mean; None for equal ones."""
        return self._weights if self._weights is None or self._index is None else self._weights[self._index]

    def objective_constant(self, reduction: Literal["mean", "sum"]) -> float:
        """c in L = c / (2 n) sum_i s_i |f(x_i) - y_i|^2, with s_i divided by their mean."""
        return 1.0 if reduction == "mean" else 2.0 * self.total_weight

    def moments(self, *, center: bool, two_values: bool) -> tuple[Moments, Moments]:
        """Of X and of y; with `two_values`, columns of X with two values are scaled by their distance."""
        of_X, of_y = self._moments_of_X(center=center, two_values=two_values), self._moments_of_y(center=center)
        return replace(of_X, total=self.total_weight), replace(of_y, total=self.total_weight)

    def _moments_of_X(self, *, center: bool, two_values: bool) -> Moments:
        blocks = row_blocks(self.X, self._weights, self.home.to_numpy)
        return measure(blocks, center=center, two_values=two_values)

    def _moments_of_y(self, *, center: bool) -> Moments:
        return measure(row_blocks(self._y, self._weights, np.asarray), center=center)

    def scalings(self, of_X: Moments, of_y: Moments, *, center: bool) -> tuple[Scaling, Scaling]:
        """The scalings of X and y by their moments, in the precision of X and of y."""
        return of_X.scaling(center=center, dtype=self.dtype), self._scaling_of_y(of_y, center=center)

    def _scaling_of_y(self, moments: Moments, *, center: bool) -> Scaling:
        dtype = np.dtype(np.float32 if self._y.dtype == np.float32 else np.float64)  # y is standardized in float64
        return moments.scaling(center=center, dtype=dtype)

    def unscaled(self) -> tuple[Scaling, Scaling]:
        """The scalings that change nothing."""
        return identity(self.n_features), identity(self.n_outputs)

    def loss_of_a_constant(self, y_scaling: Scaling, c: float, *, center: bool) -> float:
        """The loss of predicting the mean of the standardized y, or zero without `center`; no penalty."""
        y = self._scaling_of_y(self._moments_of_y(center=center), center=center)
        return 0.5 * c * float(np.square(y.scale / y_scaling.scale)[~y.constant].sum())

    def loss_of_zero(self, y_scaling: Scaling, c: float) -> float:
        """The loss of predicting zero in the coordinates of `y_scaling`; no penalty."""
        y = (self._y if self._index is None else self._y[self._index]).astype(np.float64)
        square = np.square((y - y_scaling.shift) / y_scaling.scale).sum(axis=1)
        return 0.5 * c * float(np.average(square, weights=self.counted_weights))

    def batches(
        self, x: Scaling, y: Scaling, *, ones: bool, rows: int, c: float, products_only: bool = False
    ) -> Batches:
        """The rows in the standardized coordinates of `x` and `y`, up to `rows` at a time.

        With `products_only`, their X is only used in `matmul`, `matmul_transposed` and `multiply` of the array module.
        """
        am, dtype, index = self.am, self.training_X.dtype, self._index
        raw = self._y if index is None else self._y[index]
        targets = standardize(raw, y, self.dtype)
        if not np.isfinite(targets).all():
            raise ValueError(self.beyond_the_range("y has values", raw))
        weights = self.counted_weights
        if weights is not None:
            weights = am.from_numpy(weights.reshape(-1, 1), dtype)
        index = None if index is None else am.from_numpy(index, None)
        targets = am.from_numpy(targets, dtype)
        if x.basis is not None:
            X, x = am.from_numpy(self.standardized(x), dtype), identity(x.basis.shape[1])
            return Batches(am, X, targets, weights, x, ones=ones, rows=rows, c=c)
        kind = self._kind_of_batches(x, ones, rows) if products_only else self._dense_batches
        return kind(am, self.training_X, targets, weights, x, ones=ones, rows=rows, c=c, index=index)

    _dense_batches: type[Batches] = Batches

    def _kind_of_batches(self, x: Scaling, ones: bool, rows: int) -> type[Batches]:
        """The class of the batches if they are only used in products."""
        return self._dense_batches

    @cached_property
    def training_X(self) -> Array:
        """X in the library that trains."""
        return self.X if self.am is self.home else self.am.from_numpy(self.home.to_numpy(self.X), self.dtype)

    def sample(self, n: int, rng: np.random.Generator, x: Scaling) -> np.ndarray:
        """n random rows of X, drawn by weight with replacement, in the standardized coordinates of `x`.

        Repeated rows and a row of that weight are drawn alike.
        """
        weights = np.ones(self.X.shape[0]) if self._weights is None else self._weights
        shares = np.cumsum(weights)
        taken = self._taken(np.searchsorted(shares, rng.random(n) * shares[-1], side="right"))
        return standardize(self.home.to_numpy(taken), x, np.dtype(np.float64))

    def standardized(self, x: Scaling) -> np.ndarray:
        """All rows in the coordinates of `x`, in float64."""
        return np.concatenate([standardize(self._dense(X), x, np.dtype(np.float64)) for X in self._raw_blocks()])

    def predicts_finite(self, model: Model, layers: Layers, precision: np.dtype) -> bool:
        """Whether the layers, rounded to the `precision` of the published ones, predict finite values for all rows."""
        home = self.home
        rounded = [(self.rounded(W, precision), self.rounded(b, precision)) for W, b in layers]
        with home.session():
            return all(home.is_finite(model.predict(home, rounded, X)) for X in self._raw_blocks())

    def _raw_blocks(self) -> Iterator[Array]:
        for rows in blocks_of(self.n_samples, max(1, _BLOCK_NUMBERS // self.n_features)):
            yield self.X[rows, ...] if self._index is None else self._taken(self._index[rows])

    def precision(self, x: Scaling) -> np.dtype:
        """The dtype of coefficients for the raw X: that of X, unless it would lose digits far from zero."""
        return np.dtype(np.float64) if (np.abs(x.shift) > _FAR * x.scale).any() else self.dtype

    def rounded(self, a: np.ndarray, precision: np.dtype) -> Array:
        """A coefficient in the library of X."""
        return self.home.from_numpy(a.astype(precision, copy=False), None)

    def stored(self, a: np.ndarray, precision: np.dtype) -> Array:
        """The same, as published: ValueError if it is too large for that precision."""
        stored = self.rounded(a, precision)
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
