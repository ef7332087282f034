"""The array functions for CuPy: NumPy's in-place code on the GPU, with what is elementwise in one kernel each.

Scalars are arrays of one number on the GPU, in float64, and nothing waits for them but `to_floats`, `to_numpy` and
`is_finite`. Kernels are compiled without fused multiply-adds, so that in float64 they round as NumPy does; CuPy has
float32 results below 1e-38 flushed to zero. Sums are taken in an order that depends on the number of terms alone.

CuPy itself is imported when an array module is made.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from skrelu._array_module._numpy import NumpyArrayModule

Array = Any

THREADS = 256  # of a block; a power of two
_MAX_BLOCKS = 1024  # a few for every multiprocessor; threads go on with later elements
_MAX_SUMS = 256  # blocks of a sum, each of which leaves a partial sum
_TERMS = 4  # of a sum, for each thread, before there is a second block

OPTIONS = ("--fmad=false",)

# Compiled for T = float and T = double. Matrices are contiguous but for those that come with the distance of their rows
# in numbers; an argument that may be absent comes with a flag. CuPy passes Python's int as long long, float as double.
_SOURCE = """
#define EACH(i, n) \\
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < (n); i += (long long)gridDim.x * THREADS)

__device__ void reduce_block(double value, double* result) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = value;
    __syncthreads();
    for (int k = THREADS / 2; k > 0; k /= 2) {
        if (threadIdx.x < k) sums[threadIdx.x] += sums[threadIdx.x + k];
        __syncthreads();
    }
    if (threadIdx.x == 0) *result = sums[0];
}

extern "C" __global__ void take_rows(
    const T* X, long long row_step, long long column_step, const long long* rows, long long has_rows, long long start,
    const T* shift, long long has_shift, const T* inverse_scale, long long has_scale,
    T* out, long long out_step, long long n_rows, long long n_columns
) {
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns, column = i % n_columns;
        T value = X[(has_rows ? rows[row] : start + row) * row_step + column * column_step];
        if (has_shift) value -= shift[column];
        if (has_scale) value *= inverse_scale[column];
        out[row * out_step + column] = value;
    }
}

extern "C" __global__ void relu(const T* Z, T* mask, T* out, long long n) {
    EACH(i, n) {
        T z = Z[i], positive = z > (T)0 ? (T)1 : (T)0;
        mask[i] = positive;
        out[i] = z * positive;
    }
}

extern "C" __global__ void squared_loss(
    T* F, const T* y, long long y_step, const T* weight, long long weight_step, long long has_weight, double factor,
    T* out, double* sums, long long n_rows, long long n_columns
) {
    double sum = 0.0;
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns;
        T e = F[i] - y[row * y_step + i % n_columns];
        T d = has_weight ? e * weight[row * weight_step] : e;
        d *= (T)factor;
        F[i] = e;
        out[i] = d;
        sum += (double)e * (double)d;
    }
    reduce_block(sum * 0.5, sums + blockIdx.x);
}

extern "C" __global__ void dot(const T* A, const T* B, double factor, double* sums, long long n) {
    double sum = 0.0;
    EACH(i, n) sum += (double)A[i] * (double)B[i];
    reduce_block(sum * factor, sums + blockIdx.x);
}

extern "C" __global__ void total(const double* sums, double* out, long long n) {
    double sum = 0.0;
    EACH(i, n) sum += sums[i];
    reduce_block(sum, out);
}

extern "C" __global__ void mask_backward(
    const T* E, const T* W, const T* mask, T* out, long long n_rows, long long n_columns
) {
    EACH(i, n_rows * n_columns) out[i] = E[i / n_columns] * W[i % n_columns] * mask[i];
}

extern "C" __global__ void add_scaled(const T* x, double factor, const double* scale, T* out, long long n) {
    T by = (T)(factor * *scale);
    EACH(i, n) out[i] += x[i] * by;
}

extern "C" __global__ void descend(
    T* theta, const T* g, T* velocity, long long has_velocity, double rate, double momentum, long long n
) {
    EACH(i, n) {
        T u = g[i];
        if (has_velocity) {
            u = velocity[i] * (T)momentum + u;
            velocity[i] = u;
        }
        theta[i] -= u * (T)rate;
    }
}

extern "C" __global__ void adam(
    T* theta, const T* g, T* m, T* v, double beta1, double beta2, double rate, double epsilon, long long n
) {
    EACH(i, n) {
        T first = m[i] * (T)beta1 + g[i], second = v[i] * (T)beta2 + g[i] * g[i];
        m[i] = first;
        v[i] = second;
        theta[i] -= first / (sqrt(second) + (T)epsilon) * (T)rate;
    }
}

extern "C" __global__ void add_product(const double* a, const double* b, double factor, double* out) {
    EACH(i, 1) *out = *a + factor * *b;
}

