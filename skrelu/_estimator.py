"""What both regressors share: `fit` reads rows, trains a model and publishes the outcome; `predict`; tags."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from skrelu._arrays import Array, ArrayModule
from skrelu._coefficients import numbers_of, refuse_unfitted, resumed_state
from skrelu._decorators import calling_back, fitting, public
from skrelu._engines.recipe import Recipe
from skrelu._inputs import read_resumed_rows, read_rows, read_validation_set
from skrelu._models.base import Layers, Model
from skrelu._other_names import hint_for_parameter, hint_for_value
from skrelu._predictions import evaluated
from skrelu._rows.fingerprint import checksum
from skrelu._rows.rows import Rows
from skrelu._training.callbacks import Callbacks
from skrelu._training.curve import as_list, extended, length
from skrelu._training.early_stopping import filled, naming_the_validation_set
from skrelu._training.run import Outcome, train
from skrelu._training.state import TrainingState, check_resumable, first_state


def _warn(outcome: Outcome) -> None:
    """Issue the warnings of an outcome, at the line that called `fit` or `partial_fit`."""
    caller = 5  # frames: this function, fit, its decorator, scikit-learn's context around it, the caller
    for message in outcome.warnings:
        warnings.warn(message, ConvergenceWarning, stacklevel=caller)
    for message in outcome.notes:
        warnings.warn(message, UserWarning, stacklevel=caller)


class GradientRegressor(CallbackSupportMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Base class of the regressors trained by hand-written gradients.

    A subclass says which model and recipe its parameters stand for, and how the trained layers become attributes.
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

    _published_names: ClassVar[tuple[str, str]]  # of the attributes of the coefficients
    _coefficients: ClassVar[str]  # the fitted array whose library `predict` and a resumed fit must match

    learning_rate: float | Literal["auto"]
    array_module: Literal["auto", "cupy"]
    random_state: int | np.random.RandomState | None
    warm_start: bool

    fit_intercept: bool

    _state: TrainingState
    _checksum: int  # of the coefficients that the state belongs to
    _y_ndim: int
    n_iter_: int
    learning_rate_: float
    alpha_: float
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: np.ndarray

    @abstractmethod
    def _recipe(self) -> Recipe:
        """The parameters that say how to train."""

    @abstractmethod
    def _structure(self, rows: Rows, earlier: dict[str, Any] | None) -> dict[str, Any]:
        """What a resumed fit must find unchanged; `earlier` is that of the fit to resume."""

    @abstractmethod
    def _model(self, rows: Rows, structure: dict[str, Any]) -> Model:
        """The model for these rows."""

    @abstractmethod
    def _published(self, outcome: Outcome, rows: Rows) -> dict[str, Any]:
        """The coefficients as fitted attributes, in the library and the dtype of X."""

    @abstractmethod
    def _layers(self) -> Layers:
        """The coefficients that the fitted attributes have now; ValueError if their shapes are not the model's."""

    @abstractmethod
    def _predict(self, am: ArrayModule, X: Array) -> Array:
        """Predictions of shape (n_samples, n_outputs)."""

    @fitting
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the model.

        With ``warm_start=True`` training resumes where the last call ended, in its standardized coordinates. If `fit`
        fails, the estimator stays as it was (a RandomState passed as `random_state` has advanced). After an
        interruption, the completed iterations are kept. Callbacks set with `set_callbacks` are called in each
        iteration.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training inputs. float32 and float64 are used as they are; anything else becomes float64. C-contiguous
            arrays are not copied. pandas, polars and pyarrow tables are accepted. A sparse matrix or array becomes CSR
            and is read in dense or sparse batches; only the shortcut of gradient descent for X with fewer rows than
            columns makes it dense as a whole. Dates and text are an error.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. A weight of k counts as k equal rows in the objective and its penalty:
            exactly for full-batch training; minibatches are composed differently. Divide weights that are not counts by
            their mean.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Inputs of a validation set. Its loss after each iteration becomes `validation_loss_curve_`. It must be from
            the array library and device of X and is converted to the dtype of X. A Pipeline transforms it like X with
            ``transform_input=["X_val"]``.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Targets of the validation set; required with `X_val`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Non-negative weights of the rows of the validation set, not all zero.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If training diverges: the message names the iteration, the learning rate and the remedy. If the input is not
            valid.
        KeyboardInterrupt
            If it is interrupted. The estimator is fitted by the completed iterations; without any, it stays as it was.

        Warns
        -----
        ConvergenceWarning
            If `tol` is set and was not reached within `max_iter` iterations. If training went wrong: the loss rose to
            more than twice its first value and the model is worse than a constant; the loss came to rest above that of
            a constant; or nine of ten hidden units are inactive on every training row and cannot learn.
        UserWarning
            If the validation set seems to be in other units than X and y, or sample weights look like shares.
        """
        validation_set = X_val, y_val, sample_weight_val
        with self._replaced_on_success() as fitted, np.errstate(all="ignore"):  # overflow is found and reported
            outcome = fitted._train(self._recipe(), X, y, sample_weight, validation_set, resume=self.warm_start)
            _warn(outcome)
        self._raise_if_interrupted(outcome)
        return self

    @fitting
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over X (one iteration of gradient descent), at a constant learning rate.

        The first call initializes the model; it may have a single row. The rows of all calls are one stream: the
        penalty counts them, and with ``standardize=True`` training is centered and scaled by the mean and the standard
        deviation of all rows so far. For that, the weights are adjusted such that the predictions stay the same. (If
        the scale of a feature jumps by more than a tenth in a call, or ten times for the linear model, by that much
        only.) Chunks that come again in the same order count once, and chunks of fewer than ten rows each time.

        Calls on the same rows are the iterations of one `fit` at a constant rate: after it they resume it exactly, and
        from the start they are exactly what `fit` with ``precompute=False`` does. After `early_stopping` training
        resumes from the last iteration. If a call fails, or is interrupted, the estimator stays as it was. A call takes
        the same time and memory however many came before; `loss_curve_` keeps one number of each.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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

        Warns
        -----
        ConvergenceWarning
            Once, if the loss of a call is more than 20 times that of the first call and of a constant: training
            diverges, or the rows are far from those before.
        """
        self._validate_params()  # the decorator skips it for a fitted estimator
        recipe = self._recipe()
        if recipe.early_stopping:
            raise ValueError(
                "partial_fit does not support early_stopping=True: it has no validation set. Set early_stopping=False."
            )
        with self._replaced_on_success() as fitted, np.errstate(all="ignore"):  # overflow is found and reported
            outcome = fitted._train(recipe.single_pass(), X, y, sample_weight, (None, None, None), resume=True)
            if outcome.status == "interrupted":
                raise KeyboardInterrupt
            _warn(outcome)
        return self

    @public
    def predict(self, X: Any) -> Any:
        """Predict targets, a block of rows at a time.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        return evaluated(self, X, type(self)._predict)[0]

    def set_params(self, **params: Any) -> Self:
        """Set parameters; an unknown name is an error, which says what MLPRegressor's names are called here.

        Parameters
        ----------
        **params : dict
            Parameters of the estimator.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If the estimator has no such parameter.
        """
        try:
            return super().set_params(**params)
        except ValueError:
            for name in params:
                if hint := hint_for_parameter(name, self._get_param_names()):
                    raise ValueError(f"Invalid parameter {name!r} for {type(self).__name__}.{hint}") from None
            raise

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            refused = [name for name in self._get_param_names() if f"The '{name}' parameter" in str(error)]
            hints = [hint_for_value(name, getattr(self, name)) for name in refused]
            raise InvalidParameterError(f"{error}{''.join(hints)}") from None

    @property
    def loss_curve_(self) -> list[float]:
        """Loss of each iteration."""
        return as_list(self._state["loss_curve"])

    @loss_curve_.setter
    def loss_curve_(self, losses: Sequence[float]) -> None:
        self._state = {**self._state, "loss_curve": extended([], losses)}

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """Validation loss of each iteration, NaN for those without a validation set."""
        curve = self._state["validation_loss_curve"]
        return None if curve is None else filled(curve, self.n_iter_)

    @property
    def best_loss_(self) -> float:
        """The smallest of `loss_curve_`."""
        return min(self.loss_curve_)

    @property
    def _kept_iteration(self) -> int | None:
        """Index of the iteration that early stopping kept, for `LossCurveDisplay`; None without early stopping."""
        best, curve = self._state["best"], self.validation_loss_curve_
        if best is None or curve is None:
            return None
        return best["start"] + int(np.nanargmin(curve[best["start"] :]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.sparse = True
        return tags

    def _shallow_copy(self) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    @contextmanager
    def _replaced_on_success(self) -> Iterator[Self]:
        """A copy to train; its attributes become those of the estimator, all at once, if the block does not raise.

        So a call that fails leaves no trace, and threads that fit or use one estimator never see half a model. Training
        replaces attributes and writes to none of them, so a shallow copy is enough.
        """
        copy = self._shallow_copy()
        yield copy
        self.__dict__ = copy.__dict__

    @calling_back
    def _train(
        self, recipe: Recipe, X: Any, y: Any, sample_weight: Any, validation_set: tuple[Any, Any, Any], *, resume: bool
    ) -> Outcome:
        """Read the input, train, and publish the fitted attributes."""
        if resume and not (resume := hasattr(self, "_state")):
            refuse_unfitted(self)
        if resume:
            method = "partial_fit" if recipe.is_single_pass else "fit"
            rows = read_resumed_rows(self, X, y, sample_weight, attribute=self._coefficients, method=method)
        else:
            rows = read_rows(self, X, y, sample_weight, reset=True)
        held_out = read_validation_set(self, *validation_set, X_train=X, rows=rows)
        structure = self._structure(rows, self._state["structure"] if resume else None) | {
            "the dtype of X": rows.dtype.name,
            "the number of outputs": rows.n_outputs,
            "the number of dimensions of y": rows.y_ndim,
        }
        callbacks = None
        with rows.am.session():
            if resume:
                check_resumable(self._state, type(self).__name__, structure)
            model = self._model(rows, structure)
            state, published = resumed_state(self, model, rows) if resume else (self._first_state(model, structure), [])
            if not recipe.is_single_pass and hasattr(self, "_skl_callbacks"):
                callbacks = Callbacks(self, X, y, sample_weight, lambda outcome: self._attributes(outcome, rows))
            try:
                outcome = train(model, recipe, rows, held_out, state, published, callbacks)
            except ValueError:
                rows.refuse_missing()  # the reason, if there is a missing value
                if held_out:
                    with naming_the_validation_set():
                        held_out.refuse_missing()
                raise
            self.__dict__.update(self._attributes(outcome, rows))
        if callbacks is not None:
            callbacks.finish()
        return outcome

    def _first_state(self, model: Model, structure: dict[str, Any]) -> TrainingState:
        return first_state(model, structure, check_random_state(self.random_state))

    def _attributes(self, outcome: Outcome, rows: Rows) -> dict[str, Any]:
        """The fitted attributes."""
        state, published = outcome.state, self._published(outcome, rows)
        return {
            **published,
            "n_iter_": length(state["loss_curve"]),
            "learning_rate_": outcome.learning_rate,
            "alpha_": outcome.alpha,
            "n_outputs_": rows.n_outputs,
            "_y_ndim": rows.y_ndim,
            "_state": state,
            "_checksum": checksum(*numbers_of(published, self._published_names, rows.home)),
        }

    def _raise_if_interrupted(self, outcome: Outcome) -> None:
        if outcome.status == "interrupted":
            raise KeyboardInterrupt(
                f"{type(self).__name__} was interrupted and keeps what was completed: it is fitted by n_iter_="
                f"{self.n_iter_} iterations. fit with warm_start=True resumes from there."
            )
