"""What both regressors share: validation, one training run, resuming it, prediction in row blocks."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skrelu._batches import Batches
from skrelu._cost import SHORTCUTS
from skrelu._namespaces import check_fitted_namespace, follow, namespace_of, select, trainer
from skrelu._plain import SCALE_REMEDY, Penalty
from skrelu._problem import Problem
from skrelu._standardize import Scaling, blocks_of
from skrelu._state import check_resumable, new_state
from skrelu._threads import blas_threads
from skrelu._training import train

Array = Any

_PREDICT_BLOCK = 2**17  # numbers in the buffers of a block of rows, to stay within a processor's cache


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
        "array_module": [StrOptions({"auto", "cupy"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _structure: ClassVar[tuple[str, ...]]  # parameters that a resumed fit must find unchanged
    _coefficients: ClassVar[str]  # a fitted array, to know the array library by
    _curvature_rtol: ClassVar[float]  # of the residual; that of L is about its square

    alpha: Any
    array_module: str
    fit_intercept: bool
    learning_rate: Any
    learning_rate_: float
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

    def _draw_seed(self, rng: np.random.RandomState) -> int:
        """Seed of the order of the rows; nothing is drawn where they are not shuffled."""
        return 0

    @abstractmethod
    def _make_model(self, problem: Problem, rows: int) -> Any:
        """The model, with buffers for `rows` rows."""

    @abstractmethod
    def _choose_engine(self, problem: Problem) -> str:
        """Which engine trains. It depends on nothing that may differ between calls that continue each other."""

    @abstractmethod
    def _batch_rows(self, problem: Problem, kind: str) -> int:
        """Rows that are read at a time."""

    @abstractmethod
    def _make_engine(
        self, kind: str, model: Any, batches: Batches, problem: Problem, c: float, horizon: int | None
    ) -> Any:
        """The engine; `horizon` is the number of steps of the whole run, None for a single iteration."""

    @abstractmethod
    def _iterations(self, problem: Problem, batches: Batches) -> int:
        """`max_iter` as a number."""

    @abstractmethod
    def _work(self, problem: Problem, kind: str, rows: int, n_iter: int) -> tuple[float, float]:
        """Floating-point operations of the largest matrix product of a run, and of all of them."""

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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the model.

        With ``warm_start=True`` training goes on where the last call ended, in the standardized coordinates of the
        first one. If it fails or is interrupted, the estimator stays as it was (a RandomState passed as `random_state`
        has moved on).

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
        the call. After a `fit` on the same rows it goes on exactly; from the start it is exactly what `fit` with
        ``precompute=False`` does. If it fails or is interrupted, the estimator stays as it was.

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
        rows = max(1, am.block_scale * _PREDICT_BLOCK // self._width)
        with am.session(), np.errstate(over="ignore", invalid="ignore"):  # what is beyond floats is infinite
            out = am.empty((X.shape[0], self.n_outputs_), dtype)
            for block in blocks_of(X.shape[0], rows):
                self._evaluate(am, X[block, ...], out[block, ...])
        return am.reshape(out, (X.shape[0],)) if self._state["y_ndim"] == 1 else out

    @property
    def best_loss_(self) -> float:
        """The smallest of `loss_curve_`."""
        return min(self.loss_curve_)

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
        if issparse(y):
            raise TypeError("Sparse y is not supported, dense data is required: pass y.toarray().")
        home = select(X)
        am = trainer(home, self.array_module)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=float_dtypes[0], ensure_non_negative=True)
            sample_weight = np.asarray(home.to_numpy(sample_weight), dtype=np.float64)
        dtype = np.dtype(np.float32 if X.dtype == xp.float32 else np.float64)
        return Problem(am, home, X, home.to_numpy(y), sample_weight, dtype)

    def _run(self, X: Any, y: Any, sample_weight: Any, *, resume: bool, n_iter: int | None, method: str) -> None:
        """One training run, from validation to fitted attributes; `n_iter` iterations if given."""
        resume = resume and hasattr(self, "_state")
        problem = self._validate(X, y, sample_weight, reset=not resume, method=method)
        if resume:
            check_resumable(self._state, self, problem)
        else:
            self._start(problem, method)
        # What overflows ends as a loss that is not finite, and is reported.
        with problem.am.session(), np.errstate(all="ignore"):
            kind = self._choose_engine(problem)
            if n_iter is None or kind not in SHORTCUTS:
                engine = self._assemble(kind, problem, n_iter)
            else:
                # A single iteration pays for a shortcut only where it goes on from one, on the same rows.
                engine = self._assemble(kind, problem, n_iter) if kind == self._state["kind"] else None
                if engine is None or not engine.recognizes(self._state["engine"]):
                    kind = "plain"
                    engine = self._assemble(kind, problem, n_iter)
            self._train(engine, problem, kind, n_iter)
        x, y_scaling = Scaling(*self._state["x_scaling"]), Scaling(*self._state["y_scaling"])
        self._publish(self._state["parameters"], x, y_scaling, problem.stored)

    def _start(self, problem: Problem, method: str) -> None:
        """Draw the model and make the state of training."""
        x, y = problem.measure(center=self.fit_intercept) if self.standardize else problem.unscaled()
        if method == "partial_fit" and x.constant.all():
            raise ValueError(
                "The first call of partial_fit takes the scale of X from its rows, and no feature varies in these "
                f"{problem.n_samples}. Pass more rows, or use standardize=False."
            )
        rng = check_random_state(self.random_state)
        drawn = self._draw(rng, problem.n_features, problem.n_outputs)
        # What does not vary starts, and so stays, at zero: a constant feature has no effect, a constant output is its
        # mean. (Without any that varies the weights are left for a later call on other rows.)
        if not x.constant.all():
            drawn[0][: problem.n_features][x.constant] = 0.0
        for a in drawn[1:] or drawn:
            if a.size:
                a[..., y.constant] = 0.0
        self.n_outputs_ = problem.n_outputs
        self.loss_curve_: list[float] = []
        self._state = new_state(self, problem, x, y, drawn, self._draw_seed(rng))

    def _assemble(self, kind: str, problem: Problem, n_iter: int | None) -> Any:
        """The engine with model and data, its rate set and its state restored."""
        state = self._state
        c = 1.0 if self.reduction == "mean" else 2.0 * problem.total_weight
        scalings = Scaling(*state["x_scaling"]), Scaling(*state["y_scaling"])
        batches = problem.batches(*scalings, ones=self.fit_intercept, rows=self._batch_rows(problem, kind))
        model = self._make_model(problem, batches.rows)
        for view, value in zip(model.views(model.theta), state["parameters"], strict=True):
            view[...] = model.am.from_numpy(value, None)
        horizon = self._iterations(problem, batches) * batches.per_epoch if n_iter is None else None
        engine = self._make_engine(kind, model, batches, problem, c, horizon)
        continues = state["engine"]["name"] == engine.name
        engine.rate = self._rate(engine, state["auto_rate"] if continues else None)
        if continues:
            engine.restore(state["engine"])
        return engine

    def _rate(self, engine: Any, earlier: dict[str, Any] | None) -> float:
        """The learning rate; "auto" keeps that of an earlier run of the same objective, whose unit is 1 / c."""
        if self.learning_rate != "auto":
            return float(self.learning_rate)
        if earlier is None or (earlier["alpha"], earlier["reduction"]) != (self.alpha, self.reduction):
            return engine.default_rate(self._curvature_rtol)
        return earlier["rate"] if engine.c == earlier["c"] else earlier["rate"] * earlier["c"] / engine.c

    def _train(self, engine: Any, problem: Problem, kind: str, n_iter: int | None) -> None:
        """Train the engine's model; set the state, and the attributes that tell how it went."""
        model, batches = engine.model, engine.batches
        max_iter = n_iter or self._iterations(problem, batches)
        tol = self.tol if n_iter is None else None
        patience, verbose = int(getattr(self, "n_iter_no_change", 1)), int(self.verbose)
        initial, loss_curve = model.theta * 1.0, list(self.loss_curve_)
        with blas_threads(*self._work(problem, kind, batches.rows, max_iter)):
            status = train(engine, loss_curve, max_iter=max_iter, tol=tol, n_iter_no_change=patience, verbose=verbose)
            engine.finish()
        if status == "diverged" or not model.am.is_finite(model.theta):
            model.theta[...] = initial
            raise ValueError(self._divergence_message(engine, len(loss_curve) - 1))
        if status == "max_iter" and tol is not None:
            warnings.warn(
                f"{type(self).__name__} did not reach tol={tol} within max_iter={max_iter} iterations: the loss of the "
                f"last one is {loss_curve[-1]:.3g}. Increase max_iter or tol, or set tol=None to ask for no tolerance.",
                ConvergenceWarning,
                stacklevel=5,
            )
        self.loss_curve_ = loss_curve
        self.n_iter_ = len(loss_curve)
        self.learning_rate_ = engine.rate
        strength = float(engine.penalty.strength)
        self.alpha_ = strength * problem.total_weight if self.alpha == "auto" else float(self.alpha)
        auto_rate = {"rate": engine.rate, "c": engine.c, "alpha": self.alpha, "reduction": self.reduction}
        self._state = self._state | {
            "parameters": [model.am.to_numpy(view) for view in model.views(model.theta)],
            "epoch": engine.epoch,
            "engine": engine.state(),
            "kind": kind,
            "auto_rate": auto_rate if self.learning_rate == "auto" else None,
        }

    def _penalty(self, model: Any, problem: Problem, c: float) -> Penalty:
        """The L2 term with a fixed alpha; "auto" is none."""
        alpha = 0.0 if self.alpha == "auto" else float(self.alpha)
        return Penalty(model, fixed=alpha / problem.total_weight, c=c, total_weight=problem.total_weight)

    def _divergence_message(self, engine: Any, iteration: int) -> str:
        message = (
            f"{type(self).__name__} diverged: the loss is not finite at iteration {iteration} with "
            f"learning_rate={engine.rate:.6g}. "
        )
        curvature = engine.curvature(0.01) if engine.name == "gd" else np.inf
        alternative = "such as " if self.learning_rate == "auto" else "or 'auto' for "
        if np.isfinite(curvature) and engine.rate * curvature > 1.0:
            return message + (
                f"Gradient descent is stable up to about 2/L = {2.0 / curvature:.3g} at the weights it started from: "
                f"choose a smaller learning_rate, {alternative}1/L = {1.0 / curvature:.3g}."
            )
        return message + f"Choose a smaller learning_rate. {SCALE_REMEDY}"
