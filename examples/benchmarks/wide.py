"""Default fits on wide X, in the space of the rows and in that of all columns, beside peers with scaled X and y.

    python examples/benchmarks/wide.py

The data are made here: columns that are noisy mixtures of ten factors, as in spectra or gene expression, and
independent columns of which twenty matter.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from measure import describe_machine, markdown_table, print_machine, restart_with_threads
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

SHAPES = ((80, 5000), (200, 2000), (80, 800), (100, 300), (300, 600))
SEEDS = range(3)
N_TEST = 500


def data(rng: np.random.Generator, n: int, d: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    factors = rng.standard_normal((n + N_TEST, 10))
    X = factors @ rng.standard_normal((10, d)) + rng.standard_normal((n + N_TEST, d))
    y = factors[:, 0] + np.abs(factors[:, 1]) + 0.3 * factors[:, 2] * factors[:, 3]
    yield "ten factors", X, y + 0.1 * rng.standard_normal(n + N_TEST)
    X = rng.standard_normal((n + N_TEST, d))
    yield "independent", X, X[:, :20] @ rng.standard_normal(20) + 0.5 * rng.standard_normal(n + N_TEST)


def scaled(model: Any) -> Any:
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), model), transformer=StandardScaler())


def models(seed: int) -> dict[str, Any]:
    return {
        "TwoLayerReLU": TwoLayerReLURegressor(random_state=seed),
        "precompute=False": TwoLayerReLURegressor(precompute=False, random_state=seed),
        "MLPRegressor": scaled(MLPRegressor(random_state=seed)),
        "LinearGD": LinearGDRegressor(),
        "RidgeCV": scaled(RidgeCV(np.logspace(-1, 5, 13))),
    }


def main() -> None:
    restart_with_threads(1)
    warnings.simplefilter("ignore")  # MLPRegressor stops at its max_iter
    print_machine(describe_machine())
    cells: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for n, d in SHAPES:
        for seed in SEEDS:
            for name, X, y in data(np.random.default_rng(seed), n, d):
                for label, model in models(seed).items():
                    start = time.process_time()
                    model.fit(X[:n], y[:n])
                    seconds = time.process_time() - start
                    row = cells.setdefault(f"{name}, {n} x {d}", {}).setdefault(label, [])
                    row.append((model.score(X[n:], y[n:]), seconds))
    names = list(models(0))
    rows = []
    for name, by_model in cells.items():
        medians = [np.median(by_model[label], axis=0) for label in names]
        rows.append([name, *(f"{score:.3f}, {seconds:.2f} s" for score, seconds in medians)])
    print(markdown_table(["data", *names], rows))


if __name__ == "__main__":
    main()
