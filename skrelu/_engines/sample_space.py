"""Gradient descent on wide data in the space of the samples: the same iterates with n x n instead of n x d products.

Every gradient of W1 is X^T dZ, so W1 and its velocity U stay in the span of their start values and X^T::

    W1 = a W1_0 + k U_0 + X^T A        U = p W1_0 + q U_0 + X^T P        (a, k, p, q numbers; A, P of shape (n, h))

The forward pass only needs Z = X W1. Let Q = X U, and let G = X X^T be the Gram matrix. In these quantities, gradient
descent with momentum mu, rate eta and penalty lambda is ::

    U  <- mu U + X^T dZ + lambda W1      Q <- mu Q + G dZ + lambda Z      P <- mu P + dZ + lambda A    (p, q alike)
    W1 <- W1 - eta U                     Z <- Z - eta Q                   A <- A - eta P               (a, k alike)

With an intercept, the last column of X is all ones, the last row of W1 is the intercept b1, and G includes its part. b1
is not penalized. With a penalty, b1 is therefore tracked separately, and the term lambda Z becomes lambda (Z - b1).

An iteration costs 2 n^2 h + 6 n h m floating-point operations instead of 4 n d h + 6 n h m. W1 itself is computed only
at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from skrelu._arrays import Array, Scalar
from skrelu._engines.base import Engine, EngineState, Moving, Work, iterate
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.network import TwoLayerNetwork
from skrelu._models.optimizers import GradientDescent
from skrelu._models.spectrum import largest_eigenvalue
from skrelu._rows.batches import Batches
from skrelu._rows.fingerprint import fingerprint

_GRAM_NUMBERS = 2**23  # a Gram matrix may have as many entries as X, or up to this many: 64 MB in float64
_WHOLE_NUMBERS = 2**26  # limit of the entries of X, which is held as one standardized batch: 512 MB in float64


class SampleSpace(Engine):
    """Engine for a `TwoLayerNetwork`, with all rows in one batch."""

    is_shortcut = True

    model: TwoLayerNetwork

    @classmethod
    def suits(cls, model: Model, n_samples: int, recipe: Recipe) -> bool:
        if recipe.solver != "gd" or recipe.precompute is False or not isinstance(model, TwoLayerNetwork):
            return False
        n, d = n_samples, model.n_features
        return recipe.precompute is True or (n * n <= max(n * d, _GRAM_NUMBERS) and n * d <= _WHOLE_NUMBERS)

    @classmethod
    def cost(cls, model: Model, n_samples: int, recipe: Recipe, n_iter: int) -> float:
        assert isinstance(model, TwoLayerNetwork)
        return 2 * n_samples**2 * model.n_features + n_iter * cls._iteration_flops(model, n_samples)

    @staticmethod
    def _iteration_flops(model: TwoLayerNetwork, n: int) -> int:
        """G dZ takes 2 n^2 h; H W2, D W2^T and H^T D take 6 n h m."""
        return n * model.n_hidden * (2 * n + 6 * model.n_outputs)

    @classmethod
    def batch_rows(cls, model: Model, n_samples: int, recipe: Recipe) -> int:
        return n_samples

    def work(self, n_iter: int) -> Work:
        model, n = self.model, self.batches.n_samples
        largest = 2 * n * model.n_hidden * max(n, model.n_outputs)
        return Work(largest, self._iteration_flops(model, n) * n_iter)

    def _prepare(self) -> None:
        model, self._am = self.model, self.model.am
        am = self._am
        (self._batch,) = self.batches.in_order()
        self._X = self._batch.X
        self._momentum, self._lambda = self.recipe.momentum, float(self.penalty.strength)
        self._has_velocity = self._momentum != 0.0 or self._lambda != 0.0
        n, h, dtype = self._X.shape[0], model.n_hidden, model.theta.dtype
        self._G = am.empty((n, n), dtype)
        gram = self.batches.gram()
        if gram is None:
            am.matmul(self._X, self._X.T, out=self._G)  # G = X X^T
        else:
            self._G[...] = am.from_numpy(gram, dtype)
        self._stage, self._row = am.empty((n, h), dtype), am.empty((h,), dtype)
        self._optimizer = GradientDescent(am, model.theta[model.outer], self._momentum)
        self._W2_stage = am.empty(model.W2.shape, dtype)
        # Everything that an iteration changes. A state holds these arrays, not copies; a run that resumes copies them.
        self._a, self._k, self._p, self._q = 1.0, 0.0, 0.0, 1.0
        self._W1_start, self._U_start = am.copy(model.W1), am.zeros(model.W1.shape, dtype)
        self._b1, self._b1_velocity = am.copy(model.W1[-1, ...]), am.zeros((h,), dtype)
        self._Z, self._A = am.empty((n, h), dtype), am.zeros((n, h), dtype)
        self._Q, self._P = (am.zeros((n if self._has_velocity else 0, h), dtype) for _ in range(2))
        am.matmul(self._X, model.W1, out=self._Z)  # Z = X W1
        self._mark: list[Any] = []

    _arrays = ("_W1_start", "_U_start", "_b1", "_b1_velocity", "_Z", "_A", "_Q", "_P")
    _numbers = ("_a", "_k", "_p", "_q")

    def state(self) -> EngineState:
        stored: dict[str, Any] = {name: self._am.to_numpy(getattr(self, name)) for name in self._arrays}
        if not stored["_U_start"].any():
            stored["_U_start"] = stored["_U_start"][:0]  # as large as the weights, and zero without an earlier velocity
        stored |= {name: getattr(self, name) for name in self._numbers}
        moments = [self._am.to_numpy(self._velocity())] if self._momentum else []
        stored["problem"] = self._problem()
        return {"solver": "gd", "moments": moments, "step_count": self.epoch, "shortcut": stored}

    def recognizes(self, state: EngineState) -> bool:
        return "shortcut" in state and state["shortcut"]["problem"] == self._problem()

    def restore(self, state: EngineState) -> None:
        """Resume exactly if the state is of the same problem; otherwise resume from its parameters and velocity."""
        moments = [self._am.from_numpy(a, None) for a in state["moments"]] if self._momentum else []
        for velocity in moments:
            self._optimizer.moments[0][...] = velocity[self.model.outer]
        if self.recognizes(state):
            stored = state["shortcut"]
            for name in self._arrays:
                if stored[name].shape == getattr(self, name).shape:
                    setattr(self, name, self._am.from_numpy(stored[name], None))
            for name in self._numbers:
                setattr(self, name, stored[name])
            return
        for velocity in moments:
            self._U_start = self._am.copy(self.model.views(velocity)[0])
            self._b1_velocity = self._am.copy(self._U_start[-1, ...])
            self._am.matmul(self._X, self._U_start, out=self._Q)  # Q = X U

    def advance(self, n_iter: int) -> list[float]:
        am, model = self._am, self.model
        theta, gradient = model.theta[model.outer], model.gradient[model.outer]

        def iteration() -> Scalar:
            loss, D = model.loss(model.forward_from(self._Z), self._batch)
            dZ = model.backward_to(D)
            if self._has_velocity:
                self._advance_with_velocity(dZ)
            else:
                am.matmul(self._rate_times_G, dZ, out=self._stage)  # eta G dZ
                am.subtract(self._Z, self._stage, out=self._Z)  # Z <- Z - eta G dZ
                am.add(self._A, dZ)  # A <- A + dZ; `finish` multiplies by -eta
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
        am.add(self._Q, stage)  # Q <- mu Q + G dZ
        am.multiply(self._P, mu, out=self._P)
        am.add(self._P, dZ)  # P <- mu P + dZ
        if strength:
            am.add_scaled(self.model.W2, strength, stage=self._W2_stage, out=self.model.dW2)  # dW2 += lambda W2
            # Without an intercept, the last row of W1 holds weights and is penalized.
            am.subtract(self._Z, self._b1 * float(self.model.fit_intercept), out=stage)
            am.add_scaled(stage, strength, stage=stage, out=self._Q)  # Q <- Q + lambda (Z - b1)
            am.add_scaled(self._A, strength, stage=stage, out=self._P)  # P <- P + lambda A
        am.sum_rows(dZ, out=self._row)  # db1 = sum of the rows of dZ
        am.descend(self._b1, self._row, self._b1_velocity, self.rate, mu)  # v <- mu v + db1, b1 <- b1 - eta v
        am.add_scaled(self._Q, -self.rate, stage=stage, out=self._Z)  # Z <- Z - eta Q
        am.add_scaled(self._P, -self.rate, stage=stage, out=self._A)  # A <- A - eta P
        # p <- mu p + lambda a, q <- mu q + lambda k, then a <- a - eta p, k <- k - eta q
        self._p, self._q = mu * self._p + strength * self._a, mu * self._q + strength * self._k
        self._a, self._k = self._a - self.rate * self._p, self._k - self.rate * self._q

    @property
    def _factor(self) -> float:
        """The factor of X^T A in W1. Without velocity, `advance` leaves the factor -eta out of A."""
        return 1.0 if self._has_velocity else -self.rate

    @property
    def _tracks_intercept(self) -> bool:
        return bool(self._lambda) and self.model.fit_intercept

    def loss(self) -> float:
        loss, _ = self.model.loss(self.model.forward_from(self._Z), self._batch)
        return self._am.to_floats([loss])[0]

    def moving(self) -> Moving:
        arrays = [self._b1, self._b1_velocity, self._Z, self._A, self._Q, self._P, *self._optimizer.moments]
        numbers: list[tuple[object, str]] = [(self, "epoch"), (self._optimizer, "step_count")]
        numbers += [(self, name) for name in self._numbers]
        return Moving([self.model.theta[self.model.outer], *arrays], numbers)

    def finish(self) -> None:
        """Compute the model's W1 = a W1_0 + k U_0 + X^T A."""
        self._in_span(self._a, self._k, self._A, self._factor, self._b1, out=self.model.W1)

    def mark(self) -> None:
        """Keep a copy of the current iterate, without computing W1."""
        current = (self._A, self._b1, self.model.theta[self.model.outer])
        self._mark = [*map(self._am.copy, current), self._a, self._k]

    def marked(self) -> Array:
        A, b1, outer, a, k = self._mark
        flat = self._am.zeros(self.model.theta.shape, self.model.theta.dtype)
        flat[self.model.outer] = outer
        self._in_span(a, k, A, self._factor, b1, out=self.model.views(flat)[0])
        return flat

    def evaluator(self, batches: Batches) -> Callable[[], float]:
        """A function that returns the loss of the current iterate on other rows X'.

        X' W1 = a X' W1_0 + k X' U_0 + (X' X^T) A. The three products with X' are computed once.
        """
        am, inputs = self._am, slice(0, self._X.shape[1] - self._tracks_intercept)
        model = self.model.plain()
        model.allocate(batches.rows)

        def product(A: Array, B: Array) -> Array:
            out = am.empty((A.shape[0], B.shape[1]), B.dtype)
            am.matmul(A, B, out=out)
            return out

        starts = [self._W1_start, self._U_start] if self._has_velocity else [self._W1_start]
        parts = []
        for batch in batches.in_order():
            X = batch.X[:, inputs]
            # X' X^T, X' W1_0 and X' U_0; a tracked intercept is added in `evaluate`
            K, Z_starts = product(X, self._X[:, inputs].T), [product(X, start[inputs, ...]) for start in starts]
            s = None if batch.s is None else am.copy(batch.s)
            parts.append((K, Z_starts, batch._replace(y=am.copy(batch.y), s=s)))  # its X is not read again
        Z_buffer, stage_buffer = (am.empty((batches.rows, model.n_hidden), model.theta.dtype) for _ in range(2))

        def evaluate() -> float:
            self.model.average_outer(model)
            total = am.scalar(0.0)
            for K, Z_starts, batch in parts:
                n_rows = batch.y.shape[0]
                Z, stage = Z_buffer[:n_rows, ...], stage_buffer[:n_rows, ...]
                am.matmul(K, self._A, out=Z)
                am.multiply(Z, self._factor, out=Z)  # Z = factor (X' X^T) A
                for coefficient, Z_start in zip((self._a, self._k), Z_starts, strict=False):
                    am.add_scaled(Z_start, coefficient, stage=stage, out=Z)  # Z += a X' W1_0 + k X' U_0
                if self._tracks_intercept:
                    am.add(Z, self._b1)
                loss, _ = model.loss(model.forward_from(Z), batch)
                total = am.add_product(total, loss, n_rows / batches.n_samples)
            return am.to_floats([total])[0]

        return evaluate

    def _velocity(self) -> Array:
        velocity = self._am.zeros(self.model.theta.shape, self.model.theta.dtype)
        velocity[self.model.outer] = self._optimizer.moments[0]
        self._in_span(self._p, self._q, self._P, 1.0, self._b1_velocity, out=self.model.views(velocity)[0])
        return velocity

    def _in_span(self, a: float, k: float, A: Array, factor: float, intercept: Array, out: Array) -> None:
        """out = a W1_start + k U_start + factor X^T A; if the intercept is tracked, the last row is `intercept`."""
        am = self._am
        am.matmul_transposed(self._X, A, out=out)  # X^T A
        am.multiply(out, factor, out=out)
        for coefficient, start in ((a, self._W1_start), (k, self._U_start)):
            if coefficient != 0.0:
                am.add(out, start if coefficient == 1.0 else coefficient * start)
        if self._tracks_intercept:
            out[-1, ...] = intercept

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Gauss-Newton matrix with penalty at theta.

        Without penalty, L is also the largest eigenvalue of J J^T, of side n m. A product with J J^T costs as little as
        an iteration of this engine.
        """
        if self._lambda:
            return super().curvature(rtol)
        am, model, n = self._am, self.model, self.batches.n_samples
        m = model.n_predictions
        root = None if self._batch.s is None else self._batch.s**0.5
        D, JJv = am.empty((n, m), model.theta.dtype), am.empty((n, m), model.theta.dtype)
        am.matmul(self._X, model.W1, out=self._stage)  # Z = X W1
        model.forward_from(self._stage)

        def product(v: Array) -> Array:
            am.weigh(am.reshape(v, (n, m)), root, self._batch.factor, out=D)
            # The W1 part of J^T D is X^T dZ. The next product with J only needs X times it: X X^T dZ = G dZ.
            am.matmul(self._G, model.backward_to(D), out=self._stage)
            am.weigh(model.derivative_from(self._stage, model.gradient), root, 1.0, out=JJv)
            return am.reshape(JJv, (n * m,))

        return largest_eigenvalue(am, product, n * m, model.theta.dtype, rtol=rtol)

    def _problem(self) -> list[Any]:
        """Identifies the problem: a run resumes exactly from a run with equal values here."""
        return [self._data, self.rate, self.batches.c, self._lambda, self._momentum]

    @cached_property
    def _data(self) -> str:
        rows = self._batch.X, self._batch.y, self._batch.s
        return fingerprint(*(self._am.to_numpy(a) for a in rows if a is not None))
