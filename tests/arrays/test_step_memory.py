"""Training steps allocate nothing of the size of a buffer."""

import tracemalloc

import numpy as np
import pytest

from problems import dtypes
from skrelu._arrays import NumpyArrayModule
from skrelu._engines.full_batch import FullBatch
from skrelu._engines.minibatches import Minibatches
from skrelu._engines.recipe import Recipe
from skrelu._models.linear import LinearModel
from skrelu._models.network import TwoLayerNetwork
from skrelu._models.penalty import Penalty
from skrelu._models.standardize import Scaling, identity
from skrelu._rows.batches import Batches

# One (ROWS, HIDDEN) buffer is 1 MB in float64 and 0.5 in float32, the parameters are 0.4 and 0.2 MB.
ROWS, FEATURES, HIDDEN, LIMIT = 512, 200, 256, 200_000

# Members and scaling layer of each kind of network.
NETWORKS = {"adam": (1, False), "adam, members": (4, True), "gd": (1, False), "gd, members": (4, False)}


def make_engine(kind, n_outputs, dtype, weighted, strength):
    rng = np.random.default_rng(0)
    am, n = NumpyArrayModule(), 4 * ROWS - 100
    X, y = rng.standard_normal((n, FEATURES)).astype(dtype), rng.standard_normal((n, n_outputs)).astype(dtype)
    weights = rng.uniform(0.5, 1.5, (n, 1)).astype(dtype) if weighted else None
    constant = np.zeros(FEATURES, dtype=bool)
    scaling = Scaling(np.full(FEATURES, 0.5), np.full(FEATURES, 2.0), constant) if weighted else identity(FEATURES)
    batches = Batches(am, X, y, weights, scaling, ones=True, rows=ROWS)
    if kind == "linear":
        model = LinearModel(am, FEATURES, n_outputs, True, dtype)
    else:
        n_members, scaling_layer = NETWORKS[kind]
        model = TwoLayerNetwork(
            am, FEATURES, HIDDEN, n_outputs, True, dtype, n_members=n_members, scaling_layer=scaling_layer
        )
    model.theta[...] += 0.1 * rng.standard_normal(len(model.theta))
    penalty = Penalty(model, fixed=strength, c=1.0, total_weight=float(n))
    if kind.startswith("adam"):
        recipe = Recipe(solver="adam", learning_rate_schedule="cosine", batch_size=ROWS, max_iter=10**6)
        return Minibatches(model, batches, penalty, recipe, rate=1e-3)
    return FullBatch(model, batches, penalty, Recipe(momentum=0.9), rate=1e-3)


def peak_of(function):
    """Bytes that were traced at once, beyond those before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_the_measure_of_memory_sees_a_temporary_array():
    a = np.ones((ROWS, HIDDEN), dtype=np.float32)
    assert peak_of(lambda: a + a) > 2 * LIMIT


@pytest.mark.one_in(5)
@pytest.mark.parametrize("kind", [*NETWORKS, "linear"])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted and scaled", "plain"])
@dtypes
def test_training_steps_allocate_nothing_of_the_size_of_a_buffer(kind, n_outputs, weighted, dtype):
    follows_noise = kind.startswith("adam") and weighted
    engine = make_engine(kind, n_outputs, dtype, weighted, strength=None if follows_noise else 0.01)
    engine.advance(1)
    n_epochs = 14  # of 4 batches, so that Adam flushes small numbers once
    losses = []
    peak = peak_of(lambda: losses.extend(engine.advance(n_epochs)))
    assert peak < LIMIT
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
