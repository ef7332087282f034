"""The plain engines: gradient descent on all rows per iteration, and an optimizer on minibatches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from skrelu._batches import Batches
from skrelu._optimizers import cosine
from skrelu._spectrum import largest_eigenvalue

Array = Any

SCALE_REMEDY = (
    "The numbers are too large for their dtype; use standardize=True or float64, or divide X and y by a constant."
)


def stable_rate(curvature: float) -> float:
    """1 / L, the rate at which no step of gradient descent overshoots; 1 where the loss is flat."""
    if not math.isfinite(curvature):
        raise ValueError(
            "learning_rate='auto' needs the curvature of the loss at the initial weights, which is not finite. "
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
        self._c, self._total_weight = c, total_weight
        self.strength: Any = 0.0 if fixed is None else fixed
        self.mse: Any = 0.0
        self.count = 0
        self._gradient = model.gradient[model.weights]
        self._stage = None if fixed == 0.0 else model.am.empty(self._gradient.shape, model.theta.dtype)

    def observe(self, loss: Any) -> None:
        """Take in the loss of a batch."""
        if self._follows_noise:
            self.count += 1
            mse = loss * (2.0 / (self._c * self._model.n_outputs))
            self.mse = self.mse + max(0.01, 1.0 / self.count) * (mse - self.mse)
            minimum = self._model.am.minimum
            self.strength = self._c * minimum(20.0 * minimum(self.mse, 1.0) / self._total_weight, 0.1)

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


class FullBatch:
    """Gradient descent: one step an iteration, along the gradient of all rows, taken block by block."""

    name, can_go_back = "gd", False

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
            self.penalty.add_gradient(self.model.theta)
            self.optimizer.step(self.model.theta, self.model.gradient, self.rate)
            self.epoch += 1
        return losses

    def default_rate(self, rtol: float) -> float:
        return stable_rate(self.curvature(rtol))

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Gauss-Newton matrix with penalty at theta; `rtol` is of its residual."""

        def product(direction: Array) -> None:
            self._over_blocks(lambda X, y, s: self.model.curvature_product(X, s, self.c, direction))

        return penalized_curvature(self.model, product, self.penalty, rtol)

    def state(self) -> dict[str, Any]:
        return _optimizer_state(self.optimizer)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the optimizer's moments of an earlier run."""
        _restore_optimizer(self.optimizer, state)

    def moving(self) -> tuple[list[Array], list[tuple[Any, str]]]:
        return [self.model.theta, *self.optimizer.moments], [(self, "epoch"), (self.optimizer, "step_count")]

    def finish(self) -> None:
        """Nothing: the model is where the iterations are carried out."""

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

    name, can_go_back = "adam", False
    _steps_between_looks = 32  # at the loss, to stop soon after it is not finite; a look waits for a GPU

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
        self.c, self.rate, self.n_steps = c, 0.0, n_steps
        self.seed, self.epoch = seed, epoch
        self._step = 0

    def default_rate(self, rtol: float) -> float:
        return 0.01

    def state(self) -> dict[str, Any]:
        return _optimizer_state(self.optimizer) | {"mse": float(self.penalty.mse), "mse_count": self.penalty.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the optimizer's moments and the penalty's error of an earlier run."""
        if _restore_optimizer(self.optimizer, state):
            self.penalty.mse, self.penalty.count = state["mse"], state["mse_count"]

    def moving(self) -> tuple[list[Array], list[tuple[Any, str]]]:
        numbers = [(self, "epoch"), (self, "_step"), (self.optimizer, "step_count")]
        numbers += [(self.penalty, name) for name in ("mse", "count", "strength")]
        return [self.model.theta, *self.optimizer.moments], numbers

    def finish(self) -> None:
        """Nothing: the model is where the iterations are carried out."""

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
            self.penalty.add_gradient(model.theta)
            if self.n_steps is not None:
                rate = self.rate * cosine(self._step, self.n_steps)
            self.optimizer.step(model.theta, model.gradient, rate)
            self._step += 1
        return float(total)


def _optimizer_state(optimizer: Any) -> dict[str, Any]:
    return {"name": optimizer.name, "moments": optimizer.moments, "step_count": optimizer.step_count}


def _restore_optimizer(optimizer: Any, state: dict[str, Any]) -> bool:
    """Give `optimizer` the moments in `state` if they are of its kind; return whether they were."""
    if state["name"] != optimizer.name or len(state["moments"]) != len(optimizer.moments):
        return False
    optimizer.step_count = state["step_count"]
    for mine, stored in zip(optimizer.moments, state["moments"], strict=True):
        mine[...] = stored
    return True
