"""The two models: forward pass, loss and hand-written backward pass, each derived once, here.

Conventions
-----------
n rows, d features, h hidden units, m outputs; X (n, d), y (n, m), s (n, 1) the sample weights divided by their mean (or
None for ones). With an intercept, X carries a last column of ones, and the intercepts of the first layer are the last
row of its weight matrix. All matrices are C-contiguous.

Objective, for a batch of r of the n rows (full-batch gradient descent: of all)::

    L = c / (2 r) sum_i s_i |f(x_i) - y_i|^2         c = 1 for reduction="mean", 2 sum(sample_weight) for "sum"

so the gradient with respect to the prediction f(x_i) is::

    D_i = (c / r) s_i (f(x_i) - y_i)                 and the loss of the batch is <E, D> / 2 with E = f(X) - y.

The penalty is not seen here: it is added to the gradient by the optimizer's caller.

Parameters lie in one flat vector, `theta`, and their gradient in another, `gradient`; ``W1``, ``dW1`` and so on are
views of these. The weights are contiguous, in the slice `weights`; no penalty touches the intercepts around them.
"""

from __future__ import annotations

from typing import Any

Array = Any


class _Model:
    """What both models share: the flat vectors, and loss and curvature in terms of forward and backward pass."""

    weights: slice
    _F: Array
    _D: Array
    _stage: Array

    def __init__(self, am: Any, n_parameters: int, n_outputs: int, rows: int, dtype: Any, **per_row: int) -> None:
        self.am, self.n_outputs = am, n_outputs
        self.theta = am.zeros((n_parameters,), dtype)
        self.gradient = am.zeros((n_parameters,), dtype)
        per_row |= {"_F": n_outputs, "_D": n_outputs}
        self._buffers = {name: am.empty((rows, columns), dtype) for name, columns in per_row.items()}
        self._buffers["_stage"] = am.empty((rows, n_outputs), am.accumulator)
        self._n_rows = 0
        self._use_rows(rows)

    def _use_rows(self, r: int) -> None:
        """Make the buffers' attributes their first r rows."""
        if r != self._n_rows:
            self._n_rows = 0  # an interruption leaves some of these, and the next call makes all of them
            for name, buffer in self._buffers.items():
                setattr(self, name, buffer[:r, ...])
            self._n_rows = r

    def views(self, flat: Array) -> tuple[Array, ...]:
        raise NotImplementedError

    def forward(self, X: Array) -> Array:
        raise NotImplementedError

    def backward(self, X: Array, D: Array) -> None:
        raise NotImplementedError

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        raise NotImplementedError

    def loss_and_gradient(self, X: Array, y: Array, s: Array | None, c: float) -> Any:
        """Loss of the batch at `theta`; writes its gradient to `gradient`."""
        loss, D = self.loss(self.forward(X), y, s, c)
        self.backward(X, D)
        return loss

    def loss(self, F: Array, y: Array, s: Array | None, c: float) -> tuple[Any, Array]:
        """Loss of the predictions F and its gradient D; overwrites F."""
        return self.am.squared_loss(F, y, s, c / y.shape[0], stage=self._stage, out=self._D), self._D

    def curvature_product(self, X: Array, s: Array | None, c: float, direction: Array) -> Any:
        """Gauss-Newton matrix of the batch times `direction`, written to `gradient`; returns the quadratic form / 2.

        With J_i the derivative of f(x_i) by theta, the matrix is (c / r) sum_i s_i J_i^T J_i: the Hessian of L without
        the second derivatives of f (all of it for the linear model). J v is the forward pass's derivative in the
        direction v, and J^T D is the backward pass.
        """
        self.forward(X)
        J_v = self.forward_derivative(X, direction)
        self.am.weigh(J_v, s, c / X.shape[0], out=self._D)
        self.backward(X, self._D)
        return self.am.dot(J_v, self._D, 0.5, stage=self._stage)


