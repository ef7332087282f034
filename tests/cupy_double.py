"""A stand-in for CuPy on a machine without a GPU: its rules are CuPy's, its numbers are computed by NumPy.

What is checked here is what CuPy would check, or what a GPU would make wrong in silence:

- Arrays of NumPy are refused wherever CuPy refuses them; ``__array__`` raises.
- What makes the host wait for the device is written down in `waits`, with the function of skrelu that did it.
- What is launched on the device is in `launches`.
- `RawModule` compiles the CUDA source with the machine's C++ compiler and runs it thread by thread. Arguments are
  passed as CuPy passes them, and have to be of the types of the kernel's parameters. New memory holds NaN, and has a
  border that no kernel may write to.
- With `memory_limit` set, more bytes at once are CuPy's OutOfMemoryError.
"""

import ctypes
import functools
import re
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np

from cuda_on_cpu import compiled, kernels_of

waits = []  # one entry for each time that the host waited
launches = []  # the names of the functions and kernels that ran on the device
transfers = []  # the numbers of bytes that went from the host to the device
memory_limit = None
available = True

_BORDER = 256  # bytes before and after an allocation
_MARK = 0xA5


def _wait(how):
    frame = sys._getframe(1)
    while frame and "skrelu" not in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    waits.append((frame.f_code.co_name if frame else None, how))


class OutOfMemoryError(MemoryError):
    pass


def _allocate(shape, dtype, order="C"):
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if memory_limit is not None and size > memory_limit:
        raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: 0 bytes).")
    memory = np.full(size + 2 * _BORDER, _MARK, dtype=np.uint8)
    a = memory[_BORDER : _BORDER + size].view(dtype).reshape(shape, order=order)
    if dtype.kind == "f":
        a[...] = np.nan
    return ndarray._of(a, memory)


def _new(values):
    """An array on the device with the values of a NumPy array, in an allocation of its own."""
    values = np.asarray(values)
    order = "F" if values.flags.f_contiguous and not values.flags.c_contiguous else "C"
    out = _allocate(values.shape, values.dtype, order)
    out._a[...] = values
    return out


def _host(x, accepts_numpy=False):
    """Arguments as NumPy knows them; arrays of NumPy are refused."""
    if isinstance(x, ndarray):
        return x._a
    if isinstance(x, np.ndarray) and not accepts_numpy:
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, list | tuple):
        return type(x)(_host(item, accepts_numpy) for item in x)
    if isinstance(x, slice):
        return slice(*(_host(item) for item in (x.start, x.stop, x.step)))
    return x


def _device(x):
    """What NumPy returned, on the device."""
    if isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "biufc":
        return _new(x)
    if isinstance(x, list | tuple):
        return type(x)(_device(item) for item in x)
    return x


def _on_device(function):
    def on_device(*args, out=None, **kwargs):
        launches.append(on_device.__name__)
        kwargs = {key: _host(value) for key, value in kwargs.items()}
        if out is not None:
            kwargs["out"] = _host(out)
        result = function(*_host(args), **kwargs)
        return _device(result) if out is None else out

    on_device.__name__ = getattr(function, "__name__", "function")
    return on_device


def _operator(name, in_place=False):
    def operator(self, *others):
        launches.append(name)
        result = getattr(self._a, name)(*_host(others))
        if in_place and result is not NotImplemented:
            return self
        return _device(result)

    return operator


class Flags(types.SimpleNamespace):
    def __getitem__(self, name):
        return getattr(self, name.lower())


