"""Powers of 1 - eta l for many steps at once, and their sum phi_t, without cancellation or overflow."""

from __future__ import annotations

import numpy as np

FINE = 64  # (1 - eta l)^t is the power for a multiple of this times the power for the remainder
_HUGE = np.finfo(np.float64).max


def power(values: np.ndarray, rate: float, t: float | np.ndarray) -> np.ndarray:
    """(1 - rate values)^t."""
    x = rate * values
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # t log|1 - x|. For x = 1, -_HUGE takes the place of -inf, so that its product with t = 0 is 0.
        size = np.maximum(np.where(x < 1.0, np.log1p(-x), np.log(np.abs(1.0 - x))), -_HUGE) * t
        np.exp(size, out=size)  # |1 - x|^t; for x > 1 and odd t the power is negative
    return np.where((x > 1.0) & (t % 2 == 1), -size, size) if (x > 1.0).any() else size


def powers(values: np.ndarray, rate: float, start: int, stop: int) -> np.ndarray:
    """(1 - rate values)^t for t from `start` to `stop` - 1; `values` is a column.

    For t = FINE j + k, the power for FINE j times the power for k gives it, which saves most exponentials.
    """
    coarse = np.arange(start // FINE, (stop - 1) // FINE + 1, dtype=np.float64) * FINE
    table = power(values, rate, coarse)[:, :, None] * power(values, rate, np.arange(float(FINE)))[:, None, :]
    return table.reshape(len(values), -1)[:, start % FINE : start % FINE + stop - start]


def phi(values: np.ndarray, rate: float, t: float | np.ndarray) -> np.ndarray:
    """(1 - (1 - rate values)^t) / values; rate t for values of 0."""
    x = rate * values
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        small = -np.expm1(t * np.log1p(-x)) / values  # for x < 1: nothing cancels
        large = (1.0 - power(values, rate, t)) / values  # for x >= 1
    return np.where(values == 0.0, rate * t, np.where(x < 1.0, small, large))
