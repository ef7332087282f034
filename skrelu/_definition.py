"""What an estimator says about its model and its engines, and the predictions that follow from it."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any, ClassVar

import numpy as np

from skrelu._batches import Batches
from skrelu._problem import Problem
from skrelu._standardize import Scaling, blocks_of

Array = Any

_PREDICT_BLOCK = 2**17  # numbers in the buffers of a block of rows, to stay within a processor's cache


class Definition(metaclass=ABCMeta):
    """What the two estimators differ in; `TrainingRun` trains by it."""

    _structure: ClassVar[tuple[str, ...]]  # parameters that a resumed fit must find unchanged
    _coefficients: ClassVar[str]  # a fitted array, to know the array library by
    _curvature_rtol: ClassVar[float]  # of the residual; that of L is about its square

    alpha: Any
    array_module: str
    fit_intercept: bool
    learning_rate: Any
    learning_rate_: float
    max_iter: Any
    n_iter_: int
    n_outputs_: int
    random_state: Any
    reduction: str
    standardize: bool
    tol: float | None
    verbose: Any
    warm_start: bool

    @abstractmethod
    def _draw(self, rng: np.random.RandomState, n_features: int, n_outputs: int) -> list[np.ndarray]:
        """Initial parameters, shaped as the views of the model, drawn in float64; those of the last layer last."""

    def _draw_seed(self, rng: np.random.RandomState) -> int:
        """Seed of the order of the rows; nothing is drawn where they are not shuffled."""
        return 0

    @abstractmethod
    def _make_model(self, problem: Problem, rows: int) -> Any:
        """The model, with buffers for `rows` rows."""

    @abstractmethod
    def _choose_engine(self, problem: Problem) -> str:
        """Which engine trains. It depends on nothing that may differ between calls that continue each other."""

    @abstractmethod
    def _batch_rows(self, problem: Problem, kind: str) -> int:
        """Rows that are read at a time."""

    @abstractmethod
    def _make_engine(
        self, kind: str, model: Any, batches: Batches, problem: Problem, c: float, horizon: int | None
    ) -> Any:
        """The engine; `horizon` is the number of steps of the whole run, None for a single iteration."""

    @abstractmethod
    def _iterations(self, problem: Problem, batches: Batches) -> int:
        """`max_iter` as a number."""

    @abstractmethod
    def _work(self, problem: Problem, kind: str, rows: int, n_iter: int) -> tuple[float, float]:
        """Floating-point operations of the largest matrix product of a run, and of all of them."""

    @abstractmethod
    def _published(self, parameters: list[np.ndarray], x: Scaling, y: Scaling, store: Any) -> dict[str, Any]:
        """The coefficients as fitted attributes, each passed through `store`."""

    @abstractmethod
    def _evaluate(self, am: Any, X: Array, out: Array) -> None:
        """Write the predictions for a block of rows to `out`."""

    @property
    def _width(self) -> int:
        """Numbers that a row needs in the buffers of a block, apart from the row itself."""
        return self.n_outputs_

    def _predict(self, am: Any, X: Array) -> Array:
        """Predictions of shape (n_samples, n_outputs)."""
        dtype = am.xp.result_type(X.dtype, getattr(self, self._coefficients).dtype)
        out = am.empty((X.shape[0], self.n_outputs_), dtype)
        for block in blocks_of(X.shape[0], max(1, am.block_scale * _PREDICT_BLOCK // self._width)):
            self._evaluate(am, X[block, ...], out[block, ...])
        return out
