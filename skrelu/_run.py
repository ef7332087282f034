"""A training run: from the validated problem through engine and loop to the fitted attributes."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning

from skrelu._callbacks import Callbacks
from skrelu._cost import SHORTCUTS
from skrelu._definition import Definition
from skrelu._plain import SCALE_REMEDY, Penalty, loss_on
from skrelu._problem import Problem
from skrelu._standardize import Scaling
from skrelu._state import copied, new_state
from skrelu._threads import blas_threads
from skrelu._training import Status, train
from skrelu._validation import BestIterate, Validation, filled, naming_the_validation_set

Array = Any


def _surely_finite(dtype: np.dtype) -> float:
    """A size of weights, or of the scale of y, that cannot make predictions overflow.

    Its square is the square root of the range: the other half of the digits is for sums and for the inputs.
    """
    return float(np.finfo(dtype).max) ** 0.25


class TrainingRun(CallbackSupportMixin, Definition):
    """How an estimator is trained by its definition."""

    def _start(self, problem: Problem, method: str, drawn: list[np.ndarray], seed: int) -> None:
        """Make the state of training."""
        x, y = problem.measure(center=self.fit_intercept) if self.standardize else problem.unscaled()
        if method == "partial_fit" and x.constant.all():
            raise ValueError(
                "The first call of partial_fit takes the scale of X from its rows, and no feature varies in these "
                f"{problem.n_samples}. Pass more rows, or use standardize=False."
            )
        # What does not vary starts, and so stays, at zero: a constant feature has no effect, a constant output is its
        # mean. (Without any that varies the weights are left for a later call on other rows.)
        if not x.constant.all():
            drawn[0][: problem.n_features][x.constant] = 0.0
        for a in drawn[1:] or drawn:
            if a.size:
                a[..., y.constant] = 0.0
        self.n_outputs_ = problem.n_outputs
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = None
        self._state = new_state(self, problem, x, y, drawn, seed)

    def _engine(self, problem: Problem, n_iter: int | None) -> tuple[str, Any]:
        """The engine that carries out the run, and its kind."""
        kind = self._choose_engine(problem)
        if n_iter is None or kind not in SHORTCUTS:
            return kind, self._assemble(kind, problem, n_iter)
        # A single iteration pays for a shortcut only where it goes on from one, on the same rows.
        engine = self._assemble(kind, problem, n_iter) if kind == self._state["kind"] else None
        if engine is None or not engine.recognizes(self._state["engine"]):
            return "plain", self._assemble("plain", problem, n_iter)
        return kind, engine

    def _assemble(self, kind: str, problem: Problem, n_iter: int | None) -> Any:
        """The engine with model and data, its rate set and its state restored."""
        state = self._state
        c = 1.0 if self.reduction == "mean" else 2.0 * problem.total_weight
        batches = problem.batches(*self._scalings(), ones=self.fit_intercept, rows=self._batch_rows(problem, kind))
        model = self._make_model(problem, batches.rows)
        for view, value in zip(model.views(model.theta), state["parameters"], strict=True):
            view[...] = model.am.from_numpy(value, None)
        horizon = self._iterations(problem, batches) * batches.per_epoch if n_iter is None else None
        engine = self._make_engine(kind, model, batches, problem, c, horizon)
        continues = state["engine"]["name"] == engine.name
        engine.rate = self._rate(engine)
        if continues:
            engine.restore(state["engine"])
        return engine

    def _rate(self, engine: Any) -> float:
        """The learning rate; "auto" keeps that of an earlier run of the same objective, whose unit is 1 / c."""
        if self.learning_rate != "auto":
            return float(self.learning_rate)
        earlier = self._earlier_rate(engine)
        if earlier is None:
            return engine.default_rate(self._curvature_rtol)
        return earlier["rate"] if engine.c == earlier["c"] else earlier["rate"] * earlier["c"] / engine.c

    def _earlier_rate(self, engine: Any) -> dict[str, Any] | None:
        """What "auto" was in the run that this one continues, if that had the same optimizer and objective."""
        earlier = self._state["auto_rate"] if self._state["engine"]["name"] == engine.name else None
        same = earlier is not None and (earlier["alpha"], earlier["reduction"]) == (self.alpha, self.reduction)
        return earlier if same else None

    def _train(self, problem: Problem, held_out: Problem | None, n_iter: int | None, *given: Any) -> Status:
        """Train and set the fitted attributes; `given` to `fit` were X, y and weights, for callbacks."""
        tol = self.tol if n_iter is None else None
        with problem.am.session():
            kind, engine = self._engine(problem, n_iter)
            max_iter, loss_curve = n_iter or self._iterations(problem, engine.batches), list(self.loss_curve_)
            validation = None if held_out is None else self._validation(engine, held_out, loss_curve)
            best = validation.best if validation else None
            attributes = partial(self._attributes, engine, problem, kind, loss_curve, validation)
            callbacks = None
            if n_iter is None and hasattr(self, "_skl_callbacks"):
                context = self._init_callback_context(max_subtasks=max_iter)
                callbacks = Callbacks(self, context, partial(attributes, live=True), *given)
            watchers: list[Any] = [watcher for watcher in (validation, callbacks) if watcher is not None]
            with blas_threads(*self._work(problem, kind, engine.batches.rows, max_iter)):
                status, initial = self._advance(engine, problem, loss_curve, watchers, max_iter, None if best else tol)
                warned = False
                if n_iter is None and best is None and status != "interrupted":
                    try:
                        warned = self._warn_of_a_rise(engine, problem, loss_curve, initial)
                    except KeyboardInterrupt:
                        status = "interrupted"
            if status == "interrupted" and validation is not None:
                validation.end()  # the last completed iteration may not have been looked at
        if best is not None and not np.isfinite(best.loss):
            if status == "interrupted":  # which has to end a search, too: another error would not
                raise KeyboardInterrupt
            raise ValueError(
                "The validation loss was not finite after any iteration, so none is the best. Check X_val and y_val "
                "for values far outside the range of X and y."
            )
        if status == "max_iter" and tol is not None and not warned and (best is None or best.stops):
            name, curve = ("loss", loss_curve) if best is None else ("validation loss", best.curve)
            warnings.warn(
                f"{type(self).__name__} did not reach tol={tol} within max_iter={max_iter} iterations: the {name} of "
                f"the last one is {curve[-1]:.3g}. Increase max_iter or tol, or set tol=None to ask for no tolerance.",
                ConvergenceWarning,
                stacklevel=6,
            )
        self.__dict__.update(attributes(live=False))
        y_scale = self._state["y_scaling"][1]
        if y_scale.max() > _surely_finite(problem.dtype) and not self._predicts_finite(problem):
            raise ValueError(problem.beyond_the_range("There are predictions for y with deviations", y_scale))
        if callbacks is not None:
            callbacks.finish()
        return status

    def _validation(self, engine: Any, held_out: Problem, loss_curve: list[float]) -> Validation:
        """The watcher of the validation loss: of the rows held out the function that the loss is of its own."""
        c = 1.0 if self.reduction == "mean" else 2.0 * held_out.total_weight
        with naming_the_validation_set():
            rows = self._batch_rows(held_out, "plain")
            batches = held_out.batches(*self._scalings(), ones=self.fit_intercept, rows=rows)
        evaluate = engine.evaluator(self._make_model(held_out, batches.rows), batches, c)
        curve = filled(self.validation_loss_curve_ or [], len(loss_curve))
        best = None
        if getattr(self, "early_stopping", False):
            best = BestIterate(
                engine,
                curve,
                f"{self.reduction} {held_out.data}",
                self._state["validation"],
                tol=float(self.tol or 0.0),
                patience=int(getattr(self, "n_iter_no_change", 1)),
                stops=not engine.has_schedule,
            )
        return Validation(evaluate, curve, loss_curve, best)

    def _advance(
        self,
        engine: Any,
        problem: Problem,
        loss_curve: list[float],
        watchers: list[Any],
        max_iter: int,
        tol: float | None,
    ) -> tuple[Status, Array]:
        """Run the loop and return the parameters before it, too; raise if training diverges."""
        model, patience, verbose = engine.model, int(getattr(self, "n_iter_no_change", 1)), int(self.verbose)
        initial = model.theta * 1.0
        status = train(
            engine,
            loss_curve,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=patience,
            verbose=verbose,
            watchers=watchers,
        )
        engine.finish()
        if status == "diverged" or not self._is_fit(model, problem):
            model.theta[...] = initial
            raise ValueError(self._divergence_message(engine, status, loss_curve, problem.dtype))
        return status, initial

    def _is_fit(self, model: Any, problem: Problem) -> bool:
        """Whether the weights give finite predictions for the training rows: no loss has seen the last step yet."""
        theta = np.abs(model.am.to_numpy(model.theta))
        largest = float(theta.max())
        if largest * largest < _surely_finite(theta.dtype):  # two layers multiply their weights
            return True
        parameters = [model.am.to_numpy(view) for view in model.views(model.theta)]
        self.__dict__.update(self._published(parameters, *self._scalings(), problem.rounded))
        return self._predicts_finite(problem)

    def _predicts_finite(self, problem: Problem) -> bool:
        home = problem.home
        with home.session():
            return all(home.is_finite(self._predict(home, X)) for X in problem.raw_blocks())

    def _attributes(
        self,
        engine: Any,
        problem: Problem,
        kind: str,
        loss_curve: list[float],
        validation: Validation | None,
        *,
        live: bool,
    ) -> dict[str, Any]:
        """The fitted attributes: at the end of training, or while it is `live`, at the current iterate, as copies."""
        model, am, best = engine.model, problem.am, validation.best if validation else None
        if live:
            engine.finish()
        theta = model.theta if live or best is None else am.from_numpy(best.theta, None)
        x, y = self._scalings()
        auto_rate = {"rate": engine.rate, "c": engine.c, "alpha": self.alpha, "reduction": self.reduction}
        state = {
            "parameters": [am.to_numpy(view) for view in model.views(model.theta)],
            "epoch": engine.epoch,
            "engine": engine.state(),
            "kind": kind,
            "auto_rate": auto_rate if self.learning_rate == "auto" else None,
            "validation": best.state() if best else None,
        }
        strength = float(engine.penalty.strength)
        curve = validation.curve if validation else self.validation_loss_curve_
        return {
            **self._published([am.to_numpy(view) for view in model.views(theta)], x, y, problem.stored),
            "loss_curve_": list(loss_curve) if live else loss_curve,
            "validation_loss_curve_": None if curve is None else filled(curve, len(loss_curve)),
            "n_iter_": len(loss_curve),
            "learning_rate_": engine.rate,
            "alpha_": strength * problem.total_weight if self.alpha == "auto" else float(self.alpha),
            "_state": self._state | (copied(state) if live else state),
        }

    def _scalings(self) -> tuple[Scaling, Scaling]:
        return Scaling(*self._state["x_scaling"]), Scaling(*self._state["y_scaling"])

    def _penalty(self, model: Any, problem: Problem, c: float) -> Penalty:
        """The L2 term with a fixed alpha; "auto" is none."""
        alpha = 0.0 if self.alpha == "auto" else float(self.alpha)
        return Penalty(model, fixed=alpha / problem.total_weight, c=c, total_weight=problem.total_weight)

    def _warn_of_a_rise(self, engine: Any, problem: Problem, loss_curve: list[float], initial: Array) -> bool:
        """Warn if the parameters are finite, and a worse model than those before and than a constant; return whether.

        Training that diverges slowly, or by Adam, ends so. It is looked into where the loss curve gives reason to: a
        loss there is of the parameters before the last step, and for Adam a mean over a pass.
        """
        model, last, descends = engine.model, loss_curve[-1], engine.name == "gd"
        if descends and not last > 2.0 * loss_curve[len(self.loss_curve_)]:
            return False
        constant = problem.loss_of_a_constant(self._scalings()[1], engine.c, center=self.fit_intercept)
        if not last > 2.0 * constant > 0.0:
            return False
        final = model.theta * 1.0
        try:
            after = loss_on(model, engine.batches, engine.c)
            model.theta[...] = initial
            before = loss_on(model, engine.batches, engine.c)
            risen = after + engine.penalty.value(final) > 2.0 * (before + engine.penalty.value(initial))
            # After the last step the loss may have become infinite, or not a number.
            if np.isfinite(after) and not (risen and after > 2.0 * constant):
                return False
            scaled = "" if self.standardize else ", or standardize=True"
            remedy = self._limit(engine, loss_curve) or f"Choose a smaller learning_rate{scaled}."
        finally:
            model.theta[...] = final
        warnings.warn(
            f"{type(self).__name__} made the model worse: the loss rose from {before:.3g} to {after:.3g} with "
            f"{self._rate_in_words(engine)}; that of a constant is {constant:.3g}. {remedy}",
            ConvergenceWarning,
            stacklevel=7,
        )
        return True

    def _divergence_message(self, engine: Any, status: Status, loss_curve: list[float], dtype: np.dtype) -> str:
        """For an engine that is where this call started."""
        at = f"{type(self).__name__} diverged: the loss is not finite at iteration {len(loss_curve) - 1}"
        if status != "diverged":
            at = f"{type(self).__name__} diverged: predictions are not finite after {len(loss_curve)} iterations"
        single = " X is float32, which ends at 3.4e+38: with X as float64 the same run may stay finite."
        single = single if dtype == np.float32 else ""
        if engine.name == "gd" and status == "diverged" and len(loss_curve) == 1:
            return f"{at}, before any step, so no learning_rate helps: {SCALE_REMEDY}{single}"
        remedy = self._limit(engine, loss_curve) or "Choose a smaller learning_rate. If that does not help" + (
            ", divide X and y by a constant." if self.standardize and dtype == np.float64 else f": {SCALE_REMEDY}"
        )
        return f"{at} with {self._rate_in_words(engine)}. {remedy}{single}"

    def _rate_in_words(self, engine: Any) -> str:
        origin = ""
        if self.learning_rate == "auto":
            origin = " from 'auto'" + " in an earlier call" * (self._earlier_rate(engine) is not None)
        return f"learning_rate={engine.rate:.6g}{origin}"

    def _limit(self, engine: Any, loss_curve: list[float]) -> str:
        """The limit of stability, for gradient descent above 1/L; `engine` is where this call started."""
        curvature = engine.curvature(0.01) if engine.name == "gd" else np.inf
        if not (np.isfinite(curvature) and engine.rate * curvature > 1.0):
            return ""
        stable = f"Gradient descent is stable up to about 2/L = {2.0 / curvature:.3g} at the weights it started from"
        first, start = loss_curve[0], loss_curve[len(self.loss_curve_)]
        if start > 1e9 * first:  # weights that have left all measure
            stable += f", whose loss was {start:.3g} and once {first:.3g}"
            return f"{stable}: start anew with a smaller learning_rate."
        alternative = "such as " if self.learning_rate == "auto" else "or 'auto' for "
        return f"{stable}: choose a smaller learning_rate, {alternative}1/L = {1.0 / curvature:.3g}."
