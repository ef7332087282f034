"""Set up before scikit-learn or SciPy is imported: without it a quarter of scikit-learn's checks skip in silence."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

assert "scipy" not in sys.modules, "SCIPY_ARRAY_API has to be set before SciPy is imported"
os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

EXAMPLES_NEED = {
    "skrelu._display": "matplotlib",
    "skrelu._search_display": "matplotlib",
    "skrelu._onnx.to_onnx": "onnx",
    "skrelu._onnx.register_onnx_converters": "skl2onnx",
}


def pytest_collection_modifyitems(items):
    """Skip the examples of docstrings whose optional library is absent."""
    for item in items:
        for start, library in EXAMPLES_NEED.items():
            if item.name.startswith(start) and importlib.util.find_spec(library) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {library}"))


def _load_double():
    if "cupy_double" not in sys.modules:
        path = Path(__file__).with_name("cupy_double.py")
        spec = importlib.util.spec_from_file_location("cupy_double", path)
        sys.modules["cupy_double"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["cupy_double"])
        sys.modules["cupy_double"].MODULES = sys.modules["cupy_double"].modules()
    return sys.modules["cupy_double"]


@pytest.fixture
def cupy_double(monkeypatch):
    """The stand-in for CuPy, as the module that ``import cupy`` finds."""
    from skrelu._array_module import _cupy

    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the CUDA source cannot be run on the CPU")
    double = _load_double()

    def forget():
        for function in (_cupy._cupy, _cupy._module, _cupy._kernel):
            function.cache_clear()

    forget()
    for name, module in double.MODULES.items():
        monkeypatch.setitem(sys.modules, name, module)
    for record in (double.waits, double.launches, double.transfers):
        record.clear()
    yield double
    forget()
