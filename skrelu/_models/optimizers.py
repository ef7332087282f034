"""The optimizers, which turn gradients into steps: gradient descent with momentum, and Adam. The cosine schedule."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from skrelu._arrays import Array, ArrayModule


def cosine(step: int, n_steps: int) -> float:
    """Factor of the learning rate at `step`, from 1 at step 0 to 0 at `n_steps` along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * step / n_steps))


class Optimizer(ABC):
    """Moments, each like theta, and the number of steps done."""

    def __init__(self, am: ArrayModule, theta: Array, n_moments: int) -> None:
        self.am = am
        self.step_count = 0
        self.moments: list[Array] = [am.zeros(theta.shape, theta.dtype) for _ in range(n_moments)]

    @abstractmethod
    def step(self, theta: Array, g: Array, rate: float) -> None:
        """One step, in place; overwrites g."""


class GradientDescent(Optimizer):
    """Gradient descent with heavy-ball momentum (Polyak, 1964), ``mu`` in [0, 1)::

    u = mu u + g;    theta = theta - rate u
    """

    def __init__(self, am: ArrayModule, theta: Array, momentum: float) -> None:
        super().__init__(am, theta, n_moments=int(momentum != 0.0))
        self.momentum = float(momentum)

    def step(self, theta: Array, g: Array, rate: float) -> None:
        self.am.descend(theta, g, self.moments[0] if self.moments else None, rate, self.momentum)
        self.step_count += 1


# A penalty drives the weights of inactive units, and their moments, toward 0. Numbers below the normal range
# (1e-38 in float32, 1e-308 in float64) slow arithmetic down by up to 100 times, so they become 0 before they get there.
# A weight of 1e-12 is below rounding beside its neighbors in float32; its gradient, lambda times the weight, has a
# square in the normal range. A moment v below 1e-24 does not change sqrt(v) + epsilon.
_TINY = {"float32": (1e-12, 1e-18, 1e-24), "float64": (1e-100, 1e-110, 1e-220)}  # of theta, m and v
_STEPS_BETWEEN_FLUSHES = 50


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8::

        m = b1 m + (1 - b1) g;    v = b2 v + (1 - b2) g^2
        theta = theta - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)

    The moments are kept without the factors (1 - b1) and (1 - b2), which saves two passes over the parameters: with
    M = m / (1 - b1), V = v / (1 - b2) and q = sqrt((1 - b2) / (1 - b2^t)), the step is
    rate (1 - b1) / (1 - b1^t) / q * M / (sqrt(V) + epsilon / q).
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, am: ArrayModule, theta: Array) -> None:
        super().__init__(am, theta, n_moments=2)
        self._tiny = _TINY[am.to_numpy(theta).dtype.name]

    def step(self, theta: Array, g: Array, rate: float) -> None:
        self.step_count += 1
        t = self.step_count
        q = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**t))
        rate *= (1.0 - self.beta1) / (1.0 - self.beta1**t) / q
        m, v = self.moments
        self.am.adam(theta, g, m, v, self.beta1, self.beta2, rate, self.epsilon / q)
        if t % _STEPS_BETWEEN_FLUSHES == 0:
            for a, threshold in zip((theta, m, v), self._tiny, strict=True):
                self.am.flush(a, threshold, stage=g)
