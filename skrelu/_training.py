"""The one training loop: how far to advance before looking, and when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol


class Engine(Protocol):
    """Carries out iterations of an optimization."""

    can_go_back: bool  # whether iterations cost next to nothing and can be undone

    def advance(self, n_iter: int) -> list[float]:
        """Do up to `n_iter` iterations and return their losses; after a loss that is not finite do no more."""
        ...

    def go_back(self, n_iter: int) -> None:
        """Undo the last `n_iter` iterations; only asked for where `can_go_back`."""
        ...


_LOOK_AHEAD = 4096  # iterations whose losses are asked for at once of an engine that can go back


@dataclass(frozen=True)
class Result:
    """Why training ended."""

    status: Literal["max_iter", "converged", "diverged"]


def train(
    engine: Engine, loss_curve: list[float], *, max_iter: int, tol: float | None, n_iter_no_change: int, verbose: int
) -> Result:
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
                return Result("diverged")
            continue
        for done, loss in enumerate(losses, start=1):
            if verbose and len(loss_curve) % verbose == 0:
                print(len(loss_curve), loss)
            loss_curve.append(loss)
            if not math.isfinite(loss):
                return Result("diverged")
            if tol is not None and len(loss_curve) > n_iter_no_change:
                best_before = min(best_before, loss_curve[-1 - n_iter_no_change])
                recent = loss_curve[-n_iter_no_change:]
                if min(recent) >= best_before - tol and loss <= loss_curve[0]:
                    if done < len(losses):
                        engine.go_back(len(losses) - done)
                    return Result("converged")
    return Result("max_iter")
