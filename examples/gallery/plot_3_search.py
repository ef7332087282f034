"""
A search for the learning rate on real data
===========================================

`GridSearchCV` over the learning rate of both solvers, on scikit-learn's diabetes data as they come. Rates that are too
large diverge; such a fit raises an error after a few iterations, and the search goes on.
"""

import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, train_test_split

from skrelu import TwoLayerReLURegressor

X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

grid = [
    {"solver": ["gd"], "learning_rate": np.geomspace(1e-3, 3, 12).round(4).tolist()},
    {"solver": ["adam"], "learning_rate": np.geomspace(1e-4, 3, 10).round(4).tolist()},
]
search = GridSearchCV(TwoLayerReLURegressor(max_iter=100, random_state=0), grid)
with warnings.catch_warnings():  # that candidates fail is what we want to see
    warnings.filterwarnings("ignore", category=FitFailedWarning)
    warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
    search.fit(X_train, y_train)
print(f"best: {search.best_params_}")
print(f"mean R2 {search.best_score_:.3f}, on held-out rows {search.score(X_test, y_test):.3f}")

# %%
# Gradient descent is stable up to about 2/L around the weights it starts from. `learning_rate="auto"` is 1/L.

rate = TwoLayerReLURegressor(solver="gd", max_iter=1, random_state=0).fit(X_train, y_train).learning_rate_
print(f"1/L = {rate:.4f}, 2/L = {2 * rate:.4f}")

# %%
# The band is the range of the five folds. Crosses are rates at which at least one fold diverged. On the right is what
# each rate cost: a fit that diverges ends early.

import matplotlib.pyplot as plt

table = search.cv_results_
scores = np.stack([table[f"split{k}_test_score"] for k in range(5)])
solvers = np.array([parameters["solver"] for parameters in table["params"]])
rates = np.array([parameters["learning_rate"] for parameters in table["params"]])

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), sharex=True)
for solver, color in (("gd", "#1f5fa8"), ("adam", "#dd7a1c")):
    mine = solvers == solver
    stable = mine & np.isfinite(scores).all(axis=0)
    left.fill_between(rates[stable], scores[:, stable].min(0), scores[:, stable].max(0), color=color, alpha=0.15)
    left.plot(rates[stable], scores[:, stable].mean(0), "o-", color=color, label=solver)
    right.plot(rates[stable], 1000 * table["mean_fit_time"][stable], "o-", color=color, label=solver)
    diverged = mine & ~stable
    right.plot(rates[diverged], 1000 * table["mean_fit_time"][diverged], "X", color="#c22f2f", markersize=9)
    left.plot(rates[diverged], np.full(diverged.sum(), -0.55), "X", color="#c22f2f", markersize=9)
left.axhspan(-0.65, -0.45, color="#c22f2f", alpha=0.08, linewidth=0)
left.text(1.1e-4, -0.55, "diverged", color="#c22f2f", va="center")
left.axvline(2 * rate, color="#1f5fa8", linestyle="--", linewidth=1)
left.text(1.85 * rate, -0.42, "2/L of gd", color="#1f5fa8", ha="right", rotation="vertical")
left.set(title="Score", xlabel="learning rate", xscale="log", ylabel="R² of the five folds", ylim=(-0.65, 0.6))
left.legend(loc="lower left", bbox_to_anchor=(0, 0.16))
right.set(title="Time of a fit", xlabel="learning rate", ylabel="milliseconds", ylim=(0, None))
plt.show()
