"""The validation set: its loss after each iteration, the best iterate, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from skrelu._engines.base import Engine
from skrelu._training.loop import Plateau, has_not_risen
from skrelu._training.state import BestState


class BestIterate:
    """The iterate with the smallest validation loss, of all runs that continued each other on the same validation set.

    Parameters
    ----------
    engine : Engine
        Keeps the iterate.
    curve : list of float
        The validation losses; grows.
    data : str
        Names the validation rows, the loss and the parameters.
    earlier : BestState or None
        Of the run before; if its data differ, only losses of this run count.
    tol, patience, stops
        Training stops if `stops` and none of the last `patience` losses improved on the best by more than `tol`.
    """

    def __init__(
        self,
        engine: Engine,
        curve: list[float],
        data: str,
        earlier: BestState | None,
        *,
        tol: float,
        patience: int,
        stops: bool,
    ) -> None:
        if earlier is None or earlier["data"] != data:
            earlier = {"data": data, "start": len(curve), "loss": math.inf, "theta": None}
        self._engine, self._earlier, self.curve, self.stops = engine, earlier, curve, stops
        self.loss = earlier["loss"]
        self._is_marked = False
        self._plateau = Plateau(curve, start=earlier["start"], tol=tol, patience=patience)

    def observe(self) -> bool:
        """Take in the last value of the curve; returns whether training is to stop."""
        if self.curve[-1] < self.loss:
            self._engine.mark()  # first: an interruption in it leaves the earlier best
            self._is_marked, self.loss = True, self.curve[-1]
        return self._plateau.reached() and self.stops

    @property
    def theta(self) -> np.ndarray | None:
        """Its flat vector of parameters; None while no validation loss was finite."""
        return self._engine.model.am.to_numpy(self._engine.marked()) if self._is_marked else self._earlier["theta"]

    def state(self) -> BestState:
        return {**self._earlier, "loss": self.loss, "theta": self.theta}


class Validation:
    """Watcher that appends the validation loss after each iteration to `curve`; inf if it is not finite.

    With `best`, it says when to stop. As for `tol`, that is never while the loss is above the first of `loss_curve`, so
    that training that diverges is found out.
    """

    def __init__(
        self,
        engine: Engine,
        evaluate: Callable[[], float],
        curve: list[float],
        loss_curve: list[float],
        best: BestIterate | None,
    ) -> None:
        self._engine, self._evaluate = engine, evaluate
        self.curve, self._loss_curve, self.best = curve, loss_curve, best

    def begin(self) -> None:
        """Nothing to do before an iteration."""

    def end(self) -> bool:
        """Whether to stop. Safe to repeat after an interruption."""
        loss = self._evaluate()
        self.curve[len(self._loss_curve) - 1 :] = [loss if math.isfinite(loss) else math.inf]
        if self.best is None:
            return False
        return self.best.observe() and has_not_risen(self._loss_curve, self._engine)


def filled(curve: list[float], length: int) -> list[float]:
    """A copy of the curve, with NaN for the iterations that followed without a validation set."""
    return curve + [math.nan] * (length - len(curve))


@contextmanager
def naming_the_validation_set() -> Iterator[None]:
    """Errors in the block are about X and y; say that they are the validation set's."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"The validation set (X_val, y_val, sample_weight_val) cannot be used: {error}") from error
