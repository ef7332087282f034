"""The row space of wide data: coordinates in which n rows of d > n columns have at most n columns.

A gradient of W1 is a combination of the training rows, so the part of W1 that is orthogonal to all of them is never
trained: it keeps its random start, and adds noise to predictions for other rows. In an orthonormal basis of the space
of the standardized rows there is no such part, and a step costs n / d of the time. Gradient descent is the same in any
orthonormal basis; Adam is not. The basis is a random one: each coordinate then holds some of every direction, and Adam
takes steps of like sizes along directions of large and of small variance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skrelu._models.standardize import Scaling
from skrelu._rows.rows import Rows

_WHOLE_NUMBERS = 2**26  # limit of the entries of X, which is standardized as a whole: 512 MB in float64
_WIDE, _MANY_COLUMNS = 2, 100  # columns for each row, and in all, from which the basis pays


def has_wide_shape(n: float, d: int) -> bool:
    """Whether n rows of d columns are few for them."""
    return d >= max(_WIDE * n, _MANY_COLUMNS)


def is_wide(rows: Rows, *, asked: bool) -> bool:
    """Whether the basis pays, or is possible at all if it is `asked` for. A sparse X stays sparse."""
    n, d = max(float(rows.n_samples), rows.total_weight), rows.n_features  # a row of weight k is k rows
    enough = d > n if asked else has_wide_shape(n, d)
    return enough and rows.n_samples * d <= _WHOLE_NUMBERS and not rows.is_sparse


def with_basis(x: Scaling, rows: Rows, seed: int, rank: int | None = None) -> Scaling:
    """The coordinates of `x` in a random basis of the space of the rows, in which columns have a mean square of 1.

    Up to rounding it depends on that space and the seed alone, whatever eigenvectors the library chooses. There is none
    if all rows are equal. `rank` is the number of coordinates, if it is known.
    """
    Z = rows.standardized(x)
    squares, U = np.linalg.eigh(Z @ Z.T)  # Z Z^T = U diag(squares) U^T, in ascending order
    if rank is None:
        rank = int((squares > len(Z) * np.finfo(rows.dtype).eps * squares[-1]).sum())
    if rank == 0:
        return x
    V = Z.T @ (U[:, -rank:] / np.sqrt(squares[-rank:]))  # the right singular vectors of Z
    random = np.random.default_rng((seed, 0, 3)).standard_normal((len(V), rank))
    basis, T = np.linalg.qr(V @ (V.T @ random))  # of the projection of random vectors, so that V itself does not matter
    basis *= np.sign(np.diag(T)) * ~x.constant[:, None]  # constant columns have no part in it, up to rounding
    mean_square = np.average(np.square(Z).sum(axis=1), weights=rows.counted_weights) / rank
    return replace(x, basis=basis / np.sqrt(mean_square))


def reduced(W: np.ndarray, x: Scaling) -> np.ndarray:
    """The weights in the basis of `x` that act on the training rows as the weights W (d, h) do."""
    assert x.basis is not None
    return (x.basis.T @ W) / np.square(x.basis[:, :1]).sum()  # B^T B is a multiple of the identity
