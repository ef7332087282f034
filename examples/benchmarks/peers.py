"""The peers of `speed.py`: the same training with other libraries.

Each function takes a `Task` and returns a function without arguments, which trains and returns the parameters. If a
library compiles code, the code is compiled, and run once, before this function is returned.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge, SGDRegressor
from sklearn.neural_network import MLPRegressor

Parameters = tuple[np.ndarray, ...]  # W1, b1, W2, b2, or W, b of the linear model
Run = Callable[[], Parameters]


@dataclass(frozen=True)
class Task:
    """A training task: data, initial weights, learning rate and length."""

    X: np.ndarray
    y: np.ndarray  # 1-D, or 2-D for the network by gradient descent
    weights: tuple[np.ndarray, ...]  # initial W1 and W2; empty for the linear model, which starts at zero
    rate: float
    n_iter: int  # iterations of gradient descent, or passes over the rows
    batch: int = 0


def numpy_network(task: Task) -> Run:
    """The loop of the tutorials `000` to `002`; it keeps the losses instead of printing them."""

    def run() -> Parameters:
        x, y = task.X, task.y
        w1, w2 = (w.copy() for w in task.weights)
        losses = []
        for _ in range(task.n_iter):
            h = x.dot(w1)
            h_relu = np.maximum(h, 0)
            y_pred = h_relu.dot(w2)
            losses.append(np.square(y_pred - y).sum())
            grad_y_pred = 2.0 * (y_pred - y)
            grad_w2 = h_relu.T.dot(grad_y_pred)
            grad_h_relu = grad_y_pred.dot(w2.T)
            grad_h = grad_h_relu.copy()
            grad_h[h < 0] = 0
            grad_w1 = x.T.dot(grad_h)
            w1 -= task.rate * grad_w1
            w2 -= task.rate * grad_w2
        return w1, np.zeros(1), w2, np.zeros(1)

    return run


def numpy_linear(task: Task) -> Run:
    """The loop of the tutorial `003`."""

    def run() -> Parameters:
        inputs, targets = task.X, task.y.reshape(-1, 1)
        n = len(inputs)
        weights, biases = np.zeros((inputs.shape[1], 1), inputs.dtype), np.zeros(1, inputs.dtype)
        losses = []
        for _ in range(task.n_iter):
            deltas = np.dot(inputs, weights) + biases - targets
            losses.append(np.sum(deltas**2) / 2 / n)
            deltas_scaled = deltas / n
            weights = weights - task.rate * np.dot(inputs.T, deltas_scaled)
            biases = biases - task.rate * np.sum(deltas_scaled)
        return weights, biases

    return run


def numpy_adam(task: Task) -> Run:
    """skrelu's minibatch step for one output in a single function: the cost of the bare NumPy calls."""

    def run() -> Parameters:
        (d, h), n, r, dtype = task.weights[0].shape, len(task.X), task.batch, task.X.dtype
        table = np.column_stack([task.X, np.ones(n, dtype), task.y]).astype(dtype)
        theta, gradient, m, v = np.zeros((4, (d + 1) * h + h + 1), dtype)
        (W1, w, b), (dW1, dw, db) = (
            (a[h + 1 :].reshape(d + 1, h), a[1 : h + 1].reshape(h, 1), a[:1]) for a in (theta, gradient)
        )
        W1[:d], w[:] = task.weights
        buffer, F, D, ones = (
            np.empty((r, d + 2), dtype),
            np.empty((r, 1), dtype),
            np.empty((r, 1), dtype),
            np.ones(r, dtype),
        )
        X, y, XD = buffer[:, : d + 1], buffer[:, d + 1 :], np.empty((r, d + 1), dtype)
        H, mask, losses, t = np.empty((r, h), dtype), np.empty((r, h), dtype), [], 0
        multiply, add, dot, H_T, XD_T, w_row = np.multiply, np.add, np.dot, H.T, XD.T, w[:, 0]
        for epoch in range(task.n_iter):
            order, loss = np.random.default_rng((1, epoch)).permutation(n), 0.0
            for start in range(0, n - r + 1, r):
                table.take(order[start : start + r], 0, buffer, "clip")
                np.matmul(X, W1, H)
                np.greater(H, 0, mask)
                multiply(H, mask, H)
                dot(H, w, F)
                add(F, b, F)
                np.subtract(F, y, F)
                multiply(F, 1 / r, D)
                loss += 0.5 * float(np.vdot(F, D)) * r / n
                dot(H_T, D, dw)
                dot(ones, D, db)
                multiply(X, D, XD)
                dot(XD_T, mask, dW1)
                multiply(dW1, w_row, dW1)
                t += 1
                q = math.sqrt(0.001 / (1 - 0.999**t))
                multiply(m, 0.9, m)
                add(m, gradient, m)
                multiply(gradient, gradient, gradient)
                multiply(v, 0.999, v)
                add(v, gradient, v)
                np.sqrt(v, gradient)
                add(gradient, 1e-8 / q, gradient)
                np.divide(m, gradient, gradient)
                multiply(gradient, task.rate * 0.1 / (1 - 0.9**t) / q, gradient)
                np.subtract(theta, gradient, theta)
            losses.append(loss)
        return W1[:d], W1[d], w, b

    return run


