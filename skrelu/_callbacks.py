"""scikit-learn's callbacks: their hooks around each iteration of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Callbacks:
    """Watcher that calls the hooks of an estimator's callbacks; made at the beginning of the task of `fit`.

    Parameters
    ----------
    estimator : estimator
        In the middle of `fit`.
    context : sklearn.callback.CallbackContext
        Of the task of `fit`.
    fitted : callable
        Returns the fitted attributes at the current iterate, in arrays of their own; called when a callback asks.
    X, y, sample_weight
        As given to `fit`, so that a callback can pass them to the methods of the fitted estimator.
    """

    def __init__(
        self, estimator: Any, context: Any, fitted: Callable[[], dict[str, Any]], X: Any, y: Any, sample_weight: Any
    ) -> None:
        self._context, self._fitted = context, fitted
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._task: Any = None
        context.call_on_fit_task_begin(**self._arguments)

    def begin(self) -> None:
        self._task = self._context.subcontext(task_name="iteration")
        self._task.call_on_fit_task_begin(**self._arguments, reconstruction_attributes=self._fitted)

    def end(self) -> bool:
        return self._task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted)

    def finish(self) -> None:
        """The end of `fit`, whose estimator is fitted."""
        self._context.call_on_fit_task_end(**self._arguments, reconstruction_attributes={})
