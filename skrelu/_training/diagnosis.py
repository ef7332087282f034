"""The verdict on a run: whether it diverged or went wrong, in words that name figures and a remedy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skrelu._arrays import Array
from skrelu._engines.base import SCALE_REMEDY, Engine, loss_on
from skrelu._models.base import Model
from skrelu._models.standardize import Scaling
from skrelu._rows.rows import Rows
from skrelu._training.loop import Status

_RISE_OF_A_STREAM = 20.0  # few rows have losses far from the mean
_FOREIGN = 20.0  # of a validation set, likewise


def surely_finite(dtype: np.dtype) -> float:
    """Weights below this, or a scale of y, cannot overflow a prediction.

    It is the fourth root of the largest number, which leaves room for a product of two weights and a sum.
    """
    return float(np.finfo(dtype).max) ** 0.25


def predicts_finite(model: Model, rows: Rows, x: Scaling, y: Scaling) -> bool:
    """Whether theta gives finite predictions for the training rows: no loss has seen the last step yet."""
    theta = np.abs(model.am.to_numpy(model.theta))
    largest = float(theta.max())
    if largest * largest < surely_finite(theta.dtype):  # two layers multiply their weights
        return True
    return rows.predicts_finite(model, model.fold(model.parameters(model.theta), x, y), rows.precision(x))


@dataclass(frozen=True)
class Diagnosis:
    """What can be said of a run.

    Parameters
    ----------
    engine : Engine
        At the end of the run.
    rows : Rows
        The training rows.
    x_scaling, y_scaling : Scaling
    loss_curve : list of float
        Of this run and, unless it is a call of `partial_fit`, those before.
    n_before : int
        Iterations of the runs before in the curve.
    initial : array
        theta before the run.
    rate_is_earlier : bool
        Whether the automatic learning rate is that of an earlier call.
    first_loss : float or None
        Of all runs that continued each other, if there are earlier ones.
    n_left_out : int
        Iterations that came before the curve.
    """

    engine: Engine
    rows: Rows
    x_scaling: Scaling
    y_scaling: Scaling
    loss_curve: list[float]
    n_before: int
    initial: Array
    rate_is_earlier: bool
    first_loss: float | None
    n_left_out: int

    def verdict(self, published: Array) -> str | None:
        """A warning if the run went wrong: the model is worse than a constant, or most of its units are inactive.

        `published` is the theta of the model. The curve comes first; the rows are read only if it gives a reason: a
        loss of more than twice the first one, or a last one no better than a constant. A learning rate that the user
        chose is a reason, too: no loss in the curve has seen the last step.
        """
        recipe = self.engine.recipe
        if recipe.is_single_pass:
            return self._examine_stream(self.loss_curve[-1])
        first, last, top = self._first, self.loss_curve[-1], max(self.loss_curve[self.n_before :])
        constant = self._loss_of_a_constant()
        has_risen, is_idle = top > 2.0 * first, not last < 0.999 * constant
        if not (has_risen or is_idle):
            is_sure = not self._descends or (recipe.learning_rate == "auto" and recipe.momentum == 0.0)
            if is_sure or self.engine.loss() < max(2.0 * first, 0.999 * constant):
                return None
        model = self.engine.model
        final = model.am.copy(model.theta)
        try:
            return self._examine(published)
        finally:
            model.theta[...] = final

    def validation_in_other_units(self, start: float, first: float) -> str | None:
        """A note if a validation loss is far above what the training rows suggest, before training has changed much.

        `start` is that before training, in the units of reduction="mean". `first` is that after an iteration, in the
        units of training. It counts for the linear model, whose weights are zero before.
        """
        model, c = self.engine.model, self.engine.batches.c
        usual, when = max(self._first, self._loss_of_a_constant()) / c, "Before training"
        losses = self.loss_curve[self.n_before :]
        if start <= _FOREIGN * usual and not model.has_hidden_layer and len(losses) > 1:
            start, usual, when = first / c, max(usual, losses[1] / c), "After an iteration"
        if start <= _FOREIGN * usual or usual == 0.0:
            return None
        final = model.am.copy(model.theta)
        model.theta[...] = self.initial
        usual = max(usual, loss_on(model, self.engine.batches) / c)
        model.theta[...] = final
        if start <= _FOREIGN * usual:
            return None
        return (
            f"{when}, the loss of the validation set was {start:.3g}, and that of the training rows "
            f"{usual:.3g}: X_val or y_val seems to be in other units than X and y. A Pipeline transforms X_val like X "
            "with transform_input=['X_val']. TransformedTargetRegressor does not transform y_val: pass it transformed."
        )

    def _examine_stream(self, loss: float) -> str | None:
        """The verdict on a call of `partial_fit`, whose rows may be few: only a loss far above all reason counts."""
        engine = self.engine
        first = self.loss_curve[0] if self.first_loss is None else self.first_loss
        usual = 0.5 * engine.batches.c * engine.model.n_outputs  # of a constant, on rows like those of all calls
        limit = _RISE_OF_A_STREAM * max(first, usual)
        is_sure = not self._descends or engine.recipe.learning_rate == "auto"  # no loss has seen the step of this call
        if not loss > limit and is_sure:
            return None
        # Of predicting the mean of all rows so far: a single row is its own mean.
        limit = max(limit, _RISE_OF_A_STREAM * self.rows.loss_of_zero(self.y_scaling, engine.batches.c))
        if (after := engine.published_loss()) <= limit:
            return None
        return (
            f"{engine.recipe.name}'s training went wrong: the loss rose from {first:.3g} in the first call to "
            f"{after:.3g} with {self._rate_in_words}. Choose a smaller learning_rate, or look for rows of X and y that "
            "are far from those before."
        )

    def _examine(self, published: Array) -> str | None:
        """The same, from the rows."""
        engine, model, penalty = self.engine, self.engine.model, self.engine.penalty
        model.theta[...] = published
        after, n_inactive, n_units = engine.published_loss(), *model.count_inactive(engine.batches.in_order())
        model.theta[...] = self.initial
        before = self._first if self._descends else loss_on(model, engine.batches)
        top = max(*self.loss_curve[self.n_before :], after)
        # A growing penalty raises the loss, but not the objective.
        start = before + penalty.value(self.initial)
        has_risen = max(top, after + penalty.value(published)) > 2.0 * start + self._rounding
        if not math.isfinite(after):  # it overflowed in the last step
            has_risen, top = True, after
        constant = self._loss_of_a_constant(center=has_risen)
        is_worse = not after <= (1.01 if has_risen else 1.001) * constant + self._rounding
        is_dead = n_inactive >= 0.9 * n_units > 0 and not self.x_scaling.constant.all()
        is_dead = is_dead and (not after < 0.999 * constant or (has_risen and penalty.is_zero))
        if has_risen and (is_worse or is_dead):
            ended = "" if not after < top else f" and ended at {after:.3g}"
            rise = f"the loss rose from {before:.3g} to {top:.3g}{ended}"
            said = f"'s training went wrong: {rise} with {self._rate_in_words}"
        elif is_dead and penalty.is_zero and after > self._rounding:
            said = f" learned nothing: the loss is {after:.3g} with {self._rate_in_words}"
        elif is_worse and self._rests:
            said = f" came to rest at a loss of {after:.3g} with {self._rate_in_words}"
        else:
            return None
        said += f"; predicting a constant gives {constant:.3g}. "
        if is_dead:
            said += f"{n_inactive} of {n_units} hidden units are inactive on every training row and cannot learn. "
        scaled = "" if engine.recipe.standardize else ", or standardize=True"
        rate = "another" if not has_risen else "a smaller"
        remedy = self._limit_of_stability() if has_risen else ""
        return f"{engine.recipe.name}{said}{remedy or f'Choose {rate} learning_rate{scaled}.'}"

    @property
    def _first(self) -> float:
        return self.loss_curve[self.n_before]

    @property
    def _rests(self) -> bool:
        """Whether the second half of a curve of gradient descent, of 50 iterations or more, is flat."""
        half = self.loss_curve[(self.n_before + len(self.loss_curve)) // 2 :]
        return self._descends and len(half) >= 25 and max(half) - min(half) <= 1e-6 * max(half)

    @property
    def _rounding(self) -> float:
        """A loss that is rounding: of predictions whose errors are relative to y."""
        zero = self.rows.loss_of_zero(self.y_scaling, self.engine.batches.c)
        return zero * self.engine.model.rounding**2

    def _loss_of_a_constant(self, *, center: bool = False) -> float:
        """The loss of predicting the mean of y; without intercept zero, unless `center`."""
        model, recipe, c = self.engine.model, self.engine.recipe, self.engine.batches.c
        if (
            recipe.standardize
            and self.n_before == 0
            and not recipe.is_single_pass
            and (model.fit_intercept or not center)
        ):
            return 0.5 * c * float((~self.y_scaling.constant).sum())  # y was scaled by these rows
        return self.rows.loss_of_a_constant(self.y_scaling, c, center=center or model.fit_intercept)

    def divergence(self, status: Status) -> str:
        """The error message of a run that diverged; leaves theta as it was before the run."""
        engine, recipe, dtype = self.engine, self.engine.recipe, self.rows.dtype
        engine.model.theta[...] = self.initial
        n = self.n_left_out + len(self.loss_curve)
        at = f"{recipe.name} diverged: the loss is not finite at iteration {n - 1}"
        if status != "diverged":
            at = f"{recipe.name} diverged: predictions are not finite after {n} iterations"
        single = " X is float32, which ends at 3.4e+38: with X as float64 the same run may stay finite."
        single = single if dtype == np.float32 else ""
        if self._descends and status == "diverged" and n == 1:
            return f"{at}, before any step, so no learning_rate helps: {SCALE_REMEDY}{single}"
        remedy = self._limit_of_stability() or "Choose a smaller learning_rate. If that does not help" + (
            ", divide X and y by a constant." if recipe.standardize and dtype == np.float64 else f": {SCALE_REMEDY}"
        )
        return f"{at} with {self._rate_in_words}. {remedy}{single}"

    def tolerance_not_reached(self, n_iter: int, name: str, loss: float) -> str:
        """The warning of a run with `tol` that ended with `n_iter` iterations; `name` says which loss it was about."""
        recipe = self.engine.recipe
        return (
            f"{recipe.name} did not reach tol={recipe.tol} within max_iter={n_iter} iterations: the {name} of "
            f"the last one is {loss:.3g}. Increase max_iter or tol, or set tol=None to ask for no tolerance."
        )

    @property
    def _descends(self) -> bool:
        return self.engine.recipe.solver == "gd"

    @property
    def _rate_in_words(self) -> str:
        origin = ""
        if self.engine.recipe.learning_rate == "auto":
            origin = " from 'auto'" + " in an earlier call" * self.rate_is_earlier
        return f"learning_rate={self.engine.rate:.6g}{origin}"

    def _limit_of_stability(self) -> str:
        """The limit and the remedy, for gradient descent above 1 / L; theta is that before the run."""
        engine = self.engine
        curvature = engine.curvature(0.01) if self._descends else math.inf
        if not (math.isfinite(curvature) and engine.rate * curvature > 1.0):
            return ""
        start, momentum = self.loss_curve[self.n_before], engine.recipe.momentum
        first = start if self.first_loss is None else self.first_loss
        if start > 1e9 * first:  # the weights are far from any sensible size
            return f"The loss was {first:.3g} once: start over with a smaller learning_rate."
        limit = f"2 (1 + momentum) / L = {2.0 * (1.0 + momentum) / curvature:.3g}"
        limit = limit if momentum else f"2/L = {2.0 / curvature:.3g}"
        stable = f"Gradient descent is stable up to about {limit} at the weights it started from"
        alternative = "such as " if engine.recipe.learning_rate == "auto" else "or 'auto' for "
        return f"{stable}: choose a smaller learning_rate, {alternative}1/L = {1.0 / curvature:.3g}."
