"""Gradient descent on the linear model without the loop: all iterates and losses from one eigendecomposition.

Let H = V diag(l) V^T be the Hessian of the penalized objective and g the gradient at the start theta_0. Then t steps
theta <- theta - eta gradient end at ::

    theta_t = theta_0 - V phi_t(l) V^T g        phi_t(l) = (1 - (1 - eta l)^t) / l,  eta t for l = 0

so the work does not depend on t. phi_t is computed with expm1 and log1p, without cancellation. The loss (without
penalty) is a quadratic function, expanded around a point theta_* near the end of the path, where it and its gradient
g_* are computed from the data. In modes, theta_t - theta_* = V (f_t * V^T g), and with G_0 the Hessian without
penalty ::

    L_t = L_* + f_t . a + f_t^T N f_t / 2       a = rows of (V^T g_*) . (V^T g),  N = (V^T G_0 V) * (V^T g)(V^T g)^T

Without penalty N is diagonal and g_* is zero but for rounding, so the terms are not negative and nothing cancels.
theta_* does not depend on how many iterations are asked for: modes that contract are taken to their limit
(f_t = (1 - eta l)^t, and V^T g is divided by l in a and N), others stay at the start (f_t = -phi_t). So a run continued
is the same as a run at once.

With more columns than rows and no penalty the same is done with the eigenvectors U of the n x n matrix
R R^T, R = sqrt(c s / n) X: the scaled residual R theta - sqrt(c s / n) y is multiplied by (1 - eta l)^t in each mode,
and theta_t = theta_0 - R^T U phi_t(l) U^T (residual at the start).

Everything is in float64, whatever the precision of X. Products over rows, or with R, are carried out where X lives if
that is NumPy or CuPy; what is decomposed is small, and is NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from skrelu._batches import Batches
from skrelu._fingerprint import fingerprint
from skrelu._plain import Penalty, stable_rate

Array = Any

_CHUNK = 2**16  # numbers in the arrays of modes by iterations
_FINE = 64  # powers of t are products of powers for multiples of this and for what is left
_BLOCK = _FINE**2  # iterations whose losses are computed at once where that is a product of matrices
_HUGE = np.finfo(np.float64).max
_SETTLES = 1e-8  # modes that contract by more than this in an iteration are expanded around their limit


class ClosedForm:
    """Engine that knows every iterate of gradient descent on a `LinearModel`."""

    name, can_go_back, has_schedule = "gd", True, False

    def __init__(self, model: Any, batches: Batches, penalty: Penalty, *, c: float, epoch: int, wide: bool) -> None:
        self.model, self.batches, self.penalty = model, batches, penalty
        self.c, self.epoch, self.rate = c, epoch, 0.0
        self._am = am = model.am
        self._origin, self._t = np.array(am.to_numpy(model.theta), dtype=np.float64).reshape(model.shape), 0
        self._R: Any = None  # for wide data, with self._y
        self._gather(wide)
        self._prepared = False
        self._known: tuple[int, np.ndarray] = (0, np.zeros(0))  # losses from an iteration on

    def default_rate(self, rtol: float) -> float:
        return stable_rate(self.curvature(rtol))

    def curvature(self, rtol: float) -> float:
        """L, the largest eigenvalue of the Hessian; exact whatever `rtol`."""
        return float(self._values.max())

    def recognizes(self, state: dict[str, Any]) -> bool:
        """Whether `state` is of a run on the same problem at the same rate."""
        return "closed_form" in state and state["closed_form"]["problem"] == self._problem()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the start of an earlier run, if it was on the same problem at the same rate."""
        if self.recognizes(state):
            self._origin, self._t = state["closed_form"]["origin"], state["closed_form"]["iterations"]

    def state(self) -> dict[str, Any]:
        stored = {"origin": self._origin, "iterations": self._t, "problem": self._problem()}
        return {"name": "gd", "moments": [], "step_count": self.epoch, "closed_form": stored}

    def advance(self, n_iter: int) -> list[float]:
        """Losses of the next `n_iter` iterations, ending with the first that is not finite."""
        if not self._prepared:
            self._prepare()
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
        """Undo the last `n_iter` iterations."""
        self._t -= n_iter
        self.epoch -= n_iter

    def moving(self) -> tuple[list[Any], list[tuple[Any, str]]]:
        return [], [(self, "_t"), (self, "epoch")]

    def finish(self) -> None:
        """Put the current iterate into the model."""
        theta = self._origin - self._expand(self._path())
        self.model.theta[...] = self.model.am.from_numpy(theta.reshape(-1), self.model.theta.dtype)

    def evaluator(self, model: Any, batches: Batches, c: float) -> Callable[[], float]:
        """What computes the loss of the current iterate on other rows, at a cost that does not grow with them.

        With R and y those rows and their targets, times sqrt(c s / n), the residual R theta_t - y is
        (R theta_0 - y) - (R V) phi_t(l) V^T g. From the QR decomposition of [R y] at most p + m rows are kept: the
        length of a residual, a combination of its columns, does not change.
        """
        p = self.model.shape[0]
        kept: np.ndarray = np.zeros((0, sum(self.model.shape)))
        for block in _scaled_rows(self._am, batches, c):
            kept = np.concatenate([kept, np.concatenate([self._am.to_numpy(a) for a in block], axis=1)])
            if kept.shape[0] > kept.shape[1]:
                kept = np.asarray(np.linalg.qr(kept, mode="r"))
        R = kept[:, :p]
        residual = R @ self._origin - kept[:, p:]
        if self._R is not None:
            R = self._am.to_numpy(self._am.to_float64(R) @ self._R.T)
        R_modes = R @ self._vectors

        def evaluate() -> float:
            e = residual - R_modes @ self._path()
            return 0.5 * float(np.vdot(e, e))

        return evaluate

    def _gather(self, wide: bool) -> None:
        """The Hessian, or the Gram matrix of wide data, from one pass over the rows."""
        am, columns = self._am, self.model.shape[0]
        if wide:
            self._R, self._y = next(self._rows())
            self._hessian = am.to_numpy(self._R @ self._R.T)
        else:
            hessian, moment, y_square = (
                am.to_float64(np.zeros(shape)) for shape in ((columns, columns), self.model.shape, ())
            )
            for R, y in self._rows():
                hessian += R.T @ R
                moment += R.T @ y
                y_square += (y * y).sum()
            self._hessian, self._moment, self._y_square = (am.to_numpy(a) for a in (hessian, moment, y_square))
        self._penalized = np.full(len(self._hessian), 0.0 if wide else float(self.penalty.strength))
        self._penalized[self.model.weights.stop // self.model.n_outputs :] = 0.0  # the intercept

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the Hessian with penalty, or of the Gram matrix."""
        if not np.isfinite(self._hessian).all():
            return np.full(len(self._hessian), np.inf), np.eye(len(self._hessian))
        occurs = np.diag(self._hessian) > 0.0
        if occurs.all():
            values, vectors = np.linalg.eigh(self._hessian + np.diag(self._penalized))
        else:  # a column of zeros is a mode by itself; left in, rounding would mix it with others
            values, vectors = self._penalized.copy(), np.eye(len(occurs))
            block = np.ix_(occurs, occurs)
            values[occurs], vectors[block] = np.linalg.eigh(self._hessian[block] + np.diag(self._penalized[occurs]))
        return np.maximum(values, 0.0), vectors  # rounding makes zeros negative

    @property
    def _values(self) -> np.ndarray:
        return self._eigen[0]

    @property
    def _vectors(self) -> np.ndarray:
        return self._eigen[1]

    def _rows(self) -> Iterator[tuple[Array, Array]]:
        return _scaled_rows(self._am, self.batches, self.c)

    @cached_property
    def _modes(self) -> np.ndarray:
        """V^T g, or U^T residual for wide data, at the origin: not to be asked for before `restore`, which moves it."""
        if self._R is not None:
            return self._vectors.T @ self._am.to_numpy(self._R @ self._am.to_float64(self._origin) - self._y)
        gradient = self._hessian @ self._origin + self._penalized[:, None] * self._origin - self._moment
        return self._vectors.T @ gradient

    def _path(self) -> np.ndarray:
        """phi_t(l) V^T g: how far the current iterate is from the origin in each mode."""
        path = _phi(self._values, self.rate, self._t)[:, None] * self._modes
        path[self._modes == 0.0] = 0.0  # a mode that is not there cannot grow, where phi_t is infinite
        return path

    def _expand(self, modes: np.ndarray) -> np.ndarray:
        theta = self._vectors @ modes
        return theta if self._R is None else self._am.to_numpy(self._R.T @ self._am.to_float64(theta))

    def _prepare(self) -> None:
        """The coefficients of the losses."""
        modes, values = self._modes, self._values
        factors = np.abs(1.0 - self.rate * values)
        if self._R is not None:
            self._settles = np.ones(len(values), dtype=bool)
            self._base, self._linear = 0.0, np.zeros(len(values))
            self._square, self._cross = np.square(modes).sum(axis=1), None
        else:
            self._settles = factors <= 1.0 - _SETTLES
            scaled = modes / np.where(self._settles, values, 1.0)[:, None]
            anchor = self._origin - self._vectors @ (self._settles[:, None] * scaled)
            self._base, gradient = self._loss_and_gradient(anchor)
            self._linear = ((self._vectors.T @ gradient) * scaled).sum(axis=1)
            root = np.sqrt(values)[:, None]
            lengths = root * scaled  # neither the Hessian nor the modes alone need be of a size that can be squared
            self._square, self._cross = np.square(lengths).sum(axis=1), None
            if self._penalized.any():
                share, unit = self._vectors.T @ self._hessian @ self._vectors, root * root.T
                np.divide(share, unit, out=share, where=unit > 0.0)
                self._cross = share * (lengths @ lengths.T)
        self._active = modes.any(axis=1)
        self._in_blocks = self._cross is None and bool((self._settles & (factors <= 1.0)).all())
        self._prepared = True

    def _losses_from(self, start: int, n_iter: int) -> np.ndarray:
        """Losses from iteration `start` on, of 1 to `n_iter` iterations.

        Where they are asked for one by one they are computed ahead, each time twice as many as before.
        """
        first, known = self._known
        if not first <= start < first + len(known):
            stride = max(1, _CHUNK // len(self._values))
            if self._in_blocks:
                begin, end = start // _BLOCK * _BLOCK, -(-(start + min(_FINE * stride, n_iter)) // _BLOCK) * _BLOCK
            else:
                n_ahead = 2 * len(known) if n_iter == 1 and start == first + len(known) else 0
                begin, end = start, start + min(stride, max(n_iter, n_ahead))
            first, known = self._known = begin, self._losses(begin, end)
        return known[start - first : start - first + n_iter]

    def _losses(self, start: int, stop: int) -> np.ndarray:
        """Losses before the updates `start` to `stop` - 1."""
        if self._in_blocks:
            return self._losses_of_blocks(start, stop)
        # Modes by iterations, and sums over modes that do not depend on how many iterations are computed at once: the
        # losses of a run continued are to the last bit those of a run at once.
        n, stop = stop - start, max(stop, start + 2)  # NumPy sums a single column in another order
        values, settles = self._values[:, None], self._settles[:, None]
        f = _powers(values, self.rate, start, stop)
        if not self._settles.all():
            f = np.where(settles, f, -_phi(values, self.rate, np.arange(start, stop, dtype=np.float64)))
        if not self._active.all():
            f[~self._active] = 0.0  # a mode that is not there cannot grow
        slope = f * self._square[:, None] if self._cross is None else np.einsum("kj,jt->kt", self._cross, f)
        slope *= 0.5
        slope += self._linear[:, None]
        slope *= f
        return np.maximum(self._base + slope.sum(axis=0)[:n], 0.0)

    def _losses_of_blocks(self, start: int, stop: int) -> np.ndarray:
        """The same of whole blocks of `_BLOCK` iterations, where all modes contract and N is diagonal.

        Then f at t = _FINE a + b is a product of powers for _FINE a and for b, and the sums over modes are a product of
        matrices: for each block of the same shape, so that rounding does not depend on how many are asked for.
        """
        values, square, linear = self._values[:, None], 0.5 * self._square[:, None], self._linear[:, None]
        coarse = _power(values, self.rate, np.arange(start, stop, float(_FINE)))
        fine = _power(values, self.rate, np.arange(float(_FINE)))
        left, right = np.concatenate([square * coarse * coarse, linear * coarse]), np.concatenate([fine * fine, fine])
        products = [left[:, a : a + _FINE].T @ right for a in range(0, left.shape[1], _FINE)]  # a block each
        return np.maximum(np.concatenate(products).ravel() + self._base, 0.0)

    def _loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss without penalty and its gradient, from the rows."""
        am = self._am
        point, square, gradient = (am.to_float64(a) for a in (theta, np.zeros(()), np.zeros_like(theta)))
        for R, y in self._rows():
            e = R @ point - y
            square += (e * e).sum()
            gradient += R.T @ e
        return 0.5 * float(am.to_numpy(square)), am.to_numpy(gradient)

    def _problem(self) -> list[Any]:
        """Names the problem: two runs with the same are the same run."""
        return [self._data, self.rate]

    @cached_property
    def _data(self) -> str:
        if self._R is None:
            return fingerprint(self._hessian, self._moment, self._y_square, self._penalized)
        return fingerprint(self._am.to_numpy(self._R), self._am.to_numpy(self._y), self._penalized)


def _scaled_rows(am: Any, batches: Batches, c: float) -> Iterator[tuple[Array, Array]]:
    """Blocks of R = sqrt(c s / n) X and of y with the same factor, in float64."""
    for X, y, s in batches.in_order():
        factor: Any = math.sqrt(c / batches.n_samples)
        if s is not None:
            factor = am.to_float64(s) ** 0.5 * factor
        yield am.to_float64(X) * factor, am.to_float64(y) * factor


def _power(values: np.ndarray, rate: float, t: Any) -> np.ndarray:
    """(1 - rate values)^t."""
    x = rate * values
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # The largest number instead of infinity for x = 1, so that its product with t = 0 is 0.
        size = np.maximum(np.where(x < 1.0, np.log1p(-x), np.log(np.abs(1.0 - x))), -_HUGE) * t
        np.exp(size, out=size)
    return np.where((x > 1.0) & (t % 2 == 1), -size, size) if (x > 1.0).any() else size


def _powers(values: np.ndarray, rate: float, start: int, stop: int) -> np.ndarray:
    """(1 - rate values)^t for t from `start` to `stop` - 1, values a column.

    With t = _FINE a + b it is the product of the powers for _FINE a and for b, so most exponentials are saved.
    """
    coarse = np.arange(start // _FINE, (stop - 1) // _FINE + 1, dtype=np.float64) * _FINE
    table = _power(values, rate, coarse)[:, :, None] * _power(values, rate, np.arange(float(_FINE)))[:, None, :]
    return table.reshape(len(values), -1)[:, start % _FINE : start % _FINE + stop - start]


def _phi(values: np.ndarray, rate: float, t: Any) -> np.ndarray:
    """(1 - (1 - rate values)^t) / values; rate t for values of 0."""
    x = rate * values
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        small = -np.expm1(t * np.log1p(-x)) / values
        large = (1.0 - _power(values, rate, t)) / values
    return np.where(values == 0.0, rate * t, np.where(x < 1.0, small, large))
