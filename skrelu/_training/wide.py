"""Training in the row space of wide data: when it begins, and whether a run can resume in it."""

from __future__ import annotations

import numpy as np

from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.standardize import Scaling
from skrelu._rows.row_space import is_wide, reduced, with_basis
from skrelu._rows.rows import Rows
from skrelu._training.state import TrainingState, scalings


def resumes(state: TrainingState, recipe: Recipe, rows: Rows) -> bool:
    """Whether a run on these rows can resume in the coordinates of the state."""
    if not state["row_space"]:
        return True
    return recipe.solver == "adam" and recipe.precompute is not False and state["row_space"] == rows.fingerprint


def begins(state: TrainingState, model: Model, recipe: Recipe, rows: Rows) -> bool:
    """Whether a first run is to train in the row space."""
    if state["x_scaling"] or recipe.is_single_pass or recipe.solver != "adam" or recipe.precompute is False:
        return False
    return model.has_hidden_layer and is_wide(rows, asked=recipe.precompute is True)


def entered_row_space(state: TrainingState, model: Model, rows: Rows) -> tuple[TrainingState, Model, Scaling]:
    """State and model in the space of the rows, and the coordinates of X."""
    rank = len(state["parameters"][0]) - model.fit_intercept if state["row_space"] else None
    x = with_basis(scalings(state)[0], rows, state["seed"], rank)
    if x.basis is None:
        return state, model, x
    d, q = x.basis.shape
    if not state["row_space"]:
        W1, W2, b2, a = state["parameters"]
        W1 = np.concatenate([reduced(W1[:d], x), W1[d:]]).astype(rows.dtype)
        state = {
            **state,
            "row_space": rows.fingerprint,
            "parameters": [W1, W2, b2, np.ones(len(W1) * bool(a.size), W1.dtype)],
        }
    return state, model.with_features(q), x
