"""The array functions that training is written in: their types, and what each of them computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np

# An array of any library: NumPy, CuPy, PyTorch, array-api-strict, ... They share no type.
Array: TypeAlias = Any
# A float or, on a device, an array of one number that the host need not wait for.
Scalar: TypeAlias = Any
# A dtype of any library.
DType: TypeAlias = Any


class ArrayModule(Protocol):
    """Array functions at the size of one GPU kernel, for one array library.

    Every function writes its last argument, ``out``, and every argument that its description calls "in place".
    ``out`` never overlaps an operand unless it is that operand. Matrices are 2-D and C-contiguous; ``X`` may be any
    view with rows along axis 0. Numbers that are not called scalars are Python floats.

    Nothing here knows what a network is: the mathematics is in ``_models``.
    """

    xp: Any  # the namespace of the array library
    block_scale: int  # blocks of rows are this much larger than those that suit a processor's cache
    is_asynchronous: bool  # the device computes scalars later, so reading their values waits
    takes_in_one_pass: bool  # `take_rows` standardizes at no cost, and products want adjacent rows

    @property
    def accumulator(self) -> DType:
        """The dtype that sums of losses are kept in: float64, or float32 in a namespace without float64."""
        ...

    def session(self) -> AbstractContextManager[None]:
        """Context in which the functions are called."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: DType) -> Array:
        """A new array of unspecified numbers."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: DType) -> Array:
        """A new array of zeros."""
        ...

    def copy(self, a: Array) -> Array:
        """A new array with the values of `a`."""
        ...

    def from_numpy(self, a: np.ndarray, dtype: DType) -> Array:
        """A new array with the values of `a`; `dtype` None keeps its dtype."""
        ...

    def to_numpy(self, a: Array) -> np.ndarray:
        """A NumPy array with the values of `a`, for reading only."""
        ...

    def to_float64(self, a: Array) -> Array:
        """`a`, of this library or NumPy's, in float64, in a library with NumPy's operators that `to_numpy` accepts."""
        ...

    def reshape(self, a: Array, shape: tuple[int, ...]) -> Array:
        """A view of `a`, which is contiguous."""
        ...

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
        """out = (X[rows] - shift) * inverse_scale; `rows` a slice or indices, `stage` scratch space for some rows."""
        ...

    def matmul(self, A: Array, B: Array, out: Array) -> None:
        """out = A B."""
        ...

    def matmul_transposed(self, A: Array, B: Array, out: Array) -> None:
        """out = A^T B."""
        ...

    def add(self, A: Array, B: Array) -> None:
        """A += B, in place; B may be a row."""
        ...

    def subtract(self, A: Array, B: Array, out: Array) -> None:
        """out = A - B; B may be a row."""
        ...

    def multiply(self, A: Array, B: Array, out: Array) -> None:
        """out = A * B; B may be a row or a column."""
        ...

    def add_scaled(self, x: Array, factor: Scalar, stage: Array, out: Array) -> None:
        """out += factor * x, in place; `stage` is scratch space like x."""
        ...

    def sum_rows(self, A: Array, out: Array) -> None:
        """out = the sum of the rows of A."""
        ...

    def relu(self, Z: Array, mask: Array | None, out: Array) -> None:
        """out = max(Z, 0); mask = 1 where Z is positive, else 0, in the dtype of Z; `out` may be Z."""
        ...

    def mask_backward(self, E: Array, W: Array, mask: Array, out: Array) -> None:
        """out = (E W^T) * mask."""
        ...

    def multiply_blocks(self, A: Array, D: Array, out: Array) -> None:
        """out = A * D, where D (r, M) has one column for each of M equal blocks of columns of A."""
        ...

    def matmul_blocks(self, A: Array, W: Array, stage: Array, out: Array) -> None:
        """out_k = A_k W_k for M blocks: of columns of A (r, K), of rows of W (K, m), of columns of `out` (r, M m).

        `stage` is scratch space (K, M m), zero outside its diagonal blocks, and stays so.
        """
        ...

    def matmul_transposed_blocks(self, A: Array, D: Array, stage: Array, out: Array) -> None:
        """out_k = A_k^T D_k for M blocks: of columns of A (r, K) and D (r, M m), of rows of `out` (K, m).

        `stage` is scratch space (K, M m).
        """
        ...

    def mask_backward_blocks(self, E: Array, W: Array, stage: Array, mask: Array, out: Array) -> None:
        """out_k = (E_k W_k^T) * mask_k for M blocks: of columns of E (r, M m), mask and `out` (r, K), of rows of W.

        `stage` is scratch space (K, M m), zero outside its diagonal blocks, and stays so.
        """
        ...

    def place_blocks(self, W: Array, out: Array) -> None:
        """Diagonal blocks of `out` (K, M m) = the M blocks of rows of W (K, m); the rest of `out` stays."""
        ...

    def take_blocks(self, A: Array, out: Array) -> None:
        """The M blocks of rows of `out` (K, m) = the diagonal blocks of A (K, M m)."""
        ...

    def dot_columns(self, A: Array, B: Array, out: Array) -> None:
        """out_j = sum over i of A_ij B_ij."""
        ...

    def dot_rows(self, A: Array, B: Array, factor: float, out: Array) -> None:
        """out_i = factor * sum over j of A_ij B_ij."""
        ...

    def flush(self, a: Array, threshold: float, stage: Array) -> None:
        """Set the numbers of `a` that are smaller than `threshold` to 0, in place; `stage` is scratch space like a."""
        ...

    def weigh(self, E: Array, weight: Array | None, factor: float, out: Array) -> None:
        """out = factor * weight * E, with one weight per row; None stands for ones."""
        ...

    def dot(self, A: Array, B: Array, factor: float, stage: Array) -> Scalar:
        """The scalar factor * sum of A * B, summed in the dtype `accumulator`; `stage` is scratch space of it."""
        ...

    def squared_loss(
        self, F: Array, y: Array, weight: Array | None, factor: float, share: float, stage: Array, out: Array
    ) -> Scalar:
        """F = F - y, in place; out = factor * weight * F; returns the scalar share * <F, out>, summed as by `dot`.

        F may have several blocks of columns, each with as many as y.
        """
        ...

    def descend(self, theta: Array, g: Array, velocity: Array | None, rate: float, momentum: float) -> None:
        """velocity = momentum * velocity + g; theta -= rate * velocity, in place. Overwrites g."""
        ...

    def adam(
        self, theta: Array, g: Array, m: Array, v: Array, beta1: float, beta2: float, rate: float, epsilon: float
    ) -> None:
        """m = beta1 m + g; v = beta2 v + g^2; theta -= rate * m / (sqrt(v) + epsilon), in place. Overwrites g."""
        ...

    def scalar(self, value: float) -> Scalar:
        """A number as the functions here return it."""
        ...

    def to_floats(self, scalars: list[Scalar]) -> list[float]:
        """The values of scalars; waits until they are computed."""
        ...

    def add_product(self, a: Scalar, b: Scalar, factor: float) -> Scalar:
        """The scalar a + factor * b."""
        ...

    def running_mean(
        self, mean: Scalar, value: Scalar, factor: float, weight: float, slope: float, limit: float
    ) -> tuple[Scalar, Scalar]:
        """The scalars mean + weight * (factor * value - mean), and min(slope * that, limit)."""
        ...

    def is_finite(self, a: Array) -> bool:
        """Whether all entries are finite."""
        ...


class HostScalars:
    """The functions of scalars, for array modules whose scalars are Python floats."""

    def scalar(self, value: float) -> Scalar:
        return value

    def to_floats(self, scalars: list[Scalar]) -> list[float]:
        return scalars

    def add_product(self, a: Scalar, b: Scalar, factor: float) -> Scalar:
        return a + factor * b

    def running_mean(
        self, mean: Scalar, value: Scalar, factor: float, weight: float, slope: float, limit: float
    ) -> tuple[Scalar, Scalar]:
        mean = mean + weight * (factor * value - mean)
        return mean, min(slope * mean, limit)


def diagonal_blocks(W: Array, A: Array) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the diagonal blocks of A (K, M m), each of which has the m columns of W (K, m)."""
    m = W.shape[1]
    M = A.shape[1] // m
    h = W.shape[0] // M
    return ((slice(k * h, (k + 1) * h), slice(k * m, (k + 1) * m)) for k in range(M))
