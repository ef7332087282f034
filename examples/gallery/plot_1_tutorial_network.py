"""
The tutorial's network, number for number
=========================================

The classic NumPy tutorial fits a two-layer network to random data: 64 rows, 1000 inputs, 100 hidden units and 10
outputs. This page runs the tutorial and the estimator side by side and compares their results.
"""

# %%
# The program
# -----------
# This is the tutorial's program, with two changes: it keeps the losses instead of printing them, and it seeds the
# random numbers. Program and estimator both run on one BLAS thread.

import time

import numpy as np
from threadpoolctl import threadpool_limits

threadpool_limits(1)  # products of this size gain nothing from more BLAS threads

rng = np.random.RandomState(0)
N, D_in, H, D_out = 64, 1000, 100, 10
x = rng.randn(N, D_in)
y = rng.randn(N, D_out)
before_the_weights = rng.get_state()
w1 = rng.randn(D_in, H)
w2 = rng.randn(H, D_out)

learning_rate = 1e-6
losses = []
start = time.perf_counter()
for _ in range(500):
    # Forward pass: compute predicted y
    h = x.dot(w1)
    h_relu = np.maximum(h, 0)
    y_pred = h_relu.dot(w2)
    losses.append(np.square(y_pred - y).sum())

    # Backprop to compute gradients of w1 and w2 with respect to loss
    grad_y_pred = 2.0 * (y_pred - y)
    grad_w2 = h_relu.T.dot(grad_y_pred)
    grad_h_relu = grad_y_pred.dot(w2.T)
    grad_h = grad_h_relu.copy()
    grad_h[h < 0] = 0
    grad_w1 = x.T.dot(grad_h)

    # Update weights
    w1 -= learning_rate * grad_w1
    w2 -= learning_rate * grad_w2
time_of_the_program = time.perf_counter() - start

# %%
# The estimator
# -------------
# Each parameter states one choice of the program. The `RandomState` is in the state in which the program drew its
# weights, so the estimator draws the same weights.

from skrelu import TwoLayerReLURegressor

random_state = np.random.RandomState()
random_state.set_state(before_the_weights)
model = TwoLayerReLURegressor(
    100,
    solver="gd",
    learning_rate=1e-6,
    max_iter=500,
    alpha=0,
    fit_intercept=False,
    init="standard_normal",
    standardize=False,
    reduction="sum",
    random_state=random_state,
)
start = time.perf_counter()
model.fit(x, y)
time_of_the_estimator = time.perf_counter() - start

# %%
# Side by side
# ------------

print("iteration           program         estimator")
for t in (0, 1, 2, 100, 200, 300, 400, 499):
    print(f"{t:9} {losses[t]:17.10g} {model.loss_curve_[t]:17.10g}")
difference = np.abs(np.array(model.loss_curve_) / losses - 1)
print(f"\nlargest relative difference of the 500 losses: {difference.max():.1e}")
print(f"largest difference of the weights w1: {np.abs(model.coefs_[0] - w1).max():.1e}")
print(f"{1000 * time_of_the_program:.0f} ms for the program, {1000 * time_of_the_estimator:.0f} ms for the estimator")

# %%
# The two curves coincide.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7.5, 4.2))
axes.semilogy(losses, color="#f2b880", linewidth=7, label="the tutorial's program")
axes.semilogy(model.loss_curve_, color="#1f5fa8", linewidth=1.6, label="TwoLayerReLURegressor")
axes.set(title="The same 500 losses", xlabel="iteration", ylabel="sum of squared errors")
axes.legend()
plt.show()

# %%
# Their relative difference is rounding. It grows because the losses fall by eleven orders of magnitude. (A logarithmic
# axis cannot show differences of zero.)

figure, axes = plt.subplots(figsize=(7.5, 3.6))
axes.semilogy(difference, ".", color="#1f5fa8", markersize=3)
axes.axhline(np.finfo(float).eps, color="#8a8a8a", linestyle="--", linewidth=1)
axes.text(495, 1.3 * np.finfo(float).eps, "machine epsilon", color="#6a6a6a", ha="right", va="bottom")
axes.set(title="Relative difference of the losses", xlabel="iteration", ylim=(5e-17, 1e-6))
plt.show()

# %%
# The estimator is faster because the data have fewer rows than inputs: it iterates with the 64 x 64 matrix of products
# between rows. :doc:`plot_6_shortcuts` shows why this is exact.
