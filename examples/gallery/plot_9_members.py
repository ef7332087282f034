"""
Members: several small networks in one
======================================

By default, Adam trains the 200 hidden units as 8 networks of 25 units each, side by side, and as 4 networks of 50 units
from 5000 rows on. The model is the average of these members, which is one plain network. This page shows the members,
what `predict(X, return_std=True)` returns, and how averaging changes the error on a real data set.
"""

# %%
# Members and their average
# -------------------------
# The data are 600 noisy values of a function of one column. There are no rows between 0.5 and 2.

import numpy as np

from skrelu import TwoLayerReLURegressor


def truth(x):
    """The function without noise."""
    return np.sin(2 * x) + 0.3 * x


rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-3, 0.5, 360), rng.uniform(2, 3.5, 240)])
y = truth(x) + 0.2 * rng.standard_normal(x.size)
model = TwoLayerReLURegressor(random_state=0).fit(x[:, None], y)

grid = np.linspace(-4, 4.5, 400)[:, None]
average, deviation = model.predict(grid, return_std=True)

# %%
# The published network contains the members: the first 25 hidden units are the first member, the next 25 the second,
# and so on. `coefs_[1]` holds an eighth of their last layers. The members' last intercepts are private; `intercepts_`
# holds their mean. The average of the members is the prediction, and their standard deviation is what `return_std`
# adds.

hidden = np.maximum(grid @ model.coefs_[0] + model.intercepts_[0], 0)
terms = (8 * hidden * model.coefs_[1][:, 0]).reshape(len(grid), 8, 25)
members = terms.sum(axis=2) + model._member_intercepts[:, 0]
print(f"mean of the members against predict:        {np.abs(members.mean(axis=1) - average).max():.1e}")
print(f"deviation of the members against return_std: {np.abs(members.std(axis=1) - deviation).max():.1e}")

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(10, 4.8))
axes.fill_between(
    grid[:, 0],
    average - 2 * deviation,
    average + 2 * deviation,
    color="#1f5fa8",
    alpha=0.15,
    linewidth=0,
    label="average ± 2 standard deviations",
)
for k, member in enumerate(members.T):
    axes.plot(grid[:, 0], member, color="#1f5fa8", linewidth=0.8, alpha=0.6, label="members" if k == 0 else None)
axes.plot(grid[:, 0], average, color="#1f5fa8", linewidth=2.5, label="average: the model")
axes.plot(grid[:, 0], truth(grid[:, 0]), color="#c22f2f", linestyle="--", linewidth=1.2, label="truth")
axes.plot(x, y, "o", color="#8a8a8a", alpha=0.35, markersize=3, markeredgewidth=0, label="training rows")
axes.set(title="Eight members, and where they disagree", xlabel="x", ylabel="y", ylim=(-3.2, 3.2))
axes.legend(ncols=2, loc="lower right")
plt.show()

# %%
# Compare the deviation in four regions. Count how many of 5000 new rows lie within two deviations of the prediction.

regions = {
    "left of all rows": (-4, -3),
    "among the rows": (-3, 0.5),
    "in the gap": (0.5, 2),
    "right of all rows": (3.5, 4.5),
}
for name, (low, high) in regions.items():
    new = rng.uniform(low, high, 5000)
    predicted, spread = model.predict(new[:, None], return_std=True)
    inside = np.abs(truth(new) + 0.2 * rng.standard_normal(5000) - predicted) < 2 * spread
    error = np.sqrt(np.mean((predicted - truth(new)) ** 2))
    print(f"{name:18} deviation {spread.mean():.2f}   error {error:.2f}   within two deviations {inside.mean():.0%}")

# %%
# Left of all rows, the members disagree. The deviation is large there, and a warning, but the error is larger. In the
# gap and right of all rows they agree, and they are all wrong: networks of this kind continue in nearly straight lines,
# and the rows on both sides of a gap determine the line. Among the rows, the band leaves out the noise, and most new
# rows lie outside of it. So a large deviation is a reason for caution, a small one is no reason for confidence, and the
# band is not a prediction interval.
#
# One network or several
# ----------------------
# Diabetes data, six splits: the error of the default, of one network with the same 200 units, and of one network as
# small as a member. The number after ± is the standard error over the splits.

from sklearn.datasets import load_diabetes
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

X, y = load_diabetes(return_X_y=True, scaled=False)
parameters = {
    "default: 8 members of 25 units": {},
    "one network of 200 units": {"n_members": 1},
    "one network of 25 units": {"n_members": 1, "hidden_layer_size": 25},
}
errors = {name: [] for name in parameters}
with threadpool_limits(1):
    for seed in range(6):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        for name, chosen in parameters.items():
            network = TwoLayerReLURegressor(random_state=seed, **chosen).fit(X_train, y_train)
            errors[name].append(root_mean_squared_error(y_test, network.predict(X_test)))
default = np.array(errors["default: 8 members of 25 units"])
for name, values in errors.items():
    ratio = np.array(values) / default
    print(
        f"{name:31} RMSE {np.mean(values):.1f}   "
        f"relative to the default {ratio.mean():.3f} ± {ratio.std(ddof=1) / np.sqrt(len(ratio)):.3f}"
    )

# %%
# One network of 200 units learns the noise of these few rows. A small network alone is nearly as good as eight of them;
# on other data the default gains more, or less. `examples/benchmarks/accuracy.py --ablation` compares such choices on
# 19 data sets.
