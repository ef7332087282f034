"""A stream: what `partial_fit` does beyond one pass over its rows.

The rows of all calls are counted, and their moments merged. The coordinates of training follow the moments: before the
pass, the parameters are moved to the new coordinates such that the function of the raw X stays the same (for targets,
the method of van Hasselt et al., 2016). There is one exception: if the scale of a feature changes by more than a tenth
in a call, the weights of a hidden layer are moved by a tenth only. Weights that were drawn, or learned, for small
numbers are too large for large ones: training would need thousands of steps to bring them down.

Passes over the same rows are those of one `fit`: rows that come again are not counted again, and nothing moves.
"""

from __future__ import annotations

import math

import numpy as np

from skrelu._engines.base import Engine, EngineState
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.moments import Moments
from skrelu._models.standardize import Scaling, between
from skrelu._rows.rows import Rows
from skrelu._training.state import TrainingState, measured, scalings

_FAR = 2.0  # a change of scale by more than this makes the optimizer's moments useless
_MOST_MOVED = 0.1
_ROWS_OF_A_STEP = 128  # for which the rate of adam is made
_STEPS_AT_FULL_RATE = 500
_CURVATURE_RTOL = 0.1


def entered(state: TrainingState, model: Model, recipe: Recipe, rows: Rows) -> TrainingState:
    """The state at the start of a run on `rows`: they are counted, and its coordinates are those of the run."""
    if not state["x_scaling"]:
        return counted(measured(state, model, recipe, rows), recipe, rows)
    before, state = state["total_weight"], counted(state, recipe, rows)
    has_new_rows = recipe.is_single_pass and state["total_weight"] > before
    return followed(state, model, rows) if has_new_rows and state["x_moments"] else state


def counted(state: TrainingState, recipe: Recipe, rows: Rows) -> TrainingState:
    """The state with the rows of this run counted.

    `partial_fit` adds its rows to those before, unless they are the same again. A stream that comes back to its first
    rows is in a further pass, and its rows are counted anew.
    """
    weight, signature = rows.total_weight, rows.signature
    n_chunks, total = state["n_chunks"], state["total_weight"]
    if not recipe.is_single_pass:
        return {
            **state,
            "total_weight": weight,
            "in_this_pass": weight,
            "n_chunks": 0,
            "first_rows": signature,
            "last_rows": signature,
        }
    is_new = signature != state["last_rows"]
    n_chunks += is_new and bool(state["last_rows"])
    first = state["first_rows"] or signature
    in_pass = weight if signature == first else state["in_this_pass"] + weight * is_new
    return {
        **state,
        "total_weight": max(in_pass, total),
        "in_this_pass": in_pass,
        "n_chunks": n_chunks,
        "first_rows": first,
        "last_rows": signature,
    }


def followed(state: TrainingState, model: Model, rows: Rows) -> TrainingState:
    """The state in the coordinates of the moments of all rows, those of this run included."""
    center = model.fit_intercept
    parts = rows.moments(center=center, two_values=model.has_hidden_layer)
    stored = Moments.of(state["x_moments"]), Moments.of(state["y_moments"])
    of_X, of_y = (before.merged(part) for before, part in zip(stored, parts, strict=True))
    x, y = rows.scalings(of_X, of_y, center=center)
    from_x, from_y = scalings(state)
    x_change, y_change = between(from_x, x), between(from_y, y)
    # Standardized values of a column that was constant were 0: its weights have met no row yet.
    unseen = from_x.constant
    scale = np.where(unseen, 1.0, x_change.scale)
    ratios = np.concatenate([scale, y_change.scale])
    is_far = bool((np.maximum(ratios, 1.0 / ratios) > _FAR).any())
    if model.has_hidden_layer:
        scale = np.clip(scale, 1.0 - _MOST_MOVED, 1.0 + _MOST_MOVED)
    x_change = Scaling(np.where(unseen, 0.0, x_change.shift), scale, x.constant)
    moved = model.moved(state["parameters"], x_change, y_change)
    return {
        **state,
        "x_moments": of_X.arrays(),
        "y_moments": of_y.arrays(),
        "x_scaling": [x.shift, x.scale, x.constant],
        "y_scaling": [y.shift, y.scale, y.constant],
        "parameters": [a.astype(rows.dtype) for a in moved],
        "engine": without_moments(state["engine"]) if is_far else state["engine"],
    }


def without_moments(engine: EngineState | None) -> EngineState | None:
    """The state of an engine that begins with parameters it has not seen."""
    return None if engine is None else {**engine, "moments": [], "step_count": 0}


def rate_of_a_chunk(engine: Engine, n_chunks: int) -> float:
    """The automatic learning rate for rows that are the last of `n_chunks` chunks of a stream.

    For adam it is that of `fit` for the first 500 chunks. Then it falls with the square root of their number; for
    chunks of r < 128 rows down to sqrt(r / 128) of it, by the noise of a step (Malladi et al., 2022).

    Gradient descent is stable on the chunk, and its step is the smaller, the fewer rows determine the parameters:
    r / (r + d + 1) of the largest for r rows and d + 1 inputs. It falls with the fourth root of the number of chunks,
    as that of SGDRegressor.
    """
    n, rows = engine.batches.n_samples, engine.batches.rows
    if engine.recipe.solver == "adam":
        return engine.rate * min(1.0, max(math.sqrt(rows / _ROWS_OF_A_STEP), math.sqrt(_STEPS_AT_FULL_RATE / n_chunks)))
    curvature = engine.curvature(_CURVATURE_RTOL)
    stable = n / (n + engine.model.n_inputs) / curvature if curvature > 0.0 else math.inf
    return min(engine.rate, stable * n_chunks**-0.25)
