"""The array functions for CuPy: NumPy's in-place code on the GPU, and one kernel for each elementwise function.

Scalars are float64 arrays of one number on the GPU. Only `to_floats`, `to_numpy` and `is_finite` wait for the GPU.

Kernels are compiled without fused multiply-adds, so in float64 they round as NumPy does. CuPy flushes float32 results
below 1e-38 to zero. The order of a sum depends only on the number of its terms.

The first array module that is created imports CuPy.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from skrelu._arrays.base import Array, Scalar
from skrelu._arrays.numpy import NumpyArrayModule
from skrelu._arrays.sparse import dense_rows

THREADS = 256  # per block; a power of two
_MAX_BLOCKS = 1024  # a few per multiprocessor; for larger arrays, each thread handles several elements
_MAX_SUMS = 256  # blocks of a sum; each block computes one partial sum
_TERMS = 4  # terms per thread before a sum uses a second block

OPTIONS = ("--fmad=false",)
KERNELS = Path(__file__).with_name("kernels.cu")


def source(dtype: Any) -> str:
    """The CUDA source for matrices of this dtype."""
    T = {"float32": "float", "float64": "double"}[np.dtype(dtype).name]
    return f"#define THREADS {THREADS}\ntypedef {T} T;\n{KERNELS.read_text(encoding='utf-8')}"


def is_cupy_array(a: Any) -> bool:
    """Whether `a` is a CuPy array; does not import CuPy."""
    return isinstance(a, getattr(sys.modules.get("cupy"), "ndarray", ()))


@functools.cache
def _cupy() -> Any:
    """The module cupy; raises an error if it or a usable GPU is missing."""
    if importlib.util.find_spec("cupy") is None:
        raise ImportError(
            "array_module='cupy' needs CuPy, which is not installed: pip install 'skrelu[cuda12]', or 'skrelu[cuda13]' "
            "for CUDA 13. To train on the CPU, use array_module='auto'."
        )
    try:
        import cupy
    except Exception as error:
        raise ImportError(
            f"array_module='cupy' needs CuPy, which is installed but cannot be imported: {error}. To train on the CPU, "
            "use array_module='auto'."
        ) from error
    if not cupy.is_available():
        raise RuntimeError(
            "array_module='cupy' needs an NVIDIA GPU, and CuPy finds none that it can use. Check the driver with "
            "nvidia-smi, and check the variable CUDA_VISIBLE_DEVICES. To train on the CPU, use array_module='auto'."
        )
    return cupy


@functools.cache
def _kernel(dtype: str, name: str) -> Any:
    return _module(dtype).get_function(name)


@functools.cache
def _module(dtype: str) -> Any:
    return _cupy().RawModule(code=source(dtype), options=OPTIONS)


class CupyArrayModule(NumpyArrayModule):
    """The array functions on a GPU; `ArrayModule` describes each function.

    Parameters
    ----------
    device : cupy.cuda.Device or None
        The GPU; None uses the current device.
    """

    block_scale = 256
    is_asynchronous = True
    takes_in_one_pass = True

    def __init__(self, device: Any) -> None:
        self.xp = _cupy()
        self._device = device

    @contextmanager
    def session(self) -> Iterator[None]:
        try:
            with nullcontext() if self._device is None else self._device:
                yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            free, total = self.xp.cuda.Device().mem_info
            raise MemoryError(
                f"Out of GPU memory, with {free:,} of {total:,} bytes free: {error} Reduce "
                "hidden_layer_size or batch_size, pass X as float32, or pass fewer rows at a time to partial_fit."
            ) from error

    def to_numpy(self, a: Array) -> np.ndarray:
        return a.get() if isinstance(a, self.xp.ndarray) else a

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
        if not isinstance(X, self.xp.ndarray):  # a CSR matrix of the CPU: only the dense rows pass to the GPU
            dense = np.empty(out.shape, X.dtype)
            dense_rows(X, rows if isinstance(rows, slice) else self.to_numpy(rows), None, None, dense)
            X, rows = self.xp.asarray(dense), slice(0, len(dense))
        is_slice = isinstance(rows, slice)
        rows, start = (self._no_rows, rows.start) if is_slice else (rows.astype(np.int64, copy=False), 0)
        steps = [step // X.itemsize for step in X.strides]
        scaling = [(X, 0) if a is None else (a, 1) for a in (shift, inverse_scale)]
        self._run(
            *("take_rows", out.dtype, out.size),
            *(X, *steps, rows, int(not is_slice), int(start), *scaling[0], *scaling[1]),
            *(out, out.strides[0] // out.itemsize, *out.shape),
        )

    def matmul(self, A: Array, B: Array, out: Array) -> None:
        self.xp.matmul(A, B, out=out)

    def matmul_transposed(self, A: Array, B: Array, out: Array) -> None:
        self.xp.matmul(A.T, B, out=out)

    def sum_rows(self, A: Array, out: Array) -> None:
        self.xp.sum(A, axis=0, out=out)

    def relu(self, Z: Array, mask: Array | None, out: Array) -> None:
        if mask is None:
            self.xp.maximum(Z, 0, out=out)
            return
        self._run("relu", Z.dtype, Z.size, *_contiguous(Z, mask, out), Z.size)

    def dot(self, A: Array, B: Array, factor: float, stage: Array) -> Scalar:
        sums = self._sums(A.size)
        self._run("dot", A.dtype, sums.size * THREADS, *_contiguous(A, B), float(factor), sums, A.size)
        return self._total(sums)

    def squared_loss(
        self, F: Array, y: Array, weight: Array | None, factor: float, share: float, stage: Array, out: Array
    ) -> Scalar:
        sums = self._sums(F.size)
        weighing = (F, 0, 0) if weight is None else (weight, weight.strides[0] // weight.itemsize, 1)
        self._run(
            *("squared_loss", F.dtype, sums.size * THREADS),
            *(*_contiguous(F), y, y.strides[0] // y.itemsize, y.shape[1], *weighing, float(factor), float(share)),
            *(*_contiguous(out), sums, *F.shape),
        )
        return self._total(sums)

    def mask_backward(self, E: Array, W: Array, mask: Array, out: Array) -> None:
        if W.shape[1] == 1:
            self._run("mask_backward", E.dtype, out.size, *_contiguous(E, W, mask, out), *out.shape)
            return
        self.xp.matmul(E, W.T, out=out)
        self.xp.multiply(out, mask, out=out)

    def multiply_blocks(self, A: Array, D: Array, out: Array) -> None:
        self._run("multiply_blocks", A.dtype, A.size, *_contiguous(A, D, out), *A.shape, D.shape[1])

    # On a GPU one product with zeros costs less than M launches; and products want adjacent rows.

    def matmul_blocks(self, A: Array, W: Array, stage: Array, out: Array) -> None:
        self.place_blocks(W, stage)
        self.xp.matmul(A, stage, out=out)

    def matmul_transposed_blocks(self, A: Array, D: Array, stage: Array, out: Array) -> None:
        self.xp.matmul(A.T, D, out=stage)
        self.take_blocks(stage, out)

    def mask_backward_blocks(self, E: Array, W: Array, stage: Array, mask: Array, out: Array) -> None:
        self.place_blocks(W, stage)
        self.xp.matmul(E, stage.T, out=out)
        self.xp.multiply(out, mask, out=out)

    def place_blocks(self, W: Array, out: Array) -> None:
        n_blocks = out.shape[1] // W.shape[1]
        sizes = *W.shape, W.shape[0] // n_blocks, out.shape[1]
        self._run("place_blocks", W.dtype, W.size, *_contiguous(W, out), *sizes)

    def take_blocks(self, A: Array, out: Array) -> None:
        n_blocks = A.shape[1] // out.shape[1]
        sizes = *out.shape, out.shape[0] // n_blocks, A.shape[1]
        self._run("take_blocks", A.dtype, out.size, *_contiguous(A, out), *sizes)

    def dot_columns(self, A: Array, B: Array, out: Array) -> None:
        self._run("dot_columns", A.dtype, A.shape[1], *_contiguous(A, B, out), *A.shape)

    def dot_rows(self, A: Array, B: Array, factor: float, out: Array) -> None:
        A, B, out = _contiguous(A, B, out)
        self._run("dot_rows", A.dtype, A.shape[0], A, B, float(factor), out, *A.shape)

    def flush(self, a: Array, threshold: float, stage: Array) -> None:
        self._run("flush", a.dtype, a.size, *_contiguous(a), float(threshold), a.size)

    def add_scaled(self, x: Array, factor: Scalar, stage: Array, out: Array) -> None:
        by, scale = (1.0, factor) if isinstance(factor, self.xp.ndarray) else (float(factor), self._one)
        source, target = _contiguous(x, out)
        self._run("add_scaled", x.dtype, x.size, source, by, scale, target, x.size)

    def descend(self, theta: Array, g: Array, velocity: Array | None, rate: float, momentum: float) -> None:
        arrays = _contiguous(theta, g, g if velocity is None else velocity)
        scalars = int(velocity is not None), float(rate), float(momentum)
        self._run("descend", theta.dtype, theta.size, *arrays, *scalars, theta.size)

    def adam(
        self, theta: Array, g: Array, m: Array, v: Array, beta1: float, beta2: float, rate: float, epsilon: float
    ) -> None:
        scalars = (float(a) for a in (beta1, beta2, rate, epsilon))
        self._run("adam", theta.dtype, theta.size, *_contiguous(theta, g, m, v), *scalars, theta.size)

    def scalar(self, value: float) -> Scalar:
        return self.xp.full((), value, dtype=np.float64)

    def to_floats(self, scalars: list[Scalar]) -> list[float]:
        return self.xp.stack(scalars).get().tolist()

    def add_product(self, a: Scalar, b: Scalar, factor: float) -> Scalar:
        out = self.xp.empty((), np.float64)
        self._run("add_product", np.float64, 1, a, b, float(factor), out)
        return out

    def running_mean(
        self, mean: Scalar, value: Scalar, factor: float, weight: float, slope: float, limit: float
    ) -> tuple[Scalar, Scalar]:
        updated, bounded = self.xp.empty((), np.float64), self.xp.empty((), np.float64)
        scalars = (float(a) for a in (factor, weight, slope, limit))
        self._run("running_mean", np.float64, 1, mean, value, *scalars, updated, bounded)
        return updated, bounded

    def is_finite(self, a: Array) -> bool:
        return bool(self.xp.isfinite(a).all().get())

    @functools.cached_property
    def _one(self) -> Array:
        return self.scalar(1.0)

    @functools.cached_property
    def _no_rows(self) -> Array:
        return self.xp.zeros((1,), np.int64)

    def _sums(self, size: int) -> Array:
        """A new array for the partial sums of `size` terms."""
        return self.xp.empty((min(max(1, -(-size // (_TERMS * THREADS))), _MAX_SUMS),), np.float64)

    def _total(self, sums: Array) -> Scalar:
        out = sums.reshape(()) if sums.size == 1 else self.xp.empty((), np.float64)
        if sums.size > 1:
            self._run("total", np.float64, 1, sums, out, sums.size)
        return out

    def _run(self, name: str, dtype: Any, size: int, *arguments: Any) -> None:
        """Launch a kernel for `size` elements with up to one thread per element."""
        if size:
            blocks = min(-(-size // THREADS), _MAX_BLOCKS)
            _kernel(np.dtype(dtype).name, name)((blocks,), (THREADS,), arguments)


def _contiguous(*arrays: Array) -> tuple[Array, ...]:
    assert all(a.flags.c_contiguous for a in arrays), "the kernels require C-contiguous arrays"
    return arrays
