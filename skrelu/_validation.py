"""The validation set: rows held out, their loss after each iteration, the best iterate, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from skrelu._problem import Problem
from skrelu._training import Plateau

Array = Any


@contextmanager
def naming_the_validation_set() -> Iterator[None]:
    """Errors in the block are about X and y; say that these are the validation set's."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"The validation set (X_val, y_val, sample_weight_val) cannot be used: {error}") from error


def hold_out(problem: Problem, fraction: float, seed: int) -> tuple[Problem, Problem]:
    """The problem of the rows to train on and that of the others, which are at least `fraction` of all.

    Which rows depends on `seed` and the number of rows alone. Rows of weight zero are in neither.
    """
    rows = problem.rows_that_count
    n_val = math.ceil(fraction * len(rows))
    if n_val >= len(rows):
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} leaves no rows to train on: "
            f"n_samples={len(rows)} (with a positive weight), of which {n_val} would be held out. "
            "Pass more rows, a smaller validation_fraction, or X_val and y_val."
        )
    # Not the order of the rows in any epoch, which comes from (seed, epoch).
    rows = np.random.default_rng((seed, 0, 1)).permutation(rows)
    return problem.rows(np.sort(rows[n_val:])), problem.rows(np.sort(rows[:n_val]))


class BestIterate:
    """The iterate with the smallest validation loss, of all runs that continued each other on the same rows.

    The engine keeps it: `mark` copies the current iterate, `marked` returns the flat vector of that one.
    `earlier` is the state of the run before, or None; `data` names the validation rows and the loss; where those were
    others, the values of `curve` are seen from this run on.
    """

    def __init__(
        self, engine: Any, curve: list[float], data: str, earlier: Any, *, tol: float, patience: int, stops: bool
    ) -> None:
        continues = earlier is not None and earlier["data"] == data
        self._engine, self._data, self.curve, self.stops = engine, data, curve, stops
        self._start: int = earlier["start"] if continues else len(curve)
        self.loss: float = earlier["loss"] if continues else math.inf
        self._theta: Array = earlier["theta"] if continues else None
        self._is_marked = False
        self._plateau = Plateau(curve, start=self._start, tol=tol, patience=patience)

    def observe(self) -> bool:
        """Take in the last value of the curve; whether it has come to a plateau."""
        if self.curve[-1] < self.loss:
            self._engine.mark()  # may be interrupted: only then is it the best
            self._is_marked, self.loss = True, self.curve[-1]
        return self._plateau.reached() and self.stops

    @property
    def theta(self) -> Array:
        """The flat vector of its parameters, as NumPy's, where the validation loss was finite once."""
        return self._engine.model.am.to_numpy(self._engine.marked()) if self._is_marked else self._theta

    def state(self) -> dict[str, Any]:
        return {"data": self._data, "start": self._start, "loss": self.loss, "theta": self.theta}


class Validation:
    """Watcher that appends the validation loss after each iteration to `curve`, as infinite if it is not finite.

    With `best`, it says when to stop; as for `tol`, never while the loss is above the first of `loss_curve`, so that
    training that diverges is found out.
    """

    def __init__(
        self, evaluate: Callable[[], float], curve: list[float], loss_curve: list[float], best: BestIterate | None
    ) -> None:
        self._evaluate, self.curve, self._loss_curve, self.best = evaluate, curve, loss_curve, best

    def begin(self) -> None:
        """Nothing."""

    def end(self) -> bool:
        """Whether to stop. A second look at an iteration, after an interruption of the first, is as the only one."""
        loss = self._evaluate()
        self.curve[len(self._loss_curve) - 1 :] = [loss if math.isfinite(loss) else math.inf]
        if self.best is None:
            return False
        return self.best.observe() and self._loss_curve[-1] <= self._loss_curve[0]


def filled(curve: list[float], length: int) -> list[float]:
    """A copy of the curve, with NaN for the iterations without a validation set that followed."""
    return curve + [math.nan] * (length - len(curve))
