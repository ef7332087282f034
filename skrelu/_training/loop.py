"""The one training loop: how far to advance before looking, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Protocol

from skrelu._engines.base import Engine
from skrelu._training.checkpoint import Checkpoint

Status = Literal["max_iter", "converged", "stopped", "diverged", "interrupted"]  # why training ended

_LOOK_AHEAD = 4096  # iterations asked for at once of an engine that may have to go back


class Watcher(Protocol):
    """Looks at training before and after each iteration."""

    def begin(self) -> None: ...

    def end(self) -> bool:
        """Whether training is to stop here."""
        ...


class Plateau:
    """Tells when none of the last `patience` values of a curve improved on the best before by more than `tol`.

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


def has_not_risen(loss_curve: list[float], engine: Engine) -> bool:
    """Whether the last loss is not above the first one by more than rounding: else it may be about to diverge."""
    return loss_curve[-1] <= loss_curve[0] * (1.0 + engine.model.rounding)


def run_iterations(
    engine: Engine,
    loss_curve: list[float],
    *,
    n_iter: int,
    tol: float | None,
    patience: int,
    verbose: int,
    n_left_out: int = 0,
    watchers: Sequence[Watcher] = (),
    validation_curve: list[float] | None = None,
) -> Status:
    """Advance `engine` by up to `n_iter` iterations, appending each loss to `loss_curve`.

    With `tol`, training has converged when none of the last `patience` losses improved on the best before by more than
    `tol`. A loss above the first of the curve is never called converged. With `verbose` = k, every k-th iteration is
    printed as the tutorials do: its number, which counts `n_left_out` before the curve, and its loss. If the watchers
    fill a `validation_curve`, a table with a heading is printed instead. Training stops when one of the `watchers` says
    so. A KeyboardInterrupt ends it with the last completed iteration; without any, the KeyboardInterrupt is raised.
    """
    before = len(loss_curve)
    checkpoint = Checkpoint(engine, loss_curve)
    plateau = None if tol is None else Plateau(loss_curve, start=0, tol=tol, patience=patience)
    try:
        if plateau is None and verbose <= 0 and not watchers:
            return _run_blindly(checkpoint, loss_curve, n_iter)
        show = _Printer(loss_curve, validation_curve, verbose, n_left_out)
        return _run_looking(checkpoint, loss_curve, n_iter, plateau, show, watchers)
    except KeyboardInterrupt:
        checkpoint.recover()
        if len(loss_curve) == before:
            raise
        return "interrupted"


class _Printer:
    """Prints every `verbose`-th iteration: as the tutorials do, or as a table if there are validation losses.

    The validation loss is known after the watchers looked, and never for an iteration that diverged.
    """

    def __init__(self, curve: list[float], validation_curve: list[float] | None, verbose: int, n_left_out: int) -> None:
        self._curve, self._validation_curve, self._verbose = curve, validation_curve, verbose
        self._n_left_out = n_left_out
        if verbose > 0 and validation_curve is not None:
            print(f"{'iteration':>9}  {'loss':>12}  {'validation loss':>15}")

    @property
    def _iteration(self) -> int:
        return self._n_left_out + len(self._curve) - 1

    def _is_due(self) -> bool:
        return self._verbose > 0 and self._iteration % self._verbose == 0

    def loss(self) -> None:
        if self._validation_curve is None and self._is_due():
            print(self._iteration, self._curve[-1])

    def validation_loss(self) -> None:
        if self._validation_curve is not None and self._is_due():
            print(f"{self._iteration:9d}  {self._curve[-1]:12.6g}  {self._validation_curve[-1]:15.6g}")


def _run_blindly(checkpoint: Checkpoint, loss_curve: list[float], n_iter: int) -> Status:
    """Many iterations at a time: only a loss that is not finite stops the run."""
    remaining = n_iter
    while remaining:
        losses = checkpoint.advance(min(checkpoint.stride, remaining))
        remaining -= len(losses)
        loss_curve += losses
        if not math.isfinite(losses[-1]):
            return "diverged"
    return "max_iter"


def _run_looking(
    checkpoint: Checkpoint,
    loss_curve: list[float],
    n_iter: int,
    plateau: Plateau | None,
    show: _Printer,
    watchers: Sequence[Watcher],
) -> Status:
    """Look at each loss; an engine that can go back is asked for many, and undoes those after the end."""
    engine = checkpoint.engine
    stride = _LOOK_AHEAD if engine.can_go_back and not watchers else 1
    remaining = n_iter
    while remaining:
        for watcher in watchers:
            watcher.begin()
        losses = checkpoint.advance(min(stride, remaining))
        remaining -= len(losses)
        for done, loss in enumerate(losses, start=1):
            loss_curve.append(loss)
            show.loss()
            if not math.isfinite(loss):
                return "diverged"
            stopped = [watcher.end() for watcher in watchers]  # all of them look
            show.validation_loss()
            if plateau is not None and plateau.reached() and has_not_risen(loss_curve, engine):
                if done < len(losses):
                    engine.go_back(len(losses) - done)
                return "converged"
            if any(stopped):
                return "stopped"
    return "max_iter"
