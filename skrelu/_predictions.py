"""Predictions: X is checked, functions of it are evaluated, and results that are not finite are an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from skrelu._arrays import Array, ArrayModule, canonical
from skrelu._arrays.select import check_fitted_namespace, dtypes_for, namespace_of, refuse_lazy, select
from skrelu._inputs import naming_what_is_no_number, refuse_dates

_FEW_NUMBERS = 2**12


def evaluated(estimator: Any, X: Any, *functions: Callable[[Any, ArrayModule, Array], Array]) -> list[Array]:
    """The functions of model, array module and checked X, each of which returns (n_samples, n_outputs) numbers."""
    model = estimator._shallow_copy()  # the model of this moment: another thread may fit meanwhile
    if "_state" not in model.__dict__:  # which check_is_fitted takes longer to find out
        check_is_fitted(model)
    refuse_lazy(X=X)
    check_fitted_namespace(X, model, model._coefficients, "predict")
    with np.errstate(all="ignore"):  # overflow is found and reported
        if not _needs_no_validation(model, X):
            refuse_dates(X)
            dtypes = dtypes_for(X, namespace_of(X)[2])
            with naming_what_is_no_number(X):
                X = canonical(validate_data(model, X, reset=False, dtype=dtypes, accept_sparse="csr"))
        am = select(X)
        with am.session():
            results = [function(model, am, X) for function in functions]
            for out in results:
                if not am.is_finite(out):
                    raise ValueError(_not_finite(am, X, am.to_numpy(out)))
    return [am.reshape(out, (X.shape[0],)) for out in results] if model._y_ndim == 1 else results


def _needs_no_validation(model: Any, X: Any) -> bool:
    """Whether `validate_data` would return X as it is; for few rows it takes longer than everything else."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.shape[1] == model.n_features_in_
        and 0 < X.size <= _FEW_NUMBERS
        and X.dtype in (np.float64, np.float32)
        and not hasattr(model, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def _not_finite(am: ArrayModule, X: Array, predicted: np.ndarray) -> str:
    row = int(np.argmin(np.isfinite(predicted).all(axis=1)))
    largest = np.abs(am.to_numpy(X[row : row + 1, ...])).max()
    if not np.isfinite(largest):
        return f"X contains {'NaN' if np.isnan(largest) else 'infinity'} in row {row}. Impute it, or leave out the row."
    remedy = "Pass X as float64, or leave" if predicted.dtype == np.float32 else "Leave"
    return (
        f"The prediction for row {row} is beyond the range of {predicted.dtype.name}: the largest magnitude in this "
        f"row of X is {largest:.3g}. {remedy} out rows that are not measurements."
    )
