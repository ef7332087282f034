"""
Learning rates that converge and learning rates that diverge: 2/L
=================================================================

A step of gradient descent multiplies the error along each direction of curvature :math:`l` by :math:`1 - \\eta l`. All
errors shrink if :math:`\\eta < 2/L`, with :math:`L` the largest curvature. For the linear model this is exact. For the
network it holds near the initial weights, which determine :math:`L`.
"""

import textwrap
import warnings

import numpy as np
from sklearn.datasets import make_friedman2
from sklearn.exceptions import ConvergenceWarning

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

X, y = make_friedman2(400, noise=50.0, random_state=0)
limit = 2 * LinearGDRegressor(max_iter=1).fit(X, y).learning_rate_
print(f"linear model: 2/L = {limit:.6f}")

# %%
# If training diverges, `fit` raises this error. The estimator stays unchanged.

try:
    LinearGDRegressor(learning_rate=3 * limit).fit(X, y)
except ValueError as error:
    print(textwrap.fill(str(error), 100))

# %%
# Just below the limit, the loss oscillates before it settles. Just above, it grows slowly. A difference of 1 % decides.
# A `fit` that ends with a model worse than predicting the mean issues a warning. Here we expect it, and ignore it.

warnings.simplefilter("ignore", ConvergenceWarning)
curves = {}
for fraction in (0.1, 0.5, 0.99, 1.01, 1.1):
    model = LinearGDRegressor(learning_rate=fraction * limit, max_iter=150, init="standard_normal", random_state=0)
    curves[fraction] = model.fit(X, y).loss_curve_

# %%
# The loss of five runs, at rates on both sides of 2/L.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7.5, 4.4))
for (fraction, curve), color in zip(
    curves.items(), ("#9fc3e8", "#1f5fa8", "#2e8b57", "#dd7a1c", "#c22f2f"), strict=True
):
    axes.semilogy(curve, color=color, linewidth=2, label=f"{fraction:.2f}")
axes.set(title="Loss of the linear model on both sides of 2/L", xlabel="iteration", ylabel="loss", ylim=(0.01, 1e5))
axes.legend(title="rate / (2/L)", loc="upper left")
plt.show()

# %%
# Compute the loss of both models after 300 iterations, over a range of rates. If `fit` raises an error, count the loss
# as infinite.


def last_loss(model, rate):
    """The loss at the end, infinite if the model diverged."""
    try:
        return model.set_params(learning_rate=rate).fit(X, y).loss_curve_[-1]
    except ValueError:
        return np.inf


fractions = np.geomspace(0.02, 20, 31)
network_limit = 2 * TwoLayerReLURegressor(solver="gd", max_iter=1, random_state=0).fit(X, y).learning_rate_
linear, network = LinearGDRegressor(max_iter=300), TwoLayerReLURegressor(solver="gd", max_iter=300, random_state=0)
ends = {
    "linear": np.array([last_loss(linear, fraction * limit) for fraction in fractions]),
    "network": np.array([last_loss(network, fraction * network_limit) for fraction in fractions]),
}

# %%
# Crosses at the edge mark losses above 1000. The linear model diverges above 2/L, as the theory
# says. Somewhat above 2/L the network moves to a region of flatter loss and still settles. Far above 2/L it
# diverges.

figure, axes = plt.subplots(figsize=(7.5, 4.4))
for (name, losses), color in zip(ends.items(), ("#1f5fa8", "#dd7a1c"), strict=True):
    shown = np.minimum(losses, 1e3)
    axes.loglog(fractions, shown, color=color, linewidth=1, alpha=0.5)
    axes.loglog(fractions[losses < 1e3], losses[losses < 1e3], "o", color=color, label=name)
    axes.loglog(fractions[losses >= 1e3], shown[losses >= 1e3], "X", color="#c22f2f", markersize=8, clip_on=False)
axes.axvline(1, color="#8a8a8a", linestyle="--")
axes.axvspan(0.02, 1, color="#2e8b57", alpha=0.06, linewidth=0)
axes.text(0.93, 300, "stable", color="#2e8b57", ha="right")
axes.set(title="Loss after 300 iterations, over the rate", xlabel="rate / (2/L)", ylim=(0.005, 1e3), xlim=(0.02, 20))
axes.legend(loc="upper left")
plt.show()
