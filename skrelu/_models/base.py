"""What both models share: their conventions, one flat vector of parameters, the loss, and prediction in row blocks.

Conventions
-----------
n rows, d features, h hidden units, m outputs. X (n, d), y (n, m), s (n, 1): the sample weights divided by their mean,
or None for ones. With an intercept, X carries a last column of ones, and the intercepts of the first layer are the last
row of its weight matrix. All matrices are C-contiguous.

Objective, for a batch of r of the n rows (full-batch gradient descent: all of them)::

    L = c / (2 r) sum_i s_i |f(x_i) - y_i|^2        c = 1 for reduction="mean", 2 sum(sample_weight) for "sum"

With the factor c / r, which the batch carries, the gradient with respect to the prediction f(x_i) is::

    D_i = (c / r) s_i (f(x_i) - y_i)                and the loss of the batch is <E, D> / 2 with E = f(X) - y

The model does not see the penalty: the engine adds its gradient.

Parameters lie in one flat vector, `theta`, and their gradient in another, `gradient`; ``W1``, ``dW1`` and so on are
views of these. The penalized weights are contiguous, in the slice `weights`; the intercepts lie around them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple, Self

import numpy as np

from skrelu._arrays import Array, ArrayModule, DType, Scalar
from skrelu._models.standardize import Scaling, blocks_of

# Weights (inputs, outputs) and intercepts (outputs,) of each layer, in the units of the raw X and y.
Layers = list[tuple[Array, Array]]
# Returns as many random standardized rows of X as it is asked for.
DrawRows = Callable[[int], np.ndarray]

_PREDICT_BLOCK = 2**17  # numbers in the buffers of a block of rows: they stay in a processor's cache


class Batch(NamedTuple):
    """Rows of the standardized data: X (r, d or d + 1), y (r, m), weights s (r, 1) or None, and the factor c / r."""

    X: Array
    y: Array
    s: Array | None
    factor: float


class Model(ABC):
    """Flat vectors of parameters and gradient, with buffers for the rows of a batch.

    Parameters
    ----------
    am : ArrayModule
        Computes.
    n_features, n_outputs : int
    fit_intercept : bool
    n_parameters : int
        Length of `theta`.
    dtype : dtype
        Of all arrays, in the library of `am`.
    """

    weights: slice
    has_hidden_layer = False
    default_iterations: ClassVar[int]  # of gradient descent
    n_members = 1  # models of the same shape that are trained side by side and published as their average
    # The stopping residual of the iteration that finds L; the relative error of L is about its square.
    curvature_rtol: ClassVar[float]

    _F: Array
    _D: Array
    _stage: Array

    def __init__(
        self, am: ArrayModule, n_features: int, n_outputs: int, fit_intercept: bool, n_parameters: int, dtype: DType
    ) -> None:
        self.am, self.n_features, self.n_outputs, self.fit_intercept = am, n_features, n_outputs, fit_intercept
        self.n_predictions = self.n_members * n_outputs
        self.n_inputs = n_features + fit_intercept
        self.theta = am.zeros((n_parameters,), dtype)
        self.gradient = am.zeros((n_parameters,), dtype)
        # Losses that differ by less, relative to their size, differ by rounding.
        self.rounding = 100.0 * float(am.xp.finfo(dtype).eps)
        self._buffers: dict[str, Array] = {}
        self._capacity = self._n_rows = 0

    # Each model says these.

    @abstractmethod
    def plain(self) -> Self:
        """A model of the published form, without members, with parameters and buffers of its own."""

    def with_features(self, n_features: int) -> Self:
        """The same model for another number of features; only for a model with a hidden layer."""
        raise NotImplementedError

    def average(self, plain: Self) -> None:
        """Set the parameters of `plain` to the average of the members."""
        plain.theta[...] = self.theta

    @abstractmethod
    def draw(self, rng: np.random.RandomState) -> list[np.ndarray]:
        """Initial parameters in float64, shaped as `views`, first layer first."""

    def draw_seed(self, rng: np.random.RandomState) -> int:
        """Seed of the order of the rows; a model that is never trained on minibatches draws none."""
        return 0

    @abstractmethod
    def silence(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> None:
        """Set the weights of constant columns to 0, in place.

        They stay 0: a constant feature has no effect, and a constant output is predicted as its mean. If no feature
        varies, its weights stay for a later call on other rows.
        """

    @abstractmethod
    def views(self, flat: Array) -> tuple[Array, ...]:
        """The parameter matrices as views of a flat vector."""

    @abstractmethod
    def forward(self, X: Array) -> Array:
        """The predictions F (r, m) for the rows of X, which end in a column of ones for the intercepts."""

    @abstractmethod
    def backward(self, X: Array, D: Array) -> None:
        """Write dL/dtheta to `gradient`, from D = dL/dF; `forward` must have seen the same X."""

    @abstractmethod
    def forward_derivative(self, X: Array, direction: Array) -> Array:
        """d/dt f(X) at theta + t direction; `forward` must have seen the same X."""

    @abstractmethod
    def fold(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> Layers:
        """The layers of the same function of the raw X and y."""

    @abstractmethod
    def moved(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> list[np.ndarray]:
        """The parameters, in float64, of the same function in other coordinates; `x` and `y` are of `between`."""

    @abstractmethod
    def unfold(self, layers: Layers, x: Scaling, y: Scaling) -> list[np.ndarray]:
        """Parameters, in float64, that `fold` takes to these layers of the raw X and y."""

    def member_intercepts(self, parameters: list[np.ndarray], y: Scaling) -> np.ndarray | None:
        """The intercepts (n_members, n_outputs) of the members' last layers for the raw y; the average loses them."""
        return None

    @staticmethod
    @abstractmethod
    def evaluate(am: ArrayModule, layers: Layers, X: Array, out: Array) -> None:
        """Write the predictions of `layers` for the raw rows of X to `out`."""

    @abstractmethod
    def flops(self, n_rows: int) -> int:
        """Floating-point operations of the loss and its gradient on `n_rows` rows."""

    def cost(self, n_rows: int) -> float:
        """Time of the same, in operations at the rate of large matrix products."""
        return self.flops(n_rows)

    @abstractmethod
    def block_rows(self) -> int:
        """Rows of a block whose buffers stay in the cache, or fill a GPU."""

    @abstractmethod
    def largest_product(self, n_rows: int) -> int:
        """Floating-point operations of the largest matrix product of `forward` and `backward`."""

    @abstractmethod
    def _per_row(self, n_rows: int) -> dict[str, int]:
        """The buffers: attribute and columns of each, for batches of up to `n_rows` rows."""

    # What follows from these.

    def spread(self, parameters: list[np.ndarray], draw_rows: DrawRows, rng: np.random.Generator) -> None:
        """Adapt initial parameters to the rows, in place; `draw_rows` returns random standardized rows of X."""
        return

    def count_inactive(self, batches: Iterable[Batch]) -> tuple[int, int]:
        """The number of hidden units that are inactive on all rows, and of all units."""
        return 0, 0

    def load(self, parameters: list[np.ndarray]) -> None:
        """Set theta to parameters shaped as `views`."""
        for view, value in zip(self.views(self.theta), parameters, strict=True):
            view[...] = self.am.from_numpy(value, None)

    def parameters(self, flat: Array) -> list[np.ndarray]:
        """The parameter matrices of a flat vector, for reading only."""
        return [self.am.to_numpy(view) for view in self.views(flat)]

    def allocate(self, n_rows: int) -> None:
        """Make the buffers, for batches of up to `n_rows` rows."""
        self._capacity = self._n_rows = 0  # an interruption leaves some buffers unmade; the next call makes them all
        shapes = self._per_row(n_rows) | {"_F": self.n_predictions, "_D": self.n_predictions}
        dtype = self.theta.dtype
        self._buffers = {name: self.am.empty((n_rows, columns), dtype) for name, columns in shapes.items()}
        self._buffers["_stage"] = self.am.empty((n_rows, self.n_predictions), self.am.accumulator)
        self._capacity = n_rows

    def _use_rows(self, r: int) -> None:
        """Make the buffers' attributes their first r rows."""
        if r == self._n_rows:
            return
        if r > self._capacity:
            self.allocate(r)
        self._n_rows = 0  # an interruption leaves some attributes unset; the next call sets them all
        for name, buffer in self._buffers.items():
            setattr(self, name, buffer[:r, ...])
        self._n_rows = r

    def loss(self, F: Array, batch: Batch) -> tuple[Scalar, Array]:
        """Loss of the predictions F and its gradient D = dL/dF; overwrites F.

        With members, the loss is the mean of theirs, and D holds the gradient of each member's own loss.
        """
        share = 0.5 / self.n_members  # <E, D> / 2 is the sum of the members' losses
        return self.am.squared_loss(F, batch.y, batch.s, batch.factor, share, self._stage, self._D), self._D

    def loss_and_gradient(self, batch: Batch) -> Scalar:
        """Loss of the batch at `theta`; writes its gradient to `gradient`."""
        loss, D = self.loss(self.forward(batch.X), batch)
        self.backward(batch.X, D)
        return loss

    def curvature_product(self, batch: Batch, direction: Array) -> None:
        """Write the Gauss-Newton matrix of the batch times `direction` to `gradient`.

        With J_i the derivative of f(x_i) by theta, the matrix is (c / r) sum_i s_i J_i^T J_i: the Hessian of L without
        the second derivatives of f (the whole Hessian for the linear model). J v is the derivative of the forward pass
        in the direction v, and J^T D is the backward pass.
        """
        self.forward(batch.X)
        J_v = self.forward_derivative(batch.X, direction)
        self.am.weigh(J_v, batch.s, batch.factor, out=self._D)  # D_i = (c / r) s_i J_i v
        self.backward(batch.X, self._D)  # J^T D

    @classmethod
    def predict(cls, am: ArrayModule, layers: Layers, X: Array) -> Array:
        """Predictions (n_samples, n_outputs) of `layers` for the raw X, a block of rows at a time."""
        dtype = am.xp.result_type(X.dtype, layers[0][0].dtype)
        out = am.empty((X.shape[0], layers[-1][0].shape[1]), dtype)
        width = sum(W.shape[1] for W, _ in layers)  # numbers that a row needs in the buffers
        for rows in blocks_of(X.shape[0], max(1, am.block_scale * _PREDICT_BLOCK // width)):
            cls.evaluate(am, layers, X[rows, ...], out[rows, ...])
        return out
