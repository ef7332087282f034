"""A training run: model, recipe, rows and state in, outcome out. No estimator is seen here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from skrelu._arrays import Array
from skrelu._engines.base import Engine
from skrelu._engines.choose import choose
from skrelu._engines.full_batch import FullBatch
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Layers, Model
from skrelu._models.penalty import Penalty
from skrelu._models.standardize import Scaling
from skrelu._rows.rows import Rows
from skrelu._training.blas_threads import blas_threads
from skrelu._training.curve import as_list, extended, length
from skrelu._training.diagnosis import Diagnosis, predicts_finite, surely_finite
from skrelu._training.early_stopping import BestIterate, Validation, filled, naming_the_validation_set
from skrelu._training.loop import Status, Watcher, run_iterations
from skrelu._training.state import AutoRate, TrainingState, copied, restarted, scalings
from skrelu._training.stream import entered, rate_of_a_chunk, share_of_few_rows
from skrelu._training.wide import begins, entered_row_space, resumes

_FEW_ROWS = 10  # weights of more rows whose sum is less are hardly counts


@dataclass(frozen=True)
class Outcome:
    """What a run ends with.

    Attributes
    ----------
    status : Status
        Why it ended.
    layers : Layers
        The model of the raw X and y, as NumPy arrays.
    member_intercepts : ndarray of shape (n_members, n_outputs) or None
        The intercepts of the members' last layers.
    precision : dtype
        Of the published coefficients.
    learning_rate, alpha : float
        As used.
    state : TrainingState
        What the next run resumes from; it has the loss curves.
    warnings, notes : list of str
        What the user is to be told: that training went wrong, and how the input was understood.
    """

    status: Status
    layers: Layers
    member_intercepts: np.ndarray | None
    precision: np.dtype
    learning_rate: float
    alpha: float
    state: TrainingState
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Observer(Watcher, Protocol):
    """A watcher that is told when a run starts."""

    def start(self, n_iter: int, outcome: Callable[[], Outcome]) -> None:
        """`outcome` returns the outcome at the current iterate, in arrays of its own."""
        ...


class Run:
    """The numbers of one run, between its state and its outcome.

    Parameters
    ----------
    model : Model
    recipe : Recipe
    rows : Rows
        To train on.
    held_out : Rows or None
        The validation set.
    state : TrainingState
        With the scalings measured.
    x : Scaling
        The coordinates of X.
    """

    def __init__(
        self, model: Model, recipe: Recipe, rows: Rows, held_out: Rows | None, state: TrainingState, x: Scaling
    ) -> None:
        self._recipe, self._rows, self._state = recipe, rows, state
        self._x, self._y = x, scalings(state)[1]
        self.engine = start_engine(model, recipe, rows, state, x)
        self.n_iter = recipe.n_iter(rows.n_samples, self.engine.batches.per_epoch)
        # A call of `partial_fit` does not look at the losses before.
        self.loss_curve = [] if recipe.is_single_pass else as_list(state["loss_curve"])
        self._n_before, self._left_out = len(self.loss_curve), length(state["loss_curve"]) - len(self.loss_curve)
        self._base_rate = self.engine.rate
        if recipe.is_single_pass and recipe.learning_rate == "auto" and state["is_stream"]:
            self.engine.rate = rate_of_a_chunk(self.engine, state, rows)
        self.validation_start = 0.0
        self.validation = None if held_out is None else self._validation(held_out)
        self.best = self.validation.best if self.validation else None

    def _validation(self, held_out: Rows) -> Validation:
        """The watcher of the validation loss: the same function as the loss, of the rows held out."""
        recipe, engine, model = self._recipe, self.engine, self.engine.model
        with naming_the_validation_set():
            c = held_out.objective_constant(recipe.reduction)
            # Batches are of the rows' array module, and products of the model's.
            products_only = not engine.is_shortcut and type(held_out.am) is type(model.am)
            batches = held_out.batches(
                self._x, self._y, ones=model.fit_intercept, rows=model.block_rows(), c=c, products_only=products_only
            )
        curve = filled(self._state["validation_loss_curve"] or [], len(self.loss_curve))
        best = None
        if recipe.early_stopping:
            best = BestIterate(
                engine,
                curve,
                f"{recipe.reduction} {held_out.fingerprint} {model.theta.shape[0]}",
                self._state["best"],
                tol=recipe.tol or 0.0,
                patience=recipe.patience,
                stops=not recipe.has_schedule,
            )
        evaluate = engine.evaluator(batches)
        self.validation_start = evaluate() / c  # in the units of reduction="mean"
        return Validation(engine, evaluate, curve, self.loss_curve, best)

    def iterate(self, watchers: list[Watcher]) -> tuple[Status, Diagnosis]:
        """Run the loop; ValueError if training diverges."""
        recipe, engine, model = self._recipe, self.engine, self.engine.model
        x, y = self._x, self._y
        initial, n_before = model.am.copy(model.theta), self._n_before
        is_earlier, earlier = earlier_rate(recipe, self._state) is not None, self._state["loss_curve"]
        first = float(earlier[0][0]) if earlier else None
        diagnosis = Diagnosis(
            engine, self._rows, x, y, self.loss_curve, n_before, initial, is_earlier, first, self._left_out
        )
        status = run_iterations(
            engine,
            self.loss_curve,
            n_iter=self.n_iter,
            tol=None if self.best or recipe.has_schedule else recipe.tol,
            patience=recipe.patience,
            verbose=recipe.verbose,
            n_left_out=self._left_out,
            watchers=watchers,
            validation_curve=self.validation.curve if self.validation else None,
        )
        engine.finish()
        if status == "diverged" or not predicts_finite(model, self._rows, x, y):
            raise ValueError(diagnosis.divergence(status))
        return status, diagnosis

    @property
    def published_theta(self) -> Array:
        """The flat vector of the current iterate or, with early stopping, of the best one."""
        model = self.engine.model
        if self.best is None or self.best.theta is None:
            return model.theta
        return model.am.from_numpy(self.best.theta, None)

    def outcome(
        self, status: Status, warnings: Sequence[str] = (), notes: Sequence[str] = (), *, is_live: bool = False
    ) -> Outcome:
        """The outcome; `is_live` in the middle of the run: at the current iterate, in arrays of its own."""
        engine, model, recipe = self.engine, self.engine.model, self._recipe
        if is_live:
            engine.finish()
        theta = model.theta if is_live else self.published_theta
        curve = self.validation.curve if self.validation else self._state["validation_loss_curve"]
        c, alpha, earlier = engine.batches.c, recipe.alpha, self._state["loss_curve"]
        n_iter = len(self.loss_curve) - self._n_before
        auto_rate: AutoRate = {"rate": self._base_rate, "c": c, "alpha": alpha, "reduction": recipe.reduction}
        state: TrainingState = {
            **self._state,
            "parameters": model.parameters(model.theta),
            "epoch": engine.epoch,
            "engine": engine.state(),
            "auto_rate": auto_rate if recipe.learning_rate == "auto" else None,
            "best": self.best.state() if self.best else None,
            "n_visits": self._state["n_visits"] + n_iter * self._rows.n_samples,
            "has_warned": recipe.is_single_pass and (self._state["has_warned"] or bool(warnings)),
            "loss_curve": extended(earlier if recipe.is_single_pass else [], self.loss_curve),
            "validation_loss_curve": curve,
        }
        strength = float(engine.penalty.strength)
        published, x, y = model.parameters(theta), self._x, self._y
        return Outcome(
            status=status,
            layers=model.fold(published, x, y),
            member_intercepts=model.member_intercepts(published, y),
            precision=self._rows.precision(x),
            learning_rate=engine.rate,
            alpha=strength * state["total_weight"] if alpha == "auto" else alpha,
            state=copied(state) if is_live else state,
            warnings=list(warnings),
            notes=[] if is_live else [*self._notes_on_weights(), *notes],
        )

    def _notes_on_weights(self) -> list[str]:
        """Whether weights look like shares, although the automatic penalty takes them for numbers of rows."""
        total, n, recipe = self._rows.total_weight, self._rows.n_samples, self._recipe
        is_penalized = recipe.alpha == "auto" and recipe.solver == "adam"
        if not (is_penalized and total < _FEW_ROWS <= n):
            return []
        return [
            f"sample_weight has the sum {total:.3g} for {n} rows. A weight counts as a number of rows: the penalty is "
            f"that of {total:.3g} row(s). If the weights are relative, divide them by their mean."
        ]


def train(
    model: Model,
    recipe: Recipe,
    rows: Rows,
    held_out: Rows | None,
    state: TrainingState,
    published: Layers,
    observer: Observer | None = None,
) -> Outcome:
    """Train the model on the rows as the recipe says, from the state in which an earlier run ended.

    Parameters
    ----------
    model : Model
        Its theta is set from `state`.
    recipe : Recipe
    rows : Rows
    held_out : Rows or None
        The validation set; with `recipe.early_stopping` and None, a part of `rows` is held out.
    state : TrainingState
    published : Layers
        The coefficients for the raw X and y that the last run ended with; empty for a first run.
    observer : Observer or None
        Looks at each iteration, and may stop the run.

    Returns
    -------
    outcome : Outcome

    Raises
    ------
    ValueError
        If training diverges.
    KeyboardInterrupt
        If it is interrupted before the first iteration is complete; later, the outcome says so.
    """
    # 1. The rows to train on, and their coordinates, which the first run measures.
    if held_out is None and recipe.early_stopping:
        rows, held_out = rows.hold_out(recipe.validation_fraction, state["seed"])
    if not resumes(state, recipe, rows):
        state = restarted(state, model, published, rows.dtype)
    in_row_space = begins(state, model, recipe, rows) or bool(state["row_space"])
    state = entered(state, model, recipe, rows)
    x, _ = scalings(state)
    if in_row_space:
        state, model, x = entered_row_space(state, model, rows)
    # 2. The engine, where the last run ended, and what looks at its iterations.
    run = Run(model, recipe, rows, held_out, state, x)
    watchers: list[Watcher] = [run.validation] if run.validation else []
    if observer is not None:
        observer.start(run.n_iter, lambda: run.outcome("max_iter", is_live=True))
        watchers.append(observer)
    # 3. Iterations, and a verdict.
    with blas_threads(*run.engine.work(run.n_iter)):
        status, diagnosis = run.iterate(watchers)
        warnings, notes = [], []
        if status != "interrupted" and not (recipe.is_single_pass and state["has_warned"]):
            try:
                verdict = diagnosis.verdict(run.published_theta)
                warnings = [verdict] if verdict else []
                if run.validation and len(run.validation.curve) > diagnosis.n_before:
                    first = run.validation.curve[diagnosis.n_before]
                    foreign = diagnosis.validation_in_other_units(run.validation_start, first)
                    notes = [foreign] if foreign else []
            except KeyboardInterrupt:
                status = "interrupted"
    if run.validation and status == "interrupted":
        run.validation.end()  # the last completed iteration may not have been looked at
    if run.best and not np.isfinite(run.best.loss):
        if status == "interrupted":  # it has to end a search, too: another error would not
            raise KeyboardInterrupt
        raise ValueError(
            "The validation loss was not finite after any iteration, so none is the best. Check X_val and y_val "
            "for values far outside the range of X and y."
        )
    if status == "max_iter" and recipe.tol is not None and not recipe.has_schedule and not warnings:
        name, curve = ("validation loss", run.best.curve) if run.best else ("loss", run.loss_curve)
        warnings = [diagnosis.tolerance_not_reached(run.n_iter, name, curve[-1])]
    # 4. The outcome.
    outcome = run.outcome(status, warnings, notes)
    check_predictions(model, rows, outcome)
    return outcome


def start_engine(model: Model, recipe: Recipe, rows: Rows, state: TrainingState, x: Scaling) -> Engine:
    """The engine of a run, resumed where the run before ended."""
    kind = choose(model, rows.n_samples, recipe)
    if not (recipe.is_single_pass and kind.is_shortcut):
        return _resumed(kind, model, recipe, rows, state, x)
    # A single pass pays for a shortcut only if it resumes one, on the same rows.
    if state["engine"] is not None and "shortcut" in state["engine"]:
        engine = _resumed(kind, model, recipe, rows, state, x)
        if engine.recognizes(state["engine"]):
            return engine
    return _resumed(FullBatch, model, recipe, rows, state, x)


def _resumed(kind: type[Engine], model: Model, recipe: Recipe, rows: Rows, state: TrainingState, x: Scaling) -> Engine:
    """An engine of this kind, with the parameters, the learning rate and the moments of the state."""
    y = scalings(state)[1]
    c = rows.objective_constant(recipe.reduction)
    n_rows = kind.batch_rows(model, rows.n_samples, recipe)
    products_only = not kind.is_shortcut
    batches = rows.batches(x, y, ones=model.fit_intercept, rows=n_rows, c=c, products_only=products_only)
    fixed = None
    if recipe.alpha != "auto" or recipe.solver == "gd":  # "auto" is no penalty for gradient descent
        fixed = 0.0 if recipe.alpha == "auto" else recipe.alpha / state["total_weight"]
    delay = recipe.penalty_delay(rows.n_samples, batches.per_epoch)
    penalty = Penalty(model, fixed=fixed, c=c, total_weight=state["total_weight"], delay=delay)
    model.load(state["parameters"])
    rate, share = learning_rate(recipe, state, c), 1.0
    if recipe.solver == "adam" and recipe.learning_rate == "auto" and (recipe.is_single_pass or state["n_visits"]):
        share = share_of_few_rows(model, state, rows)
        rate = None if share == 1.0 else rate  # an earlier one may be that of few rows
    engine = kind(model, batches, penalty, recipe, rate=rate, epoch=state["epoch"], seed=state["seed"])
    if rate is None:
        engine.rate *= share
    if state["engine"] is not None and state["engine"]["solver"] == recipe.solver:
        engine.restore(state["engine"])
    return engine


def learning_rate(recipe: Recipe, state: TrainingState, c: float) -> float | None:
    """The learning rate, or None if the engine is to compute it.

    "auto" keeps the rate of an earlier run of the same objective. The unit of a rate is 1 / c.
    """
    if recipe.learning_rate != "auto":
        return recipe.learning_rate
    earlier = earlier_rate(recipe, state)
    if earlier is None:
        return None
    return earlier["rate"] if c == earlier["c"] else earlier["rate"] * earlier["c"] / c


def earlier_rate(recipe: Recipe, state: TrainingState) -> AutoRate | None:
    """What "auto" was in the run that this one continues, if that had the same optimizer and objective."""
    earlier = state["auto_rate"]
    if earlier is None or state["engine"] is None or state["engine"]["solver"] != recipe.solver:
        return None
    same = (earlier["alpha"], earlier["reduction"]) == (recipe.alpha, recipe.reduction)
    return earlier if same else None


def check_predictions(model: Model, rows: Rows, outcome: Outcome) -> None:
    """Raise ValueError if y is so large that predictions for it overflow."""
    y_scale = scalings(outcome.state)[1].scale
    if y_scale.max() > surely_finite(rows.dtype):
        for layer in outcome.layers:
            for coefficients in layer:
                rows.stored(coefficients, outcome.precision)  # an error of its own
        if not rows.predicts_finite(model, outcome.layers, outcome.precision):
            raise ValueError(rows.beyond_the_range("There are predictions for y with deviations", y_scale))