class ndarray:
    """An array that only the device reads; `_a` is for the functions of this file."""

    __array_priority__ = 100

    def __new__(cls, shape, dtype=float):
        return _allocate(shape, dtype)

    @classmethod
    def _of(cls, a, memory):
        self = object.__new__(cls)
        self._a, self._memory = a, memory
        return self

    def _view(self, a):
        return ndarray._of(a, self._memory)

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    T = property(lambda self: self._view(self._a.T))
    device = property(lambda self: Device())

    @property
    def flags(self):
        flags = self._a.flags
        return Flags(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous)

    # What waits for the device.

    def get(self, *args, **kwargs):
        _wait("get")
        return self._a.copy()

    def item(self):
        _wait("item")
        return self._a.item()

    def tolist(self):
        _wait("tolist")
        return self._a.tolist()

    def __float__(self):
        _wait("float")
        return float(self._a)

    def __int__(self):
        _wait("int")
        return int(self._a)

    def __bool__(self):
        _wait("bool")
        return bool(self._a)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        _wait("dlpack")
        return self._a.copy().__dlpack__()

    def __dlpack_device__(self):
        return 2, 0  # CUDA's first

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(isinstance(x, np.ndarray) for x in inputs):
            return NotImplemented
        return _on_device(getattr(ufunc, method))(*inputs, **kwargs)

    def __len__(self):
        return len(self._a)

    def __repr__(self):
        return f"double of cupy: {self._a!r}"

    def __getitem__(self, key):
        a = self._a[_host(key)]
        if isinstance(a, np.ndarray) and np.shares_memory(a, self._a):
            return self._view(a)
        return _new(a)

    def __setitem__(self, key, value):
        launches.append("__setitem__")
        self._a[_host(key)] = _host(value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def reshape(self, *shape, order="C"):
        a = self._a.reshape(*shape)
        return self._view(a) if a.size == 0 or np.shares_memory(a, self._a) else _new(a)

    def ravel(self):
        return self.reshape(-1)

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else _new(self._a.astype(dtype))

    def copy(self, order="C"):
        return _new(np.array(self._a, order=order))

    def fill(self, value):
        self._a.fill(_host(value))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        _wait("pickle")
        return _new, (self._a.copy(),)

    __hash__ = None


for _name in ("sum", "all", "any", "max", "min", "mean", "dot", "take", "transpose", "squeeze", "prod", "argmax"):
    setattr(ndarray, _name, _on_device(getattr(np.ndarray, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__"))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", _operator(f"__i{_name}__", in_place=True))
for _name in ("lt", "le", "eq", "ne", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


# Functions: NumPy's, on arrays of the device.


def _from_host(function):
    def from_host(a, *args, blocking=False, **kwargs):
        if isinstance(a, np.ndarray):
            transfers.append(a.nbytes)
        if function.__name__ == "asarray" and isinstance(a, ndarray) and kwargs.get("dtype") in (None, a.dtype):
            return a
        return _new(function(_host(a, accepts_numpy=True), *args, **kwargs))

    return from_host


def empty(shape, dtype=float, order="C"):
    return _allocate(shape, dtype, order)


def zeros(shape, dtype=float, order="C"):
    launches.append("zeros")
    out = _allocate(shape, dtype, order)
    out._a[...] = 0
    return out


def reshape(a, shape, order="C", *, copy=None):
    return a.reshape(shape)


def matmul(A, B, out=None):
    launches.append("matmul")
    if out is None:
        return _device(np.matmul(_host(A), _host(B)))
    # cuBLAS has to be able to take these as they are.
    assert out.flags.c_contiguous
    assert A.dtype == B.dtype == out.dtype
    for operand in (A, B):
        assert operand.flags.c_contiguous or operand.flags.f_contiguous, "CuPy would copy it"
        assert not np.shares_memory(operand._a, out._a)
    np.matmul(A._a, B._a, out=out._a)
    return out


def asnumpy(a):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def is_available():
    return available


# Kernels.

_SCALARS = {"long long": ctypes.c_longlong, "double": ctypes.c_double}
_POINTEES = {"float": np.float32, "double": np.float64, "long long": np.int64}


class RawModule:
    def __init__(self, *, code, options=(), backend="nvrtc"):
        assert isinstance(options, tuple)
        self.code = code
        self.threads = int(re.search(r"#define THREADS (\d+)", code)[1])
        self.kernels = kernels_of(code)

    @functools.cached_property
    def library(self):
        return compiled(self.code, self.kernels)

    def get_function(self, name):
        parameters = self.kernels[name][0]
        run = getattr(self.library, f"run_{name}")

        def kernel(grid, block, arguments):
            launches.append(name)
            assert block == (self.threads,)
            assert len(grid) == 1
            assert 0 < grid[0] < 2**31
            assert len(arguments) == len(parameters), (name, len(arguments), len(parameters))
            values = [_argument(name, a, *p) for a, p in zip(arguments, parameters, strict=True)]
            pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
            assert run(pointers, int(grid[0])) == 0, f"{name}: some threads miss a barrier"
            for a in arguments:
                if isinstance(a, ndarray):
                    borders = np.concatenate([a._memory[:_BORDER], a._memory[-_BORDER:]])
                    assert (borders == _MARK).all(), f"{name} wrote beyond its arrays"

        return kernel


def _argument(kernel, a, pointer, kind, constant):
    """The value of an argument as CuPy packs it; its type has to be that of the parameter."""
    if pointer:
        assert isinstance(a, ndarray), (kernel, kind, type(a))
        assert a.dtype == _POINTEES[kind], (kernel, kind, a.dtype)
        return ctypes.c_void_p(a._a.ctypes.data)
    assert type(a) is {"long long": int, "double": float}[kind], (kernel, kind, type(a))
    return _SCALARS[kind](a)


# The device.


class Device:
    def __init__(self, device=0):
        self.id = 0

    mem_info = property(lambda self: (1_000_000, 80_000_000_000))

    def __eq__(self, other):
        return isinstance(other, Device)

    def __hash__(self):
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def synchronize(self):
        _wait("synchronize")


class _Namespace(types.ModuleType):
    """NumPy's functions, and those of this file, as the module `name`."""

    def __init__(self, name, functions, **own):
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        for key in dir(functions):
            value = getattr(functions, key)
            if not key.startswith("_") and not isinstance(value, types.ModuleType):
                vars(self)[key] = _on_device(value) if callable(value) and not isinstance(value, type) else value
        vars(self).update(own)


@functools.cache
def modules():
    """What belongs into sys.modules."""
    cuda, device = types.ModuleType("cupy.cuda"), types.ModuleType("cupy.cuda.device")
    cuda.__path__, cuda.device, cuda.Device, device.Device = [], device, Device, Device
    cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    cuda.runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        runtimeGetVersion=lambda: 12090,
        getDeviceProperties=lambda device: {"name": b"a double: no GPU"},
    )
    own = {"array": _from_host(np.array), "asarray": _from_host(np.asarray)}
    own["ascontiguousarray"] = _from_host(np.ascontiguousarray)
    own |= {"ndarray": ndarray, "RawModule": RawModule, "cuda": cuda, "__version__": "14.2.0", "__path__": []}
    own["get_default_memory_pool"] = lambda: types.SimpleNamespace(used_bytes=lambda: 0, total_bytes=lambda: 0)
    own |= {f.__name__: f for f in (empty, zeros, reshape, matmul, asnumpy, is_available)}
    for name in ("linalg", "fft", "random"):
        own[name] = _Namespace(f"cupy.{name}", getattr(np, name))
    cupy = _Namespace("cupy", np, **own)
    inner = {f"cupy.{name}": own[name] for name in ("linalg", "fft", "random")}
    return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.device": device} | inner
