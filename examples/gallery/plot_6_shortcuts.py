"""
The path of gradient descent, and why the shortcuts are exact
=============================================================

`precompute="auto"` replaces iterations by algebra if the algebra costs less. It does not approximate: it computes the
iterates of the plain loop. This page shows why, and checks it.
"""

# %%
# The linear model: all iterates at once
# --------------------------------------
# The loss of the linear model is a bowl, a quadratic function with Hessian :math:`G = V\, \mathrm{diag}(l)\, V^T`.
# Along each eigenvector, every step multiplies the error by the same factor. So a formula gives the error after
# :math:`t` steps without taking them:
#
# .. math:: \theta_t = \theta_* + V\, \mathrm{diag}(1 - \eta l)^t\, V^T (\theta_0 - \theta_*) .
#
# Two correlated columns make an elongated bowl, in which the path of gradient descent bends.

import numpy as np

from skrelu import LinearGDRegressor

rng = np.random.RandomState(1)
z = rng.standard_normal((200, 2))
X = z @ np.array([[1.0, 0.85], [0.0, 0.45]])
y = X @ [1.0, -1.0] + 0.3 * rng.standard_normal(200)

G = X.T @ X / len(X)
curvatures, V = np.linalg.eigh(G)
best = np.linalg.solve(G, X.T @ y / len(X))
start = np.random.RandomState(3).standard_normal((2, 1))[:, 0]  # what the estimator draws
rate = 1.8 / curvatures[-1]


def descend(n_iter, precompute):
    """The coefficients after `n_iter` steps."""
    model = LinearGDRegressor(
        learning_rate=rate,
        max_iter=n_iter,
        fit_intercept=False,
        init="standard_normal",
        standardize=False,
        precompute=precompute,
        random_state=3,
    )
    return model.fit(X, y).coef_


loop = np.array([start] + [descend(t, precompute=False) for t in range(1, 31)])
shortcut = np.array([start] + [descend(t, precompute=True) for t in range(1, 31)])
formula = np.array([best + V @ ((1 - rate * curvatures) ** t * (V.T @ (start - best))) for t in range(31)])
print(f"shortcut against loop:    {np.abs(shortcut - loop).max():.1e}")
print(f"shortcut against formula: {np.abs(shortcut - formula).max():.1e}")

# %%
# The plot shows the bowl from above, with the path: circles are the iterates of the loop, dots those of the shortcut.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 4.8))
low, high = loop.min(axis=0) - 0.3, loop.max(axis=0) + 0.3
a, b = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
offsets = np.stack([a - best[0], b - best[1]], axis=-1)
height = np.einsum("...i,ij,...j->...", offsets, G, offsets) / 2
axes.contourf(a, b, np.sqrt(height), levels=24, cmap="Blues", alpha=0.7)
axes.plot(*loop.T, "o-", color="#dd7a1c", markersize=9, markerfacecolor="none", linewidth=1, label="loop")
axes.plot(*shortcut.T, ".", color="black", markersize=4, label="shortcut")
axes.plot(*best, "*", color="#c22f2f", markersize=13, label="least squares")
axes.set(title="The path of gradient descent", xlabel="first coefficient", ylabel="second coefficient")
axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
axes.grid(False)
axes.legend(loc="upper left")
plt.show()

# %%
# The errors of the same path along the two eigenvectors: each falls as a power of its factor. The rate is 1.8 / L, so
# the factor of the steep direction is -0.8, and the path swings from side to side.

figure, axes = plt.subplots(figsize=(7.5, 4.2))
errors = np.abs((loop - best) @ V)
for k, name in ((1, "steep"), (0, "flat")):
    factor = 1 - rate * curvatures[k]
    axes.semilogy(errors[:, k], "o", markerfacecolor="none", markersize=8, label=f"loop, {name} direction")
    axes.semilogy(
        errors[0, k] * abs(factor) ** np.arange(31), "k-", linewidth=1, label=f"first error x |{factor:.2f}|$^t$"
    )
axes.set(title="Errors of the path along the eigenvectors", xlabel="iteration t")
axes.legend(loc="lower left")
plt.show()

# %%
# The network: the first layer moves within the rows of X
# -------------------------------------------------------
# Every gradient of :math:`W_1` is :math:`X^T \mathrm dZ`, a combination of the rows of X. So :math:`Z = X W_1` can be
# updated by itself, with the matrix of products between rows,
#
# .. math:: Z \leftarrow Z - \eta\, (X X^T)\, \mathrm dZ, \qquad W_1(t) = W_1(0) - \eta X^T \sum \mathrm dZ ,
#
# and :math:`W_1` is assembled at the end. With few rows and many columns, an iteration costs much less. The plot shows
# the time of 100 iterations on 100 rows for a growing number of columns.

import time

from threadpoolctl import threadpool_limits

from skrelu import TwoLayerReLURegressor

columns = [50, 100, 200, 400, 800, 1600, 3200]
times = {True: [], False: []}
differences = []
with threadpool_limits(1):
    for d in columns:
        X, y = rng.standard_normal((100, d)), rng.standard_normal(100)
        weights = []
        for precompute in (True, False):
            model = TwoLayerReLURegressor(
                50, solver="gd", learning_rate=0.01, max_iter=100, precompute=precompute, random_state=0
            )
            runs = []
            for _ in range(2):
                begin = time.process_time()
                model.fit(X, y)
                runs.append(time.process_time() - begin)
            times[precompute].append(1000 * min(runs))
            weights.append(model.coefs_[0])
        differences.append(np.abs(weights[0] - weights[1]).max() / np.abs(weights[1]).max())

figure, axes = plt.subplots(figsize=(7.5, 4.0))
axes.loglog(columns, times[False], "o-", color="#8a8a8a", label="precompute=False")
axes.loglog(columns, times[True], "o-", color="#1f5fa8", label="precompute=True")
axes.set(title="Time of 100 iterations", xlabel="columns of X", ylabel="milliseconds of processor time")
axes.legend()
plt.show()
print(f"at {columns[-1]} columns: {times[False][-1] / times[True][-1]:.1f} times faster")

# %%
# The largest difference between the weights of shortcut and loop is rounding.

figure, axes = plt.subplots(figsize=(7.5, 3.2))
axes.loglog(columns, differences, "o", color="#1f5fa8")
axes.axhline(np.finfo(float).eps, color="#8a8a8a", linestyle="--", linewidth=1)
axes.text(columns[0], 1.2 * np.finfo(float).eps, "machine epsilon", color="#6a6a6a", va="bottom")
axes.set(title="Relative difference of the weights", xlabel="columns of X", ylim=(1e-16, 1e-11))
plt.show()
