"""
A search for the learning rate
==============================

`GridSearchCV` searches over the learning rate of both solvers, on raw columns with units. If the rate is too large,
gradient descent diverges: `fit` raises an error after a few iterations, and the search continues.
"""

import warnings

import numpy as np
from sklearn.datasets import make_friedman2
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV, train_test_split

from skrelu import LearningRateDisplay, TwoLayerReLURegressor

X, y = make_friedman2(600, noise=50.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

grid = [
    {"solver": ["gd"], "learning_rate": np.geomspace(1e-3, 3, 8).round(4).tolist()},
    {"solver": ["adam"], "learning_rate": np.geomspace(1e-3, 0.3, 6).round(4).tolist()},
]
search = GridSearchCV(TwoLayerReLURegressor(max_iter=100, random_state=0), grid)
with warnings.catch_warnings():  # we expect some candidates to fail
    warnings.filterwarnings("ignore", category=FitFailedWarning)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
    search.fit(X_train, y_train)
print(f"best: {search.best_params_}")
print(f"mean R2 {search.best_score_:.3f}, on held-out rows {search.score(X_test, y_test):.3f}")

# %%
# Near its initial weights, gradient descent is stable up to about 2/L. `learning_rate="auto"` is 1/L.

rate = TwoLayerReLURegressor(solver="gd", max_iter=1, random_state=0).fit(X_train, y_train).learning_rate_
print(f"1/L = {rate:.4f}, 2/L = {2 * rate:.4f}")

# %%
# :class:`~skrelu.LearningRateDisplay` plots the mean score and its spread over the folds. Crosses mark rates that
# diverged in at least one fold.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7.5, 4.4))
display = LearningRateDisplay.from_search(search, ax=axes)
axes.axvline(2 * rate, color="#8a8a8a", linestyle="--", linewidth=1)
axes.set(title="Score over the learning rate")
low, high = axes.get_ylim()
axes.text(1.85 * rate, low + 0.2 * (high - low), "2/L of gd", color="#6a6a6a", ha="right", rotation="vertical")
plt.show()

# %%
# The time of a fit for each rate: a diverging fit ends early.

figure, axes = plt.subplots(figsize=(7.5, 3.6))
table = search.cv_results_
diverged = np.isnan(table["mean_test_score"])
for line in display.lines_:
    solver = np.array([f"solver={parameters['solver']}" == line.get_label() for parameters in table["params"]])
    rates = np.array([parameters["learning_rate"] for parameters in table["params"]])
    for mine, style in ((solver & ~diverged, "o-"), (solver & diverged, "X")):
        axes.plot(rates[mine], 1000 * table["mean_fit_time"][mine], style, color=line.get_color(), markersize=7)
axes.set(title="Time of a fit", xlabel="learning rate", ylabel="milliseconds", xscale="log", ylim=(0, None))
plt.show()
