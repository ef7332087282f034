"""
The linear tutorial and its 45-degree line
==========================================

The linear tutorial recovers the coefficients of :math:`2 x - 3 z + 5` from 1000 noisy rows by gradient descent, 100
iterations for each run of its cell. Then it plots outputs against targets: a line at 45 degrees.
"""

# %%
# First, generate the data as the tutorial does.

import numpy as np

rng = np.random.RandomState(0)
observations = 1000
xs = rng.uniform(-10, 10, size=(observations, 1))
zs = rng.uniform(-10, 10, size=(observations, 1))
inputs = np.column_stack((xs, zs))
noise = rng.uniform(-1, 1, size=(observations, 1))
targets = 2 * xs - 3 * zs + 5 + noise

# %%
# With `warm_start=True`, calling `fit` again continues training, like re-running the cell. The tutorial ran its cell
# three times.

from skrelu import LinearGDRegressor

model = LinearGDRegressor(
    learning_rate=0.01, max_iter=100, init="uniform", standardize=False, warm_start=True, random_state=rng
)
for run in (1, 2, 3):
    model.fit(inputs, targets)
    (weights,), (bias,) = model.coef_, model.intercept_
    print(f"run {run}: weights {weights.round(4)}, bias {bias:.4f}, loss {model.loss_curve_[-1]:.4f}")

# %%
# Now record the coefficients after each iteration. The weights converge after a few steps, but the bias takes all three
# runs. The reason is the curvature: the inputs have a variance of about 33, while the column of ones, which belongs to
# the bias, has a mean square of 1.

stepwise = LinearGDRegressor(
    learning_rate=0.01, max_iter=1, init="uniform", standardize=False, warm_start=True, random_state=0
)
path = []
for _ in range(300):
    stepwise.fit(inputs, targets)
    path.append([*stepwise.coef_[0], stepwise.intercept_[0]])

# %%
# scikit-learn's :class:`~sklearn.metrics.PredictionErrorDisplay` plots predicted against actual values.

import matplotlib.pyplot as plt
from sklearn.metrics import PredictionErrorDisplay

figure, axes = plt.subplots(figsize=(5.4, 4.8))
PredictionErrorDisplay.from_estimator(
    model,
    inputs,
    targets[:, 0],
    kind="actual_vs_predicted",
    subsample=None,
    ax=axes,
    scatter_kwargs={"s": 9, "alpha": 0.5, "edgecolor": "none"},
    line_kwargs={"color": "#c22f2f", "linewidth": 1.5},
)
ticks = np.arange(-40, 41, 20)
axes.set(title="Outputs and targets: a line at 45 degrees", xlabel="outputs", ylabel="targets")
axes.set(xticks=ticks, yticks=ticks)
plt.show()

# %%
# The path of the three coefficients: the weights are there after a few iterations, the bias after 300.

figure, axes = plt.subplots(figsize=(7.5, 4.2))
for values, truth, name in zip(np.transpose(path), (2, -3, 5), ("weight of x", "weight of z", "bias"), strict=True):
    (line,) = axes.plot(np.arange(1, 301), values, linewidth=2, label=name)
    axes.axhline(truth, color=line.get_color(), linestyle=":", linewidth=1)
axes.set(title="The path to 2, -3 and 5", xlabel="iteration", xscale="log")
axes.legend(loc="center right", bbox_to_anchor=(1, 0.36))
plt.show()

# %%
# With its default parameters the estimator standardizes the columns, which makes all curvatures equal, and uses the
# learning rate 1/L. It converges to the least-squares solution.

from sklearn.linear_model import LinearRegression

default = LinearGDRegressor().fit(inputs, targets)
exact = LinearRegression().fit(inputs, targets)
print(f"LinearGDRegressor  weights {default.coef_[0].round(8)}, bias {default.intercept_[0]:.8f}")
print(f"LinearRegression   weights {exact.coef_[0].round(8)}, bias {exact.intercept_[0]:.8f}")
