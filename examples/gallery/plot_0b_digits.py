"""
Complete a picture: 32 outputs at once
======================================

The network gets the upper half of a handwritten digit and predicts the lower half: 32 inputs and 32 outputs, all
numbers of a pixel's ink from 0 to 16. One network has all outputs, so they share the hidden units.
"""

# %%
# The data
# --------
# scikit-learn's 1797 digits, 8 x 8 pixels each. A quarter of them is held out.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

digits = load_digits().data
upper, lower = digits[:, :32], digits[:, 32:]
upper_train, upper_test, lower_train, lower_test = train_test_split(upper, lower, random_state=0)

# %%
# The models
# ----------
# All pixels have the same unit, and skrelu gets them as they are. `MLPRegressor` is shown in three treatments: raw X,
# scaled X, and scaled X and y. The ridge regression gets scaled X and chooses its penalty by cross-validation. All
# other parameters are defaults. One BLAS thread.
#
# There are two scores. RMSE is in units of ink and counts each error as it is, so the pixels with much ink matter most.
# The mean R2 counts all pixels alike, also those at the edge, which rarely have ink. Four of the 32 have none in any
# held-out digit; they count as 1 if they are predicted exactly, and as 0 otherwise.

import time
import warnings

from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skrelu import TwoLayerReLURegressor

scaled_mlp = make_pipeline(StandardScaler(), MLPRegressor(random_state=0))
models = {
    "RidgeCV, scaled X": make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-2, 1e4, 13))),
    "MLPRegressor, raw": MLPRegressor(random_state=0),
    "MLPRegressor, scaled X": scaled_mlp,
    "MLPRegressor, scaled X and y": TransformedTargetRegressor(scaled_mlp, transformer=StandardScaler()),
    "skrelu, raw": TwoLayerReLURegressor(random_state=0),
}
completed = {}
print(f"{'':29} RMSE   mean R2   processor time")
with threadpool_limits(1), warnings.catch_warnings():
    # MLPRegressor does not converge in its default number of iterations
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    for name, model in models.items():
        start = time.process_time()
        completed[name] = model.fit(upper_train, lower_train).predict(upper_test)
        seconds = time.process_time() - start
        rmse = np.sqrt(np.mean((completed[name] - lower_test) ** 2))
        print(f"{name:29} {rmse:.2f} {r2_score(lower_test, completed[name]):9.2f} {seconds:12.1f} s")

# %%
# By RMSE, both networks are better than the linear model, and `MLPRegressor` on raw pixels is as good as skrelu. By the
# mean R2 it is the worst of all: at pixels with little ink its errors are larger than the ink. Scaling X, or X and y,
# improves this score and makes RMSE worse. skrelu is good at both.
#
# Neither score can be near perfect: from its upper half alone, nobody can say how a 3 ends, or whether it is a 3.
#
# Ten digits
# ----------
# One held-out digit of each class. Above the orange line is what the models get, below it what they predict.

import matplotlib.pyplot as plt

classes = train_test_split(load_digits().target, random_state=0)[1]
chosen = [np.flatnonzero(classes == digit)[0] for digit in range(10)]
shown = {
    "true": lower_test,
    **{name: completed[name] for name in ("skrelu, raw", "MLPRegressor, raw", "RidgeCV, scaled X")},
}
figure, rows = plt.subplots(len(shown), 10, figsize=(9, 4.1))
figure.suptitle("Lower halves of digits, completed from the upper halves")
for row, (name, lower) in zip(rows, shown.items(), strict=True):
    for axes, k in zip(row, chosen, strict=True):
        picture = np.concatenate([upper_test[k], lower[k]]).reshape(8, 8)
        axes.imshow(picture, cmap="Blues", vmin=0, vmax=16)
        axes.axhline(3.5, color="#dd7a1c", linewidth=1.5)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    row[0].set_ylabel(name.split(",")[0].replace("Regressor", ""))
plt.show()
