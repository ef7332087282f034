"""The fitted coefficients as a source of training: set by hand, they count as much as those of the last run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from skrelu._arrays import ArrayModule
from skrelu._models.base import Layers, Model
from skrelu._rows.fingerprint import checksum
from skrelu._rows.rows import Rows
from skrelu._training.state import TrainingState, restarted


def refuse_unfitted(estimator: Any) -> None:
    """Raise ValueError if coefficients were set on an estimator that is not fitted: training could not resume there."""
    if any(name in vars(estimator) for name in estimator._published_names):
        raise ValueError(
            f"{' and '.join(estimator._published_names)} were set on a {type(estimator).__name__} that is not fitted. "
            "Fit it first, e.g. with max_iter=1, then set them."
        )


def resumed_state(estimator: Any, model: Model, rows: Rows) -> tuple[TrainingState, Layers]:
    """The state of the last run and the layers it ended with.

    If somebody has set or written to the coefficients since, the state is one at these.
    """
    state: TrainingState = estimator._state
    layers = [(rows.home.to_numpy(W), rows.home.to_numpy(b)) for W, b in estimator._layers()]
    if checksum(*numbers_of(vars(estimator), estimator._published_names, rows.home)) == estimator._checksum:
        return state, layers
    if not all(a.dtype.kind in "fiu" for layer in layers for a in layer):
        raise TypeError(f"The coefficients that were set on this {type(estimator).__name__} are not arrays of numbers.")
    if not all(np.isfinite(a).all() for layer in layers for a in layer):
        raise ValueError(f"The coefficients that were set on this {type(estimator).__name__} are not finite.")
    if not estimator.fit_intercept and any(np.any(b) for _, b in layers):
        raise ValueError("The intercepts that were set are not zero, and fit_intercept=False trains without any.")
    return restarted(state, model, layers, rows.dtype), layers


def numbers_of(attributes: Mapping[str, Any], names: Iterable[str], home: ArrayModule) -> Iterator[np.ndarray]:
    """The numbers of the attributes that hold coefficients: arrays, lists of arrays, or a float."""
    for name in names:
        value = attributes[name]
        for a in value if isinstance(value, list | tuple) else [value]:
            yield np.asarray(a) if isinstance(a, float | int) else home.to_numpy(a)


def check_shapes(name: str, shapes: Mapping[str, tuple[Any, tuple[int, ...]]]) -> None:
    """Raise ValueError if a coefficient set on the estimator called `name` is not of the shape given beside it."""
    for attribute, (a, expected) in shapes.items():
        shape = tuple(np.shape(a) if isinstance(a, float | int | list | tuple) else a.shape)
        if shape != expected:
            raise ValueError(
                f"{attribute} was set to an array of shape {shape}, and training of this {name} resumes from shape "
                f"{expected}. For another shape start over with fit and warm_start=False."
            )


def checked_layers(name: str, coefs: Sequence[Any], intercepts: Sequence[Any], widths: tuple[int, int, int]) -> Layers:
    """The layers of a network called `name`, of these widths from the inputs to the outputs."""
    d, h, m = widths
    for attribute, given in (("coefs_", coefs), ("intercepts_", intercepts)):
        if len(given) != 2:
            raise ValueError(f"{attribute} has {len(given)} arrays, and this network has two layers.")
    (W1, W2), (b1, b2) = coefs, intercepts
    shapes = {"coefs_[0]": (W1, (d, h)), "coefs_[1]": (W2, (h, m))}
    check_shapes(name, shapes | {"intercepts_[0]": (b1, (h,)), "intercepts_[1]": (b2, (m,))})
    return [(W1, b1), (W2, b2)]
