"""Names of other libraries, chiefly MLPRegressor's, and what they are called here: hints for error messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

# A name, the parameter of ours that has to exist for the hint to make sense, and the hint.
_PARAMETERS = {
    "hidden_layer_sizes": ("hidden_layer_size", "Use hidden_layer_size, one number: there is one hidden layer."),
    "learning_rate_init": ("learning_rate", "Use learning_rate."),
    "eta0": ("learning_rate", "Use learning_rate."),
    "activation": ("hidden_layer_size", "There is no choice: the hidden units are rectified linear units."),
    "loss": ("reduction", "There is no choice: the loss is the squared error."),
    "shuffle": ("batch_size", "There is no choice: minibatches are always shuffled."),
    "nesterovs_momentum": ("momentum", "There is no choice: `momentum` is heavy-ball momentum."),
    "beta_1": ("solver", "There is no choice: it is 0.9."),
    "beta_2": ("solver", "There is no choice: it is 0.999."),
    "epsilon": ("solver", "There is no choice: it is 1e-8."),
    "max_fun": ("solver", "It is for lbfgs, which there is not; use max_iter."),
    "power_t": ("learning_rate_schedule", "Use learning_rate_schedule."),
    "epochs": ("max_iter", "Use max_iter."),
}

_ARGUMENTS = {
    "eval_set": "Pass the validation set as X_val and y_val.",
    "validation_data": "Pass the validation set as X_val and y_val.",
    "eval_sample_weight": "Pass the weights of the validation set as sample_weight_val.",
}

_MINIBATCHES = "Use 'adam', which trains on minibatches, or 'gd', which takes all rows in each step."
_SCHEDULE = "It is the step size; the schedule is learning_rate_schedule."
_VALUES = {
    ("solver", "sgd"): _MINIBATCHES,
    ("solver", "lbfgs"): _MINIBATCHES,
    ("learning_rate", "constant"): _SCHEDULE,
    ("learning_rate", "invscaling"): _SCHEDULE,
    ("learning_rate", "adaptive"): _SCHEDULE,
}


def hint_for_parameter(name: str, parameters: Collection[str]) -> str:
    """What to use instead of the unknown parameter or argument `name`; empty if nothing is known of it."""
    if name in parameters:
        return ""
    if name in _ARGUMENTS:
        return f" {_ARGUMENTS[name]}"
    ours, hint = _PARAMETERS.get(name, ("", ""))
    return f" {hint}" if ours in parameters else ""


def hint_for_value(name: str, value: Any) -> str:
    """What to use instead of a value of the parameter `name` that MLPRegressor takes; empty for other values."""
    if name == "hidden_layer_size" and isinstance(value, tuple | list):
        return " There is one hidden layer: pass its size as a number."
    hint = _VALUES.get((name, value)) if isinstance(value, str) else None
    return f" {hint}" if hint else ""
