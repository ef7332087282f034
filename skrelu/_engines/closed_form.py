"""Gradient descent on the linear model without the loop: all iterates and losses from one eigendecomposition.

Let H = V diag(l) V^T be the Hessian of the penalized objective, and g the gradient at the start theta_0. Then t steps
theta <- theta - eta gradient end at ::

    theta_t = theta_0 - V phi_t(l) V^T g        phi_t(l) = (1 - (1 - eta l)^t) / l,  eta t for l = 0

The work does not depend on t. expm1 and log1p compute phi_t without cancellation.

The loss (without penalty) is a quadratic function. It is expanded around a point theta_* near the end of the path. The
loss L_* and its gradient g_* at this point are computed from the data. In modes, theta_t - theta_* = V (f_t * V^T g).
With G_0 the Hessian without penalty ::

    L_t = L_* + f_t . a + f_t^T N f_t / 2       a = rows of (V^T g_*) . (V^T g),  N = (V^T G_0 V) * (V^T g)(V^T g)^T

Without penalty, N is diagonal and g_* is zero except for rounding. All terms are then non-negative, so nothing cancels.

theta_* does not depend on the number of iterations, so a resumed run is the same as one longer run. In modes that
contract, theta_* is the limit of the path (f_t = (1 - eta l)^t, and V^T g is divided by l in a and N). In all other
modes, theta_* is the start of the path (f_t = -phi_t).

For data with more columns than rows and without penalty ("wide"), let R = sqrt(c s / n) X, and let U be the
eigenvectors of the n x n matrix R R^T = U diag(l) U^T. Each step multiplies each mode of the scaled residual
R theta - sqrt(c s / n) y by 1 - eta l, and theta_t = theta_0 - R^T U phi_t(l) U^T (residual at the start).

For wide data with a penalty, the same problem is written in n coordinates of the row space of X (`_reduce`).

Everything is in float64, for X of any precision. If NumPy or CuPy trains, products over rows and products with R run in
that library; otherwise they run in NumPy. The decomposed matrices are small and in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from skrelu._arrays import Array, ArrayModule
from skrelu._engines.base import Engine, EngineState, Moving, Work
from skrelu._engines.powers import FINE, phi, power, powers
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Model
from skrelu._models.linear import LinearModel
from skrelu._rows.batches import Batches
from skrelu._rows.fingerprint import fingerprint

_GRAM_NUMBERS = 2**23  # a Gram matrix may have as many entries as X, or up to this many: 64 MB in float64
_WHOLE_NUMBERS = 2**26  # limit of the entries of wide X, which is held as one standardized batch: 512 MB in float64

_CHUNK = 2**16  # entries of the arrays of modes by iterations
_BLOCK = FINE**2  # iterations whose losses are computed at once, if one matrix product gives them
_SETTLES = 1e-8  # modes that contract by more than this per iteration are expanded around their limit


class ClosedForm(Engine):
    """Engine that computes any iterate of gradient descent on a `LinearModel` directly."""

    is_shortcut, can_go_back = True, True

    model: LinearModel

    @classmethod
    def suits(cls, model: Model, n_samples: int, recipe: Recipe) -> bool:
        if recipe.solver != "gd" or recipe.precompute is False or not isinstance(model, LinearModel):
            return False
        n, p, is_wide = n_samples, model.n_inputs, cls._is_wide(model, n_samples)
        q = n if is_wide else p
        fits = q * q <= max(n * p, _GRAM_NUMBERS) and (not is_wide or n * p <= _WHOLE_NUMBERS)
        return recipe.precompute is True or fits

    @classmethod
    def cost(cls, model: Model, n_samples: int, recipe: Recipe, n_iter: int) -> float:
        """2 n p q for the Gram matrix of side q and about 10 q^3 for its eigenvectors; iterations are free."""
        q = n_samples if cls._is_wide(model, n_samples) else model.n_inputs
        return 2 * n_samples * model.n_inputs * q + 10 * q**3

    @classmethod
    def batch_rows(cls, model: Model, n_samples: int, recipe: Recipe) -> int:
        return n_samples if cls._is_wide(model, n_samples) else model.block_rows()

    @staticmethod
    def _is_wide(model: Model, n_samples: int) -> bool:
        """Whether to decompose the Gram matrix of side n instead of the Hessian of side p."""
        return model.n_inputs > n_samples

    def work(self, n_iter: int) -> Work:
        return Work(math.inf, math.inf)  # the product that gives a Gram matrix gains from threads

    def _prepare(self) -> None:
        self._am, model = self.model.am, self.model
        self._origin = np.array(self._am.to_numpy(model.theta), dtype=np.float64).reshape(model.shape)
        self._t = 0  # iterations since the origin
        self._R: Array = None  # sqrt(c s / n) X, for wide data without penalty
        self._Q: np.ndarray | None = None  # for wide data with a penalty, the orthonormal basis of theta's row space
        self._gather(self._is_wide(model, self.batches.n_samples))
        self._prepared = False
        self._known: tuple[int, np.ndarray] = (0, np.zeros(0))  # first iteration of the stored losses, losses

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Hessian; exact for any `rtol`."""
        return float(self._values.max())

    def recognizes(self, state: EngineState) -> bool:
        return "shortcut" in state and state["shortcut"]["problem"] == self._problem()

    def restore(self, state: EngineState) -> None:
        """Resume from the origin of a run on the same problem; otherwise start at theta."""
        if self.recognizes(state):
            self._origin, self._t = state["shortcut"]["origin"], state["shortcut"]["iterations"]
            self.__dict__.pop("_modes", None)

    def state(self) -> EngineState:
        stored = {"origin": self._origin, "iterations": self._t, "problem": self._problem()}
        return {"solver": "gd", "moments": [], "step_count": self.epoch, "shortcut": stored}

    def advance(self, n_iter: int) -> list[float]:
        """Losses of the next `n_iter` iterations, ending with the first that is not finite."""
        if not self._prepared:
            self._expand_losses()
        losses: list[float] = []
        while len(losses) < n_iter:
            chunk = self._losses_from(self._t, n_iter - len(losses))
            finite = np.isfinite(chunk)
            if not finite.all():
                chunk = chunk[: int(np.argmin(finite)) + 1]
            losses += chunk.tolist()
            self._t += len(chunk)
            if not finite.all():
                break
        self.epoch += len(losses)
        return losses

    def go_back(self, n_iter: int) -> None:
        self._t -= n_iter
        self.epoch -= n_iter

    def loss(self) -> float:
        if not self._prepared:
            self._expand_losses()
        return float(self._losses_from(self._t, 1)[0])

    def moving(self) -> Moving:
        return Moving([], [(self, "_t"), (self, "epoch")])

    def finish(self) -> None:
        """Put the current iterate into the model."""
        theta = self._origin - self._expand(self._path())  # theta_t = theta_0 - V phi_t(l) V^T g
        if self._Q is not None:
            theta += self._shrinkage * self._outside
        self.model.theta[...] = self.model.am.from_numpy(theta.reshape(-1), self.model.theta.dtype)

    def evaluator(self, batches: Batches) -> Callable[[], float]:
        """A function that returns the loss of the current iterate on other rows; its cost does not grow with them.

        Let R and y be these rows and their targets, times sqrt(c s / n). The residual R theta_t - y is
        (R theta_0 - y) - (R V) phi_t(l) V^T g. It is a combination of the columns of [R y]. The triangular factor of
        the QR decomposition of [R y] has up to p + m rows and gives a residual of the same length, so it replaces
        [R y].
        """
        p = self.model.shape[0]
        kept: np.ndarray = np.zeros((0, sum(self.model.shape)))
        for block in _scaled_rows(self._am, batches):
            kept = np.concatenate([kept, np.concatenate([self._am.to_numpy(a) for a in block], axis=1)])
            if kept.shape[0] > kept.shape[1]:
                kept = np.asarray(np.linalg.qr(kept, mode="r"))
        R = kept[:, :p]
        residual = R @ self._origin - kept[:, p:]  # R theta_0 - y
        if self._R is not None:  # for wide training rows R_0, R_0^T U takes the place of V
            R = self._am.to_numpy(self._am.to_float64(R) @ self._R.T)  # R R_0^T
        R_outside = None if self._Q is None else R @ self._outside
        if self._Q is not None:
            R = R @ self._Q
        R_modes = R @ self._vectors  # R V, or R R_0^T U

        def evaluate() -> float:
            e = residual - R_modes @ self._path()  # e = (R theta_0 - y) - (R V) phi_t(l) V^T g
            if R_outside is not None:
                e += self._shrinkage * R_outside
            return 0.5 * float(np.vdot(e, e))  # |e|^2 / 2

        return evaluate

    def _gather(self, is_wide: bool) -> None:
        """Compute the Hessian R^T R, or for wide data the Gram matrix R R^T, in one pass over the rows."""
        am, columns = self._am, self.model.n_inputs
        if is_wide and not self.penalty.is_zero:
            self._reduce()
        elif is_wide:
            self._R, self._y = next(self._rows())
            gram = self.batches.gram(weighted=True)
            self._hessian = am.to_numpy(self._R @ self._R.T) if gram is None else gram  # R R^T
        elif (moments := self.batches.moments()) is not None:
            self._hessian, self._moment, self._y_square = moments
        else:
            hessian, moment, y_square = (
                am.to_float64(np.zeros(shape)) for shape in ((columns, columns), self.model.shape, ())
            )
            for R, y in self._rows():
                hessian += R.T @ R  # G_0 = R^T R
                moment += R.T @ y  # R^T y
                y_square += (y * y).sum()  # |y|^2
            self._hessian, self._moment, self._y_square = (am.to_numpy(a) for a in (hessian, moment, y_square))
        self._penalized = np.full(len(self._hessian), float(self.penalty.strength))
        if self.model.fit_intercept and self._R is None:
            self._penalized[-1] = 0.0  # the intercept is not penalized

    def _reduce(self) -> None:
        """Write wide data with a penalty in coordinates of the row space of X: theta = Q z, and a part outside it.

        With the QR decomposition X^T = Q T, predictions are X w = T^T z, and |w|^2 = |z|^2: the same problem with n
        instead of d features. The intercept keeps its coordinate. The part of theta outside the row space predicts
        nothing; the penalty multiplies it by 1 - eta lambda in each step.
        """
        R, y = (self._am.to_numpy(a) for a in next(self._rows()))
        d, b = self.model.n_features, int(self.model.fit_intercept)
        Q, T = np.linalg.qr(R[:, :d].T)
        self._Q = np.zeros((d + b, Q.shape[1] + b))
        self._Q[:d, : Q.shape[1]] = Q
        self._Q[d:, Q.shape[1] :] = 1.0
        self._hash_of_rows = fingerprint(R, y)
        reduced = np.concatenate([T.T, R[:, d:]], axis=1)
        self._hessian, self._moment = reduced.T @ reduced, reduced.T @ y
        self._reduced = self._am.to_float64(reduced), self._am.to_float64(y)
        self._y_square = np.square(y).sum()

    @property
    def _start(self) -> np.ndarray:
        """The origin in the coordinates of the Hessian."""
        return self._origin if self._Q is None else self._Q.T @ self._origin

    @property
    def _outside(self) -> np.ndarray:
        """The part of the origin outside the row space."""
        assert self._Q is not None
        return self._origin - self._Q @ self._start

    @property
    def _shrinkage(self) -> float:
        """(1 - eta lambda)^t - 1 = -lambda phi_t(lambda): the relative change of the part outside the row space."""
        strength = np.array([float(self.penalty.strength)])
        return -float((strength * phi(strength, self.rate, self._t))[0])

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the Hessian with penalty, or of the Gram matrix."""
        if not np.isfinite(self._hessian).all():
            return np.full(len(self._hessian), np.inf), np.eye(len(self._hessian))
        occurs = np.diag(self._hessian) > 0.0
        if occurs.all():
            values, vectors = np.linalg.eigh(self._hessian + np.diag(self._penalized))  # H = V diag(l) V^T
        else:  # a column of zeros is a mode of its own; rounding would mix it with other modes
            values, vectors = self._penalized.copy(), np.eye(len(occurs))
            block = np.ix_(occurs, occurs)
            values[occurs], vectors[block] = np.linalg.eigh(self._hessian[block] + np.diag(self._penalized[occurs]))
        return np.maximum(values, 0.0), vectors  # rounding can make a zero eigenvalue negative

    @property
    def _values(self) -> np.ndarray:
        return self._eigen[0]

    @property
    def _vectors(self) -> np.ndarray:
        return self._eigen[1]

    def _rows(self) -> Iterator[tuple[Array, Array]]:
        return _scaled_rows(self._am, self.batches)

    @cached_property
    def _modes(self) -> np.ndarray:
        """V^T g at the origin, or for wide data U^T times the residual at the origin."""
        if self._R is not None:  # U^T (R theta_0 - y)
            return self._vectors.T @ self._am.to_numpy(self._R @ self._am.to_float64(self._origin) - self._y)
        # g = G_0 theta_0 + lambda theta_0 - R^T y
        gradient = self._hessian @ self._start + self._penalized[:, None] * self._start - self._moment
        return self._vectors.T @ gradient  # V^T g

    def _path(self) -> np.ndarray:
        """phi_t(l) V^T g: the distance of the current iterate from the origin in each mode."""
        path = phi(self._values, self.rate, self._t)[:, None] * self._modes
        path[self._modes == 0.0] = 0.0  # a zero mode stays zero even if phi_t overflows
        return path

    def _expand(self, modes: np.ndarray) -> np.ndarray:
        """V times modes, or for wide data R^T U times modes."""
        theta = self._vectors @ modes  # V modes, or U modes
        if self._Q is not None:
            return self._Q @ theta
        return theta if self._R is None else self._am.to_numpy(self._R.T @ self._am.to_float64(theta))

    def _expand_losses(self) -> None:
        """Compute the coefficients of the losses: L_*, a and N."""
        modes, values = self._modes, self._values
        factors = np.abs(1.0 - self.rate * values)  # |1 - eta l|
        if self._R is not None:  # L_t = sum over modes of ((1 - eta l)^t U^T residual)^2 / 2
            self._settles = np.ones(len(values), dtype=bool)
            self._base, self._linear = 0.0, np.zeros(len(values))
            self._square, self._cross = np.square(modes).sum(axis=1), None
        else:
            self._settles = factors <= 1.0 - _SETTLES
            scaled = modes / np.where(self._settles, values, 1.0)[:, None]  # V^T g, divided by l if a mode contracts
            anchor = self._start - self._vectors @ (self._settles[:, None] * scaled)  # theta_*
            self._base, gradient = self._loss_and_gradient(anchor)  # L_* and g_*
            self._linear = ((self._vectors.T @ gradient) * scaled).sum(axis=1)  # a = rows of (V^T g_*) . (V^T g)
            # N is computed from sqrt(l) V^T g, which can be squared even if V^T g or l alone is out of range.
            root = np.sqrt(values)[:, None]
            lengths = root * scaled
            self._square, self._cross = np.square(lengths).sum(axis=1), None  # N, if diagonal
            if self._penalized.any():  # N = (V^T G_0 V / sqrt(l l^T)) * (sqrt(l) V^T g)(sqrt(l) V^T g)^T
                share, unit = self._vectors.T @ self._hessian @ self._vectors, root * root.T
                np.divide(share, unit, out=share, where=unit > 0.0)
                self._cross = share * (lengths @ lengths.T)
        self._active = modes.any(axis=1)
        self._in_blocks = self._cross is None and bool((self._settles & (factors <= 1.0)).all())
        self._prepared = True

    def _losses_from(self, start: int, n_iter: int) -> np.ndarray:
        """Losses of 1 to `n_iter` iterations, beginning with iteration `start`.

        If a caller asks for one loss at a time, losses are computed ahead and stored. Their number doubles each time.
        """
        first, known = self._known
        if not first <= start < first + len(known):
            stride = max(1, _CHUNK // len(self._values))
            if self._in_blocks:
                begin, end = start // _BLOCK * _BLOCK, -(-(start + min(FINE * stride, n_iter)) // _BLOCK) * _BLOCK
            else:
                n_ahead = 2 * len(known) if n_iter == 1 and start == first + len(known) else 0
                begin, end = start, start + min(stride, max(n_iter, n_ahead))
            first, known = self._known = begin, self._losses(begin, end)
        return known[start - first : start - first + n_iter]

    def _losses(self, start: int, stop: int) -> np.ndarray:
        """Losses before the updates `start` to `stop` - 1."""
        if self._in_blocks:
            return self._losses_of_blocks(start, stop)
        # Arrays are modes by iterations. The sums over modes do not depend on the number of iterations computed at
        # once, so a resumed run has bit for bit the losses of one longer run.
        n, stop = stop - start, max(stop, start + 2)  # NumPy sums a single column in another order
        values, settles = self._values[:, None], self._settles[:, None]
        f = powers(values, self.rate, start, stop)  # f_t = (1 - eta l)^t
        if not self._settles.all():  # f_t = -phi_t in modes that do not contract
            f = np.where(settles, f, -phi(values, self.rate, np.arange(start, stop, dtype=np.float64)))
        if not self._active.all():
            f[~self._active] = 0.0  # a zero mode stays zero even if f overflows
        # L_t = L_* + f_t . (a + N f_t / 2), with the products in `slope`
        slope = f * self._square[:, None] if self._cross is None else np.einsum("kj,jt->kt", self._cross, f)  # N f_t
        slope *= 0.5
        slope += self._linear[:, None]
        slope *= f
        return np.maximum(self._base + slope.sum(axis=0)[:n], 0.0)

    def _losses_of_blocks(self, start: int, stop: int) -> np.ndarray:
        """Losses of whole blocks of `_BLOCK` iterations, if all modes contract and N is diagonal.

        Then f at t = FINE j + k is the power for FINE j times the power for k, and a matrix product gives the sums
        over modes. All blocks have the same shape, so rounding does not depend on the number of iterations requested.
        """
        values, square, linear = self._values[:, None], 0.5 * self._square[:, None], self._linear[:, None]
        coarse = power(values, self.rate, np.arange(start, stop, float(FINE)))  # (1 - eta l)^(FINE j)
        fine = power(values, self.rate, np.arange(float(FINE)))  # (1 - eta l)^k
        # f^T N f / 2 + f . a = [N coarse^2 / 2; a coarse]^T [fine^2; fine], one product for each block
        left, right = np.concatenate([square * coarse * coarse, linear * coarse]), np.concatenate([fine * fine, fine])
        products = [left[:, a : a + FINE].T @ right for a in range(0, left.shape[1], FINE)]
        return np.maximum(np.concatenate(products).ravel() + self._base, 0.0)

    def _loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss without penalty and its gradient, computed from the rows."""
        am = self._am
        point, square, gradient = (am.to_float64(a) for a in (theta, np.zeros(()), np.zeros_like(theta)))
        for R, y in self._rows() if self._Q is None else [self._reduced]:
            e = R @ point - y  # e = R theta - y
            square += (e * e).sum()  # |e|^2
            gradient += R.T @ e  # R^T e
        return 0.5 * float(am.to_numpy(square)), am.to_numpy(gradient)

    def _problem(self) -> list[Any]:
        """Identifies the problem: a run resumes exactly from a run with equal values here."""
        return [self._data, self.rate]

    @cached_property
    def _data(self) -> str:
        if self._Q is not None:
            return self._hash_of_rows + fingerprint(self._penalized)
        if self._R is None:
            return fingerprint(self._hessian, self._moment, self._y_square, self._penalized)
        return fingerprint(self._am.to_numpy(self._R), self._am.to_numpy(self._y), self._penalized)


def _scaled_rows(am: ArrayModule, batches: Batches) -> Iterator[tuple[Array, Array]]:
    """Blocks of R = sqrt(c s / n) X and of sqrt(c s / n) y, in float64."""
    for batch in batches.in_order():
        factor: Array = math.sqrt(batches.c / batches.n_samples)  # sqrt(c / n)
        if batch.s is not None:
            factor = am.to_float64(batch.s) ** 0.5 * factor  # sqrt(c s / n)
        yield am.to_float64(batch.X) * factor, am.to_float64(batch.y) * factor
