"""A stream: what `partial_fit` does beyond one pass over its rows.

The rows of all calls are counted, and their moments merged. The coordinates of training follow the moments: before the
pass, the parameters are moved to the new coordinates such that the function of the raw X stays the same (for targets,
the method of van Hasselt et al., 2016). There is one exception: if the scale of a feature changes by more than a tenth
in a call, the weights of a hidden layer are moved by a tenth only. Weights that were drawn, or learned, for small
numbers are too large for large ones: training would need thousands of steps to bring them down. The weights of the
linear model are moved by up to a factor of ten.

Passes over the same rows are those of one `fit`: rows that come again are not counted again, and nothing moves.
"""

from __future__ import annotations

import math

import numpy as np

from skrelu._engines.base import Engine, EngineState
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.moments import Moments
from skrelu._models.standardize import Scaling, between, identity
from skrelu._rows.row_space import has_wide_shape
from skrelu._rows.rows import Rows
from skrelu._training.state import TrainingState, measured, scalings, spread

_FAR = 2.0  # a change of scale by more than this makes the optimizer's moments useless
# The largest change of a scale in a call that the weights follow: of a hidden layer, and of the linear model.
_MOST_MOVED, _MOST_MOVED_LINEAR = 1.1, 10.0
_FEW_ROWS = 10
_ROWS_OF_A_STEP = 128  # for which the rate of adam is made
_STEPS_AT_FULL_RATE = 500
_CURVATURE_RTOL = 0.1


def entered(state: TrainingState, model: Model, recipe: Recipe, rows: Rows) -> TrainingState:
    """The state at the start of a run on `rows`: they are counted, and its coordinates are those of the run."""
    if not state["x_scaling"]:
        return counted(measured(state, model, recipe, rows), recipe, rows)
    before, state = state["total_weight"], counted(state, recipe, rows)
    has_new_rows = recipe.is_single_pass and state["total_weight"] > before
    return followed(state, model, recipe, rows) if has_new_rows and state["x_moments"] else state


def counted(state: TrainingState, recipe: Recipe, rows: Rows) -> TrainingState:
    """The state with the rows of this run counted.

    `partial_fit` adds its rows to those before, unless they are the same again. If the first two chunks of the stream
    come again, one after the other, a further pass has begun, and its rows are counted anew. A few rows may be equal by
    chance: they count as the same only while there are no others.
    """
    weight, signature = rows.total_weight, rows.signature
    if not recipe.is_single_pass:
        return {
            **state,
            "total_weight": weight,
            "in_this_pass": weight,
            "before_return": -1.0,
            "is_stream": False,
            "first_rows": signature,
            "second_rows": "",
            "last_rows": signature,
        }
    first, second, last = state["first_rows"] or signature, state["second_rows"], state["last_rows"]
    count, before_return, is_few = state["in_this_pass"], state["before_return"], rows.n_samples < _FEW_ROWS
    if signature == last and not (is_few and state["is_stream"]):
        pass  # the same rows again
    elif signature == first and last and not is_few:
        before_return, count = count, weight  # a further pass, it seems
    else:
        if before_return >= 0.0 and signature != second:
            count = before_return  # the first rows had come again by chance
        before_return, count = -1.0, count + weight
    return {
        **state,
        "total_weight": max(count, state["total_weight"]),
        "in_this_pass": count,
        "before_return": before_return,
        "is_stream": state["is_stream"] or (signature != last and bool(last)),
        "first_rows": first,
        "second_rows": second or (signature if signature != first else ""),
        "last_rows": signature,
    }


def followed(state: TrainingState, model: Model, recipe: Recipe, rows: Rows) -> TrainingState:
    """The state in the coordinates of the moments of all rows, those of this run included."""
    center = model.fit_intercept
    parts = rows.moments(center=center, two_values=model.has_hidden_layer)
    stored = Moments.of(state["x_moments"]), Moments.of(state["y_moments"])
    of_X, of_y = (before.merged(part) for before, part in zip(stored, parts, strict=True))
    x, y = rows.scalings(of_X, of_y, center=center)
    from_x, from_y = scalings(state)
    x_change, y_change = between(from_x, x), between(from_y, y)
    ratios = np.concatenate([x_change.scale[~from_x.constant], y_change.scale])
    is_far = bool((np.maximum(ratios, 1.0 / ratios) > _FAR).any())
    most = _MOST_MOVED if model.has_hidden_layer else _MOST_MOVED_LINEAR
    scale = np.where(from_x.constant, x_change.scale, np.clip(x_change.scale, 1.0 / most, most))
    moved, is_first = state["parameters"], bool(from_x.constant.all())
    if not is_first:
        moved = model.moved(moved, Scaling(x_change.shift, scale, x.constant), y_change)
    else:  # no row so far told one weight from another: these start now
        moved = model.moved([a.copy() for a in moved], identity(model.n_features), y_change)
        spread(moved, model, recipe, rows, x, state["seed"])
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


def rate_of_a_chunk(engine: Engine, state: TrainingState, rows: Rows) -> float:
    """The automatic learning rate for rows that are not those of the call before.

    It depends on t: as many steps of this size would have read the rows that all iterations so far have read. For adam
    it is that of `fit` up to t = 500. Then, with batches of r < 128 rows, it falls with the square root of t, down to
    sqrt(r / 128) of it, by the noise of a step (Malladi et al., 2022).

    Gradient descent is stable on the chunk, and its step is the smaller, the fewer rows determine the parameters:
    r / (r + d + 1) of the largest for r rows and d + 1 inputs. It falls with the fourth root of t, as that of
    SGDRegressor.
    """
    r = engine.batches.rows if engine.recipe.solver == "adam" else rows.n_samples
    t = max(1.0, state["n_visits"] / r)
    if engine.recipe.solver == "adam":
        decay = max(math.sqrt(r / _ROWS_OF_A_STEP), math.sqrt(_STEPS_AT_FULL_RATE / t))
        return engine.default_rate() * min(1.0, decay) * share_of_few_rows(engine.model, state, rows)
    curvature = engine.curvature(_CURVATURE_RTOL)
    stable = r / (r + engine.model.n_inputs) / curvature if curvature > 0.0 else math.inf
    return min(engine.rate, stable * t**-0.25)


def share_of_few_rows(model: Model, state: TrainingState, rows: Rows) -> float:
    """n / (2 d) while the n rows so far are few for their d columns, else 1: the part of its rate that adam uses.

    A step of adam changes every weight, so its effect on a hidden unit grows with d, and few rows say little of d
    weights. A first `fit` does not need it: its rate falls to zero.
    """
    n, d = max(float(rows.n_samples), state["total_weight"]), model.n_features
    return n / (2 * d) if has_wide_shape(n, d) else 1.0
