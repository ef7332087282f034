"""Set up before scikit-learn or SciPy is imported: without it a quarter of scikit-learn's checks skip in silence."""

import importlib.util
import os
import shutil
import sys
from collections import Counter

import pytest

assert "scipy" not in sys.modules, "SCIPY_ARRAY_API has to be set before SciPy is imported"
os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core: BLAS threads of all of them would wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
pytest.register_assert_rewrite("array_cases", "problems")

EXAMPLES_NEED = {
    "skrelu._tools.loss_curve": "matplotlib",
    "skrelu._tools.learning_rate": "matplotlib",
    "skrelu._tools.onnx.to_onnx": "onnx",
    "skrelu._tools.onnx.register_onnx_converters": "skl2onnx",
}


def pytest_configure(config):
    """The default run draws a tenth of the random cases."""
    if "not exhaustive" in config.option.markexpr:
        os.environ.setdefault("SKRELU_CASES", "0.1")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items):
    """Mark the cases that `one_in` leaves out, and skip the examples of docstrings whose optional library is absent."""
    seen = Counter()
    for item in items:
        for marker in item.iter_markers("one_in"):
            function = item.nodeid.partition("[")[0]
            if seen[function] % marker.args[0]:
                item.add_marker(pytest.mark.exhaustive)
            seen[function] += 1
        for start, library in EXAMPLES_NEED.items():
            if item.name.startswith(start) and importlib.util.find_spec(library) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {library}"))


@pytest.fixture(scope="session")
def one_torch_thread():
    """On small arrays, torch's threads spend the time in waiting for each other, most of all on a busy machine."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def compat_modules_of_cupy():
    """Take the modules out of scikit-learn and SciPy that hold the functions of the CuPy they have found."""
    found = {name: module for name, module in sys.modules.items() if ".array_api_compat.cupy" in name}
    for name in found:
        package, _, last = name.rpartition(".")
        vars(sys.modules[package]).pop(last, None)
    for name in found:
        del sys.modules[name]
    return found


@pytest.fixture
def cupy_double(monkeypatch):
    """The stand-in for CuPy, as the module that ``import cupy`` finds."""
    from skrelu._arrays import cupy as _cupy

    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the CUDA source cannot be run on the CPU")
    import cupy_double as double

    def forget():
        for function in (_cupy._cupy, _cupy._module, _cupy._kernel):
            function.cache_clear()

    forget()
    of_a_gpu = compat_modules_of_cupy()
    for name, module in double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for record in (double.waits, double.launches, double.transfers):
        record.clear()
    yield double
    forget()
    compat_modules_of_cupy()
    for name, module in of_a_gpu.items():
        package, _, last = name.rpartition(".")
        sys.modules[name] = module
        setattr(sys.modules[package], last, module)
