"""Gradient descent on wide data in the space of the samples: the same iterates from n x n instead of n x d products.

Every gradient of W1 is X^T dZ, so W1 and its velocity U stay in the span of their start values and X^T::

    W1 = a W1_0 + k U_0 + X^T A        U = p W1_0 + q U_0 + X^T P        (a, k, p, q numbers; A, P of shape (n, h))

With the Gram matrix G = X X^T, the forward pass only needs Z = X W1 and Q = X U, and gradient descent with momentum mu,
rate eta and penalty lambda is, in these quantities ::

    U  <- mu U + X^T dZ + lambda W1      Q <- mu Q + G dZ + lambda Z      P <- mu P + dZ + lambda A    (p, q alike)
    W1 <- W1 - eta U                     Z <- Z - eta Q                   A <- A - eta P               (a, k alike)

The intercept b1, the last row of W1, is not penalized: with a penalty it is tracked by itself, and Z - b1 takes the
place of Z behind lambda. X ends in a column of ones, so G contains the intercept's part.

An iteration costs 2 n^2 h + 6 n h m floating-point operations instead of 4 n d h + 6 n h m; W1 is put together at the
end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from skrelu._batches import Batches
from skrelu._fingerprint import fingerprint
from skrelu._network import TwoLayerNetwork
from skrelu._optimizers import GradientDescent
from skrelu._plain import Penalty, iterate, penalized_curvature, stable_rate
from skrelu._spectrum import largest_eigenvalue

Array = Any


class SampleSpace:
    """Engine for gradient descent on a `TwoLayerNetwork` with all rows in one batch."""

    name, can_go_back, has_schedule = "gd", False, False

    def __init__(
        self, model: TwoLayerNetwork, batches: Batches, penalty: Penalty, *, c: float, epoch: int, momentum: float
    ) -> None:
        self._am = am = model.am
        self.model, self.batches, self.penalty = model, batches, penalty
        self.c, self.epoch, self.rate, self._momentum = c, epoch, 0.0, momentum
        self._lambda = float(penalty.strength)
        self._has_velocity = momentum != 0.0 or self._lambda != 0.0
        ((self._X, self._y, self._s),) = batches.in_order()
        n, h, dtype = self._X.shape[0], model.shape[1], model.theta.dtype
        self._G = am.empty((n, n), dtype)
        am.matmul(self._X, self._X.T, out=self._G)
        self._stage, self._row = am.empty((n, h), dtype), am.empty((h,), dtype)
        self._optimizer = GradientDescent(am, model.theta[model.outer], momentum)
        self._W2_stage = am.empty(model.W2.shape, dtype)
        # What advances. A state holds these arrays themselves; the run that goes on from it copies them.
        self._a, self._k, self._p, self._q = 1.0, 0.0, 0.0, 1.0
        self._W1_start, self._U_start = _copy(model.W1), am.zeros(model.W1.shape, dtype)
        self._b1, self._b1_velocity = _copy(model.W1[-1, ...]), am.zeros((h,), dtype)
        self._Z, self._A = am.empty((n, h), dtype), am.zeros((n, h), dtype)
        self._Q, self._P = (am.zeros((n if self._has_velocity else 0, h), dtype) for _ in range(2))
        am.matmul(self._X, model.W1, out=self._Z)
        self._mark: Any = None

    _arrays = ("_W1_start", "_U_start", "_b1", "_b1_velocity", "_Z", "_A", "_Q", "_P")
    _numbers = ("_a", "_k", "_p", "_q")

    def state(self) -> dict[str, Any]:
        stored: dict[str, Any] = {name: self._am.to_numpy(getattr(self, name)) for name in self._arrays}
        stored |= {name: getattr(self, name) for name in self._numbers}
        moments = [self._am.to_numpy(self._velocity())] if self._momentum else []
        stored["problem"] = self._problem()
        return {"name": "gd", "moments": moments, "step_count": self.epoch, "sample_space": stored}

    def recognizes(self, state: dict[str, Any]) -> bool:
        """Whether `state` is of a run on the same problem with the same parameters."""
        return "sample_space" in state and state["sample_space"]["problem"] == self._problem()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where an earlier run on the same problem ended; else from its parameters and velocity."""
        moments = [self._am.from_numpy(a, None) for a in state["moments"]] if self._momentum else []
        for velocity in moments:
            self._optimizer.moments[0][...] = velocity[self.model.outer]
        if self.recognizes(state):
            stored = state["sample_space"]
            for name in self._arrays:
                setattr(self, name, self._am.from_numpy(stored[name], None))
            for name in self._numbers:
                setattr(self, name, stored[name])
            return
        for velocity in moments:
            self._U_start = _copy(self.model.views(velocity)[0])
            self._b1_velocity = _copy(self._U_start[-1, ...])
            self._am.matmul(self._X, self._U_start, out=self._Q)

    def advance(self, n_iter: int) -> list[float]:
        am, model = self._am, self.model
        theta, gradient = model.theta[model.outer], model.gradient[model.outer]

        def iteration() -> Any:
            loss, D = model.loss(model.forward_outer(self._Z), self._y, self._s, self.c)
            dZ = model.backward_outer(D)
            if self._has_velocity:
                self._advance_with_velocity(dZ)
            else:
                am.matmul(self._rate_times_G, dZ, out=self._stage)
                am.residual(self._Z, self._stage, out=self._Z)
                am.add(self._A, dZ)  # times -rate, in `finish`
            self._optimizer.step(theta, gradient, self.rate)
            self.epoch += 1
            return loss

        return iterate(am, iteration, n_iter)

    @cached_property
    def _rate_times_G(self) -> Array:
        return self._G * self.rate

    def _advance_with_velocity(self, dZ: Array) -> None:
        am, mu, stage, strength = self._am, self._momentum, self._stage, self._lambda
        am.multiply(self._Q, mu, out=self._Q)
        am.matmul(self._G, dZ, out=stage)
        am.add(self._Q, stage)
        am.multiply(self._P, mu, out=self._P)
        am.add(self._P, dZ)
        if strength:
            am.add_scaled(self.model.W2, strength, stage=self._W2_stage, out=self.model.dW2)
            # Without intercept the last row of W1 is one of weights, and nothing is to be left out.
            am.residual(self._Z, self._b1 * float(self.model.fit_intercept), out=stage)
            am.add_scaled(stage, strength, stage=stage, out=self._Q)
            am.add_scaled(self._A, strength, stage=stage, out=self._P)
        am.sum_rows(dZ, out=self._row)
        am.descend(self._b1, self._row, self._b1_velocity, self.rate, mu)
        am.add_scaled(self._Q, -self.rate, stage=stage, out=self._Z)
        am.add_scaled(self._P, -self.rate, stage=stage, out=self._A)
        self._p, self._q = mu * self._p + strength * self._a, mu * self._q + strength * self._k
        self._a, self._k = self._a - self.rate * self._p, self._k - self.rate * self._q

    @property
    def _factor(self) -> float:
        """Of X^T A in W1."""
        return 1.0 if self._has_velocity else -self.rate

    @property
    def _tracks_intercept(self) -> bool:
        return bool(self._lambda) and self.model.fit_intercept

    def finish(self) -> None:
        """Put W1 together in the model."""
        self._in_span(self._a, self._k, self._A, self._factor, self._b1, out=self.model.W1)

    def mark(self) -> None:
        """Keep a copy of the current iterate; W1 is not put together."""
        current = (self._A, self._b1, self.model.theta[self.model.outer])
        if self._mark is None:
            self._mark = [_copy(a) for a in current]
        for a, kept in zip(current, self._mark, strict=True):
            self._am.multiply(a, 1.0, out=kept)
        self._marked_numbers = self._a, self._k

    def marked(self) -> Array:
        """The flat vector of the iterate that was marked last."""
        A, b1, outer = self._mark
        flat = self._am.zeros(self.model.theta.shape, self.model.theta.dtype)
        flat[self.model.outer] = outer
        self._in_span(*self._marked_numbers, A, self._factor, b1, out=self.model.views(flat)[0])
        return flat

    def evaluator(self, model: TwoLayerNetwork, batches: Batches, c: float) -> Callable[[], float]:
        """What computes the loss of the current iterate on other rows X'; `model` has buffers for their batches.

        X' W1 = a X' W1_0 + k X' U_0 + (X' X^T) A, whose products are computed once.
        """
        am, inputs = self._am, slice(0, self._X.shape[1] - self._tracks_intercept)

        def product(A: Array, B: Array) -> Array:
            out = am.empty((A.shape[0], B.shape[1]), B.dtype)
            am.matmul(A, B, out=out)
            return out

        starts = [self._W1_start, self._U_start] if self._has_velocity else [self._W1_start]
        parts = [
            (
                product(X[:, inputs], self._X[:, inputs].T),
                [product(X[:, inputs], start[inputs, ...]) for start in starts],
                _copy(y),
                None if s is None else _copy(s),
            )
            for X, y, s in batches.in_order()
        ]
        Z_buffer, stage_buffer = (am.empty((batches.rows, self.model.shape[1]), model.theta.dtype) for _ in range(2))

        def evaluate() -> float:
            model.theta[model.outer] = self.model.theta[model.outer]
            total = am.scalar(0.0)
            for K, Z_starts, y, s in parts:
                n_rows = y.shape[0]
                Z, stage = Z_buffer[:n_rows, ...], stage_buffer[:n_rows, ...]
                am.matmul(K, self._A, out=Z)
                am.multiply(Z, self._factor, out=Z)
                for coefficient, Z_start in zip((self._a, self._k), Z_starts, strict=False):
                    am.add_scaled(Z_start, coefficient, stage=stage, out=Z)
                if self._tracks_intercept:
                    am.add(Z, self._b1)
                loss, _ = model.loss(model.forward_outer(Z), y, s, c)
                total = am.add_product(total, loss, n_rows / batches.n_samples)
            return am.to_floats([total])[0]

        return evaluate

    def _velocity(self) -> Array:
        velocity = self._am.zeros(self.model.theta.shape, self.model.theta.dtype)
        velocity[self.model.outer] = self._optimizer.moments[0]
        self._in_span(self._p, self._q, self._P, 1.0, self._b1_velocity, out=self.model.views(velocity)[0])
        return velocity

    def _in_span(self, a: float, k: float, A: Array, factor: float, intercept: Array, out: Array) -> None:
        """out = a W1_start + k U_start + factor X^T A; its last row is `intercept` where that is tracked."""
        am = self._am
        am.matmul_transposed(self._X, A, out=out)
        am.multiply(out, factor, out=out)
        for coefficient, start in ((a, self._W1_start), (k, self._U_start)):
            if coefficient != 0.0:
                am.add(out, start if coefficient == 1.0 else coefficient * start)
        if self._tracks_intercept:
            out[-1, ...] = intercept

    def default_rate(self, rtol: float) -> float:
        return stable_rate(self.curvature(rtol))

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Gauss-Newton matrix with penalty at theta.

        Without penalty it is that of J J^T, of side n m, whose products cost as little as an iteration here.
        """
        am, model, (n, m) = self._am, self.model, self._y.shape
        if self._lambda:
            return penalized_curvature(
                model, lambda v: model.curvature_product(self._X, self._s, self.c, v), self.penalty, rtol
            )
        root = None if self._s is None else self._s**0.5
        D, JJv = am.empty((n, m), model.theta.dtype), am.empty((n, m), model.theta.dtype)
        am.matmul(self._X, model.W1, out=self._stage)
        model.forward_outer(self._stage)

        def product(v: Array) -> Array:
            am.weigh(am.reshape(v, (n, m)), root, self.c / n, out=D)
            am.matmul(self._G, model.backward_outer(D), out=self._stage)
            am.weigh(model.outer_derivative(self._stage, model.gradient), root, 1.0, out=JJv)
            return am.reshape(JJv, (n * m,))

        return largest_eigenvalue(am, product, n * m, model.theta.dtype, rtol=rtol)

    def _problem(self) -> list[Any]:
        """Names the problem: two runs with the same are one run."""
        return [self._data, self.rate, self.c, self._lambda, self._momentum]

    @cached_property
    def _data(self) -> str:
        return fingerprint(*(self._am.to_numpy(a) for a in (self._X, self._y, self._s) if a is not None))


def _copy(a: Array) -> Array:
    return a * 1.0
