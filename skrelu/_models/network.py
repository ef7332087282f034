"""The two-layer network f(x) = relu(x W1 + b1) W2 + b2: how it is drawn, evaluated, differentiated and folded.

Forward pass, and the backward pass that follows from it by the chain rule (D = dL/dF)::

    Z = X W1 + b1                                dZ = dH * (Z > 0)        relu has derivative 0 at 0
    H = relu(Z)                                  dH = D W2^T
    F = H W2 + b2                                dW2 = H^T D, db2 = sum of the rows of D
                                                 dW1 = X^T dZ, db1 = sum of the rows of dZ

X ends in a column of ones, so b1, the last row of W1, is part of both matrix products with X.

Members
-------
M networks of h / M units each are trained side by side on the same rows, each with its own loss. Their W1 stand side by
side in one matrix, so Z = X W1 is one product for all, and so is dW1 = X^T dZ. W2 (h, m) holds their last layers one
below the other, and F = [H_1 W2_1 + b2_1, ...] (r, M m) their predictions side by side. With one output the products
with W2_k are narrow, and one product with the block-diagonal matrix (h, M) of the W2_k is faster than M of them. The
members are published as their average, one plain network::

    1/M sum_k [relu(x W1_k + b1_k) W2_k + b2_k] = relu(x W1 + b1) (W2 / M) + mean of the b2_k

One output
----------
With one output, W2 = w (h, 1), and D_ik is the entry of D for row i and the member that unit k belongs to. Then
dZ_ik = D_ik mask_ik w_k, and with G = X^T (D * mask)::

    dW1_jk = sum_i X_ij D_ik mask_ik w_k = G_jk w_k
    dw_k = sum_i relu(Z_ik) D_ik = sum_i Z_ik mask_ik D_ik = sum_j W1_jk sum_i X_ij mask_ik D_ik = sum_j W1_jk G_jk

because relu(z) = z mask: dw needs no pass over the rows, and dZ is not built. For one member, G = (X * D)^T mask takes
fewer numbers where r d + d h < 2 r h.

Scaling layer
-------------
With a scaling layer, the network sees x * a: one factor a_i for each feature, shared by the members, 1 at the start. It
is folded into the weights V = a W1 (row i times a_i) that the products above use instead of W1. From dV, as above::

    dW1_ij = a_i dV_ij                           da_i = 1/M sum_j W1_ij dV_ij
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, Self

import numpy as np

from skrelu._arrays import Array, ArrayModule, DType
from skrelu._models.base import Batch, DrawRows, Layers, Model
from skrelu._models.standardize import Scaling, between, fold_inputs, fold_outputs, identity

Init = Literal["he_normal", "standard_normal"]

_FEW_FEATURES = 3


def _outputs(
    am: ArrayModule,
    Z: Array,
    W2: Array,
    b2: Array | None,
    *,
    mask: Array | None,
    H: Array,
    out: Array,
    blocks: Array | None = None,
) -> None:
    """The forward pass from Z on; the backward pass needs the mask, a prediction does not. H may be Z.

    `blocks` is scratch space for the products of members.
    """
    am.relu(Z, mask, H)  # H = relu(Z), mask = (Z > 0)
    if blocks is None:
        am.matmul(H, W2, out)  # F = H W2
    else:
        am.matmul_blocks(H, W2, blocks, out)
    if b2 is not None:
        am.add(out, b2)  # F = H W2 + b2


class TwoLayerNetwork(Model):
    """The network with parameters b2, W2, W1, b1, a in one flat vector.

    Parameters
    ----------
    am : ArrayModule
    n_features, n_hidden, n_outputs : int
        `n_hidden` counts the units of all members.
    fit_intercept : bool
    dtype : dtype
    init : {"he_normal", "standard_normal"}, default="he_normal"
        Initial weights: independent normal of variance 2 / (number of inputs of a member's layer), or 1.
    n_members : int, default=1
        A divisor of `n_hidden`.
    scaling_layer : bool, default=False
    """

    has_hidden_layer = True
    default_iterations = 500
    curvature_rtol = 1e-5

    _H: Array
    _mask: Array
    _dZ: Array
    _J_v: Array
    _XD: Array

    def __init__(
        self,
        am: ArrayModule,
        n_features: int,
        n_hidden: int,
        n_outputs: int,
        fit_intercept: bool,
        dtype: DType,
        init: Init = "he_normal",
        n_members: int = 1,
        scaling_layer: bool = False,
    ) -> None:
        self.n_members, self.scaling_layer = n_members, scaling_layer
        n_inputs, n_intercepts = n_features + fit_intercept, fit_intercept * n_members * n_outputs
        n_parameters = n_intercepts + (n_outputs + n_inputs) * n_hidden + scaling_layer * n_inputs
        super().__init__(am, n_features, n_outputs, fit_intercept, n_parameters, dtype)
        self.n_hidden, self._init = n_hidden, init
        self.weights = slice(n_intercepts, n_intercepts + (n_outputs + n_features) * n_hidden)
        self.outer = slice(0, n_intercepts + n_outputs * n_hidden)  # the parameters of the last layer
        self.W1, self.W2, self.b2, a = self.views(self.theta)
        self.dW1, self.dW2, self.db2, self._da = self.views(self.gradient)
        self._b2 = self.b2 if fit_intercept else None
        if n_outputs == 1:  # W2 and dW2 as rows
            self._w, self._dw = (am.reshape(a, (n_hidden,)) for a in (self.W2, self.dW2))
        # What stands in the products for W1: the matrix itself, without a scaling layer.
        self._V, self._dV = self.W1, self.dW1
        # Scratch space for the products of members; the second need not be zero anywhere.
        self._blocks: Array | None = None
        if scaling_layer:
            self._a = am.reshape(a, (n_inputs, 1))
            self._a[...] = 1.0
            self._V, self._dV = am.empty(self.W1.shape, dtype), am.empty(self.W1.shape, dtype)
        if n_members > 1:
            self._blocks, self._dblocks = (am.zeros((n_hidden, n_members * n_outputs), dtype) for _ in range(2))
        self._skips_dZ = False

    def plain(self) -> Self:
        shape = self.n_features, self.n_hidden, self.n_outputs
        return type(self)(self.am, *shape, self.fit_intercept, self.theta.dtype, self._init)

    def with_features(self, n_features: int) -> Self:
        """The same network for another number of features."""
        shape = n_features, self.n_hidden, self.n_outputs, self.fit_intercept
        return type(self)(self.am, *shape, self.theta.dtype, self._init, self.n_members, self.scaling_layer)

    def average(self, plain: Self) -> None:
        if self.scaling_layer:
            self.am.multiply(self.W1, self._a, out=plain.W1)  # W1 <- a W1
        else:
            plain.W1[...] = self.W1
        self.average_outer(plain)

    def average_outer(self, plain: Self) -> None:
        """The same for the parameters of the last layer alone."""
        am, M, m = self.am, self.n_members, self.n_outputs
        if M == 1:
            plain.theta[plain.outer] = self.theta[self.outer]
            return
        am.multiply(self.W2, 1.0 / M, out=plain.W2)  # W2 <- W2 / M
        if self.fit_intercept:
            am.sum_rows(am.reshape(self.b2, (M, m)), out=plain.b2)
            am.multiply(plain.b2, 1.0 / M, out=plain.b2)  # b2 <- mean of the members' b2

    # ---- initial weights

    def draw(self, rng: np.random.RandomState) -> list[np.ndarray]:
        """W1, with a last row of zeros for b1, then W2; b2 is zero, and the scaling layer 1."""
        d, h, m, b = self.n_features, self.n_hidden, self.n_outputs, int(self.fit_intercept)
        he = self._init == "he_normal"
        W1 = rng.standard_normal((d, h)) * (math.sqrt(2.0 / d) if he else 1.0)
        W2 = rng.standard_normal((h, m)) * (math.sqrt(2.0 / (h // self.n_members)) if he else 1.0)
        a = np.ones(self.n_inputs * self.scaling_layer)
        return [np.concatenate([W1, np.zeros((b, h))]), W2, np.zeros(self.n_predictions * b), a]

    def draw_seed(self, rng: np.random.RandomState) -> int:
        return int(rng.randint(np.iinfo(np.int32).max))

    def spread(self, parameters: list[np.ndarray], draw_rows: DrawRows, rng: np.random.Generator) -> None:
        """With up to three features, start the intercept of unit k at -u x w_k: a random row x, and u of density 2 u.

        With b1 = 0 the kinks x w_k + b1 = 0 of all units meet at the mean. Many features spread them; few do not.
        """
        W1, d = parameters[0], self.n_features
        if d <= _FEW_FEATURES and self.fit_intercept and self._init == "he_normal":
            X, u = draw_rows(self.n_hidden), np.sqrt(rng.uniform(0.0, 1.0, self.n_hidden))
            W1[d] = -u * (X * W1[:d].T).sum(axis=1)

    def load(self, parameters: list[np.ndarray]) -> None:
        """Set theta, also to parameters with a scaling layer that this network lacks, or without the one it has."""
        W1, W2, b2, a = parameters
        if a.size and not self.scaling_layer:
            W1, a = (W1 * a[:, None]).astype(W1.dtype), a[:0]  # the same function
        if self.scaling_layer and not a.size:
            a = np.ones(self.n_inputs, W1.dtype)
        super().load([W1, W2, b2, a])

    def silence(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> None:
        W1, W2, b2, _ = parameters
        if not x.constant.all():
            W1[: self.n_features][x.constant] = 0.0
        W2[:, y.constant] = 0.0
        b2.reshape(-1, self.n_outputs)[:, y.constant] = 0.0

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W1 (with b1 as last row), W2, b2 (of the members, one after the other) and a as views of a flat vector."""
        d, h, m = self.n_inputs, self.n_hidden, self.n_outputs
        start, middle = self.outer.stop - m * h, self.outer.stop
        W2 = self.am.reshape(flat[start:middle], (h, m))
        W1 = self.am.reshape(flat[middle : middle + d * h], (d, h))
        return W1, W2, flat[:start], flat[middle + d * h :]

    # ---- forward and backward pass

    def forward(self, X: Array) -> Array:
        """F (r, M m); keeps H and the mask for the backward pass."""
        self._use_rows(X.shape[0])
        if self.scaling_layer:
            self.am.multiply(self.W1, self._a, self._V)  # V = a W1
        self.am.matmul(X, self._V, self._H)  # Z = X W1 + b1
        return self.forward_from(self._H)

    def forward_from(self, Z: Array) -> Array:
        """F from Z: the part of the forward pass that does not see X."""
        self._use_rows(Z.shape[0])
        _outputs(self.am, Z, self.W2, self._b2, mask=self._mask, H=self._H, out=self._F, blocks=self._blocks)
        return self._F

    def backward(self, X: Array, D: Array) -> None:
        """Writes dW1, dW2, db2 and da from D = dL/dF."""
        am = self.am
        if self.n_outputs > 1:
            am.matmul_transposed(X, self.backward_to(D), out=self._dV)  # dV = X^T dZ
        else:
            if self._skips_dZ:
                am.multiply(X, D, self._XD)
                am.matmul_transposed(self._XD, self._mask, self._dV)  # G = (X * D)^T mask
            else:
                am.multiply_blocks(self._mask, D, self._dZ)
                am.matmul_transposed(X, self._dZ, self._dV)  # G = X^T (D * mask)
            am.dot_columns(self._V, self._dV, self._dw)  # dw_k = sum_j V_jk G_jk
            am.multiply(self._dV, self._w, self._dV)  # dV = G w
            self._sum_D(D)
        if self.scaling_layer:
            am.dot_rows(self.W1, self._dV, 1.0 / self.n_members, self._da)  # da_i = 1/M sum_j W1_ij dV_ij
            if self.fit_intercept:
                self._da[-1] = 0.0  # the column of ones stays as it is
            am.multiply(self._dV, self._a, self.dW1)  # dW1 = a dV

    def backward_to(self, D: Array) -> Array:
        """Writes dW2 and db2 and returns dZ: the part of the backward pass that does not see X."""
        am = self.am
        if self._blocks is None:
            am.matmul_transposed(self._H, D, out=self.dW2)  # dW2 = H^T D
            am.mask_backward(D, self.W2, self._mask, out=self._dZ)  # dZ = (D W2^T) * (Z > 0)
        else:  # the same for each member
            am.matmul_transposed_blocks(self._H, D, self._dblocks, self.dW2)
            am.mask_backward_blocks(D, self.W2, self._blocks, self._mask, self._dZ)
        self._sum_D(D)
        return self._dZ

    def _sum_D(self, D: Array) -> None:
        if self.fit_intercept:
            self.am.sum_rows(D, out=self.db2)  # db2 = sum of the rows of D

    def count_inactive(self, batches: Iterable[Batch]) -> tuple[int, int]:
        am = self.am
        n_active, of_batch = (am.zeros((self.n_hidden,), self.theta.dtype) for _ in range(2))
        for batch in batches:
            self.forward(batch.X)
            am.sum_rows(self._mask, out=of_batch)
            am.add(n_active, of_batch)
        return int((am.to_numpy(n_active) == 0.0).sum()), self.n_hidden

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        """(mask * (X V1 + v1)) W2 + H V2 + v2 for the direction (V1, v1, V2, v2); only without a scaling layer."""
        self.am.matmul(X, self.views(direction)[0], out=self._dZ)  # X V1 + v1
        return self.derivative_from(self._dZ, direction)

    def derivative_from(self, XV1: Array, direction: Array) -> Array:
        """The same from X V1 + v1, which it overwrites."""
        am, (_, V2, v2, _) = self.am, self.views(direction)
        am.multiply(XV1, self._mask, out=XV1)
        for H, W, out in ((XV1, self.W2, self._J_v), (self._H, V2, self._F)):  # (mask * (X V1 + v1)) W2, and H V2
            if self._blocks is None:
                am.matmul(H, W, out=out)
            else:
                am.matmul_blocks(H, W, self._blocks, out)
        am.add(self._J_v, self._F)
        if self.fit_intercept:
            am.add(self._J_v, v2)  # + v2
        return self._J_v

    def _per_row(self, n_rows: int) -> dict[str, int]:
        d, h = self.n_inputs, self.n_hidden
        fewer_numbers = n_rows * d + d * h < 2 * n_rows * h
        self._skips_dZ = self.n_outputs == 1 and self.n_members == 1 and fewer_numbers
        buffers = {"_H": h, "_mask": h, "_dZ": h, "_J_v": self.n_predictions}
        return buffers | {"_XD": d} if self._skips_dZ else buffers

    # ---- the published network

    def fold(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> Layers:
        """(W1, b1) and (W2, b2) of the average for the raw X and y."""
        W1, W2, b2, a = parameters
        d, M, m = self.n_features, self.n_members, self.n_outputs
        if self.scaling_layer:
            W1 = np.asarray(W1, dtype=np.float64) * a[:, None]
        if M > 1:
            W2 = np.asarray(W2, dtype=np.float64) / M
            b2 = b2.reshape(-1, m).mean(axis=0, dtype=np.float64) if self.fit_intercept else b2
        first = fold_inputs(W1[:d], W1[d] if self.fit_intercept else np.zeros(self.n_hidden), x)
        last = fold_outputs(W2, b2 if self.fit_intercept else np.zeros(m), y)
        return [first, last]

    def moved(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> list[np.ndarray]:
        W1, W2, b2, a = parameters
        d, m = self.n_features, self.n_outputs
        V = W1 * a[:, None] if a.size else W1  # the parameters may be those of a network with or without the layer
        V, b1 = fold_inputs(V[:d], V[d] if self.fit_intercept else np.zeros(self.n_hidden), x)
        if a.size:
            V = V / np.where(a[:d] == 0.0, 1.0, a[:d])[:, None]  # a[d] is 1
        W2, b2 = fold_outputs(W2, b2.reshape(-1, m) if self.fit_intercept else np.zeros(m), y)
        if not self.fit_intercept:
            return [V, W2, np.zeros(0), a]
        return [np.concatenate([V, b1[None]]), W2, b2.reshape(-1), a]

    def unfold(self, layers: Layers, x: Scaling, y: Scaling) -> list[np.ndarray]:
        """Parameters of the average: each member gets its units, and the same intercept."""
        (W1, b1), (W2, b2) = layers
        M, b = self.n_members, int(self.fit_intercept)
        raw = [np.concatenate([W1, b1[None]]) if b else W1, W2 * float(M), np.tile(b2, M * b), np.ones(self.n_inputs)]
        raw[3] = raw[3][: self.n_inputs * self.scaling_layer]
        return self.moved(raw, between(identity(self.n_features), x), between(identity(self.n_outputs), y))

    def member_intercepts(self, parameters: list[np.ndarray], y: Scaling) -> np.ndarray | None:
        b2 = np.asarray(parameters[2], dtype=np.float64).reshape(-1, self.n_outputs)
        if not self.fit_intercept:
            b2 = np.zeros((self.n_members, self.n_outputs))
        return b2 * y.scale + y.shift

    @classmethod
    def predict_members(cls, am: ArrayModule, layers: Layers, intercepts: Array, X: Array) -> Array:
        """Predictions (n_samples, M, m) of the members, from the layers of their average and the b2 (M, m) of each."""
        first, (W2, _) = layers
        M, m = intercepts.shape
        B = am.zeros((W2.shape[0], M * m), W2.dtype)
        am.place_blocks(am.copy(W2 * float(M)), B)
        F = cls.predict(am, [first, (B, am.reshape(intercepts, (M * m,)))], X)
        return am.reshape(F, (X.shape[0], M, m))

    @staticmethod
    def evaluate(am: ArrayModule, layers: Layers, X: Array, out: Array) -> None:
        (W1, b1), (W2, b2) = layers
        Z = am.empty((X.shape[0], W1.shape[1]), out.dtype)
        am.matmul(X, W1, out=Z)
        am.add(Z, b1)  # Z = X W1 + b1
        _outputs(am, Z, W2, b2, mask=None, H=Z, out=out)

    # ---- what it costs

    def flops(self, n_rows: int) -> int:
        """X W1 and X^T dZ take 4 d h a row; H W2, D W2^T and H^T D take 6 h m."""
        return n_rows * self.n_hidden * (4 * self.n_features + 6 * self.n_outputs)

    def block_rows(self) -> int:
        return max(256, self.am.block_scale * 2**19 // (self.n_features + 3 * self.n_hidden))

    def largest_product(self, n_rows: int) -> int:
        return 2 * n_rows * self.n_hidden * max(self.n_features, self.n_outputs)
