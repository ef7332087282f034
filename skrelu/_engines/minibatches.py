"""Adam on shuffled minibatches: an iteration is a pass over the rows."""

from __future__ import annotations

import math

from skrelu._arrays import Scalar
from skrelu._engines.base import Engine, EngineState, Moving, iterate, optimizer_state, restore_optimizer
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.optimizers import Adam, cosine

_STEPS_BETWEEN_LOOKS = 32  # at the loss, to stop soon after it is not finite


class Minibatches(Engine):
    """Engine in which an iteration is a step for each minibatch."""

    @classmethod
    def suits(cls, model: Model, n_samples: int, recipe: Recipe) -> bool:
        return recipe.solver == "adam"

    @classmethod
    def cost(cls, model: Model, n_samples: int, recipe: Recipe, n_iter: int) -> float:
        return n_iter * model.cost(n_samples)

    @classmethod
    def batch_rows(cls, model: Model, n_samples: int, recipe: Recipe) -> int:
        # Batches of equal size, as near to batch_size as possible: a step on a few left-over rows is noise.
        batch_size = recipe.rows_per_batch(n_samples)
        n_batches = max(1, (2 * n_samples + batch_size) // (2 * batch_size))
        return math.ceil(n_samples / n_batches)

    def _prepare(self) -> None:
        batches, recipe = self.batches, self.recipe
        self._optimizer = Adam(self.model.am, self.model.theta)
        self._step = 0  # of this run, for its schedule
        n_steps = recipe.n_iter(batches.n_samples, batches.per_epoch) * batches.per_epoch
        self._n_steps = n_steps if recipe.has_schedule else None

    def default_rate(self) -> float:
        return 0.01

    def advance(self, n_iter: int) -> list[float]:
        return iterate(self.model.am, self._pass, n_iter)

    def _pass(self) -> Scalar:
        """A step for each batch; returns the mean of their losses, or the first that is seen not to be finite."""
        model, rate, total, n = self.model, self.rate, self.model.am.scalar(0.0), self.batches.n_samples
        looks, add_product = not model.am.is_asynchronous, model.am.add_product
        for batch in self.batches.shuffled(self._seed, self.epoch):
            loss = model.loss_and_gradient(batch)
            total = add_product(total, loss, batch.X.shape[0] / n)
            if looks and self._step % _STEPS_BETWEEN_LOOKS == 0 and not math.isfinite(loss):
                return loss
            self.penalty.observe(loss)
            self.penalty.add_gradient(model.theta)
            if self._n_steps is not None:
                rate = self.rate * cosine(self._step, self._n_steps)
            self._optimizer.step(model.theta, model.gradient, rate)
            self._step += 1
        self.epoch += 1
        return total

    def moving(self) -> Moving:
        numbers: list[tuple[object, str]] = [(self, "epoch"), (self, "_step"), (self._optimizer, "step_count")]
        numbers += [(self.penalty, name) for name in ("mse", "count", "strength")]
        return Moving([self.model.theta, *self._optimizer.moments], numbers)

    def state(self) -> EngineState:
        am, penalty = self.model.am, self.penalty
        state = optimizer_state(am, self.recipe, self._optimizer)
        state["mse"], state["mse_count"] = am.to_floats([penalty.mse])[0], penalty.count
        return state

    def restore(self, state: EngineState) -> None:
        restore_optimizer(self.model.am, self._optimizer, state)
        self.penalty.mse, self.penalty.count = self.model.am.scalar(state["mse"]), state["mse_count"]
