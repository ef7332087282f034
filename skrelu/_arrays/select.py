"""The array or frame library of the data: the only place that uses scikit-learn's private Array API tools."""

from __future__ import annotations

import functools
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.stable.v2.dependencies import is_polars_lazyframe
from scipy.sparse import issparse
from sklearn import config_context, get_config
from sklearn.utils._array_api import (
    _is_numpy_namespace,
    array_api_compat,
    check_same_namespace,
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)

from skrelu._arrays import (
    Array,
    ArrayModule,
    CupyArrayModule,
    GenericArrayModule,
    NumpyArrayModule,
    SparseArrayModule,
    is_cupy_array,
)

__all__ = [
    "check_fitted_namespace",
    "dtypes_for",
    "follow",
    "namespace_of",
    "refuse_lazy",
    "select",
    "to_numpy",
    "trainer",
]


def _is_plain(X: Any) -> bool:
    """Whether X is a NumPy array and dispatch is off: then all questions here have one answer, found in no time."""
    return type(X) is np.ndarray and not get_config()["array_api_dispatch"]


def namespace_of(X: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Namespace, device and dtypes of training (widest first) for `X`; NumPy's unless dispatch is on."""
    if _is_plain(X):
        return _plain_namespace()
    _check_dispatch(X)
    return _namespace_of(X)


@functools.cache
def _plain_namespace() -> tuple[Any, Any, tuple[Any, ...]]:
    with config_context(array_api_dispatch=False):
        return _namespace_of(np.zeros(1))


def _namespace_of(X: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    xp, _, device = get_namespace_and_device(X)
    return xp, device, tuple(t for t in supported_float_dtypes(xp, device) if t in (xp.float64, xp.float32))


def dtypes_for(X: Any, float_dtypes: tuple[Any, ...]) -> list[Any]:
    """The dtypes that validation may choose from, with float32 first for a frame of float32 columns.

    Validation keeps the dtype of an array if it is among them, and takes the first one for most frames.
    """
    if not isinstance(X, np.ndarray) and not hasattr(X, "__array_namespace__"):
        frame = nw.from_native(X, pass_through=True)
        if isinstance(frame, nw.DataFrame) and frame.columns and all(t == nw.Float32 for t in frame.schema.values()):
            return [np.float32, np.float64]
    return list(float_dtypes)


def refuse_lazy(**arrays: Any) -> None:
    """Raise TypeError, naming the remedy, for a polars LazyFrame, which has no rows yet."""
    for name, a in arrays.items():
        if type(a) is not np.ndarray and is_polars_lazyframe(a):
            raise TypeError(f"{name} is a polars LazyFrame, which has no rows yet: pass {name}.collect().")


def follow(*arrays: Any, xp: Any, device: Any) -> tuple[Any, ...]:
    """The arrays, two or more, moved to the namespace and device of X, unless all are NumPy's; None stays None."""
    if all(a is None or _is_plain(a) for a in arrays) and xp is _plain_namespace()[0]:
        return arrays
    _check_dispatch(*arrays)
    if _is_numpy_namespace(xp) and not any(hasattr(a, "__array_namespace__") or is_cupy_array(a) for a in arrays):
        return arrays
    return tuple(move_to(*arrays, xp=xp, device=device))


def select(X: Array) -> ArrayModule:
    """The array module of the library and device of `X`."""
    if _is_plain(X):
        return NumpyArrayModule()
    if issparse(X):
        return SparseArrayModule()
    xp, _, device = get_namespace_and_device(X)
    if _is_numpy_namespace(xp):
        return NumpyArrayModule()
    if is_cupy_array(X):
        return CupyArrayModule(device)
    return GenericArrayModule(xp, device, to_numpy=lambda a: move_to(a, xp=np, device="cpu"))


def trainer(home: ArrayModule, array_module: str) -> ArrayModule:
    """The array module that trains on an X of the array module `home`."""
    return home if array_module == "auto" or isinstance(home, CupyArrayModule) else CupyArrayModule(None)


def to_numpy(a: Array) -> np.ndarray:
    """A fitted array as a NumPy array, with dispatch on or off."""
    if isinstance(a, np.ndarray):
        return a
    with config_context(array_api_dispatch=True):
        return select(a).to_numpy(a)


def check_fitted_namespace(X: Any, estimator: Any, attribute: str, method: str) -> None:
    """Raise ValueError unless `X` is from the namespace and device that `estimator` was fitted with."""
    fitted = getattr(estimator, attribute)
    if _is_plain(X) and type(fitted) is np.ndarray:
        return
    if not array_api_compat.is_array_api_obj(fitted):
        raise TypeError(
            f"Coefficients of this {type(estimator).__name__} were set to a {type(fitted).__name__}, and must be "
            "arrays: set them to np.asarray of it."
        )
    _check_dispatch(X)
    check_same_namespace(X, estimator, attribute=attribute, method=method)
    if _is_numpy_namespace(get_namespace_and_device(X)[0]) and not isinstance(fitted, np.ndarray):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on arrays of {type(fitted).__module__.split('.')[0]}, so "
            f"{method} needs such arrays, too, with sklearn.set_config(array_api_dispatch=True); "
            f"got {type(X).__name__} with dispatch off."
        )


def _check_dispatch(*arrays: Any) -> None:
    """Raise ValueError for a CuPy array that scikit-learn would not recognize."""
    if any(is_cupy_array(a) for a in arrays) and not get_config()["array_api_dispatch"]:
        raise ValueError(
            "CuPy arrays need scikit-learn's Array API support: set the environment variable SCIPY_ARRAY_API=1 before "
            "scikit-learn is imported, and call sklearn.set_config(array_api_dispatch=True). To train on the GPU "
            "without it, pass NumPy arrays (cupy.asnumpy) and array_module='cupy'."
        )
