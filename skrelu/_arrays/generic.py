"""The array functions for any Array API namespace, written for clarity: the reference for the fast ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from skrelu._arrays.base import Array, DType, HostScalars, Scalar, diagonal_blocks


class GenericArrayModule(HostScalars):
    """Array functions on the namespace `xp` and a device; `ArrayModule` says what each computes.

    Parameters
    ----------
    xp : module
        An Array API namespace with in-place assignment.
    device : device
        Where arrays are made.
    to_numpy : callable
        Copies an array of `xp` to a NumPy array.
    """

    block_scale = 1
    is_asynchronous = False
    takes_in_one_pass = False

    def __init__(self, xp: Any, device: Any, to_numpy: Callable[[Array], np.ndarray]) -> None:
        self.xp = xp
        self.device = device
        self._to_numpy = to_numpy

    @property
    def accumulator(self) -> DType:
        return getattr(self.xp, "float64", self.xp.float32)

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def empty(self, shape: tuple[int, ...], dtype: DType) -> Array:
        return self.xp.empty(shape, dtype=dtype, device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: DType) -> Array:
        return self.xp.zeros(shape, dtype=dtype, device=self.device)

    def copy(self, a: Array) -> Array:
        return self.xp.asarray(a, copy=True)

    def from_numpy(self, a: np.ndarray, dtype: DType) -> Array:
        out = self.xp.asarray(np.ascontiguousarray(a), device=self.device, copy=True)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a) if isinstance(a, np.ndarray | np.generic) else self._to_numpy(a)

    def to_float64(self, a: Array) -> Array:
        return np.asarray(self.to_numpy(a), dtype=np.float64)

    def reshape(self, a: Array, shape: tuple[int, ...]) -> Array:
        return self.xp.reshape(a, shape)

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
        taken = X[rows, ...] if isinstance(rows, slice) else self.xp.take(X, rows, axis=0)
        if shift is not None:
            taken = taken - shift
        out[...] = taken if inverse_scale is None else taken * inverse_scale

    def matmul(self, A: Array, B: Array, out: Array) -> None:
        out[...] = self.xp.matmul(A, B)

    def matmul_transposed(self, A: Array, B: Array, out: Array) -> None:
        out[...] = self.xp.matmul(self.xp.matrix_transpose(A), B)

    def add(self, A: Array, B: Array) -> None:
        A[...] = A + B

    def subtract(self, A: Array, B: Array, out: Array) -> None:
        out[...] = A - B

    def multiply(self, A: Array, B: Array, out: Array) -> None:
        out[...] = A * B

    def add_scaled(self, x: Array, factor: Scalar, stage: Array, out: Array) -> None:
        out[...] = out + factor * x

    def sum_rows(self, A: Array, out: Array) -> None:
        out[...] = self.xp.sum(A, axis=0)

    def relu(self, Z: Array, mask: Array | None, out: Array) -> None:
        if mask is None:
            out[...] = self.xp.maximum(Z, self.xp.zeros_like(Z))
            return
        mask[...] = self.xp.astype(Z > 0, Z.dtype)
        out[...] = Z * mask

    def mask_backward(self, E: Array, W: Array, mask: Array, out: Array) -> None:
        out[...] = self.xp.matmul(E, self.xp.matrix_transpose(W)) * mask

    def multiply_blocks(self, A: Array, D: Array, out: Array) -> None:
        blocks = self.xp.reshape(A, (*D.shape, -1)) * D[:, :, None]
        out[...] = self.xp.reshape(blocks, A.shape)

    def matmul_blocks(self, A: Array, W: Array, stage: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(W, out):
            out[:, columns] = self.xp.matmul(A[:, rows], W[rows, :])

    def matmul_transposed_blocks(self, A: Array, D: Array, stage: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(out, D):
            out[rows, :] = self.xp.matmul(self.xp.matrix_transpose(A[:, rows]), D[:, columns])

    def mask_backward_blocks(self, E: Array, W: Array, stage: Array, mask: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(W, E):
            product = self.xp.matmul(E[:, columns], self.xp.matrix_transpose(W[rows, :]))
            out[:, rows] = product * mask[:, rows]

    def place_blocks(self, W: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(W, out):
            out[rows, columns] = W[rows, :]

    def take_blocks(self, A: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(out, A):
            out[rows, :] = A[rows, columns]

    def dot_columns(self, A: Array, B: Array, out: Array) -> None:
        out[...] = self.xp.sum(A * B, axis=0)

    def dot_rows(self, A: Array, B: Array, factor: float, out: Array) -> None:
        out[...] = factor * self.xp.sum(A * B, axis=1)

    def flush(self, a: Array, threshold: float, stage: Array) -> None:
        a[...] = a * self.xp.astype(self.xp.abs(a) >= threshold, a.dtype)

    def weigh(self, E: Array, weight: Array | None, factor: float, out: Array) -> None:
        out[...] = (E if weight is None else weight * E) * factor

    def dot(self, A: Array, B: Array, factor: float, stage: Array) -> Scalar:
        product = self.xp.astype(A, self.accumulator) * self.xp.astype(B, self.accumulator)
        return factor * float(self.xp.sum(product))

    def squared_loss(
        self, F: Array, y: Array, weight: Array | None, factor: float, share: float, stage: Array, out: Array
    ) -> Scalar:
        n_blocks = F.shape[1] // y.shape[1]
        self.subtract(F, y if n_blocks == 1 else self.xp.concat([y] * n_blocks, axis=1), out=F)
        self.weigh(F, weight, factor, out=out)
        return self.dot(F, out, share, stage=stage)

    def descend(self, theta: Array, g: Array, velocity: Array | None, rate: float, momentum: float) -> None:
        if velocity is not None:
            velocity[...] = momentum * velocity + g
            g = velocity
        theta[...] = theta - rate * g

    def adam(
        self, theta: Array, g: Array, m: Array, v: Array, beta1: float, beta2: float, rate: float, epsilon: float
    ) -> None:
        m[...] = beta1 * m + g
        v[...] = beta2 * v + g * g
        theta[...] = theta - rate * (m / (self.xp.sqrt(v) + epsilon))

    def is_finite(self, a: Array) -> bool:
        return bool(self.xp.all(self.xp.isfinite(a)))
