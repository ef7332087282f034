"""A two-layer network in sixty lines of NumPy: gradients by hand, gradient descent and Adam.

The arrays are X (n, d), y (n, m), W1 (d, h), b1 (h,), W2 (h, m) and b2 (m,).
"""

import numpy as np


def forward(X, W1, b1, W2, b2):
    """Return Z, H and the predictions F."""
    Z = X @ W1 + b1
    H = np.maximum(Z, 0.0)  # relu(Z)
    F = H @ W2 + b2
    return Z, H, F


def backward(X, Z, H, D, W2):
    """The gradients, from D = dL/dF: the chain rule, from the last line of `forward` to the first."""
    dW2 = H.T @ D  # F = H W2 + b2 is linear in W2,
    db2 = D.sum(axis=0)  # in b2,
    dH = D @ W2.T  # and in H
    dZ = dH * (Z > 0)  # an inactive unit passes no gradient back
    dW1 = X.T @ dZ  # Z = X W1 + b1 is linear in W1
    db1 = dZ.sum(axis=0)  # and in b1
    return dW1, db1, dW2, db2


def gradient_descent(X, y, W1, W2, rate, n_iter):
    """The tutorial: all rows in each step, L = sum E^2, no intercepts. Changes W1 and W2."""
    losses = []
    for _ in range(n_iter):
        Z, H, F = forward(X, W1, 0.0, W2, 0.0)
        E = F - y
        losses.append(np.sum(E**2))
        dW1, _, dW2, _ = backward(X, Z, H, 2.0 * E, W2)  # D = dL/dF = 2 E
        W1 -= rate * dW1
        W2 -= rate * dW2
    return losses


def adam(X, y, parameters, seed, rate, batch_size, n_epochs, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Adam: a step for each batch of r rows, L = sum E^2 / (2 r). Changes the parameters."""
    means, squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    losses, t, n_batches = [], 0, max(1, round(len(X) / batch_size))
    for epoch in range(n_epochs):
        order = np.arange(len(X))
        np.random.default_rng((seed, epoch)).shuffle(order)
        losses.append(0.0)
        for rows in np.array_split(order, n_batches):
            Z, H, F = forward(X[rows], *parameters)
            E, t = F - y[rows], t + 1
            losses[-1] += np.sum(E**2) / (2 * len(X))
            gradients = backward(X[rows], Z, H, E / len(rows), parameters[2])  # D = dL/dF = E / r
            for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
                m += (1 - beta1) * (g - m)  # the running mean of g,
                v += (1 - beta2) * (g**2 - v)  # and of g^2; 1 - beta^t corrects for a start at 0
                p -= rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
    return losses


if __name__ == "__main__":
    rng = np.random.RandomState(0)
    X, y, W1, W2 = (rng.randn(*shape) for shape in ((64, 1000), (64, 10), (1000, 100), (100, 10)))
    for t, loss in enumerate(gradient_descent(X, y, W1, W2, rate=1e-6, n_iter=500)):
        if t % 100 == 0 or t == 499:
            print(f"gradient descent, iteration {t:3}: loss {loss:.6g}")
    X = rng.randn(1000, 5)
    y = np.sin(2 * X[:, :1]) + X[:, 1:2] * X[:, 2:3] + 0.1 * rng.randn(1000, 1)
    W1, W2 = np.sqrt(2 / 5) * rng.randn(5, 100), np.sqrt(2 / 100) * rng.randn(100, 1)
    losses = adam(X, y, [W1, np.zeros(100), W2, np.zeros(1)], seed=0, rate=0.01, batch_size=128, n_epochs=100)
    for epoch in (1, 10, 100):
        print(f"Adam, epoch {epoch:3}: loss {losses[epoch - 1]:.4f}")
