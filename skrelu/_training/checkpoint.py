"""The checkpoint: an interruption loses no completed iteration."""

from __future__ import annotations

from skrelu._engines.base import Engine

MOST_AHEAD = 65536  # iterations asked for at once of an engine that can go back
_ROWS_BETWEEN_COPIES = 2**14  # copying then costs a percent of an iteration, and repeating these a moment


class Checkpoint:
    """Advances an engine so that an interruption loses no completed iteration.

    An interruption may come between any two operations and leave an iteration half done. `recover` then puts the engine
    back to the last copy of everything that moves and repeats the iterations completed since; their results are the
    same again.
    """

    def __init__(self, engine: Engine, loss_curve: list[float]) -> None:
        self.engine, self._curve = engine, loss_curve
        arrays, self._numbers = engine.moving()
        am, self._epoch = engine.model.am, engine.epoch
        self._copies = [(a, am.empty(a.shape, a.dtype)) for a in arrays]
        between = max(1, _ROWS_BETWEEN_COPIES // engine.batches.n_samples)
        # A power of two, so that looks at losses on a GPU, every 16 iterations, fall on the last one.
        self.stride = MOST_AHEAD if engine.can_go_back else 1 << between.bit_length() - 1
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
        """Set engine and curve to those of the completed iterations."""
        if self._whole:
            self._curve[self._length :] = self._losses
            return
        completed = self.engine.epoch - self._epoch
        for (owner, name), value in zip(self._numbers, self._values, strict=True):
            setattr(owner, name, value)
        for a, copy in self._copies:
            a[...] = copy
        self._curve[self._curve_length :] = self.engine.advance(completed) if completed else []

    def _take(self) -> None:
        """Copy everything that moves; the engine itself is whole meanwhile."""
        self._whole, self._length, self._losses = True, len(self._curve), []
        for a, copy in self._copies:
            copy[...] = a
        self._values = [getattr(owner, name) for owner, name in self._numbers]
        self._epoch, self._curve_length = self.engine.epoch, len(self._curve)
