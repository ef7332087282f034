"""The state of training: all that an estimator keeps to resume exactly.

It holds numbers, strings and NumPy arrays in dicts and lists, nothing else, so that any pickle format can take it. A
run replaces the state and never writes to it, so a failed run leaves the earlier one whole.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

from skrelu._engines.base import EngineState
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.standardize import Scaling
from skrelu._rows.rows import Rows


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
    total_weight: float  # of the rows that the penalty counts: of `fit`, and of all calls of `partial_fit`
    in_this_pass: float  # the same, since the stream of `partial_fit` began, or began again with its first rows
    first_rows: str  # hashes of the first rows of the stream, and of those of the last run
    last_rows: str
    has_warned: bool  # whether a call of `partial_fit` has said that training went wrong
    loss_curve: list[float]
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
        "total_weight": 0.0,
        "in_this_pass": 0.0,
        "first_rows": "",
        "last_rows": "",
        "has_warned": False,
        "loss_curve": [],
        "validation_loss_curve": None,
    }


def measured(state: TrainingState, model: Model, recipe: Recipe, rows: Rows) -> TrainingState:
    """The first state with the scalings of the rows, and with weights of 0 for constant columns."""
    x, y = rows.unscaled()
    if recipe.standardize:
        x, y = rows.measure(center=model.fit_intercept, two_values=model.has_hidden_layer)
    if recipe.is_single_pass and x.constant.all():
        raise ValueError(
            "The first call of partial_fit takes the scale of X from its rows. No feature varies in them (n_samples="
            f"{rows.n_samples}). Pass more rows, or use standardize=False."
        )
    parameters = [a.copy() for a in state["parameters"]]
    if recipe.solver == "adam":
        rng = np.random.default_rng((state["seed"], 0, 2))  # another stream than those of the shuffles
        model.spread(parameters, lambda n: rows.sample(n, rng, x), rng)
    model.silence(parameters, x, y)
    return {
        **state,
        "x_scaling": [x.shift, x.scale, x.constant],
        "y_scaling": [y.shift, y.scale, y.constant],
        "parameters": [a.astype(rows.dtype) for a in parameters],
    }


def counted(state: TrainingState, recipe: Recipe, rows: Rows) -> TrainingState:
    """The state with the rows of this run counted.

    `partial_fit` adds its rows to those before, unless they are the same again: passes over the same rows are those of
    one `fit`. A stream that comes back to its first rows is in a further pass, and its rows are counted anew.
    """
    weight, signature = rows.total_weight, rows.signature
    if not recipe.is_single_pass:
        count = {"total_weight": weight, "in_this_pass": weight, "first_rows": signature}
    elif signature == state["first_rows"] or not state["first_rows"]:
        count = {"total_weight": max(weight, state["total_weight"]), "in_this_pass": weight, "first_rows": signature}
    else:
        in_pass = state["in_this_pass"] + (0.0 if signature == state["last_rows"] else weight)
        count = {"total_weight": max(in_pass, state["total_weight"]), "in_this_pass": in_pass}
    return {**state, **count, "last_rows": signature}  # type: ignore[typeddict-item]


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
