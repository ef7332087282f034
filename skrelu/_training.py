"""The one training loop: how far to advance before looking, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol


class Engine(Protocol):
    """Carries out iterations of an optimization; what `train` needs of it, and below what the estimators need."""

    can_go_back: bool  # whether iterations cost next to nothing and can be undone

    def advance(self, n_iter: int) -> list[float]:
        """Do up to `n_iter` iterations and return their losses; after a loss that is not finite do no more."""
        ...

    def go_back(self, n_iter: int) -> None:
        """Undo the last `n_iter` iterations; only asked for where `can_go_back`."""
        ...

    has_schedule: bool  # whether the rate changes along the run
    name: str  # of the optimizer, "gd" or "adam": engines with one name can go on from each other's state
    model: Any
    batches: Any
    penalty: Any
    c: float  # the constant of the objective
    rate: float
    epoch: int  # iterations done, of all runs that continued each other

    def finish(self) -> None:
        """Leave the current iterate in the model's theta."""
        ...

    def evaluator(self, model: Any, batches: Any, c: float) -> Callable[[], float]:
        """What computes the loss of the current iterate on other rows; `model` has buffers for their batches."""
        ...

    def default_rate(self, rtol: float) -> float:
        """What learning_rate="auto" stands for."""
        ...

    def state(self) -> dict[str, Any]:
        """What `restore` needs in order to go on: `name`, `moments` and what is the engine's own."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the state of an engine of the same name; `rate` is set before."""
        ...


class Watcher(Protocol):
    """Looks at training before and after each iteration."""

    def begin(self) -> None: ...

    def end(self) -> bool:
        """Whether training is to stop here."""
        ...


class Plateau:
    """Whether the last `patience` values of a curve are none of them lower than the best before by more than `tol`.

    The values before `start` do not count. `reached` is asked after each value that is appended.
    """

    def __init__(self, curve: list[float], *, start: int, tol: float, patience: int) -> None:
        self._curve, self._start, self._tol, self._patience = curve, start, tol, patience
        self._best_before = min(curve[start : max(start, len(curve) - patience)], default=math.inf)

    def reached(self) -> bool:
        curve, patience = self._curve, self._patience
        if len(curve) <= self._start + patience:
            return False
        self._best_before = min(self._best_before, curve[-1 - patience])
        return min(curve[-patience:]) >= self._best_before - self._tol


Status = Literal["max_iter", "converged", "stopped", "diverged"]  # why training ended
_LOOK_AHEAD = 4096  # iterations whose losses are asked for at once of an engine that can go back


def train(
    engine: Engine,
    loss_curve: list[float],
    *,
    max_iter: int,
    tol: float | None,
    n_iter_no_change: int,
    verbose: int,
    watchers: Sequence[Watcher] = (),
) -> Status:
    """Advance `engine` by up to `max_iter` iterations, appending each loss to `loss_curve`.

    With `tol`, training has converged when the last `n_iter_no_change` losses are none of them lower than the best one
    before by more than `tol`. A loss above the first of the curve is never called converged. With `verbose` = k, every
    k-th iteration is printed as the tutorials do: its number and its loss. Training stops where one of the `watchers`
    says so.
    """
    looks = tol is not None or verbose > 0 or len(watchers) > 0
    ahead = _LOOK_AHEAD if engine.can_go_back and not watchers else 1
    stride = ahead if looks else max_iter
    plateau = None if tol is None else Plateau(loss_curve, start=0, tol=tol, patience=n_iter_no_change)
    remaining = max_iter
    while remaining:
        for watcher in watchers:
            watcher.begin()
        losses = engine.advance(min(stride, remaining))
        remaining -= len(losses)
        if not looks:
            loss_curve += losses
            if not math.isfinite(losses[-1]):
                return "diverged"
            continue
        for done, loss in enumerate(losses, start=1):
            if verbose and len(loss_curve) % verbose == 0:
                print(len(loss_curve), loss)
            loss_curve.append(loss)
            if not math.isfinite(loss):
                return "diverged"
            stopped = [watcher.end() for watcher in watchers]  # all of them look
            if plateau is not None and plateau.reached() and loss <= loss_curve[0]:
                if done < len(losses):
                    engine.go_back(len(losses) - done)
                return "converged"
            if any(stopped):
                return "stopped"
    return "max_iter"
