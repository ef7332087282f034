"""The one training loop: how far to advance before looking, and when to stop."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol


class Engine(Protocol):
    """Carries out iterations of an optimization; what `train` needs of it, and below what the estimators need."""

    can_go_back: bool  # whether iterations cost next to nothing and can be undone

    def advance(self, n_iter: int) -> list[float]:
        """Do up to `n_iter` iterations and return their losses, ending with the first that is not finite."""
        ...

    def go_back(self, n_iter: int) -> None:
        """Undo the last `n_iter` iterations; only asked for where `can_go_back`."""
        ...

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

    def default_rate(self, rtol: float) -> float:
        """What learning_rate="auto" stands for."""
        ...

    def state(self) -> dict[str, Any]:
        """What `restore` needs in order to go on: `name`, `moments` and what is the engine's own."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the state of an engine of the same name; `rate` is set before."""
        ...


Status = Literal["max_iter", "converged", "diverged"]  # why training ended
_LOOK_AHEAD = 4096  # iterations whose losses are asked for at once of an engine that can go back


def train(
    engine: Engine, loss_curve: list[float], *, max_iter: int, tol: float | None, n_iter_no_change: int, verbose: int
) -> Status:
    """Advance `engine` by up to `max_iter` iterations, appending each loss to `loss_curve`.

    With `tol`, training has converged when the last `n_iter_no_change` losses are none of them lower than the best one
    before by more than `tol`. A loss above the first of the curve is never called converged. With `verbose` = k, every
    k-th iteration is printed as the tutorials do: its number and its loss.
    """
    looks = tol is not None or verbose > 0
    stride = (_LOOK_AHEAD if engine.can_go_back else 1) if looks else max_iter
    best_before = min(loss_curve[:-n_iter_no_change], default=math.inf)  # the last n_iter_no_change left out
    remaining = max_iter
    while remaining:
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
            if tol is not None and len(loss_curve) > n_iter_no_change:
                best_before = min(best_before, loss_curve[-1 - n_iter_no_change])
                recent = loss_curve[-n_iter_no_change:]
                if min(recent) >= best_before - tol and loss <= loss_curve[0]:
                    if done < len(losses):
                        engine.go_back(len(losses) - done)
                    return "converged"
    return "max_iter"
