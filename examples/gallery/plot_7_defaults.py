"""
Default parameters against tuned ones, on real data
===================================================

This page compares three models with `MLPRegressor` on scaled X and y: skrelu's network with default parameters, the
same network after a search for the learning rate, and ridge regression. The data are four raw data sets from
scikit-learn.
"""

import time
import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skrelu import TwoLayerReLURegressor

# %%
# The diabetes data are a regression problem. From the wine and breast cancer data, we take one measured column as the
# target. From the digits, we predict the lower quarter of an 8 x 8 image from the rest: 16 outputs at once.


def rest(data, column):
    """All columns except one as X, and this column as y."""
    return np.delete(data, column, axis=1), data[:, column]


digits = load_digits().data[:500]
sets = {
    "diabetes\nprogression": load_diabetes(return_X_y=True, scaled=False),
    "wine\ncolor": rest(load_wine().data, 9),
    "breast cancer\nworst texture": rest(load_breast_cancer().data, 21),
    "digits\nlower quarter": (digits[:, :48], digits[:, 48:]),
}

mlp = make_pipeline(StandardScaler(), MLPRegressor(random_state=0))
models = {
    "MLPRegressor": TransformedTargetRegressor(mlp, transformer=StandardScaler()),
    "ridge": make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-2, 1e3, 11))),
    "skrelu, default": TwoLayerReLURegressor(random_state=0),
    "skrelu, tuned": GridSearchCV(
        TwoLayerReLURegressor(random_state=0),
        {"learning_rate": [0.003, 0.01, 0.03]},
        cv=2,
        scoring="neg_root_mean_squared_error",
    ),
}

# %%
# The error is the root mean squared error on a quarter of the rows, held out. The data sets are small, so one BLAS
# thread is enough. Times are processor times.

errors = {name: [] for name in models}
times = dict.fromkeys(models, 0.0)
for X, y in sets.values():
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    for name, model in models.items():
        start = time.process_time()
        with warnings.catch_warnings(), threadpool_limits(1):
            # MLPRegressor does not converge in its default number of iterations
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            model.fit(X_train, y_train)
        times[name] += time.process_time() - start
        errors[name].append(np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2)))
relative = {name: np.divide(mine, errors["MLPRegressor"]) for name, mine in errors.items()}
for name in models:
    print(f"{name:16} geometric mean {np.exp(np.log(relative[name]).mean()):.3f}   time {times[name]:.1f} s")

# %%
# On these sets, the search for a rate changes little. With one split of small data sets, differences of a few percent
# are noise. `examples/benchmarks/accuracy.py` compares models, boosted trees among them, on 19 data sets.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(10, 4.4))
places = np.arange(len(sets))
colors = {"ridge": "#c9c9c9", "skrelu, default": "#1f5fa8", "skrelu, tuned": "#dd7a1c"}
for k, (name, color) in enumerate(colors.items()):
    axes.bar(places + 0.27 * (k - 1), relative[name], width=0.25, color=color, label=name)
axes.axhline(1, color="black", linewidth=1)
axes.text(places[-1] + 0.47, 1.01, "MLPRegressor,\nscaled X and y", va="bottom")
axes.set(title="Error on held-out rows, relative", xticks=places, xticklabels=sets, xlim=(-0.5, places[-1] + 1.4))
axes.grid(axis="x", visible=False)
axes.legend(loc="center right", bbox_to_anchor=(1, 0.4))
plt.show()

# %%
# Finally, look at the digits. The network with default parameters gets the upper six rows of the image and predicts the
# lower two.

X_train, X_test, y_train, y_test = train_test_split(*sets["digits\nlower quarter"], random_state=0)
predicted = models["skrelu, default"].predict(X_test)  # fitted on these rows last
figure, rows = plt.subplots(2, 12, figsize=(11, 2.3))
for k in range(12):
    for axes, lower in ((rows[0, k], y_test[k]), (rows[1, k], predicted[k])):
        axes.imshow(np.concatenate([X_test[k], lower]).reshape(8, 8), cmap="Blues", vmin=0, vmax=16)
        axes.axhline(5.5, color="#dd7a1c", linewidth=1)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
rows[0, 0].set_ylabel("true")
rows[1, 0].set_ylabel("predicted")
plt.show()
