"""Fits of wide X, in the space of the rows and in that of all columns, and chunks of new rows after a fit.

    python examples/benchmarks/wide.py

Parameters are default ones, and peers get scaled X and y. The data are made here: columns that are noisy mixtures of
ten factors, as in spectra or gene expression, and independent columns of which twenty matter.
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


def chunked(model: Any, X: np.ndarray, y: np.ndarray, n: int) -> tuple[float, float]:
    """R2 after `fit` on three quarters of n rows, and after `partial_fit` on the others in four chunks."""
    if isinstance(model, MLPRegressor):
        X = StandardScaler().fit(X[:n]).transform(X)
        y = (y - y[:n].mean()) / y[:n].std()
    n_fit = 3 * n // 4
    fitted = model.fit(X[:n_fit], y[:n_fit]).score(X[n:], y[n:])
    for rows in np.array_split(np.arange(n_fit, n), 4):
        model.partial_fit(X[rows], y[rows])
    return fitted, model.score(X[n:], y[n:])


def print_chunks() -> None:
    models = {
        "TwoLayerReLU": lambda seed: TwoLayerReLURegressor(random_state=seed),
        "learning_rate=0.01": lambda seed: TwoLayerReLURegressor(learning_rate=0.01, random_state=seed),
        "MLPRegressor": lambda seed: MLPRegressor(random_state=seed),
        "LinearGD": lambda seed: LinearGDRegressor(),
    }
    cells: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for n, d in SHAPES:
        for seed in SEEDS:
            for name, X, y in data(np.random.default_rng(seed), n, d):
                row = cells.setdefault(f"{name}, {n} x {d}", {})
                for label, make in models.items():
                    row.setdefault(label, []).append(chunked(make(seed), X, y, n))
    rows = []
    for name, by_model in cells.items():
        medians = [np.median(by_model[label], axis=0) for label in models]
        rows.append([name, *(f"{fitted:.3f}, {after:.3f}" for fitted, after in medians)])
    print("\nR2 after fit on three quarters of the rows, and after partial_fit on the others, in four chunks\n")
    print(markdown_table(["data", *models], rows))


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
    print_chunks()


if __name__ == "__main__":
    main()
