"""Which array library the input comes from: the only place that touches scikit-learn's private Array API tools."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._array_api import (
    _is_numpy_namespace,
    check_same_namespace,
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)

from skrelu._array_module import CupyArrayModule, GenericArrayModule, NumpyArrayModule, is_cupy_array

__all__ = ["check_fitted_namespace", "follow", "namespace_of", "select", "trainer"]


def namespace_of(X: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Namespace, device and dtypes of training (widest first) for `X`; NumPy's unless dispatch is on."""
    _check_dispatch(X)
    xp, _, device = get_namespace_and_device(X)
    return xp, device, tuple(t for t in supported_float_dtypes(xp, device) if t in (xp.float64, xp.float32))


def follow(*arrays: Any, xp: Any, device: Any) -> tuple[Any, ...]:
    """The arrays, two or more, moved to the namespace and device of X, unless all are NumPy's; None stays."""
    _check_dispatch(*arrays)
    if _is_numpy_namespace(xp) and not any(hasattr(a, "__array_namespace__") or is_cupy_array(a) for a in arrays):
        return arrays
    return tuple(move_to(*arrays, xp=xp, device=device))


def select(X: Any) -> Any:
    """The array module of the library and device that `X` lives in."""
    xp, _, device = get_namespace_and_device(X)
    if _is_numpy_namespace(xp):
        return NumpyArrayModule()
    if is_cupy_array(X):
        return CupyArrayModule(device)
    return GenericArrayModule(xp, device, to_numpy=lambda a: move_to(a, xp=np, device="cpu"))


def trainer(home: Any, array_module: str) -> Any:
    """The array module that trains on an X of the array module `home`."""
    return home if array_module == "auto" or isinstance(home, CupyArrayModule) else CupyArrayModule(None)


def check_fitted_namespace(X: Any, estimator: Any, attribute: str, method: str) -> None:
    """Raise ValueError unless `X` is from the namespace and device that `estimator` was fitted with."""
    _check_dispatch(X)
    check_same_namespace(X, estimator, attribute=attribute, method=method)
    fitted = getattr(estimator, attribute)
    if _is_numpy_namespace(get_namespace_and_device(X)[0]) and not isinstance(fitted, np.ndarray):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on arrays of {type(fitted).__module__.split('.')[0]}, so "
            f"{method} needs such arrays, too, with sklearn.set_config(array_api_dispatch=True); "
            f"got {type(X).__name__} with dispatch off."
        )


def _check_dispatch(*arrays: Any) -> None:
    """Raise ValueError for a CuPy array that scikit-learn would not take as one."""
    if any(is_cupy_array(a) for a in arrays) and not get_config()["array_api_dispatch"]:
        raise ValueError(
            "CuPy arrays need scikit-learn's Array API support: set the environment variable SCIPY_ARRAY_API=1 before "
            "scikit-learn is imported, and call sklearn.set_config(array_api_dispatch=True). To train on the GPU "
            "without it, pass NumPy arrays (cupy.asnumpy) and array_module='cupy'."
        )
