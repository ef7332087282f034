"""Time and memory of `fit` and `predict` on a sparse X, beside MLPRegressor on the same X: see README.md.

    python examples/benchmarks/one_hot.py [--quick] [--dtype float32] [--threads N] [--json PATH]

X has a one-hot column of 2000 levels and ten numbers. Each line comes from its own process. Linux only.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from measure import (
    PeakMemory,
    describe_machine,
    duration,
    in_fresh_process,
    markdown_table,
    print_machine,
    restart_with_threads,
    write_json,
)
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

LEVELS, NUMBERS = 2000, 10
BATCH = 200
# The same work: hidden units, batches, rate and passes; no scaling, no members and no scaling layer.
ALIKE: dict[str, Any] = {
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "batch_size": BATCH,
    "standardize": False,
    "n_members": 1,
    "scaling_layer": False,
    "alpha": 0.0,
}


def data(n: int, dtype: str) -> tuple[sparse.csr_array, np.ndarray]:
    """X, and a y of an effect of each level, a kink and noise."""
    rng = np.random.default_rng(0)
    level, numbers = rng.integers(0, LEVELS, n), rng.standard_normal((n, NUMBERS))
    one_hot = sparse.csr_array((np.ones(n), (np.arange(n), level)), shape=(n, LEVELS))
    effect = rng.standard_normal(LEVELS)
    y = effect[level] + np.abs(numbers[:, 0]) + numbers[:, 1] + 0.3 * rng.standard_normal(n)
    return sparse.csr_array(sparse.hstack([numbers, one_hot])).astype(dtype), ((y - y.mean()) / y.std()).astype(dtype)


def models(passes: int) -> dict[str, Any]:
    """Name and model; the first two do the same work."""
    return {
        "skrelu, the same work": TwoLayerReLURegressor(100, max_iter=passes, random_state=0, **ALIKE),
        "MLPRegressor": MLPRegressor(
            hidden_layer_sizes=(100,),
            batch_size=BATCH,
            max_iter=passes,
            alpha=0.0,
            tol=0.0,
            n_iter_no_change=10**6,
            random_state=0,
        ),
        "skrelu, its defaults": TwoLayerReLURegressor(100, max_iter=passes, random_state=0),
        "skrelu, its defaults, dense X": TwoLayerReLURegressor(100, max_iter=passes, random_state=0),
        "LinearGDRegressor, 1000 iterations": LinearGDRegressor(),
        "LinearGDRegressor, dense X": LinearGDRegressor(),
        "Ridge, sparse_cg": Ridge(solver="sparse_cg"),
    }


def measure_model(name: str, n: int, passes: int, dtype: str) -> dict[str, Any]:
    """Measure time and peak memory of `fit` and `predict`, in a fresh process."""
    X, y = data(n + 10_000, dtype)
    X, y, X_test, y_test = X[:n], y[:n], X[n:], y[n:]
    data_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    model = models(passes)[name]
    if name.endswith("dense X"):
        X, X_test = X.toarray(), X_test.toarray()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLPRegressor warns of every number of passes
        type(model)(max_iter=1).fit(X[:500], y[:500])
        with PeakMemory() as memory:
            start = time.perf_counter()
            model.fit(X, y)
            fit_s = time.perf_counter() - start
    with PeakMemory() as predicting:
        start = time.perf_counter()
        predicted = model.predict(X_test)
        predict_s = time.perf_counter() - start
    error = float(np.sqrt(np.mean((predicted - y_test) ** 2)))
    return {
        "name": name,
        "passes": passes,
        "fit_s": fit_s,
        "fit_peak_bytes": memory.peak,
        "predict_s": predict_s,
        "predict_peak_bytes": predicting.peak,
        "error": error,
        "data_bytes": data_bytes,
    }


def main() -> None:
    """Measure, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows, without dense X")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="of X (%(default)s)")
    parser.add_argument("--passes", type=int, default=10, help="of the networks (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="BLAS threads (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    restart_with_threads(arguments.threads)
    print_machine(describe_machine())
    n = 10_000 if arguments.quick else 50_000
    names = [name for name in models(1) if not (arguments.quick and name.endswith("dense X"))]
    rows = [in_fresh_process(measure_model, name, n, arguments.passes, arguments.dtype) for name in names]
    table = [
        [
            row["name"],
            duration(row["fit_s"]),
            f"{row['fit_peak_bytes'] / 1e6:.1f} MB",
            duration(row["predict_s"]),
            f"{row['predict_peak_bytes'] / 1e6:.1f} MB",
            f"{row['error']:.3f}",
        ]
        for row in rows
    ]
    print(
        f"{n} rows, {LEVELS} levels and {NUMBERS} numbers, {arguments.dtype}; X takes {rows[0]['data_bytes'] / 1e6:.1f}"
    )
    print(f"MB, and {n * (LEVELS + NUMBERS) * np.dtype(arguments.dtype).itemsize / 1e6:.0f} MB as a dense array.\n")
    print(f"{arguments.passes} passes in batches of {BATCH}; 10000 rows are predicted\n")
    print(markdown_table(["", "fit", "peak memory", "predict", "peak memory", "test error"], table), flush=True)
    write_json(arguments.json, {"one_hot": rows})


if __name__ == "__main__":
    main()
