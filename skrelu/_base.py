"""What both regressors share: validation, one training run, resuming it, prediction in row blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skrelu._namespaces import (
    check_fitted_namespace,
    dtypes_for,
    follow,
    namespace_of,
    refuse_lazy,
    select,
    trainer,
)
from skrelu._problem import Problem
from skrelu._run import TrainingRun
from skrelu._state import check_resumable
from skrelu._training import Status
from skrelu._validation import hold_out, naming_the_validation_set

Array = Any


def _beyond_the_range(X: np.ndarray, predicted: np.ndarray) -> str:
    row = int(np.argmin(np.isfinite(predicted).all(axis=1)))
    remedy = "Pass X as float64, or leave" if predicted.dtype == np.float32 else "Leave"
    return (
        f"The prediction for row {row} is beyond the range of {predicted.dtype.name}: the largest magnitude in this "
        f"row of X is {np.abs(X[row]).max():.3g}. {remedy} out rows that are not measurements."
    )


class GradientRegressor(TrainingRun, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Base class of the regressors trained by hand-written gradients.

    A subclass says what the model is: how it is drawn, built, published as fitted attributes, and evaluated.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "array_module": [StrOptions({"auto", "cupy"})],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "reduction": [StrOptions({"mean", "sum"})],
        "tol": [None, Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Where the HTML representation links to: the documentation has no public address yet. Once it has one this is
    # "https://ADDRESS/.../{estimator_module}.{estimator_name}.html", with both names filled in by scikit-learn.
    _doc_link_module = "skrelu"
    _doc_link_template = ""

    _parameter_names: ClassVar[tuple[str, ...]]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the model.

        With ``warm_start=True`` training goes on where the last call ended, in the standardized coordinates of the
        first one. If it fails, the estimator stays as it was (a RandomState passed as `random_state` has moved on); if
        it is interrupted, the iterations that were completed are kept. Callbacks that were set with `set_callbacks` are
        called for each iteration.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training inputs. float32 and float64 are used as they are, anything else becomes float64. C-contiguous
            arrays are not copied. Frames of pandas, polars and pyarrow are taken, sparse matrices are not.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. A weight of k counts as k equal rows: in the objective and its penalty,
            and exactly where all rows are in one batch; minibatches are of other rows then. Divide weights that are
            not counts by their mean.
        X_val : array-like of shape (n_val, n_features), default=None
            Inputs of a validation set, whose loss after each iteration becomes `validation_loss_curve_`. From the array
            library and device of X; converted to the dtype of X. A Pipeline transforms it as it does X with
            ``transform_input=["X_val"]``.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Targets of the validation set; needed with `X_val`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Non-negative weights of the rows of the validation set, not all zero.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If training diverges, with the iteration, the learning rate and the remedy; if the input is not valid.
        KeyboardInterrupt
            If it is interrupted, so that a search or a program ends: the estimator is fitted by the iterations that
            were completed, and stays as it was if there are none.

        Warns
        -----
        ConvergenceWarning
            If `tol` is set and was not reached within `max_iter` iterations; or if training, of more than an iteration
            and without `early_stopping`, ended with a loss of more than twice that at its start and that of a constant.
        """
        held_out = X_val, y_val, sample_weight_val
        with self._trained_copy() as trained, np.errstate(all="ignore"):  # what overflows is found and reported
            status = trained._run(X, y, sample_weight, held_out, resume=self.warm_start, n_iter=None, method="fit")
        self._pass_on(status)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one pass over X (one iteration of gradient descent), at a constant learning rate.

        The first call initializes the model and, with ``standardize=True``, takes its centring and scaling from the
        rows it is given, so these should be representative; later calls keep both. The penalty is that of the rows of
        the call. After a `fit` on the same rows it goes on exactly; from the start it is exactly what `fit` with
        ``precompute=False`` does. If it fails, or is interrupted before its end, the estimator stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training inputs, as for `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If training diverges; if the input is not valid, or has another number of features or outputs than before.
        """
        self._validate_params()  # the decorator skips it for a fitted estimator
        if getattr(self, "early_stopping", False):
            raise ValueError(
                "partial_fit does not support early_stopping=True, whose validation set would be a part of each call's "
                "rows. Set early_stopping=False."
            )
        with self._trained_copy() as trained, np.errstate(all="ignore"):  # what overflows is found and reported
            held_out = None, None, None
            status = trained._run(X, y, sample_weight, held_out, resume=True, n_iter=1, method="partial_fit")
        self._pass_on(status)
        return self

    def predict(self, X: Any) -> Any:
        """Predict targets, a block of rows at a time.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, from the array library and device of those given to `fit`.

        Returns
        -------
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Predictions with as many dimensions as the y of `fit`, in the wider dtype of X and the coefficients.

        Raises
        ------
        ValueError
            If a prediction is too large for that dtype; if the input is not valid.
        """
        model = self._shallow_copy()  # the model of this moment, whatever another thread fits meanwhile
        check_is_fitted(model)
        refuse_lazy(X=X)
        check_fitted_namespace(X, model, self._coefficients, "predict")
        with np.errstate(all="ignore"):  # what overflows is found and reported
            X = validate_data(model, X, reset=False, dtype=dtypes_for(X, namespace_of(X)[2]))
            am = select(X)
            with am.session():
                out = model._predict(am, X)
                if not am.is_finite(out):
                    raise ValueError(_beyond_the_range(am.to_numpy(X), am.to_numpy(out)))
        return am.reshape(out, (X.shape[0],)) if model._state["y_ndim"] == 1 else out

    @property
    def best_loss_(self) -> float:
        """The smallest of `loss_curve_`."""
        return min(self.loss_curve_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """As scikit-learn's, which inspects the signature in each call: a tenth of a tiny fit."""
        if "_parameter_names" not in cls.__dict__:
            cls._parameter_names = tuple(super()._get_param_names())
        return list(cls._parameter_names)

    def _shallow_copy(self) -> Any:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    @contextmanager
    def _trained_copy(self) -> Iterator[Any]:
        """A copy to train, whose attributes the estimator takes over, all at once, if the block does not raise.

        So a call that fails leaves no trace, and threads that fit or use one estimator never see a half of a model.
        Training replaces attributes and writes to none of them, so a shallow copy is enough.
        """
        copy = self._shallow_copy()
        yield copy
        self.__dict__ = copy.__dict__

    def _pass_on(self, status: Status) -> None:
        if status == "interrupted":
            raise KeyboardInterrupt(
                f"{type(self).__name__} was interrupted and keeps what was completed: it is fitted by n_iter_="
                f"{self.n_iter_} iterations. fit with warm_start=True goes on from there."
            )

    @with_callbacks  # of the copy that is trained, which has what ends them
    def _run(
        self, X: Any, y: Any, sample_weight: Any, held_out: Any, *, resume: bool, n_iter: int | None, method: str
    ) -> Status:
        """One training run, from validation to fitted attributes; `n_iter` iterations if given."""
        resume = resume and hasattr(self, "_state")
        problem = self._validate(X, y, sample_weight, reset=not resume, method=method)
        validation = self._validate_held_out(held_out, X, problem)
        if resume:
            check_resumable(self._state, self, problem)
            seed = self._state["seed"]
        else:
            rng = check_random_state(self.random_state)
            drawn, seed = self._draw(rng, problem.n_features, problem.n_outputs), self._draw_seed(rng)
        if validation is None and n_iter is None and getattr(self, "early_stopping", False):
            problem, validation = hold_out(problem, self.validation_fraction, seed)
        if not resume:
            self._start(problem, method, drawn, seed)
        return self._train(problem, validation, n_iter, X, y, sample_weight)

    def _validate(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, method: str, dtype: Any = None) -> Problem:
        """The problem of the rows; `dtype` is that of X for the rows of a validation set, None for others."""
        refuse_lazy(X=X, y=y, sample_weight=sample_weight)
        if not reset and dtype is None:
            check_fitted_namespace(X, self, self._coefficients, method)
        xp, device, float_dtypes = namespace_of(X)
        y, sample_weight = follow(y, sample_weight, xp=xp, device=device)
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            dtype=dtypes_for(X, float_dtypes) if dtype is None else dtype,
            order="C",
            multi_output=True,
            y_numeric=True,
        )
        if issparse(y):
            raise TypeError("Sparse y is not supported, dense data is required: pass y.toarray().")
        home = select(X)
        am = trainer(home, self.array_module)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=float_dtypes[0], ensure_non_negative=True)
            sample_weight = np.asarray(home.to_numpy(sample_weight), dtype=np.float64)
        dtype = np.dtype(np.float32 if X.dtype == xp.float32 else np.float64)
        return Problem(am, home, X, home.to_numpy(y), sample_weight, dtype)

    def _validate_held_out(self, given: tuple[Any, Any, Any], X_train: Any, problem: Problem) -> Problem | None:
        """The problem of the validation set, if one was given."""
        X, y, sample_weight = given
        parameters = ("X_val", "y_val", "sample_weight_val")
        names = [name for name, value in zip(parameters, given, strict=True) if value is not None]
        if not names:
            return None
        for missing in [name for name in parameters[:2] if name not in names]:
            raise ValueError(f"{' and '.join(names)} given without {missing}: a validation set needs X_val and y_val.")
        if namespace_of(X)[:2] != namespace_of(X_train)[:2]:
            raise ValueError(
                "X_val must be from the same array library and device as X: got "
                f"{type(X).__name__} and {type(X_train).__name__}."
            )
        with naming_the_validation_set():
            held_out = self._validate(X, y, sample_weight, reset=False, method="fit", dtype=problem.X.dtype)
        if held_out.n_outputs != problem.n_outputs:
            raise ValueError(f"y_val has {held_out.n_outputs} outputs, and y has {problem.n_outputs}.")
        return held_out
