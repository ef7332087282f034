"""What a fitted estimator keeps in order to go on training exactly: numbers, strings and NumPy arrays, nothing else.

The state is replaced after each run, never written to, so a failed run leaves the earlier one whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skrelu._problem import Problem
from skrelu._standardize import Scaling

State = dict[str, Any]


def new_state(estimator: Any, problem: Problem, x: Scaling, y: Scaling, drawn: list[np.ndarray], seed: int) -> State:
    """The state before the first iteration: scalings, initial parameters in the model's order, seed."""
    return {
        "structure": {name: getattr(estimator, name) for name in estimator._structure},
        "dtype": problem.dtype.name,
        "n_outputs": problem.n_outputs,
        "y_ndim": problem.y_ndim,
        "x_scaling": [x.shift, x.scale, x.constant],
        "y_scaling": [y.shift, y.scale, y.constant],
        "parameters": [a.astype(problem.dtype) for a in drawn],
        "seed": seed,
        "epoch": 0,
        "engine": {"name": "", "moments": []},
        "kind": "",  # of the engine; its state's "name" is that of the optimizer
        "auto_rate": None,
        "validation": None,
    }


def copied(value: Any) -> Any:
    """A copy of a state whose arrays are still being written to."""
    if isinstance(value, dict):
        return {key: copied(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [copied(entry) for entry in value]
    return value * 1.0 if hasattr(value, "shape") else value


def check_resumable(state: State, estimator: Any, problem: Problem) -> None:
    """Raise ValueError, naming what changed, if training cannot be continued on `problem`."""
    compared = [(name, before, getattr(estimator, name)) for name, before in state["structure"].items()]
    compared.append(("the dtype of X", state["dtype"], problem.dtype.name))
    compared.append(("the number of outputs", state["n_outputs"], problem.n_outputs))
    compared.append(("the number of dimensions of y", state["y_ndim"], problem.y_ndim))
    for name, before, now in compared:
        if before != now:
            raise ValueError(
                f"{type(estimator).__name__} cannot continue its earlier training: {name} was {before} and is {now}. "
                "Restore it, or start anew with fit and warm_start=False."
            )
