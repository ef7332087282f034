"""Which engine trains: the cheapest of those that suit."""

from __future__ import annotations

from skrelu._engines.base import Engine
from skrelu._engines.closed_form import ClosedForm
from skrelu._engines.full_batch import FullBatch
from skrelu._engines.minibatches import Minibatches
from skrelu._engines.recipe import Recipe
from skrelu._engines.sample_space import SampleSpace
from skrelu._models.base import Model

ENGINES: tuple[type[Engine], ...] = (FullBatch, Minibatches, SampleSpace, ClosedForm)  # of equal cost the first one


def choose(model: Model, n_samples: int, recipe: Recipe) -> type[Engine]:
    """The engine for a model on `n_samples` rows.

    Costs are compared for the default number of iterations and not for max_iter: a run resumes another one exactly only
    if it uses the same engine.
    """
    suitable = [engine for engine in ENGINES if engine.suits(model, n_samples, recipe)]
    return min(suitable, key=lambda engine: engine.cost(model, n_samples, recipe, model.default_iterations))
