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
views of these. The weights come first (`n_penalized` numbers), then the intercepts, which no penalty touches.
"""

from __future__ import annotations

from typing import Any

Array = Any


class _Model:
    """What both models share: the flat vectors, and loss and curvature in terms of forward and backward pass."""

    theta: Array
    gradient: Array
    n_penalized: int

    def __init__(self, am: Any, n_parameters: int, n_outputs: int, rows: int, dtype: Any):
        self.am, self.n_outputs = am, n_outputs
        self.theta = am.zeros((n_parameters,), dtype)
        self.gradient = am.zeros((n_parameters,), dtype)
        self._E = am.empty((rows, n_outputs), dtype)
        self._D = am.empty((rows, n_outputs), dtype)
        self._stage = am.empty((rows, n_outputs), dtype)

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
        r = X.shape[0]
        E, D = self._E[:r, ...], self._D[:r, ...]
        self.am.residual(self.forward(X), y, out=E)
        self.am.weigh(E, s, c / r, out=D)
        self.backward(X, D)
        return 0.5 * self.am.dot(E, D, stage=self._stage[:r, ...])

    def curvature_product(self, X: Array, s: Array | None, c: float, direction: Array) -> Any:
        """Gauss-Newton matrix of the batch times `direction`, written to `gradient`; returns the quadratic form / 2.

        With J_i the derivative of f(x_i) by theta, the matrix is (c / r) sum_i s_i J_i^T J_i: the Hessian of L without
        the second derivatives of f (all of it for the linear model). J v is the forward pass's derivative in the
        direction v, and J^T D is the backward pass.
        """
        r = X.shape[0]
        D = self._D[:r, ...]
        self.forward(X)
        J_v = self.forward_derivative(X, direction)
        self.am.weigh(J_v, s, c / r, out=D)
        self.backward(X, D)
        return 0.5 * self.am.dot(J_v, D, stage=self._stage[:r, ...])


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

    def __init__(
        self, am: Any, n_features: int, n_hidden: int, n_outputs: int, fit_intercept: bool, rows: int, dtype: Any
    ):
        self.shape = (n_features + fit_intercept, n_hidden, n_outputs)
        self.fit_intercept = fit_intercept
        n_inputs = n_features + fit_intercept
        n_parameters = (n_inputs + n_outputs) * n_hidden + fit_intercept * n_outputs
        super().__init__(am, n_parameters, n_outputs, rows, dtype)
        self.n_penalized = (n_features + n_outputs) * n_hidden
        self.W1, self.W2, self.b2 = self.views(self.theta)
        self.dW1, self.dW2, self.db2 = self.views(self.gradient)
        self._H = am.empty((rows, n_hidden), dtype)
        self._mask = am.empty((rows, n_hidden), dtype)
        self._dZ = am.empty((rows, n_hidden), dtype)
        self._F = am.empty((rows, n_outputs), dtype)
        skips_dZ = n_outputs == 1 and rows * n_inputs + n_inputs * n_hidden < 2 * rows * n_hidden
        self._XD = am.empty((rows, n_inputs), dtype) if skips_dZ else None
        self._jvp: Array = None

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W1 (with b1 as last row), W2 and b2 as views of a flat vector laid out as W2, W1, b1, b2."""
        d, h, m = self.shape
        W2 = self.am.reshape(flat[: h * m], (h, m))
        W1 = self.am.reshape(flat[h * m : h * m + d * h], (d, h))
        return W1, W2, flat[h * m + d * h :]

    def forward(self, X: Array) -> Array:
        """F (rows, m); keeps H and the mask for the backward pass."""
        r, am = X.shape[0], self.am
        H, mask, F = self._H[:r, ...], self._mask[:r, ...], self._F[:r, ...]
        am.matmul(X, self.W1, out=H)
        am.relu(H, mask=mask)
        am.matmul(H, self.W2, out=F)
        if self.fit_intercept:
            am.add(F, self.b2)
        return F

    def backward(self, X: Array, D: Array) -> None:
        """Writes dW1, dW2 and db2 from D = dL/dF; `forward` must have seen the same X."""
        r, am = X.shape[0], self.am
        H, mask = self._H[:r, ...], self._mask[:r, ...]
        am.matmul_transposed(H, D, out=self.dW2)
        if self.fit_intercept:
            am.sum_rows(D, out=self.db2)
        if self._XD is not None:
            XD = self._XD[:r, ...]
            am.multiply(X, D, out=XD)
            am.matmul_transposed(XD, mask, out=self.dW1)
            am.multiply(self.dW1, self.W2[:, 0], out=self.dW1)
        else:
            dZ = self._dZ[:r, ...]
            am.mask_backward(D, self.W2, mask, out=dZ)
            am.matmul_transposed(X, dZ, out=self.dW1)

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        """d/dt f at theta + t direction: (mask * (X V1 + v1)) W2 + H V2 + v2, with H and mask kept by `forward`."""
        r, am = X.shape[0], self.am
        if self._jvp is None:
            self._jvp = am.empty(self._F.shape, self._F.dtype)
        V1, V2, v2 = self.views(direction)
        dH, dF, F = self._dZ[:r, ...], self._jvp[:r, ...], self._F[:r, ...]
        am.matmul(X, V1, out=dH)
        am.multiply(dH, self._mask[:r, ...], out=dH)
        am.matmul(dH, self.W2, out=dF)
        am.matmul(self._H[:r, ...], V2, out=F)
        am.add(dF, F)
        if self.fit_intercept:
            am.add(dF, v2)
        return dF


class LinearModel(_Model):
    """f(x) = x W + b; dW = X^T D, db = sum of the rows of D. The network of zero depth.

    X ends in a column of ones, so that b, as the last row of W, is part of the matrix products.
    """

    def __init__(self, am: Any, n_features: int, n_outputs: int, fit_intercept: bool, rows: int, dtype: Any):
        self.shape = (n_features + fit_intercept, n_outputs)
        super().__init__(am, self.shape[0] * n_outputs, n_outputs, rows, dtype)
        self.n_penalized = n_features * n_outputs
        (self.W,) = self.views(self.theta)
        (self.dW,) = self.views(self.gradient)
        self._F = am.empty((rows, n_outputs), dtype)

    def views(self, flat: Array) -> tuple[Array, ...]:
        """W, with b as its last row, as a view of a flat vector."""
        return (self.am.reshape(flat, self.shape),)

    def forward(self, X: Array) -> Array:
        return self.forward_derivative(X, self.theta)

    def backward(self, X: Array, D: Array) -> None:
        self.am.matmul_transposed(X, D, out=self.dW)

    def forward_derivative(self, X: Array, direction: Array) -> Array:
        F = self._F[: X.shape[0], ...]
        self.am.matmul(X, self.views(direction)[0], out=F)
        return F