def ridge(task: Task) -> Run:
    """Ridge: less work of a different kind, with the validation that scikit-learn does around every fit."""

    def run() -> Parameters:
        model = Ridge().fit(task.X, task.y)
        return model.coef_.reshape(-1, 1), np.array([model.intercept_])

    return run


def sgd_regressor(task: Task) -> Run:
    """SGDRegressor with default parameters."""

    def run() -> Parameters:
        model = SGDRegressor(random_state=0).fit(task.X, task.y)
        return model.coef_.reshape(-1, 1), model.intercept_

    return run


def mlp_regressor(task: Task) -> Run:
    """MLPRegressor with Adam, from the task's weights, for the task's number of passes."""

    def run() -> Parameters:
        model = MLPRegressor(
            hidden_layer_sizes=(task.weights[0].shape[1],),
            alpha=0.0,
            batch_size=task.batch,
            learning_rate_init=task.rate,
            max_iter=task.n_iter,
            n_iter_no_change=task.n_iter + 1,
            random_state=0,
        )
        start = [(w.copy(), np.zeros(w.shape[1], w.dtype)) for w in task.weights]
        model._init_coef = lambda *shape_and_dtype: start.pop(0)
        with warnings.catch_warnings():  # we do not expect convergence
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(task.X, task.y)
        (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
        return W1, b1, W2, b2

    return run


def torch_module(task: Task, *, bias: bool) -> Any:
    """The network of the task, with its initial weights."""
    import torch

    (d, h), m = task.weights[0].shape, task.weights[1].shape[1]
    first, last = torch.nn.Linear(d, h, bias=bias), torch.nn.Linear(h, m, bias=bias)
    module = torch.nn.Sequential(first, torch.nn.ReLU(), last).to(torch.from_numpy(task.X).dtype)
    torch_restart(module, task)
    return module


def torch_restart(module: Any, task: Task) -> None:
    """Copy the initial weights of the task into the module."""
    import torch

    with torch.no_grad():
        for layer, w in zip((module[0], module[2]), task.weights, strict=True):
            layer.weight.copy_(torch.from_numpy(w.T))
            if layer.bias is not None:
                layer.bias.zero_()


def torch_parameters(module: Any) -> Parameters:
    """The module's parameters as NumPy arrays."""
    layers = (module[0], module[2])
    weights = [layer.weight.detach().numpy().T for layer in layers]
    biases = [np.zeros(1) if layer.bias is None else layer.bias.detach().numpy() for layer in layers]
    return weights[0], biases[0], weights[1], biases[1]


def torch_descent(task: Task, *, compiled: bool = False) -> Run:
    """Gradient descent on the tutorial's objective, with autograd and SGD."""
    import torch

    torch.set_num_threads(1)
    X, y = torch.from_numpy(task.X), torch.from_numpy(task.y)
    module = torch_module(task, bias=False)

    def plain_loss(X: Any, y: Any) -> Any:
        return (module(X) - y).square().sum()

    loss_of = torch.compile(plain_loss) if compiled else plain_loss

    def run(n_iter: int = task.n_iter) -> Parameters:
        torch_restart(module, task)
        optimizer = torch.optim.SGD(module.parameters(), lr=task.rate, fused=True)
        losses = []
        for _ in range(n_iter):
            optimizer.zero_grad()
            loss = loss_of(X, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return torch_parameters(module)

    run(2)
    return run


def torch_adam(task: Task, *, compiled: bool = False) -> Run:
    """Adam on minibatches, with autograd, the fused optimizer and batches by index (no DataLoader)."""
    import torch

    torch.set_num_threads(1)
    X, y = torch.from_numpy(task.X), torch.from_numpy(task.y.reshape(-1, 1))
    module = torch_module(task, bias=True)

    def plain_loss(X: Any, y: Any) -> Any:
        return 0.5 * torch.nn.functional.mse_loss(module(X), y)

    loss_of = torch.compile(plain_loss) if compiled else plain_loss

    def run(n_iter: int = task.n_iter) -> Parameters:
        torch_restart(module, task)
        optimizer = torch.optim.Adam(module.parameters(), lr=task.rate, fused=True)
        losses = []
        for _ in range(n_iter):
            total = 0.0
            for rows in torch.randperm(len(X)).split(task.batch):
                optimizer.zero_grad()
                loss = loss_of(X[rows], y[rows])
                loss.backward()
                optimizer.step()
                total += loss.item()
            losses.append(total)
        return torch_parameters(module)

    torch.manual_seed(0)
    run(1)
    return run


def skorch_adam(task: Task) -> Run:
    """skorch's NeuralNetRegressor around the same PyTorch module."""
    import skorch
    import torch

    torch.set_num_threads(1)
    X, y = task.X, task.y.reshape(-1, 1)

    def run() -> Parameters:
        model = skorch.NeuralNetRegressor(
            torch_module(task, bias=True),
            optimizer=torch.optim.Adam,
            optimizer__fused=True,
            lr=task.rate,
            max_epochs=task.n_iter,
            batch_size=task.batch,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ).fit(X, y)
        return torch_parameters(model.module_)

    return run


def jax_descent(task: Task) -> Run:
    """Gradient descent on the tutorial's objective: all iterations in one compiled scan."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # float32 stays float32
    X, y = jnp.asarray(task.X), jnp.asarray(task.y)

    def loss_of(weights: Any, X: Any, y: Any) -> Any:
        return jnp.sum((jnp.maximum(X @ weights[0], 0) @ weights[1] - y) ** 2)

    @jax.jit
    def train(weights: Any, X: Any, y: Any) -> Any:
        def step(weights: Any, _: Any) -> tuple[Any, Any]:
            loss, gradient = jax.value_and_grad(loss_of)(weights, X, y)
            return jax.tree.map(lambda w, g: w - task.rate * g, weights, gradient), loss

        return jax.lax.scan(step, weights, None, length=task.n_iter)

    def run() -> Parameters:
        (W1, W2), losses = train(tuple(map(jnp.asarray, task.weights)), X, y)
        np.asarray(losses)
        return np.asarray(W1), np.zeros(1), np.asarray(W2), np.zeros(1)

    run()
    return run


def jax_adam(task: Task) -> Run:
    """Adam on minibatches: all steps in one compiled scan over the row indices of the batches."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # float32 stays float32
    X, y = jnp.asarray(task.X), jnp.asarray(task.y.reshape(-1, 1))
    train = jax.jit(jax_adam_steps(task.rate))

    def run() -> Parameters:
        rng, n = np.random.default_rng(0), len(task.X)
        batches = np.stack([rng.permutation(n) for _ in range(task.n_iter)]).reshape(-1, task.batch).astype(np.int32)
        W1, W2 = task.weights
        weights = tuple(jnp.asarray(w) for w in (W1, np.zeros_like(W1[0]), W2, np.zeros_like(W2[0])))
        zeros = jax.tree.map(jnp.zeros_like, weights)
        weights, losses = train(weights, zeros, X, y, batches)
        np.asarray(losses)
        return tuple(np.asarray(w) for w in weights)

    run()
    return run


def jax_adam_steps(learning_rate: float) -> Callable[..., Any]:
    """Adam, written out: one step for each row of `batches`."""
    import jax
    import jax.numpy as jnp

    def loss_of(weights: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = weights
        return 0.5 * jnp.mean((jnp.maximum(X @ W1 + b1, 0) @ W2 + b2 - y) ** 2)

    def train(weights: Any, zeros: Any, X: Any, y: Any, batches: Any) -> tuple[Any, Any]:
        def step(state: Any, rows: Any) -> tuple[Any, Any]:
            weights, m, v, t = state
            loss, g = jax.value_and_grad(loss_of)(weights, X[rows], y[rows])
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            rate, scale = learning_rate / (1 - 0.9**t), 1 / (1 - 0.999**t)
            weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v * scale) + 1e-8), weights, m, v)
            return (weights, m, v, t), loss

        (weights, *_), losses = jax.lax.scan(step, (weights, zeros, zeros, jnp.zeros((), X.dtype)), batches)
        return weights, losses

    return train


torch_descent_compiled = partial(torch_descent, compiled=True)
torch_adam_compiled = partial(torch_adam, compiled=True)
