"""Set up before scikit-learn or SciPy is imported: without it a quarter of scikit-learn's checks skip in silence."""

import importlib.util
import os
import sys

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
