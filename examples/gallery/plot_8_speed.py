"""
Speed, measured while this page was built
=========================================

`MLPRegressor` and skrelu do the same work: one network (`n_members=1`), the same rows, hidden layer, batch size and
number of Adam steps at a constant rate, on one BLAS thread. Each draws its own initial weights. The scripts in
`examples/benchmarks/` use the same initial weights for both, compare the final losses, and include more libraries.
:doc:`/benchmarks` has their results.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from skrelu import TwoLayerReLURegressor

N_ROWS, N_PASSES = 10_000, 3


def seconds(model, X, y):
    """Processor time of the fastest of five fits."""
    runs = []
    for _ in range(5):
        start = time.process_time()
        model.fit(X, y)
        runs.append(time.process_time() - start)
    return min(runs)


rng = np.random.RandomState(0)
rows = []
with threadpool_limits(1), warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # we ask for three passes only
    for d in (10, 30, 100, 300):
        for dtype in (np.float64, np.float32):
            X = rng.standard_normal((N_ROWS, d)).astype(dtype)
            y = (np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(N_ROWS)).astype(dtype)
            mlp = MLPRegressor(
                hidden_layer_sizes=100,
                learning_rate_init=1e-3,
                batch_size=200,
                max_iter=N_PASSES,
                alpha=0,
                tol=0,
                random_state=0,
            )
            ours = TwoLayerReLURegressor(
                100,
                n_members=1,
                learning_rate=1e-3,
                learning_rate_schedule="constant",
                batch_size=200,
                max_iter=N_PASSES,
                alpha=0,
                standardize=False,
                random_state=0,
            )
            rows.append((d, dtype.__name__, seconds(mlp, X, y), seconds(ours, X, y)))

print("columns  type     MLPRegressor    skrelu   times faster")
for d, name, theirs, mine in rows:
    print(f"{d:7}  {name}  {1000 * theirs:9.0f} ms {1000 * mine:6.0f} ms {theirs / mine:14.1f}")

# %%
# With few columns, many small array operations take most of the time, and skrelu makes fewer of them. With many
# columns, matrix products take most of the time, and they are the same in both.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7.5, 4.2))
faster = {}
for name, marker in (("float64", "o"), ("float32", "s")):
    mine = [row for row in rows if row[1] == name]
    columns = [row[0] for row in mine]
    axes.loglog(columns, [1000 * row[2] for row in mine], marker + "-", color="#8a8a8a", label=f"MLPRegressor, {name}")
    axes.loglog(columns, [1000 * row[3] for row in mine], marker + "-", color="#1f5fa8", label=f"skrelu, {name}")
    faster[name] = [row[2] / row[3] for row in mine]
axes.set(
    title=f"Time of {N_PASSES} passes over {N_ROWS} rows",
    xlabel="columns of X",
    ylabel="milliseconds of processor time",
)
axes.set(xticks=columns, xticklabels=columns)
axes.legend()
plt.show()

# %%
# The same as a ratio: how many times faster skrelu is.

figure, axes = plt.subplots(figsize=(7.5, 3.6))
for name, marker in (("float64", "o-"), ("float32", "s-")):
    axes.semilogx(columns, faster[name], marker, label=name)
axes.axhline(1, color="#8a8a8a", linestyle="--", linewidth=1)
axes.set(
    title="Times faster than MLPRegressor", xlabel="columns of X", ylim=(0, None), xticks=columns, xticklabels=columns
)
axes.legend()
plt.show()
