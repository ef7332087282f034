"""scikit-learn's callbacks: their hooks around each iteration of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skrelu._training.run import Outcome


class Callbacks:
    """Watcher that calls the hooks of an estimator's callbacks.

    Parameters
    ----------
    estimator : estimator
        In the middle of `fit`.
    X, y, sample_weight
        As given to `fit`, so that a callback can pass them to the methods of the fitted estimator.
    attributes : callable
        Returns the fitted attributes for an outcome.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any, attributes: Callable[[Outcome], dict[str, Any]]
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._attributes = attributes
        self._context: Any = None
        self._task: Any = None

    def start(self, n_iter: int, outcome: Callable[[], Outcome]) -> None:
        """Begin the task of `fit`, of up to `n_iter` iterations; a callback that asks for a model calls `outcome`."""
        self._fitted = lambda: self._attributes(outcome())
        self._context = self._arguments["estimator"]._init_callback_context(max_subtasks=n_iter)
        self._context.call_on_fit_task_begin(**self._arguments)

    def begin(self) -> None:
        self._task = self._context.subcontext(task_name="iteration")
        self._task.call_on_fit_task_begin(**self._arguments, reconstruction_attributes=self._fitted)

    def end(self) -> bool:
        return bool(self._task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted))

    def finish(self) -> None:
        """End the task of `fit`, whose estimator is fitted."""
        self._context.call_on_fit_task_end(**self._arguments, reconstruction_attributes={})
