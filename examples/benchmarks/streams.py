"""`partial_fit` on twelve kinds of streams, beside SGDRegressor and MLPRegressor, whose scaler has seen all rows.

skrelu gets each chunk as it comes, in raw units. The peers get standardized X and y, with the mean and the standard
deviation of all training rows: a pass over the whole file before the stream, which a real stream does not allow.

    python examples/benchmarks/streams.py
"""

import time
import warnings

import numpy as np
from measure import restart_with_threads
from sklearn.datasets import make_friedman1
from sklearn.linear_model import SGDRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

SEEDS = range(5)


def friedman(n, seed):
    X, y = make_friedman1(n, noise=1.0, random_state=seed)
    return X, y


def chunks(n, size):
    return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]


def streams(seed):
    """Name, training rows, chunks, passes, weights and test rows of each stream."""
    rng = np.random.default_rng(seed)
    X_all, y_all = friedman(8000, seed)
    X, y, X_test, y_test = X_all[:6000], y_all[:6000], X_all[6000:], y_all[6000:]
    test = X_test, y_test
    yield "shuffled, 20 chunks, 5 passes", X, y, chunks(6000, 300), 5, None, test
    order = np.argsort(y)
    yield "sorted by y, 20 chunks, 5 passes", X[order], y[order], chunks(6000, 300), 5, None, test
    order = np.argsort(X[:, 3])
    yield "drifting: sorted by x4", X[order], y[order], chunks(6000, 300), 5, None, test
    growth = np.linspace(0.01, 10.0, 6000)
    grown = y * growth + np.linspace(0, 100, 6000)
    with_time = np.column_stack([X, np.arange(6000.0)])
    test_rows = rng.choice(6000, 2000, replace=False)
    kept = np.setdiff1d(np.arange(6000), test_rows)
    yield (
        "y grows along the stream", with_time[kept], grown[kept], chunks(4000, 200), 5, None,
        (with_time[test_rows], grown[test_rows]),
    )  # fmt: skip
    late = rng.lognormal(10, 1, size=8000)
    X_late = np.column_stack([X_all, late])
    X_late[:300, -1] = 0.0
    y_late = y_all + 1e-4 * X_late[:, -1]
    yield (
        "a column begins late, 30000", X_late[:6000], y_late[:6000], chunks(6000, 300), 5, None,
        (X_late[6000:], y_late[6000:]),
    )  # fmt: skip
    yield "1000 chunks of 5 rows, 1 pass", X[:5000], y[:5000], chunks(5000, 5), 1, None, test
    yield "1000 chunks of 5 rows, 10 passes", X[:5000], y[:5000], chunks(5000, 5), 10, None, test
    first = [np.arange(50), *chunks(3000, 1)[50:]]
    yield "50 rows, then one by one", X[:3000], y[:3000], first, 2, None, test
    yield "one by one from the start", X[:3000], y[:3000], chunks(3000, 1), 2, None, test
    weights = rng.integers(1, 6, 6000).astype(float)
    yield "weights 1 to 5", X, y, chunks(6000, 300), 5, weights, test
    far = (X + 1000.0).astype(np.float32)
    yield (
        "float32, columns at 1000",
        far,
        y.astype(np.float32),
        chunks(6000, 300),
        5,
        None,
        (np.float32(X_test + 1000.0), y_test),
    )
    scales = 10.0 ** np.linspace(-3, 3, 6000)[:, None] * np.array([1.0] + [0.0] * 9) + np.array([0.0] + [1.0] * 9)
    yield "a column grows a million times", X * scales, y, chunks(6000, 300), 5, None, (X_test * scales[::3], y_test)


def r2(model, X, y, transform=lambda p: p):
    with np.errstate(all="ignore"):
        prediction = transform(model.predict(X).astype(np.float64))
        return float(1.0 - np.sum((prediction - y) ** 2) / np.sum((y - y.mean()) ** 2))


def ours(model, X, y, parts, passes, weights, test):
    for _ in range(passes):
        for rows in parts:
            model.partial_fit(X[rows], y[rows], None if weights is None else weights[rows])
    return r2(model, *test)


def at_once(model, X, y, parts, passes, weights, test):
    return r2(model.set_params(max_iter=passes).fit(X, y, weights), *test)


def peer(model, X, y, parts, passes, weights, test):
    x_scaler, y_scaler = StandardScaler().fit(X), StandardScaler().fit(y[:, None])
    X, y = x_scaler.transform(X), y_scaler.transform(y[:, None])[:, 0]
    for _ in range(passes):
        for rows in parts:
            model.partial_fit(X[rows], y[rows], None if weights is None else weights[rows])
    return r2(model, x_scaler.transform(test[0]), test[1], lambda p: p * y_scaler.scale_ + y_scaler.mean_)


MODELS = {
    "TwoLayerReLU": (ours, lambda seed: TwoLayerReLURegressor(random_state=seed)),
    "the same, one fit": (at_once, lambda seed: TwoLayerReLURegressor(random_state=seed)),
    "MLPRegressor": (peer, lambda seed: MLPRegressor(random_state=seed)),
    "LinearGD": (ours, lambda seed: LinearGDRegressor()),
    "the same, one fit ": (at_once, lambda seed: LinearGDRegressor()),
    "SGDRegressor": (peer, lambda seed: SGDRegressor(random_state=seed)),
}


def main(models=MODELS, seeds=SEEDS):
    warnings.simplefilter("ignore")
    scores, seconds = {}, dict.fromkeys(models, 0.0)
    for seed in seeds:
        for name, *stream in streams(seed):
            for label, (run, make) in models.items():
                start = time.process_time()
                try:
                    score = run(make(seed), *stream)
                except ValueError as error:
                    score = np.nan
                    print(f"{name}: {label}: {str(error)[:100]}")
                seconds[label] += time.process_time() - start
                scores.setdefault(name, {}).setdefault(label, []).append(score)
    print(f"R2 on rows kept aside, median (worst) of {len(seeds)} seeds; one BLAS thread\n")
    print("| stream | " + " | ".join(models) + " |\n|---|" + "---|" * len(models))
    for name, by_label in scores.items():
        cells = [f"{np.median(by_label[label]):.3f} ({np.min(by_label[label]):.3f})" for label in models]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("| processor time, s | " + " | ".join(f"{seconds[label]:.0f}" for label in models) + " |")


if __name__ == "__main__":
    restart_with_threads(1)
    main()
