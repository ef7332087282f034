"""The plain engines: gradient descent on all rows per iteration, and an optimizer on minibatches."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from skrelu._batches import Batches
from skrelu._optimizers import cosine
from skrelu._spectrum import largest_eigenvalue

Array = Any

_ITERATIONS_PER_LOOK = 16  # at losses that are computed asynchronously: a look waits for all the work before it

SCALE_REMEDY = (
    "the numbers are too large for their dtype; use standardize=True or float64, or divide X and y by a constant."
)


def iterate(am: Any, iteration: Callable[[], Any], n_iter: int) -> list[float]:
    """Losses of up to `n_iter` calls of `iteration`, which returns a scalar; the last may be the first not finite.

    Where scalars are computed asynchronously, iterations after that one may have been done in vain.
    """
    losses: list[float] = []
    stride = _ITERATIONS_PER_LOOK if am.is_asynchronous else 1
    while len(losses) < n_iter:
        for loss in am.to_floats([iteration() for _ in range(min(stride, n_iter - len(losses)))]):
            losses.append(loss)
            if not math.isfinite(loss):
                return losses
    return losses


def stable_rate(curvature: float) -> float:
    """1 / L, the rate at which no step of gradient descent overshoots; 1 where the loss is flat."""
    if not math.isfinite(curvature):
        raise ValueError(
            "learning_rate='auto' needs the curvature of the loss at the initial weights, which is not finite: "
            + SCALE_REMEDY
        )
    return 1.0 / curvature if curvature > 0.0 else 1.0


class Penalty:
    """The factor lambda of the L2 term ``lambda / 2 |weights|^2``, and its gradient.

    Either fixed, or following the noise: with the errors measured in standard deviations of y, ::

        lambda_t = c min(20 min(mse_t, 1) / sum(sample_weight), 0.1)

    where mse_t is a running mean of the batches' mean squared error with weight max(0.01, 1 / t) on the newest. A model
    that fits well is then hardly penalized, and one that cannot do better than noise is.
    """

    def __init__(self, model: Any, *, fixed: float | None, c: float, total_weight: float):
        self._model, self._follows_noise = model, fixed is None
        self._mse_of_loss = 2.0 / (c * model.n_outputs)
        self._slope = min(20.0 * (c / total_weight), sys.float_info.max)  # weights may be tiny, and mse zero
        self._limit = min(self._slope, 0.1 * c)
        self.strength: Any = 0.0 if fixed is None else fixed
        self.mse: Any = model.am.scalar(0.0)
        self.count = 0
        self._gradient = model.gradient[model.weights]
        self._stage = None if fixed == 0.0 else model.am.empty(self._gradient.shape, model.theta.dtype)

    def observe(self, loss: Any) -> None:
        """Take in the loss of a batch."""
        if self._follows_noise:
            self.count += 1
            weight = max(0.01, 1.0 / self.count)
            # c min(20 min(mse, 1) / sum(sample_weight), 0.1) is the smaller of a multiple of mse and a constant.
            self.mse, self.strength = self._model.am.running_mean(
                self.mse, loss, self._mse_of_loss, weight, self._slope, self._limit
            )

    def value(self, theta: Array) -> float:
        """lambda / 2 |the weights in `theta`|^2, with lambda as it is now."""
        weights = self._model.am.to_numpy(theta)[self._model.weights]
        return 0.5 * float(self.strength) * float(np.square(weights, dtype=np.float64).sum())

    def add_gradient(self, theta: Array) -> None:
        """gradient += lambda (the weights in `theta`)."""
        if self._stage is not None:
            weights = theta[self._model.weights]
            self._model.am.add_scaled(weights, self.strength, stage=self._stage, out=self._gradient)


def penalized_curvature(model: Any, product: Callable[[Array], None], penalty: Penalty, rtol: float) -> float:
    """Largest eigenvalue of the matrix whose products `product` leaves in the gradient, plus that of the penalty."""

    def with_penalty(direction: Array) -> Array:
        product(direction)
        penalty.add_gradient(direction)
        return model.gradient

    return largest_eigenvalue(model.am, with_penalty, model.theta.shape[0], model.theta.dtype, rtol=rtol)


def loss_on(model: Any, batches: Batches, c: float) -> float:
    """Loss of the model on all rows of `batches`, without penalty; 1 / (2 n) times c and a sum over the rows."""
    am = model.am
    total = am.scalar(0.0)
    for X, y, s in batches.in_order():
        loss, _ = model.loss(model.forward(X), y, s, c)
        total = am.add_product(total, loss, X.shape[0] / batches.n_samples)
    return am.to_floats([total])[0]


class _InTheModel:
    """What engines share whose iterations are carried out on the model's theta."""

    model: Any
    has_schedule = False
    _best: Array = None

    def finish(self) -> None:
        """Nothing: the model is where the iterations are carried out."""

    def evaluator(self, model: Any, batches: Batches, c: float) -> Callable[[], float]:
        """What computes the loss of the current iterate on other rows; `model` has buffers for their batches."""

        def evaluate() -> float:
            model.theta[...] = self.model.theta
            return loss_on(model, batches, c)

        return evaluate

    def mark(self) -> None:
        """Keep a copy of the current iterate; a new one, so that an interruption leaves the one before whole."""
        self._best = self.model.theta * 1.0

    def marked(self) -> Array:
        """The flat vector of the iterate that was marked last."""
        return self._best


