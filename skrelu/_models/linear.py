"""The linear model f(x) = x W + b, the network of zero depth: how it is drawn, evaluated, differentiated and folded.

Forward and backward pass (D = dL/dF)::

    F = X W + b                                  dW = X^T D, db = sum of the rows of D

X ends in a column of ones, so b, the last row of W, is part of both matrix products.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np

from skrelu._arrays import Array, ArrayModule, DType
from skrelu._models.base import Layers, Model
from skrelu._models.standardize import Scaling, between, fold_inputs, fold_outputs, identity

Init = Literal["zeros", "uniform", "standard_normal"]


class LinearModel(Model):
    """The model with parameters W, b in one flat vector.

    Parameters
    ----------
    am : ArrayModule
    n_features, n_outputs : int
    fit_intercept : bool
    dtype : dtype
    init : {"zeros", "uniform", "standard_normal"}, default="zeros"
        Initial weights and intercept: zero, uniform in (-0.1, 0.1), or independent N(0, 1).
    """

    default_iterations = 1000
    curvature_rtol = 1e-9

    def __init__(
        self,
        am: ArrayModule,
        n_features: int,
        n_outputs: int,
        fit_intercept: bool,
        dtype: DType,
        init: Init = "zeros",
    ) -> None:
        n_parameters = (n_features + fit_intercept) * n_outputs
        super().__init__(am, n_features, n_outputs, fit_intercept, n_parameters, dtype)
        self._init = init
        self.weights = slice(0, n_features * n_outputs)
        (self.W,) = self.views(self.theta)
        (self.dW,) = self.views(self.gradient)

    @property
    def shape(self) -> tuple[int, int]:
        """Of W with b as its last row."""
        return self.n_inputs, self.n_outputs

    def plain(self) -> Self:
        return type(self)(self.am, self.n_features, self.n_outputs, self.fit_intercept, self.theta.dtype, self._init)

    # ---- initial weights

    def draw(self, rng: np.random.RandomState) -> list[np.ndarray]:
        """W and then b, as the last row."""
        shapes = [(self.n_features, self.n_outputs)] + [(1, self.n_outputs)] * int(self.fit_intercept)
        if self._init == "zeros":
            return [np.zeros(self.shape)]
        if self._init == "uniform":
            return [np.concatenate([rng.uniform(-0.1, 0.1, size=shape) for shape in shapes])]
        return [np.concatenate([rng.standard_normal(shape) for shape in shapes])]

    def silence(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> None:
        (W,) = parameters
        if not x.constant.all():
            W[: self.n_features][x.constant] = 0.0
        W[:, y.constant] = 0.0

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W, with b as its last row, as a view of a flat vector."""
        return (self.am.reshape(flat, self.shape),)

    # ---- forward and backward pass

    def forward(self, X: Array) -> Array:
        return self.forward_derivative(X, self.theta)

    def backward(self, X: Array, D: Array) -> None:
        self.am.matmul_transposed(X, D, out=self.dW)  # dW = X^T D

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        """X V + v for the direction (V, v): f is linear in theta, too."""
        self._use_rows(X.shape[0])
        self.am.matmul(X, self.views(direction)[0], out=self._F)
        return self._F

    def _per_row(self, n_rows: int) -> dict[str, int]:
        return {}

    # ---- the published model

    def fold(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> Layers:
        """(W, b) for the raw X and y; ValueError if a coefficient would underflow."""
        (W,) = parameters
        unit = (y.scale / x.scale[:, None])[~x.constant][:, ~y.constant]
        if unit.size and unit.min() < np.finfo(W.dtype).tiny:
            raise ValueError(
                f"A coefficient for the raw X and y is of magnitude {unit.min():.3g}, below the range of "
                f"{W.dtype.name}, the dtype of X. Divide X or multiply y by a constant."
            )
        d = self.n_features
        W, b = fold_inputs(W[:d], W[d] if self.fit_intercept else np.zeros(self.n_outputs), x)
        return [fold_outputs(W, b, y)]

    def moved(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> list[np.ndarray]:
        (W,), d = parameters, self.n_features
        first = fold_inputs(W[:d], W[d] if self.fit_intercept else np.zeros(self.n_outputs), x)
        W, b = fold_outputs(*first, y)
        return [np.concatenate([W, b[None]]) if self.fit_intercept else W]

    def unfold(self, layers: Layers, x: Scaling, y: Scaling) -> list[np.ndarray]:
        ((W, b),) = layers
        raw = [np.concatenate([W, b[None]]) if self.fit_intercept else W]
        return self.moved(raw, between(identity(self.n_features), x), between(identity(self.n_outputs), y))

    @staticmethod
    def evaluate(am: ArrayModule, layers: Layers, X: Array, out: Array) -> None:
        ((W, b),) = layers
        am.matmul(X, W, out=out)
        am.add(out, b)  # F = X W + b

    # ---- what it costs

    def flops(self, n_rows: int) -> int:
        """X W and X^T D take 2 p m a row each, p = d + 1."""
        return 4 * n_rows * (self.n_features + 1) * self.n_outputs

    def cost(self, n_rows: int) -> float:
        """Measured: reading X takes 5 a number, and these narrow products 8.5 a number and output instead of 4."""
        return n_rows * self.n_inputs * (5 + 8.5 * self.n_outputs)

    def block_rows(self) -> int:
        return max(256, self.am.block_scale * 2**17 // (self.n_features + self.n_outputs))

    def largest_product(self, n_rows: int) -> int:
        return 2 * n_rows * (self.n_features + 1) * self.n_outputs
