"""What both regressors share: validation, one training run, resuming it, prediction in row blocks."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skrelu._batches import Batches
from skrelu._namespaces import check_fitted_namespace, follow, namespace_of, select
from skrelu._optimizers import GradientDescent
from skrelu._plain import FullBatch, Penalty
from skrelu._problem import Problem
from skrelu._standardize import Scaling, blocks_of
from skrelu._training import train

Array = Any

# Numbers in the buffers of a block of rows: about the size of a processor's second-level cache.
_FIT_BLOCK = 2**19
_PREDICT_BLOCK = 2**17

_SCALE_REMEDY = (
    "If it stays so, the numbers are too large for their dtype: use standardize=True, float64, or divide X and y by a "
    "constant."
)


class GradientRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of the regressors trained by hand-written gradients.

    A subclass says what the model is: how it is drawn, built, published as fitted attributes, and evaluated.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "reduction": [StrOptions({"mean", "sum"})],
        "tol": [None, Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _structure: ClassVar[tuple[str, ...]]  # parameters that a resumed fit must find unchanged
    _coefficients: ClassVar[str]  # a fitted array, to know the array library by
    _curvature_rtol: ClassVar[float]  # how exactly learning_rate="auto" takes 1 / L

    alpha: Any
    fit_intercept: bool
    learning_rate: Any
    max_iter: Any
    random_state: Any
    reduction: str
    standardize: bool
    tol: float | None
    verbose: Any
    warm_start: bool

    @abstractmethod
    def _draw(self, rng: np.random.RandomState, n_features: int, n_outputs: int) -> list[np.ndarray]:
        """Initial parameters, shaped as the views of the model, drawn in float64; those of the last layer last."""

    @abstractmethod
    def _make_model(self, problem: Problem, rows: int) -> Any:
        """The model, with buffers for `rows` rows."""

    @abstractmethod
    def _publish(self, parameters: list[np.ndarray], x: Scaling, y: Scaling, store: Any) -> None:
        """Set the coefficients, each passed through `store`."""

    @abstractmethod
    def _evaluate(self, am: Any, X: Array, out: Array) -> None:
        """Write the predictions for a block of rows to `out`."""

    @property
    def _width(self) -> int:
        """Numbers that a row needs in the buffers of a block, apart from the row itself."""
        return self.n_outputs_

    def _engine(self, model: Any, batches: Batches, problem: Problem, c: float, n_iter: int | None) -> tuple[Any, int]:
        """The engine that trains, and for how many iterations: `n_iter`, or as many as the parameters say."""
        engine = self._gradient_descent(model, batches, problem, c)
        return engine, n_iter or self.max_iter

    def _batch_rows(self, problem: Problem) -> int:
        """Rows that are read at a time; by default blocks of the full batch."""
        return max(256, _FIT_BLOCK // (problem.n_features + 2 * problem.n_outputs))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the model.

        With ``warm_start=True`` training goes on where the last call ended, in the standardized coordinates of the
        first one. If it fails or is interrupted, the estimator stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training inputs. float32 and float64 are used as they are, anything else becomes float64. C-contiguous
            arrays are not copied.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. A weight of k counts as k equal rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If training diverges, with the iteration, the learning rate and the remedy; if the input is not valid.

        Warns
        -----
        ConvergenceWarning
            If `tol` is set and was not reached within `max_iter` iterations.
        """
        with self._unchanged_on_failure():
            self._run(X, y, sample_weight, resume=self.warm_start, n_iter=None, method="fit")
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one pass over X (one iteration of gradient descent), at a constant learning rate.

        The first call initializes the model and, with ``standardize=True``, takes its centring and scaling from the
        rows it is given, so these should be representative; later calls keep both. The penalty is that of the rows of
        the call. If it fails or is interrupted, the estimator stays as it was.

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
        with self._unchanged_on_failure():
            self._run(X, y, sample_weight, resume=True, n_iter=1, method="partial_fit")
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
        """
        check_is_fitted(self)
        check_fitted_namespace(X, self, self._coefficients, "predict")
        X = validate_data(self, X, reset=False, dtype=list(namespace_of(X)[2]))
        am = select(X)
        dtype = am.xp.result_type(X.dtype, getattr(self, self._coefficients).dtype)
        out = am.empty((X.shape[0], self.n_outputs_), dtype)
        rows = max(1, _PREDICT_BLOCK // self._width)
        with np.errstate(over="ignore", invalid="ignore"):  # a prediction beyond the range of floats is infinite
            for block in blocks_of(X.shape[0], rows):
                self._evaluate(am, X[block, ...], out[block, ...])
        return am.reshape(out, (X.shape[0],)) if self._state["y_ndim"] == 1 else out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    @contextmanager
    def _unchanged_on_failure(self) -> Iterator[None]:
        """Put every attribute back if the block raises. Training works on copies, so references are enough."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _validate(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, method: str) -> Problem:
        if not reset:
            check_fitted_namespace(X, self, self._coefficients, method)
        xp, device, float_dtypes = namespace_of(X)
        y, sample_weight = follow(y, sample_weight, xp=xp, device=device)
        X, y = validate_data(
            self, X, y, reset=reset, dtype=list(float_dtypes), order="C", multi_output=True, y_numeric=True
        )
        if y.ndim == 2 and y.shape[1] == 0:
            raise ValueError(f"y must have at least one column; got an array of shape {tuple(y.shape)}.")
        am = select(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=float_dtypes[0], ensure_non_negative=True)
            sample_weight = np.asarray(am.to_numpy(sample_weight), dtype=np.float64)
        dtype = np.dtype(np.float32 if X.dtype == xp.float32 else np.float64)
        return Problem(am, X, am.to_numpy(y), sample_weight, dtype)

    def _run(self, X: Any, y: Any, sample_weight: Any, *, resume: bool, n_iter: int | None, method: str) -> None:
        """One training run, from validation to fitted attributes."""
        resume = resume and hasattr(self, "_state")
        problem = self._validate(X, y, sample_weight, reset=not resume, method=method)
        if resume:
            self._check_resumable(problem)
        else:
            self._start(problem)
        state, am = self._state, problem.am
        x, y_scaling = Scaling(*state["x_scaling"]), Scaling(*state["y_scaling"])
        batches = problem.batches(x, y_scaling, ones=self.fit_intercept, rows=self._batch_rows(problem))
        model = self._make_model(problem, batches.rows)
        for view, value in zip(model.views(model.theta), state["parameters"], strict=True):
            view[...] = value
        with np.errstate(all="ignore"):  # what overflows ends as a loss that is not finite, and is reported
            self._train(model, batches, problem, n_iter)
        parameters = [am.to_numpy(view) for view in model.views(model.theta)]
        self._publish(parameters, x, y_scaling, lambda a: self._stored(a, problem))

    def _stored(self, a: np.ndarray, problem: Problem) -> Array:
        """A coefficient, in the precision of X and where X lives."""
        with np.errstate(over="ignore"):
            rounded = a.astype(problem.dtype)
        if not np.isfinite(rounded).all():
            raise ValueError(
                f"A coefficient for the raw X and y has magnitude {np.abs(a).max():.3g}, beyond the range of "
                f"{problem.dtype.name}, the dtype of X. Pass X as float64, or divide X or y by a constant."
            )
        return problem.am.from_numpy(rounded, problem.X.dtype)

    def _start(self, problem: Problem) -> None:
        """Draw the model and make the state of training: what a later call needs in order to go on exactly.

        It holds arrays, numbers and strings only, and is replaced, never written to.
        """
        x, y = problem.measure(center=self.fit_intercept) if self.standardize else problem.unscaled()
        rng = check_random_state(self.random_state)
        drawn = self._draw(rng, problem.n_features, problem.n_outputs)
        for a in drawn[1:] or drawn:
            if a.size:  # A constant output is its mean: its standardized model starts, and so stays, at zero.
                a[..., y.constant] = 0.0
        self.n_outputs_ = problem.n_outputs
        self.loss_curve_: list[float] = []
        self._state: dict[str, Any] = {
            "structure": {name: getattr(self, name) for name in self._structure},
            "dtype": problem.dtype.name,
            "y_ndim": problem.y_ndim,
            "x_scaling": [x.shift, x.scale, x.constant],
            "y_scaling": [y.shift, y.scale, y.constant],
            "parameters": [problem.am.from_numpy(a, problem.X.dtype) for a in drawn],
            "seed": int(rng.randint(np.iinfo(np.int32).max)),
            "epoch": 0,
            "optimizer": "",
            "moments": [],
            "step_count": 0,
            "mse": 0.0,
            "mse_count": 0,
        }

    def _check_resumable(self, problem: Problem) -> None:
        """Raise ValueError, naming what changed, if the earlier fit cannot be continued."""
        state = self._state
        compared = [(name, state["structure"][name], getattr(self, name)) for name in self._structure]
        compared.append(("the dtype of X", state["dtype"], problem.dtype.name))
        compared.append(("the number of outputs", self.n_outputs_, problem.n_outputs))
        compared.append(("the number of dimensions of y", state["y_ndim"], problem.y_ndim))
        for name, before, now in compared:
            if before != now:
                raise ValueError(
                    f"{type(self).__name__} cannot continue its earlier training: {name} was {before} and is {now}. "
                    "Restore it, or start anew with fit and warm_start=False."
                )

    def _train(self, model: Any, batches: Batches, problem: Problem, n_iter: int | None) -> None:
        """Train `model` in place; set the state, and the attributes that tell how it went."""
        c = 1.0 if self.reduction == "mean" else 2.0 * problem.total_weight
        engine, max_iter = self._engine(model, batches, problem, c, n_iter)
        initial = model.am.to_numpy(model.theta).copy()
        loss_curve = list(self.loss_curve_)
        tol = self.tol if n_iter is None else None
        patience = getattr(self, "n_iter_no_change", 1)
        result = train(
            engine, loss_curve, max_iter=max_iter, tol=tol, n_iter_no_change=patience, verbose=int(self.verbose)
        )
        if result.status == "diverged" or not model.am.is_finite(model.theta):
            model.theta[...] = model.am.from_numpy(initial, model.theta.dtype)
            raise ValueError(self._divergence_message(engine, len(loss_curve) - 1))
        if result.status == "max_iter" and tol is not None:
            warnings.warn(
                f"{type(self).__name__} did not reach tol={tol} within max_iter={max_iter} iterations: the loss of the "
                f"last one is {loss_curve[-1]:.3g}. Increase max_iter or tol, or set tol=None to ask for no tolerance.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.loss_curve_ = loss_curve
        self.best_loss_ = min(loss_curve)
        self.n_iter_ = len(loss_curve)
        self.learning_rate_ = engine.rate
        self.alpha_ = float(engine.penalty.strength) * problem.total_weight
        optimizer, penalty = engine.optimizer, engine.penalty
        self._state = self._state | {
            "parameters": list(model.views(model.theta)),
            "epoch": engine.epoch,
            "optimizer": optimizer.name,
            "moments": optimizer.moments,
            "step_count": optimizer.step_count,
            "mse": float(penalty.mse),
            "mse_count": penalty.count,
        }

    def _restore(self, optimizer: Any) -> Any:
        """Give `optimizer` the moments of the state, if they are an optimizer's of its kind."""
        if self._state["optimizer"] == optimizer.name and len(self._state["moments"]) == len(optimizer.moments):
            optimizer.step_count = self._state["step_count"]
            for mine, stored in zip(optimizer.moments, self._state["moments"], strict=True):
                mine[...] = stored
        return optimizer

    def _gradient_descent(self, model: Any, batches: Batches, problem: Problem, c: float) -> FullBatch:
        """The engine of gradient descent, with its rate: 1 / L at the initial weights for "auto"."""
        alpha = 0.0 if self.alpha == "auto" else float(self.alpha)
        penalty = Penalty(model, fixed=alpha / problem.total_weight, c=c, total_weight=problem.total_weight)
        optimizer = GradientDescent(model.am, model.theta, getattr(self, "momentum", 0.0))
        engine = FullBatch(model, batches, self._restore(optimizer), penalty, c=c, epoch=self._state["epoch"])
        if self.learning_rate != "auto":
            engine.rate = float(self.learning_rate)
        elif self._state["epoch"]:
            engine.rate = self.learning_rate_
        else:
            curvature = engine.curvature(self._curvature_rtol)
            if not np.isfinite(curvature):
                raise ValueError(
                    "learning_rate='auto' needs the curvature of the loss at the initial weights, which is not finite. "
                    f"{_SCALE_REMEDY}"
                )
            engine.rate = 1.0 / curvature if curvature > 0.0 else 1.0
        return engine

    def _divergence_message(self, engine: Any, iteration: int) -> str:
        message = (
            f"{type(self).__name__} diverged: the loss is not finite at iteration {iteration} with "
            f"learning_rate={engine.rate:.6g}. "
        )
        if isinstance(engine, FullBatch):
            with np.errstate(all="ignore"):
                curvature = engine.curvature(0.01)
            if np.isfinite(curvature) and curvature > 0.0 and engine.rate > 1.0 / curvature:
                return message + (
                    f"Gradient descent is stable up to about 2/L = {2.0 / curvature:.3g} at the start: choose "
                    f"a smaller learning_rate, or 'auto' for 1/L = {1.0 / curvature:.3g}."
                )
        return message + f"Choose a smaller learning_rate. {_SCALE_REMEDY}"
