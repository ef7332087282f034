"""The input of `fit` and `partial_fit`: X, y and sample weights of any kind become checked rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _check_sample_weight, validate_data

from skrelu._arrays import canonical
from skrelu._arrays.select import check_fitted_namespace, dtypes_for, follow, namespace_of, refuse_lazy, select, trainer
from skrelu._rows.rows import Rows
from skrelu._rows.sparse import SparseRows
from skrelu._training.early_stopping import naming_the_validation_set


def are_numbers(values: Any) -> bool:
    """Whether all values can be converted to floating-point numbers."""
    try:
        np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return True


def columns_without_numbers(X: Any) -> list[str] | None:
    """The names of a table's columns that are not numbers; empty if X has no names; None if all are numbers."""
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        columns = ((name, frame[name]) for name, dtype in frame.schema.items() if not dtype.is_numeric())
        return [name for name, column in columns if not are_numbers(column.to_numpy())] or None
    return None if issparse(X) or are_numbers(X) else []


@contextmanager
def naming_what_is_no_number(X: Any) -> Iterator[None]:
    """If X or y cannot be converted to numbers in the block, say which, name the columns and the remedy.

    Nothing is refused before it fails: text that holds numbers can be converted.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        is_text = "could not convert string to float" in str(error)
        is_other = any(words in str(error) for words in ("float() argument must be", "value of NA is ambiguous"))
        if not is_text and not is_other:
            raise
        kind, what = (ValueError, "text") if is_text else (TypeError, "what is not a number")
        names = columns_without_numbers(X)
        if names is None:
            raise kind(f"y holds {what}: {error}. Regression needs a number for each row.") from error
        where, columns = (f" in {', '.join(map(repr, names))}", repr(names)) if names else ("", "columns")
        if not is_text:
            raise TypeError(
                f"X holds {what}{where}: {error}. Turn it into numbers, e.g. dates into days since a start, and "
                "missing values into NaN, for SimpleImputer."
            ) from error
        raise ValueError(
            f"X holds text or categories{where}: {error}. Encode them as numbers: before the model in a pipeline, put "
            f"make_column_transformer((OneHotEncoder(handle_unknown='ignore'), {columns}), "
            "remainder='passthrough'), or OrdinalEncoder if the categories have an order."
        ) from error


def refuse_dates(X: Any) -> None:
    """Raise TypeError for dates, whose numbers would be nanoseconds, or microseconds, since 1970."""
    names: list[str] = []
    if not isinstance(X, np.ndarray):
        frame = nw.from_native(X, pass_through=True)
        schema = frame.schema if isinstance(frame, nw.DataFrame) else {}
        names = [name for name, dtype in schema.items() if dtype.is_temporal()]
    if names or (isinstance(X, np.ndarray) and X.dtype.kind in "mM"):
        raise TypeError(
            f"X holds dates or times{' in ' * bool(names)}{', '.join(map(repr, names))}. Turn them into numbers that "
            "mean something, e.g. days since a start, the month, or the sine and cosine of the hour."
        )


def check_targets(y: Any) -> None:
    """Raise an error for what gets past scikit-learn's check of y: text, dates, and missing values among objects."""
    kind = y.dtype.kind if isinstance(y, np.ndarray) else None
    if kind in {"U", "S"}:
        raise ValueError(f"y holds text (dtype {y.dtype}). Pass np.asarray(y, dtype=float) if it holds numbers.")
    if kind in {"m", "M"}:
        raise TypeError(f"y holds dates or times (dtype {y.dtype}). Pass numbers, e.g. days since a start.")
    if kind == "f" and not np.isfinite(y).all():
        what = "NaN" if np.isnan(y).any() else "infinity"
        raise ValueError(f"Input y contains {what}. Leave out the rows whose target is unknown or not finite.")


def read_rows(
    estimator: Any, X: Any, y: Any, sample_weight: Any, *, reset: bool, dtype: np.dtype | None = None
) -> Rows:
    """The rows of X, y and weights, checked by scikit-learn's rules.

    With `reset` the estimator takes number and names of the features from X; otherwise X must have them. `dtype` is the
    dtype that X becomes; None takes that of X.
    """
    refuse_lazy(X=X, y=y, sample_weight=sample_weight)
    X = canonical(X)
    xp, device, float_dtypes = namespace_of(X)
    y, sample_weight = follow(y, sample_weight, xp=xp, device=device)
    refuse_dates(X)
    with naming_what_is_no_number(X):
        X, y = validate_data(
            estimator,
            X,
            y,
            reset=reset,
            dtype=dtypes_for(X, float_dtypes) if dtype is None else dtype,
            accept_sparse="csr",
            order="C",
            multi_output=True,
            y_numeric=True,
        )
    if issparse(y):
        raise TypeError("Sparse y is not supported, dense data is required: pass y.toarray().")
    X = canonical(X)  # that of a frame of sparse columns
    home = select(X)
    y = home.to_numpy(y)
    check_targets(y)
    am = trainer(home, estimator.array_module)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=float_dtypes[0], ensure_non_negative=True)
        sample_weight = np.asarray(home.to_numpy(sample_weight), dtype=np.float64)
        if not np.isfinite(sample_weight).all():
            raise ValueError("sample_weight contains NaN or infinity. Leave out the rows without a weight.")
    precision = np.dtype(np.float32 if X.dtype == xp.float32 else np.float64)
    rows = SparseRows if issparse(X) else Rows
    return rows(am, home, X, y, sample_weight, precision)


def read_resumed_rows(estimator: Any, X: Any, y: Any, sample_weight: Any, *, attribute: str, method: str) -> Rows:
    """The same for `method` of a fitted estimator: X must be of the library and device of the fitted `attribute`."""
    refuse_lazy(X=X, y=y, sample_weight=sample_weight)
    check_fitted_namespace(X, estimator, attribute, method)
    return read_rows(estimator, X, y, sample_weight, reset=False)


def read_validation_set(estimator: Any, X: Any, y: Any, sample_weight: Any, *, X_train: Any, rows: Rows) -> Rows | None:
    """The rows of the validation set, if one was given: of the library and dtype of `X_train`, the X of the rows."""
    given = {"X_val": X, "y_val": y, "sample_weight_val": sample_weight}
    names = [name for name, value in given.items() if value is not None]
    if not names:
        return None
    for missing in [name for name in ("X_val", "y_val") if name not in names]:
        raise ValueError(f"{' and '.join(names)} given without {missing}: a validation set needs X_val and y_val.")
    if namespace_of(X)[:2] != namespace_of(X_train)[:2]:
        raise ValueError(
            "X_val must be from the same array library and device as X: got "
            f"{type(X).__name__} and {type(X_train).__name__}."
        )
    with naming_the_validation_set():
        held_out = read_rows(estimator, X, y, sample_weight, reset=False, dtype=rows.X.dtype)
    if held_out.n_outputs != rows.n_outputs:
        raise ValueError(f"y_val has {held_out.n_outputs} outputs, and y has {rows.n_outputs}.")
    return held_out