extern "C" __global__ void running_mean(
    const double* mean, const double* value, double factor, double weight, double slope, double limit,
    double* new_mean, double* bounded
) {
    EACH(i, 1) {
        double updated = *mean + weight * (factor * *value - *mean), sloped = slope * updated;
        *new_mean = updated;
        *bounded = limit < sloped ? limit : sloped;
    }
}
"""


def source(dtype: Any) -> str:
    """The CUDA source for matrices of this dtype."""
    T = {"float32": "float", "float64": "double"}[np.dtype(dtype).name]
    return f"#define THREADS {THREADS}\ntypedef {T} T;\n{_SOURCE}"


def is_cupy_array(a: Any) -> bool:
    """Whether `a` is a CuPy array; CuPy is not imported to find out."""
    return isinstance(a, getattr(sys.modules.get("cupy"), "ndarray", ()))


@functools.cache
def _cupy() -> Any:
    """CuPy, with a GPU that it can use."""
    if importlib.util.find_spec("cupy") is None:
        raise ImportError(
            "array_module='cupy' needs CuPy, which is not installed: pip install 'skrelu[cuda12]', or 'skrelu[cuda13]' "
            "for CUDA 13. To train on the CPU use array_module='auto'."
        )
    try:
        import cupy
    except Exception as error:
        raise ImportError(
            f"array_module='cupy' needs CuPy, which is installed but cannot be imported: {error}. To train on the CPU "
            "use array_module='auto'."
        ) from error
    if not cupy.is_available():
        raise RuntimeError(
            "array_module='cupy' needs an NVIDIA GPU, and CuPy finds none that it can use: check the driver with "
            "nvidia-smi, and CUDA_VISIBLE_DEVICES. To train on the CPU use array_module='auto'."
        )
    return cupy


@functools.cache
def _kernel(dtype: str, name: str) -> Any:
    return _module(dtype).get_function(name)


@functools.cache
def _module(dtype: str) -> Any:
    return _cupy().RawModule(code=source(dtype), options=OPTIONS)


class CupyArrayModule(NumpyArrayModule):
    """The array functions on a GPU; `GenericArrayModule` says what each computes.

    Parameters
    ----------
    device : cupy.cuda.Device or None
        None stands for the current one.
    """

    block_scale = 256
    is_asynchronous = True
    takes_in_one_pass = True

    def __init__(self, device: Any) -> None:
        self.xp = _cupy()
        self._device = device

    @contextmanager
    def session(self) -> Any:
        try:
            with nullcontext() if self._device is None else self._device:
                yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            free, total = self.xp.cuda.Device().mem_info
            raise MemoryError(
                f"The GPU's memory does not suffice, with {free:,} of {total:,} bytes free: {error} Reduce "
                "hidden_layer_size or batch_size, pass X as float32, or pass fewer rows at a time to partial_fit."
            ) from error

    def to_numpy(self, a: Array) -> np.ndarray:
        return a.get() if isinstance(a, self.xp.ndarray) else a

    def take_rows(
        self, X: Array, rows: Any, shift: Array | None, inverse_scale: Array | None, stage: Array, out: Array
    ) -> None:
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

    def relu(self, Z: Array, mask: Array, out: Array) -> None:
        self._run("relu", Z.dtype, Z.size, *_contiguous(Z, mask, out), Z.size)

    def dot(self, A: Array, B: Array, factor: float, stage: Array) -> Any:
        sums = self._sums(A.size)
        self._run("dot", A.dtype, sums.size * THREADS, *_contiguous(A, B), float(factor), sums, A.size)
        return self._total(sums)

    def squared_loss(self, F: Array, y: Array, weight: Array | None, factor: float, stage: Array, out: Array) -> Any:
        sums = self._sums(F.size)
        weighing = (F, 0, 0) if weight is None else (weight, weight.strides[0] // weight.itemsize, 1)
        self._run(
            *("squared_loss", F.dtype, sums.size * THREADS),
            *(*_contiguous(F), y, y.strides[0] // y.itemsize, *weighing, float(factor)),
            *(*_contiguous(out), sums, *F.shape),
        )
        return self._total(sums)

    def mask_backward(self, E: Array, W: Array, mask: Array, out: Array) -> None:
        if W.shape[1] == 1:
            self._run("mask_backward", E.dtype, out.size, *_contiguous(E, W, mask, out), *out.shape)
            return
        self.xp.matmul(E, W.T, out=out)
        self.xp.multiply(out, mask, out=out)

    def add_scaled(self, x: Array, factor: Any, stage: Array, out: Array) -> None:
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

    def scalar(self, value: float) -> Any:
        return self.xp.full((), value, dtype=np.float64)

    def to_floats(self, scalars: list[Any]) -> list[float]:
        return self.xp.stack(scalars).get().tolist()

    def add_product(self, a: Any, b: Any, factor: float) -> Any:
        out = self.xp.empty((), np.float64)
        self._run("add_product", np.float64, 1, a, b, float(factor), out)
        return out

    def running_mean(
        self, mean: Any, value: Any, factor: float, weight: float, slope: float, limit: float
    ) -> tuple[Any, Any]:
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
        """Room for the partial sums of so many terms."""
        return self.xp.empty((min(max(1, -(-size // (_TERMS * THREADS))), _MAX_SUMS),), np.float64)

    def _total(self, sums: Array) -> Any:
        out = sums.reshape(()) if sums.size == 1 else self.xp.empty((), np.float64)
        if sums.size > 1:
            self._run("total", np.float64, 1, sums, out, sums.size)
        return out

    def _run(self, name: str, dtype: Any, size: int, *arguments: Any) -> None:
        """Launch a kernel with a thread for each of `size` elements, at most."""
        if size:
            blocks = min(-(-size // THREADS), _MAX_BLOCKS)
            _kernel(np.dtype(dtype).name, name)((blocks,), (THREADS,), arguments)


def _contiguous(*arrays: Array) -> tuple[Array, ...]:
    assert all(a.flags.c_contiguous for a in arrays), "the kernels do not know of strides"
    return arrays
