"""The plain engines: gradient descent on all rows per iteration, and an optimizer on minibatches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from skrelu._batches import Batches
from skrelu._optimizers import cosine
from skrelu._spectrum import largest_eigenvalue

Array = Any


class Penalty:
    """The factor lambda of the L2 term ``lambda / 2 |weights|^2``, and its gradient.

    Either fixed, or following the noise: with the errors measured in standard deviations of y, ::

        lambda_t = c min(20 min(mse_t, 1) / sum(sample_weight), 0.1)

    where mse_t is a running mean of the batches' mean squared error with weight max(0.01, 1 / t) on the newest. A model
    that fits well is then hardly penalized, and one that cannot do better than noise is.
    """

    def __init__(self, model: Any, *, fixed: float | None, c: float, total_weight: float):
        self._model, self._follows_noise = model, fixed is None
        self._c, self._total_weight = c, total_weight
        self.strength: Any = 0.0 if fixed is None else fixed
        self.mse: Any = 0.0
        self.count = 0
        k = model.n_penalized
        self._weights, self._gradient = model.theta[:k], model.gradient[:k]
        self._stage = None if fixed == 0.0 else model.am.empty((k,), model.theta.dtype)

    def observe(self, loss: Any) -> None:
        """Take in the loss of a batch."""
        if self._follows_noise:
            self.count += 1
            mse = loss * (2.0 / (self._c * self._model.n_outputs))
            self.mse = self.mse + max(0.01, 1.0 / self.count) * (mse - self.mse)
            minimum = self._model.am.minimum
            self.strength = self._c * minimum(20.0 / self._total_weight * minimum(self.mse, 1.0), 0.1)

    def add_gradient(self) -> None:
        """gradient += lambda weights."""
        self.add_product(self._weights)

    def add_product(self, direction: Array) -> None:
        """gradient += lambda (the weights' part of `direction`)."""
        if self._stage is not None:
            direction = direction[: self._model.n_penalized]
            self._model.am.add_scaled(direction, self.strength, stage=self._stage, out=self._gradient)


class FullBatch:
    """Gradient descent: one step an iteration, along the gradient of all rows, taken block by block."""

    def __init__(self, model: Any, batches: Batches, optimizer: Any, penalty: Penalty, *, c: float, epoch: int):
        self.model, self.batches, self.optimizer, self.penalty = model, batches, optimizer, penalty
        self.c, self.epoch, self.rate = c, epoch, 0.0
        self._sum = model.am.empty(model.theta.shape, model.theta.dtype) if batches.per_epoch > 1 else None

    def advance(self, n_iter: int) -> list[float]:
        losses: list[float] = []
        for _ in range(n_iter):
            losses.append(self._over_blocks(lambda X, y, s: self.model.loss_and_gradient(X, y, s, self.c)))
            if not math.isfinite(losses[-1]):
                break
            self.penalty.add_gradient()
            self.optimizer.step(self.model.theta, self.model.gradient, self.rate)
            self.epoch += 1
        return losses

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the objective's Gauss-Newton matrix at theta, from below to `rtol`."""
        am, theta = self.model.am, self.model.theta
        return largest_eigenvalue(am, self._curvature_product, theta.shape[0], theta.dtype, rtol=rtol)

    def _curvature_product(self, direction: Array) -> Array:
        """Gauss-Newton matrix of the objective at theta, times `direction`, in the buffer of the gradient."""
        self._over_blocks(lambda X, y, s: self.model.curvature_product(X, s, self.c, direction))
        self.penalty.add_product(direction)
        return self.model.gradient

    def _over_blocks(self, compute: Callable[[Array, Array, Array | None], Any]) -> float:
        """Mean over all rows of what `compute` returns for a block and, in `gradient`, of what it leaves there."""
        am, gradient, n = self.model.am, self.model.gradient, self.batches.n_samples
        total = 0.0
        for k, (X, y, s) in enumerate(self.batches.in_order()):
            share = X.shape[0] / n
            total += compute(X, y, s) * share
            if self._sum is not None and k == 0:
                am.multiply(gradient, share, out=self._sum)
            elif self._sum is not None:
                am.add_scaled(gradient, share, stage=gradient, out=self._sum)
        if self._sum is not None:
            am.multiply(self._sum, 1.0, out=gradient)
        return float(total)


class Minibatches:
    """An optimizer on shuffled minibatches: an iteration is a pass over the rows.

    `n_steps` is the horizon of the cosine schedule, or None for a constant rate.
    """

    _steps_between_looks = 32  # at the loss, to stop soon after it is not finite; a look waits for a GPU

    def __init__(
        self,
        model: Any,
        batches: Batches,
        optimizer: Any,
        penalty: Penalty,
        *,
        c: float,
        rate: float,
        n_steps: int | None,
        seed: int,
        epoch: int,
    ):
        self.model, self.batches, self.optimizer, self.penalty = model, batches, optimizer, penalty
        self.c, self.rate, self.n_steps = c, rate, n_steps
        self.seed, self.epoch = seed, epoch
        self._step = 0

    def advance(self, n_iter: int) -> list[float]:
        losses: list[float] = []
        for _ in range(n_iter):
            losses.append(self._pass())
            if not math.isfinite(losses[-1]):
                break
            self.epoch += 1
        return losses

    def _pass(self) -> float:
        model, rate, total = self.model, self.rate, 0.0
        for X, y, s in self.batches.shuffled(self.seed, self.epoch):
            loss = model.loss_and_gradient(X, y, s, self.c)
            total = total + loss * (X.shape[0] / self.batches.n_samples)
            if self._step % self._steps_between_looks == 0 and not math.isfinite(loss):
                return float(loss)
            self.penalty.observe(loss)
            self.penalty.add_gradient()
            if self.n_steps is not None:
                rate = self.rate * cosine(self._step, self.n_steps)
            self.optimizer.step(model.theta, model.gradient, rate)
            self._step += 1
        return float(total)