class TwoLayerNetwork(_Model):
    """f(x) = relu(x W1 + b1) W2 + b2.

    Forward pass, and the backward pass that follows from it by the chain rule (D = dL/dF)::

        Z = X W1 + b1                                dZ = dH * (Z > 0)        relu has derivative 0 at 0
        H = relu(Z)                                  dH = D W2^T
        F = H W2 + b2                                dW2 = H^T D, db2 = sum of the rows of D
                                                     dW1 = X^T dZ, db1 = sum of the rows of dZ

    X ends in a column of ones, so that b1, as the last row of W1, is part of both matrix products.

    With one output, D (r, 1) and W2 = w (h, 1), so dZ_ik = D_i w_k mask_ik and ::

        dW1_jk = sum_i X_ij D_i w_k mask_ik = (sum_i (X_ij D_i) mask_ik) w_k

    which never builds dZ. It is used where it touches fewer numbers: r d + d h against 2 r h.
    """

    _H: Array
    _mask: Array
    _dZ: Array
    _J_v: Array
    _XD: Array

    def __init__(
        self, am: Any, n_features: int, n_hidden: int, n_outputs: int, fit_intercept: bool, rows: int, dtype: Any
    ) -> None:
        n_inputs = n_features + fit_intercept
        n_intercepts = fit_intercept * n_outputs
        self.shape = (n_inputs, n_hidden, n_outputs)
        self.fit_intercept = fit_intercept
        n_parameters = n_intercepts + (n_outputs + n_inputs) * n_hidden
        self._skips_dZ = n_outputs == 1 and rows * n_inputs + n_inputs * n_hidden < 2 * rows * n_hidden
        per_row = {"_H": n_hidden, "_mask": n_hidden, "_dZ": n_hidden, "_J_v": n_outputs}
        if self._skips_dZ:
            per_row["_XD"] = n_inputs
        super().__init__(am, n_parameters, n_outputs, rows, dtype, **per_row)
        self.weights = slice(n_intercepts, n_intercepts + (n_outputs + n_features) * n_hidden)
        self.outer = slice(0, n_intercepts + n_outputs * n_hidden)  # the parameters of the last layer
        self.W1, self.W2, self.b2 = self.views(self.theta)
        self.dW1, self.dW2, self.db2 = self.views(self.gradient)
        self._w = self.W2[:, 0]  # W2 as a row, where there is one output

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W1 (with b1 as last row), W2 and b2 as views of a flat vector laid out as b2, W2, W1, b1."""
        n_inputs, h, m = self.shape
        start, middle = self.outer.stop - m * h, self.outer.stop
        W2 = self.am.reshape(flat[start:middle], (h, m))
        W1 = self.am.reshape(flat[middle : middle + n_inputs * h], (n_inputs, h))
        return W1, W2, flat[:start]

    def forward(self, X: Array) -> Array:
        """F (rows, m); keeps H and the mask for the backward pass."""
        self._use_rows(X.shape[0])
        self.am.matmul(X, self.W1, out=self._H)
        return self.forward_outer(self._H)

    def forward_outer(self, Z: Array) -> Array:
        """F from Z: the part of the forward pass that does not see X."""
        self._use_rows(Z.shape[0])
        self.am.relu(Z, self._mask, self._H)
        self.am.matmul(self._H, self.W2, out=self._F)
        if self.fit_intercept:
            self.am.add(self._F, self.b2)
        return self._F

    def backward(self, X: Array, D: Array) -> None:
        """Writes dW1, dW2 and db2 from D = dL/dF; `forward` must have seen the same X."""
        am = self.am
        if not self._skips_dZ:
            am.matmul_transposed(X, self.backward_outer(D), out=self.dW1)
            return
        self._backward_last_layer(D)
        am.multiply(X, D, out=self._XD)
        am.matmul_transposed(self._XD, self._mask, out=self.dW1)
        am.multiply(self.dW1, self._w, out=self.dW1)

    def backward_outer(self, D: Array) -> Array:
        """Writes dW2 and db2 and returns dZ: the part of the backward pass that does not see X."""
        self._backward_last_layer(D)
        self.am.mask_backward(D, self.W2, self._mask, out=self._dZ)
        return self._dZ

    def _backward_last_layer(self, D: Array) -> None:
        self.am.matmul_transposed(self._H, D, out=self.dW2)
        if self.fit_intercept:
            self.am.sum_rows(D, out=self.db2)

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        """d/dt f at theta + t direction: (mask * (X V1 + v1)) W2 + H V2 + v2, with H and mask kept by `forward`."""
        self.am.matmul(X, self.views(direction)[0], out=self._dZ)
        return self.outer_derivative(self._dZ, direction)

    def outer_derivative(self, XV1: Array, direction: Array) -> Array:
        """The same from X V1 + v1, which it overwrites."""
        am, (_, V2, v2) = self.am, self.views(direction)
        am.multiply(XV1, self._mask, out=XV1)
        am.matmul(XV1, self.W2, out=self._J_v)
        am.matmul(self._H, V2, out=self._F)
        am.add(self._J_v, self._F)
        if self.fit_intercept:
            am.add(self._J_v, v2)
        return self._J_v


class LinearModel(_Model):
    """f(x) = x W + b; dW = X^T D, db = sum of the rows of D. The network of zero depth.

    X ends in a column of ones, so that b, as the last row of W, is part of the matrix products.
    """

    def __init__(self, am: Any, n_features: int, n_outputs: int, fit_intercept: bool, rows: int, dtype: Any) -> None:
        self.shape = (n_features + fit_intercept, n_outputs)
        super().__init__(am, self.shape[0] * n_outputs, n_outputs, rows, dtype)
        self.weights = slice(0, n_features * n_outputs)
        (self.W,) = self.views(self.theta)
        (self.dW,) = self.views(self.gradient)

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W, with b as its last row, as a view of a flat vector."""
        return (self.am.reshape(flat, self.shape),)

    def forward(self, X: Array) -> Array:
        return self.forward_derivative(X, self.theta)

    def backward(self, X: Array, D: Array) -> None:
        self.am.matmul_transposed(X, D, out=self.dW)

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        self._use_rows(X.shape[0])
        self.am.matmul(X, self.views(direction)[0], out=self._F)
        return self._F
