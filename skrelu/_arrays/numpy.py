"""The array functions for NumPy: in place, without allocating."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from skrelu._arrays.base import Array, DType, HostScalars, Scalar, diagonal_blocks

# Where several passes go over the same numbers, they work on this many at a time, which stay in a processor's cache.
_CACHE_NUMBERS = 2**16


class NumpyArrayModule(HostScalars):
    """Array functions that write into the caller's buffers; `ArrayModule` says what each computes.

    The functions of a minibatch step pass the output to NumPy by position: a keyword costs a few percent of a small
    step.
    """

    xp: Any = np
    block_scale = 1
    is_asynchronous = False
    takes_in_one_pass = False

    @property
    def accumulator(self) -> DType:
        return np.float64

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def empty(self, shape: tuple[int, ...], dtype: DType) -> Array:
        return self.xp.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: DType) -> Array:
        return self.xp.zeros(shape, dtype=dtype)

    def copy(self, a: Array) -> Array:
        return a.copy()

    def from_numpy(self, a: np.ndarray, dtype: DType) -> Array:
        return self.xp.array(a, dtype=dtype, order="C")

    def to_numpy(self, a: Array) -> np.ndarray:
        return a

    def to_float64(self, a: Array) -> Array:
        return self.xp.asarray(a, dtype=np.float64)

    def reshape(self, a: Array, shape: tuple[int, ...]) -> Array:
        return a.reshape(shape)

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
        if out.flags.c_contiguous and shift is None and inverse_scale is None and not isinstance(rows, slice):
            # mode="clip" because "raise" works on a copy of out; and out must be contiguous, or it is copied, too.
            X.take(rows, axis=0, out=out, mode="clip")
            return
        n_rows, step = out.shape[0], stage.shape[0]
        start = rows.start if isinstance(rows, slice) else 0
        for i in range(0, n_rows, step):
            j = min(i + step, n_rows)
            if isinstance(rows, slice):
                taken = X[start + i : start + j]
            else:
                taken = X.take(rows[i:j], axis=0, out=stage[: j - i], mode="clip")
            if shift is not None:
                taken = self.xp.subtract(taken, shift, out=stage[: j - i])
            if inverse_scale is not None:
                self.xp.multiply(taken, inverse_scale, out=out[i:j])
            else:
                self.xp.copyto(out[i:j], taken)

    def matmul(self, A: Array, B: Array, out: Array) -> None:
        # dot has less overhead, but copies a matrix whose rows are not adjacent.
        (self.xp.dot if A.flags.c_contiguous else self.xp.matmul)(A, B, out)

    def matmul_transposed(self, A: Array, B: Array, out: Array) -> None:
        (self.xp.dot if A.flags.c_contiguous else self.xp.matmul)(A.T, B, out)

    def add(self, A: Array, B: Array) -> None:
        self.xp.add(A, B, A)

    def subtract(self, A: Array, B: Array, out: Array) -> None:
        self.xp.subtract(A, B, out=out)

    def sum_rows(self, A: Array, out: Array) -> None:
        self.xp.add.reduce(A, axis=0, out=out)

    def relu(self, Z: Array, mask: Array | None, out: Array) -> None:
        if mask is None:
            self.xp.maximum(Z, 0, out=out)
            return
        # A comparison and a product take half the time of np.maximum and a comparison.
        self.xp.greater(Z, 0, mask)
        self.xp.multiply(Z, mask, out)

    def multiply_blocks(self, A: Array, D: Array, out: Array) -> None:
        shape = (*D.shape, A.shape[1] // D.shape[1])
        self.xp.multiply(A.reshape(shape), D[:, :, None], out.reshape(shape))

    def matmul_blocks(self, A: Array, W: Array, stage: Array, out: Array) -> None:
        if W.shape[1] == 1:  # one product, mostly with zeros, is faster than M narrow ones
            self.place_blocks(W, stage)
            self.xp.dot(A, stage, out)
            return
        for rows, columns in diagonal_blocks(W, out):
            self.xp.matmul(A[:, rows], W[rows], out=out[:, columns])

    def matmul_transposed_blocks(self, A: Array, D: Array, stage: Array, out: Array) -> None:
        if out.shape[1] == 1:
            self.xp.dot(A.T, D, stage)
            self.take_blocks(stage, out)
            return
        for rows, columns in diagonal_blocks(out, D):
            self.xp.matmul(A[:, rows].T, D[:, columns], out=out[rows])

    def mask_backward_blocks(self, E: Array, W: Array, stage: Array, mask: Array, out: Array) -> None:
        if W.shape[1] == 1:
            self.multiply_blocks(mask, E, out)
            self.xp.multiply(out, W[:, 0], out=out)
            return
        for rows, columns in diagonal_blocks(W, E):
            self.xp.matmul(E[:, columns], W[rows].T, out=out[:, rows])
        self.xp.multiply(out, mask, out=out)

    def place_blocks(self, W: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(W, out):
            out[rows, columns] = W[rows]

    def take_blocks(self, A: Array, out: Array) -> None:
        for rows, columns in diagonal_blocks(out, A):
            out[rows] = A[rows, columns]

    def dot_columns(self, A: Array, B: Array, out: Array) -> None:
        self.xp.einsum("ij,ij->j", A, B, out=out)

    def dot_rows(self, A: Array, B: Array, factor: float, out: Array) -> None:
        self.xp.einsum("ij,ij->i", A, B, out=out)
        self.xp.multiply(out, factor, out=out)

    def flush(self, a: Array, threshold: float, stage: Array) -> None:
        self.xp.abs(a, out=stage)
        self.xp.greater_equal(stage, threshold, out=stage)
        self.xp.multiply(a, stage, out=a)

    def weigh(self, E: Array, weight: Array | None, factor: float, out: Array) -> None:
        if weight is None:
            self.xp.multiply(E, factor, out)
        else:
            self.xp.multiply(E, weight, out=out)
            self.xp.multiply(out, factor, out=out)

    def dot(self, A: Array, B: Array, factor: float, stage: Array) -> Scalar:
        if A.itemsize == 8:  # float64; comparing dtypes takes longer
            return factor * float(self.xp.vdot(A, B))
        self.xp.multiply(A, B, out=stage, dtype=np.float64)
        return factor * float(self.xp.add.reduce(stage, axis=None))

    def squared_loss(
        self, F: Array, y: Array, weight: Array | None, factor: float, share: float, stage: Array, out: Array
    ) -> Scalar:
        if y.shape[1] == 1 or y.shape[1] == F.shape[1]:
            self.xp.subtract(F, y, F)
        else:
            blocks = F.reshape(F.shape[0], -1, y.shape[1])
            self.xp.subtract(blocks, y[:, None, :], out=blocks)
        self.weigh(F, weight, factor, out)
        return self.dot(F, out, share, stage)

    def mask_backward(self, E: Array, W: Array, mask: Array, out: Array) -> None:
        if W.shape[1] == 1:  # matmul with inner dimension 1 is three times slower than the broadcast product
            self.xp.multiply(E, W[:, 0], out=out)
        else:
            self.xp.dot(E, W.T, out=out)
        self.xp.multiply(out, mask, out=out)

    def multiply(self, A: Array, B: Array, out: Array) -> None:
        self.xp.multiply(A, B, out)

    def add_scaled(self, x: Array, factor: Scalar, stage: Array, out: Array) -> None:
        if x.ndim > 1 or x.shape[0] <= _CACHE_NUMBERS:
            self.xp.multiply(x, factor, out=stage)
            self.xp.add(out, stage, out=out)
            return
        for i in range(0, x.shape[0], _CACHE_NUMBERS):
            part = slice(i, i + _CACHE_NUMBERS)
            self.xp.multiply(x[part], factor, out=stage[part])
            self.xp.add(out[part], stage[part], out=out[part])

    def descend(self, theta: Array, g: Array, velocity: Array | None, rate: float, momentum: float) -> None:
        if velocity is None:
            velocity = g
        else:
            self.xp.multiply(velocity, momentum, out=velocity)
            self.xp.add(velocity, g, out=velocity)
        self.xp.multiply(velocity, rate, out=g)
        self.xp.subtract(theta, g, out=theta)

    def adam(
        self, theta: Array, g: Array, m: Array, v: Array, beta1: float, beta2: float, rate: float, epsilon: float
    ) -> None:
        xp = self.xp
        if theta.shape[0] > _CACHE_NUMBERS:
            for i in range(0, theta.shape[0], _CACHE_NUMBERS):
                p = slice(i, i + _CACHE_NUMBERS)
                self.adam(theta[p], g[p], m[p], v[p], beta1, beta2, rate, epsilon)
            return
        xp.multiply(m, beta1, m)
        xp.add(m, g, m)
        xp.multiply(g, g, g)
        xp.multiply(v, beta2, v)
        xp.add(v, g, v)
        xp.sqrt(v, g)
        xp.add(g, epsilon, g)
        xp.divide(m, g, g)
        xp.multiply(g, rate, g)
        xp.subtract(theta, g, theta)

    def is_finite(self, a: Array) -> bool:
        return bool(self.xp.isfinite(a).all())