class FullBatch(_InTheModel):
    """Gradient descent: one step an iteration, along the gradient of all rows, taken block by block."""

    name, can_go_back = "gd", False

    def __init__(self, model: Any, batches: Batches, optimizer: Any, penalty: Penalty, *, c: float, epoch: int):
        self.model, self.batches, self.optimizer, self.penalty = model, batches, optimizer, penalty
        self.c, self.epoch, self.rate = c, epoch, 0.0
        self._sum = model.am.empty(model.theta.shape, model.theta.dtype) if batches.per_epoch > 1 else None

    def advance(self, n_iter: int) -> list[float]:
        return iterate(self.model.am, self._iteration, n_iter)

    def _iteration(self) -> Any:
        loss = self._over_blocks(lambda X, y, s: self.model.loss_and_gradient(X, y, s, self.c))
        self.penalty.add_gradient(self.model.theta)
        self.optimizer.step(self.model.theta, self.model.gradient, self.rate)
        self.epoch += 1
        return loss

    def default_rate(self, rtol: float) -> float:
        return stable_rate(self.curvature(rtol))

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Gauss-Newton matrix with penalty at theta; `rtol` is of its residual."""

        def product(direction: Array) -> None:
            self._over_blocks(lambda X, y, s: self.model.curvature_product(X, s, self.c, direction))

        return penalized_curvature(self.model, product, self.penalty, rtol)

    def state(self) -> dict[str, Any]:
        return _optimizer_state(self.model.am, self.optimizer)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the optimizer's moments of an earlier run."""
        _restore_optimizer(self.model.am, self.optimizer, state)

    def moving(self) -> tuple[list[Array], list[tuple[Any, str]]]:
        return [self.model.theta, *self.optimizer.moments], [(self, "epoch"), (self.optimizer, "step_count")]

    def _over_blocks(self, compute: Callable[[Array, Array, Array | None], Any]) -> Any:
        """Mean over all rows of what `compute` returns for a block and, in `gradient`, of what it leaves there."""
        am, gradient, n = self.model.am, self.model.gradient, self.batches.n_samples
        total = am.scalar(0.0)
        for k, (X, y, s) in enumerate(self.batches.in_order()):
            share = X.shape[0] / n
            total = am.add_product(total, compute(X, y, s), share)
            if self._sum is not None and k == 0:
                am.multiply(gradient, share, out=self._sum)
            elif self._sum is not None:
                am.add_scaled(gradient, share, stage=gradient, out=self._sum)
        if self._sum is not None:
            am.multiply(self._sum, 1.0, out=gradient)
        return total


class Minibatches(_InTheModel):
    """An optimizer on shuffled minibatches: an iteration is a pass over the rows.

    `n_steps` is the horizon of the cosine schedule, or None for a constant rate.
    """

    name, can_go_back = "adam", False
    _steps_between_looks = 32  # at the loss, to stop soon after it is not finite

    def __init__(
        self,
        model: Any,
        batches: Batches,
        optimizer: Any,
        penalty: Penalty,
        *,
        c: float,
        n_steps: int | None,
        seed: int,
        epoch: int,
    ):
        self.model, self.batches, self.optimizer, self.penalty = model, batches, optimizer, penalty
        self.c, self.rate, self.n_steps, self.has_schedule = c, 0.0, n_steps, n_steps is not None
        self.seed, self.epoch = seed, epoch
        self._step = 0

    def default_rate(self, rtol: float) -> float:
        return 0.01

    def state(self) -> dict[str, Any]:
        am, penalty = self.model.am, self.penalty
        mse = am.to_floats([penalty.mse])[0]
        return _optimizer_state(am, self.optimizer) | {"mse": mse, "mse_count": penalty.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the optimizer's moments and the penalty's error of an earlier run."""
        if _restore_optimizer(self.model.am, self.optimizer, state):
            self.penalty.mse, self.penalty.count = self.model.am.scalar(state["mse"]), state["mse_count"]

    def moving(self) -> tuple[list[Array], list[tuple[Any, str]]]:
        numbers = [(self, "epoch"), (self, "_step"), (self.optimizer, "step_count")]
        numbers += [(self.penalty, name) for name in ("mse", "count", "strength")]
        return [self.model.theta, *self.optimizer.moments], numbers

    def advance(self, n_iter: int) -> list[float]:
        return iterate(self.model.am, self._pass, n_iter)

    def _pass(self) -> Any:
        model, rate, total, n = self.model, self.rate, self.model.am.scalar(0.0), self.batches.n_samples
        looks, add_product = not model.am.is_asynchronous, model.am.add_product
        for X, y, s in self.batches.shuffled(self.seed, self.epoch):
            loss = model.loss_and_gradient(X, y, s, self.c)
            total = add_product(total, loss, X.shape[0] / n)
            if looks and self._step % self._steps_between_looks == 0 and not math.isfinite(loss):
                return loss
            self.penalty.observe(loss)
            self.penalty.add_gradient(model.theta)
            if self.n_steps is not None:
                rate = self.rate * cosine(self._step, self.n_steps)
            self.optimizer.step(model.theta, model.gradient, rate)
            self._step += 1
        self.epoch += 1
        return total


def _optimizer_state(am: Any, optimizer: Any) -> dict[str, Any]:
    moments = [am.to_numpy(moment) for moment in optimizer.moments]
    return {"name": optimizer.name, "moments": moments, "step_count": optimizer.step_count}


def _restore_optimizer(am: Any, optimizer: Any, state: dict[str, Any]) -> bool:
    """Give `optimizer` the moments in `state` if they are of its kind; return whether they were."""
    if state["name"] != optimizer.name or len(state["moments"]) != len(optimizer.moments):
        return False
    optimizer.step_count = state["step_count"]
    for mine, stored in zip(optimizer.moments, state["moments"], strict=True):
        mine[...] = am.from_numpy(stored, None)
    return True
