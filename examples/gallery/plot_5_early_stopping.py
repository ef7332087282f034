"""
Validation sets, early stopping and callbacks
=============================================

A network that trains long enough learns the noise. A validation set shows when this begins. `early_stopping` keeps the
weights of the iteration that is best on the validation set. A callback inspects the model during training.
"""

# %%
# Early stopping
# --------------
# One network of 100 units, without a penalty and at a constant rate, overfits the diabetes data. `fit` accepts a
# validation set, like `HistGradientBoostingRegressor`. If you pass none, `early_stopping` holds out a tenth of the
# rows.

from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split

from skrelu import LossCurveDisplay, TwoLayerReLURegressor

X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=0.6, random_state=0)
X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, train_size=0.5, random_state=0)

one_network = {"hidden_layer_size": 100, "n_members": 1, "random_state": 0}
constant = one_network | {"learning_rate_schedule": "constant", "learning_rate": 0.002}
models = {
    "overfits": TwoLayerReLURegressor(**constant, max_iter=300, alpha=0),
    "stops early": TwoLayerReLURegressor(**constant, max_iter=300, alpha=0, early_stopping=True),
    "cosine": TwoLayerReLURegressor(learning_rate_schedule="cosine", max_iter=300, random_state=0, early_stopping=True),
}
for name, model in models.items():
    model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    print(f"{name:12} {model.n_iter_:3} iterations, R2 on the test set {model.score(X_test, y_test):.2f}")

# %%
# :class:`~skrelu.LossCurveDisplay` plots the training loss (solid) and the validation loss (dashed). A star marks the
# iteration whose weights `fit` keeps. Training ends 10 iterations after the best one. The cosine schedule runs to its
# end, where the rates are small. The training loss rises when the automatic penalty starts, after 40 % of the steps.
# The validation loss hardly rises: it is the loss of the average of 8 members, whose errors partly cancel.

import matplotlib.pyplot as plt
import numpy as np

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
for axes, names in ((left, ("overfits", "stops early")), (right, ("cosine",))):
    for name, color in zip(names, ("#dd7a1c", "#1f5fa8"), strict=False):
        model = models[name]
        LossCurveDisplay.from_estimator(model, ax=axes, name=name, line_kwargs={"color": color, "linewidth": 1.6})
left.set(title="One network, constant rate, no penalty")
right.set(title="Default: 8 members, cosine schedule, penalty")
plt.show()

# %%
# A callback of your own
# ----------------------
# A scikit-learn callback is any object with four methods. If `on_fit_task_end` has a parameter `fitted_estimator`, it
# receives the model after each iteration. This callback records the function that the network has learned so far. The
# network predicts the fractal dimension of the outline of a cell nucleus from its radius, in scikit-learn's breast
# cancer data. (A callback can also end training: `on_fit_task_end` then returns True.)


class Snapshots:
    """Records the predictions for `grid` after the given iterations."""

    def __init__(self, grid, iterations):
        self.grid, self.iterations, self.curves = grid, iterations, {}

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "iteration" and context.task_id + 1 in self.iterations:
            self.curves[context.task_id + 1] = fitted_estimator.predict(self.grid)


cells = load_breast_cancer().data
radius, dimension = cells[:, [0]], cells[:, 9]
snapshots = Snapshots(np.linspace(radius.min(), radius.max(), 200)[:, None], iterations=(1, 3, 10, 30, 300))
network = TwoLayerReLURegressor(**constant, max_iter=300, alpha=0).set_callbacks(snapshots)
network.fit(radius, dimension)

figure, axes = plt.subplots(figsize=(9, 4.6))
axes.plot(radius[:, 0], dimension, "o", color="#8a8a8a", alpha=0.35, markersize=5, markeredgewidth=0)
colors = plt.cm.viridis(np.linspace(0.85, 0.1, len(snapshots.curves)))
for (count, curve), color in zip(snapshots.curves.items(), colors, strict=True):
    axes.plot(snapshots.grid[:, 0], curve, color=color, linewidth=2, label=f"after {count}")
axes.set(title="The learned function during training", xlabel="mean radius", ylabel="mean fractal dimension")
axes.legend(title="iteration", ncols=2)
plt.show()

# %%
# Set scikit-learn's own callbacks, `ProgressBar` and `ScoringMonitor`, in the same way.

from sklearn.callback import ScoringMonitor

monitor = ScoringMonitor(scoring="r2")
TwoLayerReLURegressor(max_iter=50, random_state=0).set_callbacks(monitor).fit(X_train, y_train)
scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
print(f"R2 on the training rows, iterations 1, 10 and 50: {scores[0]:.2f}, {scores[9]:.2f}, {scores[49]:.2f}")
