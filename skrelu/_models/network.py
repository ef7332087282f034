"""The two-layer network f(x) = relu(x W1 + b1) W2 + b2: how it is drawn, evaluated, differentiated and folded.

Forward pass, and the backward pass that follows from it by the chain rule (D = dL/dF)::

    Z = X W1 + b1                                dZ = dH * (Z > 0)        relu has derivative 0 at 0
    H = relu(Z)                                  dH = D W2^T
    F = H W2 + b2                                dW2 = H^T D, db2 = sum of the rows of D
                                                 dW1 = X^T dZ, db1 = sum of the rows of dZ

X ends in a column of ones, so b1, the last row of W1, is part of both matrix products with X.

With one output, D (r, 1) and W2 = w (h, 1), so dZ_ik = D_i w_k mask_ik and ::

    dW1_jk = sum_i X_ij D_i w_k mask_ik = (sum_i (X_ij D_i) mask_ik) w_k

which never builds dZ. It is used where it touches fewer numbers: r d + d h against 2 r h.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np

from skrelu._arrays import Array, ArrayModule, DType
from skrelu._models.base import Layers, Model
from skrelu._models.standardize import Scaling, fold_inputs, fold_outputs

Init = Literal["he_normal", "standard_normal"]


def _outputs(
    am: ArrayModule, Z: Array, W2: Array, b2: Array | None, *, mask: Array | None, H: Array, out: Array
) -> None:
    """The forward pass from Z on; the backward pass needs the mask, a prediction does not. H may be Z."""
    am.relu(Z, mask, H)  # H = relu(Z), mask = (Z > 0)
    am.matmul(H, W2, out)  # F = H W2
    if b2 is not None:
        am.add(out, b2)  # F = H W2 + b2


class TwoLayerNetwork(Model):
    """The network with parameters b2, W2, W1, b1 in one flat vector.

    Parameters
    ----------
    am : ArrayModule
    n_features, n_hidden, n_outputs : int
    fit_intercept : bool
    dtype : dtype
    init : {"he_normal", "standard_normal"}, default="he_normal"
        Initial weights: independent normal of variance 2 / (number of inputs of the layer), or 1.
    """

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
    ) -> None:
        n_intercepts = fit_intercept * n_outputs
        n_parameters = n_intercepts + (n_outputs + n_features + fit_intercept) * n_hidden
        super().__init__(am, n_features, n_outputs, fit_intercept, n_parameters, dtype)
        self.n_hidden, self._init = n_hidden, init
        self.weights = slice(n_intercepts, n_intercepts + (n_outputs + n_features) * n_hidden)
        self.outer = slice(0, n_intercepts + n_outputs * n_hidden)  # the parameters of the last layer
        self.W1, self.W2, self.b2 = self.views(self.theta)
        self.dW1, self.dW2, self.db2 = self.views(self.gradient)
        self._w = self.W2[:, 0]  # W2 as a row, for one output
        self._b2 = self.b2 if fit_intercept else None
        self._skips_dZ = False

    def twin(self) -> Self:
        shape = self.n_features, self.n_hidden, self.n_outputs
        return type(self)(self.am, *shape, self.fit_intercept, self.theta.dtype, self._init)

    # ---- initial weights

    def draw(self, rng: np.random.RandomState) -> list[np.ndarray]:
        """W1, with a last row of zeros for b1, then W2; b2 is zero."""
        d, h, m, b = self.n_features, self.n_hidden, self.n_outputs, int(self.fit_intercept)
        he = self._init == "he_normal"
        W1 = rng.standard_normal((d, h)) * (math.sqrt(2.0 / d) if he else 1.0)
        W2 = rng.standard_normal((h, m)) * (math.sqrt(2.0 / h) if he else 1.0)
        return [np.concatenate([W1, np.zeros((b, h))]), W2, np.zeros(m * b)]

    def draw_seed(self, rng: np.random.RandomState) -> int:
        return int(rng.randint(np.iinfo(np.int32).max))

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W1 (with b1 as last row), W2 and b2 as views of a flat vector."""
        d, h, m = self.n_inputs, self.n_hidden, self.n_outputs
        start, middle = self.outer.stop - m * h, self.outer.stop
        W2 = self.am.reshape(flat[start:middle], (h, m))
        W1 = self.am.reshape(flat[middle : middle + d * h], (d, h))
        return W1, W2, flat[:start]

    # ---- forward and backward pass

    def forward(self, X: Array) -> Array:
        """F (r, m); keeps H and the mask for the backward pass."""
        self._use_rows(X.shape[0])
        self.am.matmul(X, self.W1, out=self._H)  # Z = X W1 + b1
        return self.forward_from(self._H)

    def forward_from(self, Z: Array) -> Array:
        """F from Z: the part of the forward pass that does not see X."""
        self._use_rows(Z.shape[0])
        _outputs(self.am, Z, self.W2, self._b2, mask=self._mask, H=self._H, out=self._F)
        return self._F

    def backward(self, X: Array, D: Array) -> None:
        """Writes dW1, dW2 and db2 from D = dL/dF."""
        am = self.am
        if not self._skips_dZ:
            am.matmul_transposed(X, self.backward_to(D), out=self.dW1)  # dW1 = X^T dZ
            return
        self._backward_last_layer(D)
        am.multiply(X, D, out=self._XD)
        am.matmul_transposed(self._XD, self._mask, out=self.dW1)  # sum_i (X_ij D_i) mask_ik
        am.multiply(self.dW1, self._w, out=self.dW1)  # times w_k: dW1

    def backward_to(self, D: Array) -> Array:
        """Writes dW2 and db2 and returns dZ: the part of the backward pass that does not see X."""
        self._backward_last_layer(D)
        self.am.mask_backward(D, self.W2, self._mask, out=self._dZ)  # dZ = (D W2^T) * (Z > 0)
        return self._dZ

    def _backward_last_layer(self, D: Array) -> None:
        self.am.matmul_transposed(self._H, D, out=self.dW2)  # dW2 = H^T D
        if self.fit_intercept:
            self.am.sum_rows(D, out=self.db2)  # db2 = sum of the rows of D

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        """(mask * (X V1 + v1)) W2 + H V2 + v2 for the direction (V1, v1, V2, v2)."""
        self.am.matmul(X, self.views(direction)[0], out=self._dZ)  # X V1 + v1
        return self.derivative_from(self._dZ, direction)

    def derivative_from(self, XV1: Array, direction: Array) -> Array:
        """The same from X V1 + v1, which it overwrites."""
        am, (_, V2, v2) = self.am, self.views(direction)
        am.multiply(XV1, self._mask, out=XV1)
        am.matmul(XV1, self.W2, out=self._J_v)  # (mask * (X V1 + v1)) W2
        am.matmul(self._H, V2, out=self._F)
        am.add(self._J_v, self._F)  # + H V2
        if self.fit_intercept:
            am.add(self._J_v, v2)  # + v2
        return self._J_v

    def _per_row(self, n_rows: int) -> dict[str, int]:
        d, h = self.n_inputs, self.n_hidden
        self._skips_dZ = self.n_outputs == 1 and n_rows * d + d * h < 2 * n_rows * h
        buffers = {"_H": h, "_mask": h, "_dZ": h, "_J_v": self.n_outputs}
        return buffers | {"_XD": d} if self._skips_dZ else buffers

    # ---- the published network

    def fold(self, parameters: list[np.ndarray], x: Scaling, y: Scaling) -> Layers:
        """(W1, b1) and (W2, b2) for the raw X and y."""
        W1, W2, b2 = parameters
        d = self.n_features
        first = fold_inputs(W1[:d], W1[d] if self.fit_intercept else np.zeros(self.n_hidden), x)
        last = fold_outputs(W2, b2 if self.fit_intercept else np.zeros(self.n_outputs), y)
        return [first, last]

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
