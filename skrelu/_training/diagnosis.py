"""The verdict on a run: whether it diverged or made the model worse, in words that name figures and a remedy."""

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
    return rows.predicts_finite(model, model.fold(model.parameters(model.theta), x, y))


@dataclass(frozen=True)
class Diagnosis:
    """What can be said of a run.

    Parameters
    ----------
    engine : Engine
        At the end of the run.
    rows : Rows
        The training rows.
    y_scaling : Scaling
    loss_curve : list of float
        Of this run and those before.
    n_before : int
        Iterations of the runs before.
    initial : array
        theta before the run.
    rate_is_earlier : bool
        Whether the automatic learning rate is that of an earlier call.
    """

    engine: Engine
    rows: Rows
    y_scaling: Scaling
    loss_curve: list[float]
    n_before: int
    initial: Array
    rate_is_earlier: bool

    def worsening(self) -> str | None:
        """A warning if the model is finite, but worse than the model before the run and worse than a constant.

        Training that diverges slowly, or by Adam, ends so. The rows are read only if the loss curve gives a reason: its
        last loss is that of the parameters before the last step and, for Adam, a mean over a pass.
        """
        engine, model, last = self.engine, self.engine.model, self.loss_curve[-1]
        if self._descends and not last > 2.0 * self.loss_curve[self.n_before]:
            return None
        constant = self.rows.loss_of_a_constant(self.y_scaling, engine.batches.c, center=model.fit_intercept)
        if not last > 2.0 * constant > 0.0:
            return None
        final = model.am.copy(model.theta)
        try:
            after = loss_on(model, engine.batches)
            model.theta[...] = self.initial
            before = loss_on(model, engine.batches)
            risen = after + engine.penalty.value(final) > 2.0 * (before + engine.penalty.value(self.initial))
            # After the last step the loss may have become infinite, or not a number.
            if math.isfinite(after) and not (risen and after > 2.0 * constant):
                return None
            scaled = "" if engine.recipe.standardize else ", or standardize=True"
            remedy = self._limit_of_stability() or f"Choose a smaller learning_rate{scaled}."
        finally:
            model.theta[...] = final
        return (
            f"{engine.recipe.name} made the model worse: the loss rose from {before:.3g} to {after:.3g} with "
            f"{self._rate_in_words}; that of a constant is {constant:.3g}. {remedy}"
        )

    def divergence(self, status: Status) -> str:
        """The error message of a run that diverged; leaves theta as it was before the run."""
        engine, recipe, dtype = self.engine, self.engine.recipe, self.rows.dtype
        engine.model.theta[...] = self.initial
        at = f"{recipe.name} diverged: the loss is not finite at iteration {len(self.loss_curve) - 1}"
        if status != "diverged":
            at = f"{recipe.name} diverged: predictions are not finite after {len(self.loss_curve)} iterations"
        single = " X is float32, which ends at 3.4e+38: with X as float64 the same run may stay finite."
        single = single if dtype == np.float32 else ""
        if self._descends and status == "diverged" and len(self.loss_curve) == 1:
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
        """2 / L and the remedy, for gradient descent above 1 / L; theta is that before the run."""
        engine = self.engine
        curvature = engine.curvature(0.01) if self._descends else math.inf
        if not (math.isfinite(curvature) and engine.rate * curvature > 1.0):
            return ""
        stable = f"Gradient descent is stable up to about 2/L = {2.0 / curvature:.3g} at the weights it started from"
        first, start = self.loss_curve[0], self.loss_curve[self.n_before]
        if start > 1e9 * first:  # the weights are far from any sensible size
            stable += f", whose loss was {start:.3g} and once {first:.3g}"
            return f"{stable}: start over with a smaller learning_rate."
        alternative = "such as " if engine.recipe.learning_rate == "auto" else "or 'auto' for "
        return f"{stable}: choose a smaller learning_rate, {alternative}1/L = {1.0 / curvature:.3g}."
