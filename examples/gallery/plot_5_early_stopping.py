"""
Validation sets, early stopping and callbacks
=============================================

A network that trains long enough learns the noise. A validation set shows when this begins. `early_stopping` keeps the
weights of the iteration that is best on the validation set. A callback inspects the model during training.
"""

# %%
# Early stopping
# --------------
# The diabetes data are few and mostly noise. One network of 100 units, without a penalty and at a constant rate,
# overfits them. `fit` accepts a validation set, like `HistGradientBoostingRegressor`. If you pass none,
# `early_stopping` holds out a tenth of the rows.

from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split

from skrelu import LossCurveDisplay, TwoLayerReLURegressor

X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)

one_network = {"hidden_layer_size": 100, "n_members": 1, "random_state": 0}
constant = one_network | {"learning_rate_schedule": "constant", "learning_rate": 0.002}
models = {
    "overfits": TwoLayerReLURegressor(**constant, max_iter=300, alpha=0),
    "stops early": TwoLayerReLURegressor(**constant, max_iter=300, alpha=0, early_stopping=True),
    "cosine": TwoLayerReLURegressor(learning_rate_schedule="cosine", max_iter=300, random_state=0, early_stopping=True),
}
for name, model in models.items():
    model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    print(f"{name:12} {model.n_iter_:3} iterations, smallest validation loss {min(model.validation_loss_curve_):.3f}")

# %%
# :class:`~skrelu.LossCurveDisplay` plots the training loss (solid) and the validation loss (dashed). A star marks the
# iteration whose weights `fit` keeps. Training ends 10 iterations after the best one.

import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots(figsize=(7.5, 4.4))
for name, color in (("overfits", "#dd7a1c"), ("stops early", "#1f5fa8")):
    LossCurveDisplay.from_estimator(models[name], ax=axes, name=name, line_kwargs={"color": color, "linewidth": 1.6})
axes.set(title="Loss with and without early stopping")
plt.show()

# %%
# The cosine schedule runs to its end, where the rates are small. The training loss rises when the automatic penalty
# starts, after 40 % of the steps. The validation loss hardly rises: it is the loss of the average of 8 members, whose
# errors partly cancel.

figure, axes = plt.subplots(figsize=(7.5, 4.0))
LossCurveDisplay.from_estimator(models["cosine"], ax=axes, name="cosine", line_kwargs={"linewidth": 1.6})
axes.set(title="Loss of the default: 8 members, cosine schedule, penalty")
plt.show()

# %%
# Noise, and what it costs
# ------------------------
# With so much noise one split says little. The table is a cross-validation with five folds; the number after ± is the
# standard error over the folds. Peers: `MLPRegressor` with scaled X and y, with its own early stopping and without, and
# a ridge regression that chooses its penalty.

import warnings

from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits


def scaled_mlp(**parameters):
    """`MLPRegressor` that gets scaled X and y."""
    pipeline = make_pipeline(StandardScaler(), MLPRegressor(random_state=0, **parameters))
    return TransformedTargetRegressor(pipeline, transformer=StandardScaler())


compared = {
    "skrelu, overfits": models["overfits"],
    "skrelu, stops early": models["stops early"],
    "skrelu, default": TwoLayerReLURegressor(random_state=0),
    "MLPRegressor": scaled_mlp(),
    "MLPRegressor, stops early": scaled_mlp(early_stopping=True),
    "RidgeCV": make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-2, 1e3, 11))),
}
with threadpool_limits(1), warnings.catch_warnings():
    # MLPRegressor does not converge in its default number of iterations
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    for name, model in compared.items():
        scores = cross_val_score(model, X, y, cv=KFold(5, shuffle=True, random_state=0))
        print(f"{name:26} R2 {scores.mean():5.2f} ± {scores.std(ddof=1) / np.sqrt(5):.2f}")

# %%
# Without a guard against the noise, the network loses a third of its score. Early stopping gets most of it back, and
# so do the defaults: small members, their average and the penalty. Beyond that there is nothing to gain here. The rows
# are few and the relation is nearly linear, so `RidgeCV` is as good as any network.
#
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
