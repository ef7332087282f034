"""Gradient descent as it is written: each step follows the gradient of all rows, read block by block."""

from __future__ import annotations

from skrelu._arrays import Scalar
from skrelu._engines.base import Engine, EngineState, Moving, iterate, optimizer_state, restore_optimizer
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.optimizers import GradientDescent
from skrelu._rows.batches import KEPT_NUMBERS

_STANDARDIZING = 70  # operations a number, in each iteration on rows that are not kept in standardized form


class FullBatch(Engine):
    """Engine in which an iteration is one step."""

    @classmethod
    def suits(cls, model: Model, n_samples: int, recipe: Recipe) -> bool:
        return recipe.solver == "gd" and recipe.precompute is not True

    @classmethod
    def cost(cls, model: Model, n_samples: int, recipe: Recipe, n_iter: int) -> float:
        n_numbers = n_samples * model.n_inputs
        return n_iter * (model.cost(n_samples) + (_STANDARDIZING * n_numbers if n_numbers > KEPT_NUMBERS else 0))

    @classmethod
    def batch_rows(cls, model: Model, n_samples: int, recipe: Recipe) -> int:
        return model.block_rows()

    def _prepare(self) -> None:
        self._optimizer = GradientDescent(self.model.am, self.model.theta, self.recipe.momentum)

    def advance(self, n_iter: int) -> list[float]:
        return iterate(self.model.am, self._iteration, n_iter)

    def _iteration(self) -> Scalar:
        loss = self._over_blocks(self.model.loss_and_gradient)
        self.penalty.add_gradient(self.model.theta)
        self._optimizer.step(self.model.theta, self.model.gradient, self.rate)
        self.epoch += 1
        return loss

    def moving(self) -> Moving:
        return Moving([self.model.theta, *self._optimizer.moments], [(self, "epoch"), (self._optimizer, "step_count")])

    def state(self) -> EngineState:
        return optimizer_state(self.model.am, self.recipe, self._optimizer)

    def restore(self, state: EngineState) -> None:
        restore_optimizer(self.model.am, self._optimizer, state)
