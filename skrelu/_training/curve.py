"""A loss curve that grows by one loss a call without a copy of all before.

It is kept as arrays, each of which is less than half as long as the one before. A curve is never written to: a failed
call leaves the earlier one whole. To append a loss copies, on average, about log2(n) numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Curve = list[np.ndarray]


def extended(curve: Curve, losses: Sequence[float]) -> Curve:
    """The curve with `losses` at its end."""
    if not losses:
        return curve
    parts, last = list(curve), np.array(losses, dtype=np.float64)
    while parts and len(parts[-1]) <= 2 * len(last):
        last = np.concatenate([parts.pop(), last])
    return [*parts, last]


def length(curve: Curve) -> int:
    return sum(len(part) for part in curve)


def as_list(curve: Curve) -> list[float]:
    return [loss for part in curve for loss in part.tolist()]
