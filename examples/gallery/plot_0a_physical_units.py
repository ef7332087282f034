r"""
Raw physical units: no scaler for X, and none for y
===================================================

The impedance of a circuit depends on its resistance, frequency, inductance and capacitance,
:math:`y = \sqrt{R^2 + (\omega L - 1 / (\omega C))^2}`. The columns have different units, and so has y. Four models
learn this from noisy measurements, in three choices of units.
"""

# %%
# The data
# --------
# The first choice is that of scikit-learn's :func:`~sklearn.datasets.make_friedman2`. The noise is in ohms, with a
# standard deviation of 50.

import numpy as np
from sklearn.datasets import make_friedman2

X, y = make_friedman2(1000, noise=50.0, random_state=0)
names = ("resistance", "frequency", "inductance", "capacitance", "impedance")
for name, column in zip(names, [*X.T, y], strict=True):
    print(f"{name:12} from {column.min():8.2f} to {column.max():8.2f}")

units = {  # each column of X, and y, in the new unit
    "Ω, rad/s, H": (X, y),
    "kΩ, krad/s, H": (X * [1e-3, 1e-3, 1.0, 1.0], y * 1e-3),
    "mΩ, rad/s, mH": (X * [1e3, 1.0, 1e3, 1.0], y * 1e3),
}

# %%
# The models
# ----------
# Each peer has its default parameters. `Ridge` gets X through a scaler. `MLPRegressor` is shown twice: on raw data, and
# with its best ordinary treatment, X and y scaled. skrelu gets raw data.

from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import TwoLayerReLURegressor

scaled_mlp = make_pipeline(StandardScaler(), MLPRegressor(random_state=0))
models = {
    "MLPRegressor, raw X and y": MLPRegressor(random_state=0),
    "Ridge, scaled X": make_pipeline(StandardScaler(), Ridge()),
    "MLPRegressor, scaled X and y": TransformedTargetRegressor(scaled_mlp, transformer=StandardScaler()),
    "skrelu, raw X and y": TwoLayerReLURegressor(random_state=0),
}

# %%
# The score is the mean R2 of a cross-validation with three folds, on one BLAS thread.

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from threadpoolctl import threadpool_limits

folds = KFold(3, shuffle=True, random_state=0)
scores = {name: [] for name in models}
with threadpool_limits(1), warnings.catch_warnings():
    # on raw data MLPRegressor does not converge in its default number of iterations
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    for in_units in units.values():
        for name, model in models.items():
            scores[name].append(cross_val_score(model, *in_units, cv=folds).mean())
print(" " * 29 + "  ".join(f"{name:>14}" for name in units))
for name, row in scores.items():
    print(f"{name:29}" + "  ".join(f"{score:14.4f}" for score in row))

# %%
# On raw data, the score of `MLPRegressor` is a matter of the units. For the other three it is not. The impedance is
# not linear, so both networks leave `Ridge` behind. `MLPRegressor` is as good as skrelu once X and y are scaled: that
# takes a pipeline and a `TransformedTargetRegressor`, and skrelu does it inside `fit`.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(8, 4.4))
places = np.arange(len(models))
for k, (name, color) in enumerate(zip(units, ("#9fc3e8", "#5b93cc", "#1f5fa8"), strict=True)):
    row = np.maximum([scores[model][k] for model in models], 0)
    axes.barh(places + 0.26 * (k - 1), row, height=0.24, color=color, label=name)
axes.set(title="Only the raw MLPRegressor depends on the units", xlabel="R2, cross-validated (below 0: shown as 0)")
axes.set(xlim=(0, 1), yticks=places, yticklabels=models)
axes.grid(axis="y", visible=False)
axes.invert_yaxis()
figure.legend(loc="outside lower center", ncols=3, title="units")
plt.show()

# %%
# What the units do to skrelu is rounding: the same predictions, times the factor of y.

base = TwoLayerReLURegressor(random_state=0).fit(X, y).predict(X)
for name, (X_new, y_new) in list(units.items())[1:]:
    predicted = TwoLayerReLURegressor(random_state=0).fit(X_new, y_new).predict(X_new)
    factor = y_new[0] / y[0]
    print(f"{name:14} largest difference, relative: {np.abs(predicted / factor - base).max() / np.ptp(base):.0e}")
