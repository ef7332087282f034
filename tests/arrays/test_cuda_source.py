"""The CUDA source compiles for every generation of GPUs, and what the stand-in for CuPy has, CuPy has too."""

import ctypes
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skrelu
from skrelu._arrays.cupy import OPTIONS, source


def _nvrtc():
    """NVIDIA's compiler, from its wheel; None where that is not installed."""
    for name in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue
        for folder in spec.submodule_search_locations or [] if spec else []:
            for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*")):
                return ctypes.CDLL(str(path))
    return None


needs_nvrtc = pytest.mark.skipif(_nvrtc() is None, reason="nvidia-cuda-nvrtc-cu12 is not installed")
needs_cupy = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")


def compile_cuda(code, *options):
    """The compiled program, and what the compiler said."""
    nvrtc, program, size = _nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None) == 0
    strings = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = nvrtc.nvrtcCompileProgram(program, len(options), strings)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if status != 0:
        return None, log.value.decode()
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    binary = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, binary)
    return binary.raw, log.value.decode()


@needs_nvrtc
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90"])
def test_the_source_compiles_without_a_warning(architecture, dtype):
    # CuPy adds the last two to the options that it is given.
    binary, log = compile_cuda(source(dtype), *OPTIONS, f"-arch={architecture}", "-ftz=true", "-std=c++14")
    assert binary is not None, log
    assert not log.strip("\n\0"), log
    assert binary.startswith(b"\x7fELF")
    names = re.findall(r"__global__ void (\w+)\(", source(dtype))
    assert len(names) == 17
    for name in names:
        assert f".text.{name}\0".encode() in binary, name


@needs_nvrtc
def test_a_mistake_in_the_source_is_found():
    binary, log = compile_cuda(source(np.float32).replace("long long n)", "long long N)", 1), "-arch=sm_80")
    assert binary is None
    assert "error" in log


@needs_cupy
def test_cupy_has_what_the_stand_in_has(cupy_double):
    """Names that skrelu, or scikit-learn for it, uses of CuPy; looked up in a process of its own."""
    package = Path(skrelu.__file__).parent
    text = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "generic.py")
    used = set(re.findall(r"(?:self|am)\.xp\.([A-Za-z_.]+)", text))
    assert used >= {"matmul", "ndarray", "result_type", "cuda.memory.OutOfMemoryError"}
    used = sorted(used | {"RawModule", "is_available", "cuda.Device.mem_info"})
    attributes = [name for name in vars(cupy_double.ndarray) if name not in ("_of", "_view", "__dict__", "__weakref__")]
    code = (
        "import cupy, operator\n"
        f"for name in {used!r}: operator.attrgetter(name)(cupy)\n"
        f"for name in {attributes!r}: getattr(cupy.ndarray, name)\n"
        "assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)\n"
        "print('all there', len(cupy.cuda.memory.OutOfMemoryError(12, 34).args))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("all there"), process.stdout


@needs_cupy
@pytest.mark.parametrize("name", ["TwoLayerReLURegressor", "LinearGDRegressor"])
def test_cupy_without_a_gpu(name):
    """With CuPy, and no GPU, array_module="cupy" says so, and everything else works."""
    code = f"""
import warnings; warnings.simplefilter("error")
import sys, numpy as np, skrelu
assert "cupy" not in sys.modules
X, y = np.random.default_rng(0).standard_normal((2, 30, 2))
model = skrelu.{name}(max_iter=3, random_state=0).fit(X, y)
expected = model.predict(X)
import cupy
if cupy.is_available():
    print("there is a GPU")
    sys.exit()
try:
    model.set_params(array_module="cupy").fit(X, y)
except RuntimeError as error:
    print(error)
assert (model.predict(X) == expected).all()
assert (model.set_params(array_module="auto").fit(X, y).predict(X) == expected).all()
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "there is a GPU" in process.stdout or "needs an NVIDIA GPU, and CuPy finds none" in process.stdout
