"""The recipe of a training run: all that it takes from the parameters of an estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How to train; the fields are the estimators' parameters, except those described here.

    Attributes
    ----------
    name : str
        Name of the estimator, for messages.
    max_iter : int or None
        Passes over the rows; None for the number that `n_iter` derives from the number of rows.
    patience : int
        `n_iter_no_change`.
    is_single_pass : bool
        For `partial_fit`: one pass at a constant rate, on rows that may not be all.
    """

    name: str = "Estimator"
    solver: Literal["adam", "gd"] = "gd"
    learning_rate: float | Literal["auto"] = "auto"
    learning_rate_schedule: Literal["auto", "cosine", "constant"] = "constant"
    momentum: float = 0.0
    batch_size: int | Literal["auto"] = 128
    max_iter: int | None = None
    alpha: float | Literal["auto"] = 0.0
    standardize: bool = True
    reduction: Literal["mean", "sum"] = "mean"
    tol: float | None = None
    patience: int = 1
    early_stopping: bool = False
    validation_fraction: float = 0.1
    precompute: bool | Literal["auto"] = "auto"
    verbose: int = 0
    is_single_pass: bool = False

    def single_pass(self) -> Recipe:
        """The recipe of `partial_fit`."""
        return replace(self, is_single_pass=True, max_iter=1, learning_rate_schedule="constant", tol=None)

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate changes along the run, which then goes on to the end of the schedule.

        "auto" has a schedule unless training may stop: in the middle of a cosine the rate is still high, so to stop
        there gives a worse model than either schedule.
        """
        may_stop = self.early_stopping or self.tol is not None
        is_cosine = not may_stop if self.learning_rate_schedule == "auto" else self.learning_rate_schedule == "cosine"
        return self.solver == "adam" and is_cosine

    def rows_per_batch(self, n_samples: int) -> int:
        """`batch_size` as a number; "auto" is that of MLPRegressor."""
        return min(200, n_samples) if self.batch_size == "auto" else self.batch_size

    def n_iter(self, n_samples: int, batches_per_pass: int) -> int:
        """Passes over the rows."""
        if self.max_iter is not None:
            return self.max_iter
        if self.solver == "gd":
            return 500
        return math.ceil(self._automatic_steps(n_samples) / batches_per_pass)

    def _automatic_steps(self, n_samples: int) -> float:
        """Steps of adam if `max_iter` is None."""
        return min(max(150 * n_samples / self.rows_per_batch(n_samples), 1500), 12000)

    def penalty_delay(self, n_samples: int, batches_per_pass: int) -> int:
        """Steps without the automatic penalty: 40 % of those of the schedule.

        A constant rate has no schedule, and its runs can be resumed: 40 % of the automatic number of steps, counted
        over all calls.
        """
        n_steps = self._automatic_steps(n_samples)
        if self.has_schedule:
            n_steps = self.n_iter(n_samples, batches_per_pass) * batches_per_pass
        return int(0.4 * n_steps)
