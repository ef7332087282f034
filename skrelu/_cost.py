"""Which engine carries out gradient descent: a cost model in floating-point operations and numbers of memory.

Times are compared for `_ITERATIONS` iterations, whatever `max_iter` is, because a run that continues another must use
its engine to continue it exactly.
"""

from __future__ import annotations

from skrelu._problem import Problem

SHORTCUTS = ("sample_space", "tall", "wide")

_ITERATIONS = 300
_GRAM_NUMBERS = 2**23  # a Gram matrix may have as many entries as X, or this many: 64 MB in float64
_WHOLE_NUMBERS = 2**26  # data that an engine holds as one standardized batch: 512 MB in float64


def sample_space_kind(problem: Problem, n_hidden: int, *, forced: bool) -> str:
    """Name of the engine of the network: "sample_space" or "plain".

    An iteration costs 2 n^2 h against 4 n d h, the Gram matrix n^2 d.
    """
    n, d, h = problem.n_samples, problem.n_features, n_hidden
    fits = n * n <= max(n * d, _GRAM_NUMBERS) and n * d <= _WHOLE_NUMBERS
    pays = n * n * d + _ITERATIONS * 2 * n * n * h < _ITERATIONS * 4 * n * d * h
    return "sample_space" if forced or (fits and pays) else "plain"


def closed_form_kind(problem: Problem, fit_intercept: bool, penalized: bool, *, forced: bool) -> str:
    """Name of the engine of the linear model: "tall" or "wide", the closed form from the smaller side, or "plain".

    The closed form costs n p q for the Gram matrix of side q and about 25 q^3 for its eigenvectors, at the rate of
    matrix products; an iteration costs 4 n p m, at about a tenth of it while m is small.
    """
    n, p, m = problem.n_samples, problem.n_features + fit_intercept, problem.n_outputs
    kind = "wide" if p > n and not penalized else "tall"
    q = n if kind == "wide" else p
    fits = q * q <= max(n * p, _GRAM_NUMBERS) and (kind == "tall" or n * p <= _WHOLE_NUMBERS)
    pays = n * p * q + 25 * q**3 < _ITERATIONS * 4 * n * p * max(m, 10)
    return kind if forced or (fits and pays) else "plain"
