"""The L2 penalty: its factor, fixed or following the noise, its gradient and its value."""

from __future__ import annotations

import sys

import numpy as np

from skrelu._arrays import Array, Scalar
from skrelu._models.base import Model


class Penalty:
    """The factor lambda of the L2 term ``lambda / 2 |weights|^2``, and its gradient.

    lambda is fixed, or it follows the noise: 0 for the first batches and then, with the errors measured in standard
    deviations of y, ::

        lambda_t = c min(20 min(mse_t, 1) / sum(sample_weight), 0.1)

    where mse_t is a running mean of the batches' mean squared errors with weight max(0.01, 1 / t) on the newest. A
    model that fits well is then hardly penalized; a model that cannot beat the noise is. The delay gives the model time
    to learn what it can: an error that it has not yet learned to reduce is no noise.

    Parameters
    ----------
    model : Model
    fixed : float or None
        lambda, or None to follow the noise.
    c : float
        The constant of the objective.
    total_weight : float
        Sum of the sample weights.
    delay : int, default=0
        Number of batches without penalty, if it follows the noise.
    """

    def __init__(self, model: Model, *, fixed: float | None, c: float, total_weight: float, delay: int = 0) -> None:
        self._model, self._follows_noise, self._delay = model, fixed is None, delay
        self._mse_of_loss = 2.0 / (c * model.n_outputs)
        self._slope = min(20.0 * (c / total_weight), sys.float_info.max)  # weights may be tiny, and mse zero
        self._limit = min(self._slope, 0.1 * c)
        self.strength: Scalar = 0.0 if fixed is None else fixed
        self.mse: Scalar = model.am.scalar(0.0)
        self.count = 0
        self._gradient = model.gradient[model.weights]
        self._stage = None if fixed == 0.0 else model.am.empty(self._gradient.shape, model.theta.dtype)

    def observe(self, loss: Scalar) -> None:
        """Take in the loss of a batch."""
        if self._follows_noise:
            self.count += 1
            weight = max(0.01, 1.0 / self.count)
            # c min(20 min(mse, 1) / sum(sample_weight), 0.1) is the smaller of a multiple of mse and a constant.
            self.mse, strength = self._model.am.running_mean(
                self.mse, loss, self._mse_of_loss, weight, self._slope, self._limit
            )
            if self.count > self._delay:
                self.strength = strength

    @property
    def is_zero(self) -> bool:
        """Whether there is no penalty now."""
        return float(self.strength) == 0.0

    def value(self, theta: Array) -> float:
        """lambda / 2 |the weights in `theta`|^2, with the present lambda."""
        weights = self._model.am.to_numpy(theta)[self._model.weights]
        return 0.5 * float(self.strength) * float(np.square(weights, dtype=np.float64).sum())

    def add_gradient(self, theta: Array) -> None:
        """gradient += lambda (the weights in `theta`)."""
        if self._stage is not None and not (self._follows_noise and self.count <= self._delay):
            weights = theta[self._model.weights]
            self._model.am.add_scaled(weights, self.strength, stage=self._stage, out=self._gradient)
