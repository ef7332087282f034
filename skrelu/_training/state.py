"""The state of training: all that an estimator keeps to resume exactly.

It holds numbers, strings and NumPy arrays in dicts and lists, nothing else, so that any pickle format can take it. A
run replaces the state and never writes to it, so a failed run leaves the earlier one whole.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

from skrelu._engines.base import EngineState
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Layers, Model
from skrelu._models.standardize import Scaling
from skrelu._rows.rows import Rows
from skrelu._training.curve import Curve


class AutoRate(TypedDict):
    """The rate that "auto" stood for, and the objective it belongs to."""

    rate: float
    c: float
    alpha: Any  # the parameter
    reduction: str


class BestState(TypedDict):
    """The best iterate of early stopping."""

    data: str  # names the validation rows, the loss and the parameters
    start: int  # of the validation losses of these rows in the curve
    loss: float
    theta: np.ndarray | None


class TrainingState(TypedDict):
    """What a run resumes from."""

    structure: dict[str, Any]  # what must be the same in a resumed run, and its value
    x_scaling: list[np.ndarray]  # empty before the first run has measured its rows
    y_scaling: list[np.ndarray]
    parameters: list[np.ndarray]
    seed: int
    epoch: int
    engine: EngineState | None
    auto_rate: AutoRate | None
    best: BestState | None
    row_space: str  # names the rows in whose space the parameters are; empty for those of all columns
    x_moments: list[np.ndarray]  # of the rows that `total_weight` counts; empty without standardize
    y_moments: list[np.ndarray]
    total_weight: float  # of the rows that the penalty counts: of `fit`, and of all calls of `partial_fit`
    in_this_pass: float  # the same, since the stream of `partial_fit` began, or began again with its first rows
    before_return: float  # the same when the first rows of the stream came again last, or -1
    first_rows: str  # hashes of the first two chunks of the stream, and of the rows of the last run
    second_rows: str
    last_rows: str
    is_stream: bool  # whether `partial_fit` has had rows other than those of the call before
    n_visits: int  # rows that all iterations so far have read
    has_warned: bool  # whether a call of `partial_fit` has said that training went wrong
    loss_curve: Curve
    validation_loss_curve: list[float] | None


def first_state(model: Model, structure: dict[str, Any], rng: np.random.RandomState) -> TrainingState:
    """The state before the first run, with parameters and seed drawn from `rng`, in this order."""
    parameters = model.draw(rng)
    return {
        "structure": structure,
        "x_scaling": [],
        "y_scaling": [],
        "parameters": parameters,
        "seed": model.draw_seed(rng),
        "epoch": 0,
        "engine": None,
        "auto_rate": None,
        "best": None,
        "row_space": "",
        "x_moments": [],
        "y_moments": [],
        "total_weight": 0.0,
        "in_this_pass": 0.0,
        "before_return": -1.0,
        "first_rows": "",
        "second_rows": "",
        "last_rows": "",
        "is_stream": False,
        "n_visits": 0,
        "has_warned": False,
        "loss_curve": [],
        "validation_loss_curve": None,
    }


def measured(state: TrainingState, model: Model, recipe: Recipe, rows: Rows) -> TrainingState:
    """The first state with the moments and scalings of the rows, and with weights of 0 for constant columns."""
    (x, y), of_X, of_y = rows.unscaled(), None, None
    if recipe.standardize:
        of_X, of_y = rows.moments(center=model.fit_intercept, two_values=model.has_hidden_layer)
        x, y = rows.scalings(of_X, of_y, center=model.fit_intercept)
    parameters = [a.copy() for a in state["parameters"]]
    spread(parameters, model, recipe, rows, x, state["seed"])
    model.silence(parameters, x, y)
    return {
        **state,
        "x_moments": of_X.arrays() if of_X else [],
        "y_moments": of_y.arrays() if of_y else [],
        "x_scaling": [x.shift, x.scale, x.constant],
        "y_scaling": [y.shift, y.scale, y.constant],
        "parameters": [a.astype(rows.dtype) for a in parameters],
    }


def spread(parameters: list[np.ndarray], model: Model, recipe: Recipe, rows: Rows, x: Scaling, seed: int) -> None:
    """Adapt initial parameters to the rows, in place, for adam."""
    if recipe.solver == "adam":
        rng = np.random.default_rng((seed, 0, 2))  # another stream than those of the shuffles
        model.spread(parameters, lambda n: rows.sample(n, rng, x), rng)


def restarted(state: TrainingState, model: Model, layers: Layers, dtype: np.dtype) -> TrainingState:
    """The state at other coefficients for the raw X and y, which no optimizer has seen."""
    parameters = model.unfold([(np.float64(W), np.float64(b)) for W, b in layers], *scalings(state))
    return {
        **state,
        "parameters": [a.astype(dtype) for a in parameters],
        "row_space": "",
        "engine": None,
        "auto_rate": None,
        "best": None,
    }


def scalings(state: TrainingState) -> tuple[Scaling, Scaling]:
    """Of X and y."""
    return Scaling(*state["x_scaling"]), Scaling(*state["y_scaling"])


def check_resumable(state: TrainingState, name: str, structure: dict[str, Any]) -> None:
    """Raise ValueError, naming what changed, if an estimator called `name` cannot resume with this structure."""
    for part, before in state["structure"].items():
        now = structure[part]
        if before != now:
            raise ValueError(
                f"{name} cannot continue its earlier training: {part} was {before} and is {now}. "
                "Restore it, or start over with fit and warm_start=False."
            )


def copied(value: Any) -> Any:
    """A copy of a state whose arrays are still being written to."""
    if isinstance(value, dict):
        return {key: copied(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [copied(entry) for entry in value]
    return value.copy() if isinstance(value, np.ndarray) else value
