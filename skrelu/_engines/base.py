"""The contract of the engines, and what they share: iterations, the learning rate, curvature and evaluation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, NotRequired, TypedDict

import numpy as np

from skrelu._arrays import Array, ArrayModule, Scalar
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Batch, Model
from skrelu._models.optimizers import Optimizer
from skrelu._models.penalty import Penalty
from skrelu._models.spectrum import largest_eigenvalue
from skrelu._rows.batches import Batches

# Where losses are computed asynchronously, reading one waits for all the work before it: they are read in groups.
_ITERATIONS_PER_LOOK = 16

SCALE_REMEDY = (
    "the numbers are too large for their dtype; use standardize=True or float64, or divide X and y by a constant."
)


class EngineState(TypedDict):
    """What `Engine.restore` needs to resume exactly: numbers, strings and NumPy arrays, nothing else."""

    solver: str
    moments: list[np.ndarray]  # of the optimizer
    step_count: int
    mse: NotRequired[float]  # of a penalty that follows the noise, and the batches it has seen
    mse_count: NotRequired[int]
    shortcut: NotRequired[dict[str, Any]]  # what a shortcut keeps instead of moments, with the name of its problem


class Work(NamedTuple):
    """Floating-point operations of the largest matrix product of a run, and of the whole run."""

    largest_product: float
    total: float


class Moving(NamedTuple):
    """Everything an iteration modifies: arrays, in place, and numbers, as (object, attribute) pairs."""

    arrays: list[Array]
    numbers: list[tuple[object, str]]


class Engine(ABC):
    """Carries out iterations of an optimization on a model's theta.

    Parameters
    ----------
    model : Model
        Starts at its theta.
    batches : Batches
        The rows, in batches of `batch_rows`.
    penalty : Penalty
    recipe : Recipe
    rate : float or None
        The learning rate; None computes the default at the initial theta.
    epoch : int
        Iterations done before, in the runs that this one continues.
    seed : int
        Of the order of the rows.
    """

    is_shortcut: ClassVar[bool] = False
    can_go_back: ClassVar[bool] = False  # iterations cost next to nothing and can be undone

    rate: float

    def __init__(
        self,
        model: Model,
        batches: Batches,
        penalty: Penalty,
        recipe: Recipe,
        *,
        rate: float | None = None,
        epoch: int = 0,
        seed: int = 0,
    ) -> None:
        self.model, self.batches, self.penalty, self.recipe = model, batches, penalty, recipe
        self.epoch, self._seed = epoch, seed
        model.allocate(batches.rows)
        am, theta = model.am, model.theta
        self._sum = am.empty(theta.shape, theta.dtype) if batches.per_epoch > 1 else None
        self._best: Array = None
        self._prepare()
        self.rate = self.default_rate() if rate is None else rate

    # ---- which problems it is for

    @classmethod
    @abstractmethod
    def suits(cls, model: Model, n_samples: int, recipe: Recipe) -> bool:
        """Whether it can, and may, carry out the recipe. The answer is the same for runs that continue each other."""

    @classmethod
    @abstractmethod
    def cost(cls, model: Model, n_samples: int, recipe: Recipe, n_iter: int) -> float:
        """Time of `n_iter` iterations, in floating-point operations at the rate of large matrix products."""

    @classmethod
    @abstractmethod
    def batch_rows(cls, model: Model, n_samples: int, recipe: Recipe) -> int:
        """Rows that it reads at a time."""

    def work(self, n_iter: int) -> Work:
        """What `n_iter` iterations take, to decide on the number of BLAS threads."""
        return Work(self.model.largest_product(self.batches.rows), self.model.flops(self.batches.n_samples) * n_iter)

    # ---- iterations

    @abstractmethod
    def _prepare(self) -> None:
        """Make the engine's own arrays, at the end of the constructor."""

    @abstractmethod
    def advance(self, n_iter: int) -> list[float]:
        """Do up to `n_iter` iterations and return their losses, ending with the first that is not finite."""

    def go_back(self, n_iter: int) -> None:
        """Undo the last `n_iter` iterations, for an engine that can go back."""
        raise NotImplementedError

    @abstractmethod
    def moving(self) -> Moving:
        """Everything an iteration modifies."""

    def finish(self) -> None:
        """Leave the current iterate in the model's theta; an engine that iterates on theta has nothing to do."""
        return

    # ---- resuming

    @abstractmethod
    def state(self) -> EngineState:
        """What `restore` needs."""

    @abstractmethod
    def restore(self, state: EngineState) -> None:
        """Resume from the state of an engine of the same solver."""

    def recognizes(self, state: EngineState) -> bool:
        """Whether `state` is of a shortcut on the same problem, from which this one resumes exactly."""
        return False

    # ---- looking at the current iterate

    def mark(self) -> None:
        """Keep a copy of the current iterate. It is a new copy: an interruption leaves the last one whole."""
        self.finish()
        self._best = self.model.am.copy(self.model.theta)

    def marked(self) -> Array:
        """The flat vector of the iterate that was marked last."""
        return self._best

    def evaluator(self, batches: Batches) -> Callable[[], float]:
        """A function that returns the loss of the current iterate, of the average of members, on other rows."""
        plain = self.model.plain()
        plain.allocate(batches.rows)

        def evaluate() -> float:
            self.model.average(plain)
            return loss_on(plain, batches)

        return evaluate

    def loss(self) -> float:
        """Loss of the current iterate, the mean of the members', without penalty."""
        self.finish()
        return loss_on(self.model, self.batches)

    def published_loss(self) -> float:
        """Loss of the average of the members at the model's theta."""
        plain = self.model.plain()
        self.model.average(plain)
        return loss_on(plain, self.batches)

    # ---- the learning rate

    def default_rate(self) -> float:
        """1 / L, at which no step of gradient descent overshoots; 1 if the loss is flat."""
        curvature = self.curvature(self.model.curvature_rtol)
        if not math.isfinite(curvature):
            raise ValueError(
                "learning_rate='auto' needs the curvature of the loss at the initial weights, which is not finite: "
                + SCALE_REMEDY
            )
        return 1.0 / curvature if curvature > 0.0 else 1.0

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Gauss-Newton matrix with penalty at theta; `rtol` is of its residual."""
        model, no_loss = self.model, self.model.am.scalar(0.0)

        def product(direction: Array) -> Array:
            def of_a_block(block: Batch) -> Scalar:
                model.curvature_product(block, direction)
                return no_loss

            self._over_blocks(of_a_block)
            self.penalty.add_gradient(direction)
            return model.gradient

        return largest_eigenvalue(model.am, product, model.theta.shape[0], model.theta.dtype, rtol=rtol)

    def _over_blocks(self, compute: Callable[[Batch], Scalar]) -> Scalar:
        """Mean over all rows of the value of `compute` for a block and, in `gradient`, of what it writes there."""
        am, gradient, n = self.model.am, self.model.gradient, self.batches.n_samples
        total = am.scalar(0.0)
        for k, block in enumerate(self.batches.in_order()):
            share = block.X.shape[0] / n
            total = am.add_product(total, compute(block), share)
            if self._sum is not None and k == 0:
                am.multiply(gradient, share, out=self._sum)
            elif self._sum is not None:
                am.add_scaled(gradient, share, stage=gradient, out=self._sum)
        if self._sum is not None:
            gradient[...] = self._sum
        return total


def iterate(am: ArrayModule, iteration: Callable[[], Scalar], n_iter: int) -> list[float]:
    """Losses of up to `n_iter` calls of `iteration`, which returns a scalar; only the last may be not finite.

    Where scalars are computed asynchronously, a few iterations after that one may have been done in vain.
    """
    losses: list[float] = []
    stride = _ITERATIONS_PER_LOOK if am.is_asynchronous else 1
    while len(losses) < n_iter:
        for loss in am.to_floats([iteration() for _ in range(min(stride, n_iter - len(losses)))]):
            losses.append(loss)
            if not math.isfinite(loss):
                return losses
    return losses


def loss_on(model: Model, batches: Batches) -> float:
    """Loss of the model on all rows of `batches`, without penalty."""
    am = model.am
    total = am.scalar(0.0)
    for batch in batches.in_order():
        loss, _ = model.loss(model.forward(batch.X), batch)
        total = am.add_product(total, loss, batch.X.shape[0] / batches.n_samples)
    return am.to_floats([total])[0]


def optimizer_state(am: ArrayModule, recipe: Recipe, optimizer: Optimizer) -> EngineState:
    """The state of an engine whose iterations only move theta and the moments of `optimizer`."""
    moments = [am.to_numpy(moment) for moment in optimizer.moments]
    return {"solver": recipe.solver, "moments": moments, "step_count": optimizer.step_count}


def restore_optimizer(am: ArrayModule, optimizer: Optimizer, state: EngineState) -> None:
    """Set the moments to those of `state`; without moments of their shape there, they stay zero."""
    if [a.shape for a in state["moments"]] != [a.shape for a in optimizer.moments]:
        return
    optimizer.step_count = state["step_count"]
    for moment, stored in zip(optimizer.moments, state["moments"], strict=True):
        moment[...] = am.from_numpy(stored, None)
