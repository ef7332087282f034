"""The array functions for any Array API namespace, written for clarity: the reference for the fast ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

Array = Any


class GenericArrayModule:
    """Array functions on the namespace `xp` and the given device.

    Parameters
    ----------
    xp : module
        An Array API namespace with in-place assignment.
    device : device
        Where arrays are made.
    to_numpy : callable
        Copies an array of `xp` to a NumPy array.
    """

    block_scale = 1  # how much larger blocks of rows are than those that suit a processor's cache
    is_asynchronous = False  # whether scalars are computed later, so that asking for their values waits
    takes_in_one_pass = False  # whether `take_rows` standardizes at no cost, and products want adjacent rows

    def __init__(self, xp: Any, device: Any, to_numpy: Callable[[Array], np.ndarray]) -> None:
        self.xp = xp
        self.device = device
        self._to_numpy = to_numpy

    @property
    def accumulator(self) -> Any:
        """The dtype that sums of losses are kept in: float64, where the namespace has it."""
        return getattr(self.xp, "float64", self.xp.float32)

    def session(self) -> Any:
        """Context in which the functions are called."""
        return nullcontext()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.empty(shape, dtype=dtype, device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype=dtype, device=self.device)

    def from_numpy(self, a: np.ndarray, dtype: Any) -> Array:
        """A new array with the values of `a`; `dtype` None keeps its dtype."""
        out = self.xp.asarray(np.ascontiguousarray(a), device=self.device, copy=True)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a: Array) -> np.ndarray:
        """A NumPy array with the values of `a`, not to be written to."""
        return np.asarray(a) if isinstance(a, np.ndarray | np.generic) else self._to_numpy(a)

    def to_float64(self, a: Any) -> Any:
        """`a`, of this library or NumPy's, in float64, in a library with NumPy's operators that `to_numpy` knows."""
        return np.asarray(self.to_numpy(a), dtype=np.float64)

    def reshape(self, a: Array, shape: tuple[int, ...]) -> Array:
        """A view of `a`, which is contiguous."""
        return self.xp.reshape(a, shape)

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
        """out = (X[rows] - shift) * inverse_scale; `rows` a slice or indices, `stage` scratch for some rows."""
        taken = X[rows, ...] if isinstance(rows, slice) else self.xp.take(X, rows, axis=0)
        if shift is not None:
            taken = taken - shift
        out[...] = taken if inverse_scale is None else taken * inverse_scale

    def matmul(self, A: Array, B: Array, out: Array) -> None:
        """out = A B."""
        out[...] = self.xp.matmul(A, B)

    def matmul_transposed(self, A: Array, B: Array, out: Array) -> None:
        """out = A^T B."""
        out[...] = self.xp.matmul(self.xp.matrix_transpose(A), B)

    def add(self, A: Array, B: Array) -> None:
        """A += B, in place; B may be a row."""
        A[...] = A + B

    def sum_rows(self, A: Array, out: Array) -> None:
        """out = the sum of the rows of A."""
        out[...] = self.xp.sum(A, axis=0)

    def relu(self, Z: Array, mask: Array, out: Array) -> None:
        """out = max(Z, 0); mask = 1 where Z is positive, else 0, in the dtype of Z; `out` may be Z."""
        mask[...] = self.xp.astype(Z > 0, Z.dtype)
        out[...] = Z * mask

    def rectify(self, Z: Array) -> None:
        """Z = max(Z, 0), in place."""
        Z[...] = self.xp.where(Z > 0, Z, self.xp.zeros_like(Z))

    def residual(self, F: Array, y: Array, out: Array) -> None:
        """out = F - y."""
        out[...] = F - y

    def weigh(self, E: Array, weight: Array | None, factor: float, out: Array) -> None:
        """out = factor * weight * E, one weight per row; None stands for ones."""
        out[...] = (E if weight is None else weight * E) * factor

    def dot(self, A: Array, B: Array, factor: float, stage: Array) -> Any:
        """A scalar: factor * the sum of A * B, summed in the dtype `accumulator`; `stage` is scratch space of it."""
        product = self.xp.astype(A, self.accumulator) * self.xp.astype(B, self.accumulator)
        return factor * float(self.xp.sum(product))

    def squared_loss(self, F: Array, y: Array, weight: Array | None, factor: float, stage: Array, out: Array) -> Any:
        """F = F - y, in place; out = factor * weight * F; returns the scalar <F, out> / 2, summed as by `dot`."""
        self.residual(F, y, out=F)
        self.weigh(F, weight, factor, out=out)
        return self.dot(F, out, 0.5, stage=stage)

    def mask_backward(self, E: Array, W: Array, mask: Array, out: Array) -> None:
        """out = (E W^T) * mask."""
        out[...] = self.xp.matmul(E, self.xp.matrix_transpose(W)) * mask

    def multiply(self, A: Array, B: Array, out: Array) -> None:
        """out = A * B, broadcasting rows or columns of B."""
        out[...] = A * B

    def add_scaled(self, x: Array, factor: Any, stage: Array, out: Array) -> None:
        """out += factor * x, in place, `factor` a float or a scalar; `stage` is scratch space like x."""
        out[...] = out + factor * x

    def descend(self, theta: Array, g: Array, velocity: Array | None, rate: float, momentum: float) -> None:
        """velocity = momentum * velocity + g; theta -= rate * velocity, in place. Overwrites g."""
        if velocity is not None:
            velocity[...] = momentum * velocity + g
            g = velocity
        theta[...] = theta - rate * g

    def adam(
        self, theta: Array, g: Array, m: Array, v: Array, beta1: float, beta2: float, rate: float, epsilon: float
    ) -> None:
        """m = beta1 m + g; v = beta2 v + g^2; theta -= rate * m / (sqrt(v) + epsilon), in place. Overwrites g."""
        m[...] = beta1 * m + g
        v[...] = beta2 * v + g * g
        theta[...] = theta - rate * (m / (self.xp.sqrt(v) + epsilon))

    def scalar(self, value: float) -> Any:
        """A number as the functions here return it: a float, or one that the device knows and the host need not."""
        return value

    def to_floats(self, scalars: list[Any]) -> list[float]:
        """The values of scalars; waits until they are computed."""
        return scalars

    def add_product(self, a: Any, b: Any, factor: float) -> Any:
        """The scalar a + factor * b, of two scalars."""
        return a + factor * b

    def running_mean(
        self, mean: Any, value: Any, factor: float, weight: float, slope: float, limit: float
    ) -> tuple[Any, Any]:
        """The scalars mean + weight * (factor * value - mean), of two scalars, and min(slope * that, limit)."""
        mean = mean + weight * (factor * value - mean)
        return mean, min(slope * mean, limit)

    def is_finite(self, a: Array) -> bool:
        """Whether all entries are finite."""
        return bool(self.xp.all(self.xp.isfinite(a)))
