"""The one training loop: how far to advance before looking, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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

    has_schedule: bool  # whether the rate changes along the run
    name: str  # of the optimizer, "gd" or "adam": engines with one name can go on from each other's state
    model: Any
    batches: Any
    penalty: Any
    c: float  # the constant of the objective
    rate: float
    epoch: int  # iterations done, of all runs that continued each other

    def moving(self) -> tuple[list[Any], list[tuple[Any, str]]]:
        """All that iterations change: arrays, in place, and numbers, as attributes of objects."""
        ...

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


Status = Literal["max_iter", "converged", "stopped", "diverged", "interrupted"]  # why training ended
# Iterations asked for at once of an engine that can go back: where it may have to, and at most.
_LOOK_AHEAD, _MOST_AHEAD = 4096, 65536
_ROWS_BETWEEN_COPIES = 2**14  # copying costs a percent of an iteration then, and repeating these a moment


class Checkpoint:
    """Advances an engine so that an interruption loses no completed iteration.

    An interruption may come between any two operations and leave an iteration half done. The engine is then put back
    to the last copy of all that moves, and the iterations completed since are repeated: they are the same again.
    """

    def __init__(self, engine: Engine, loss_curve: list[float]) -> None:
        self.engine, self._curve = engine, loss_curve
        arrays, self._numbers = engine.moving()
        self._am, self._epoch = engine.model.am, engine.epoch
        self._copies = [(a, self._am.empty(a.shape, a.dtype)) for a in arrays]
        between = max(1, _ROWS_BETWEEN_COPIES // engine.batches.n_samples)
        # A power of two, so that looks at losses on a GPU, every 16 iterations, fall on the last one.
        self.stride = _MOST_AHEAD if engine.can_go_back else 1 << between.bit_length() - 1
        self._take()

    def advance(self, n_iter: int) -> list[float]:
        """`engine.advance`; its caller appends the losses to the curve."""
        if self.engine.epoch >= self._epoch + self.stride:
            self._take()
        self._whole, self._length = False, len(self._curve)
        self._losses = self.engine.advance(n_iter)
        self._whole = not self.engine.can_go_back  # going back may be interrupted, too
        return self._losses

    def recover(self) -> None:
        """Make engine and curve those of the completed iterations."""
        if self._whole:
            self._curve[self._length :] = self._losses
            return
        completed = self.engine.epoch - self._epoch
        for (owner, name), value in zip(self._numbers, self._values, strict=True):
            setattr(owner, name, value)
        for a, copy in self._copies:
            self._am.multiply(copy, 1.0, out=a)
        self._curve[self._curve_length :] = self.engine.advance(completed) if completed else []

    def _take(self) -> None:
        """Copy; the engine itself is whole meanwhile."""
        self._whole, self._length, self._losses = True, len(self._curve), []
        for a, copy in self._copies:
            self._am.multiply(a, 1.0, out=copy)
        self._values = [getattr(owner, name) for owner, name in self._numbers]
        self._epoch, self._curve_length = self.engine.epoch, len(self._curve)


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
    says so; a KeyboardInterrupt ends it with the last completed iteration, and is passed on if there is none.
    """
    before = len(loss_curve)
    checkpoint = Checkpoint(engine, loss_curve)
    try:
        return _iterate(checkpoint, loss_curve, max_iter, tol, n_iter_no_change, verbose, watchers)
    except KeyboardInterrupt:
        checkpoint.recover()
        if len(loss_curve) == before:
            raise
        return "interrupted"


def _iterate(
    checkpoint: Checkpoint,
    loss_curve: list[float],
    max_iter: int,
    tol: float | None,
    n_iter_no_change: int,
    verbose: int,
    watchers: Sequence[Watcher],
) -> Status:
    engine = checkpoint.engine
    looks = tol is not None or verbose > 0 or len(watchers) > 0
    stride = (_LOOK_AHEAD if engine.can_go_back and not watchers else 1) if looks else checkpoint.stride
    plateau = None if tol is None else Plateau(loss_curve, start=0, tol=tol, patience=n_iter_no_change)
    remaining = max_iter
    while remaining:
        for watcher in watchers:
            watcher.begin()
        losses = checkpoint.advance(min(stride, remaining))
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
