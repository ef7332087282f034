"""Accuracy and cost of default parameters on real data: see README.md.

    python examples/benchmarks/accuracy.py [--sets NAMES] [--peers NAMES] [--json PATH]

Every model has default parameters and one thread. A quarter of the rows is held out, for seeds 0 and 1 (only seed 0
with more than 9000 training rows). The error is the root mean squared error on the held-out rows, relative to that of
MLPRegressor on scaled X and y, and clipped to [0.5, 2]. Times are processor times of `fit`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import SETS, load
from measure import describe_machine, duration, markdown_table, print_machine, restart_with_threads, write_json
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import TwoLayerReLURegressor

REFERENCE, OURS = "scaled MLP", "skrelu"
TARGET_ERROR, TARGET_TIME = 0.905, 0.45


def scaled_mlp(seed: int) -> Any:
    """MLPRegressor with X and y scaled."""
    return make_pipeline(
        StandardScaler(), TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    )


MODELS: dict[str, Callable[[int], Any]] = {
    REFERENCE: scaled_mlp,
    OURS: lambda seed: TwoLayerReLURegressor(random_state=seed),
    "mlp": lambda seed: MLPRegressor(random_state=seed),
    "ridge": lambda seed: make_pipeline(StandardScaler(), RidgeCV()),
    "boosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
}
OPTIONAL = [name for name in MODELS if name not in (REFERENCE, OURS)]


def evaluate(model: Any, X_train: Any, X_test: Any, y_train: Any, y_test: Any) -> tuple[float, float]:
    """Error on the test rows and processor time of `fit`."""
    start = time.process_time()
    with warnings.catch_warnings():  # MLPRegressor does not converge in its default number of passes
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X_train, y_train)
    elapsed = time.process_time() - start
    return float(root_mean_squared_error(y_test, model.predict(X_test))), elapsed


def run_set(name: str, models: list[str]) -> list[dict[str, Any]]:
    """Evaluate all models on one data set: a row for each model and seed."""
    X, y = load(name)
    rows = []
    for seed in (0, 1):
        split = train_test_split(X, y, test_size=0.25, random_state=seed)
        results = {model: evaluate(MODELS[model](seed), *split) for model in models}
        reference = results[REFERENCE][0]
        for model, (error, elapsed) in results.items():
            relative = float(np.clip(error / reference, 0.5, 2.0))
            sizes = {"set": name, "n_train": len(split[0]), "d": X.shape[1]}
            rows.append({**sizes, "seed": seed, "model": model, "rmse": error, "relative": relative, "time_s": elapsed})
        if len(split[0]) > 9000:
            break
    return rows


def geometric_mean(values: list[float]) -> float:
    """Geometric mean of positive numbers."""
    return float(np.exp(np.mean(np.log(values))))


def summarize(rows: list[dict[str, Any]], model: str) -> dict[str, float]:
    """Relative error (geometric mean over seeds, then sets) and total time, also relative to the reference."""
    mine = [row for row in rows if row["model"] == model]
    by_set = {name: [row["relative"] for row in mine if row["set"] == name] for name in {row["set"] for row in mine}}
    total = {m: sum(row["time_s"] for row in rows if row["model"] == m) for m in (model, REFERENCE)}
    return {
        "relative_rmse": geometric_mean([geometric_mean(values) for values in by_set.values()]),
        "time_s": total[model],
        "relative_time": total[model] / total[REFERENCE],
    }


def set_line(rows: list[dict[str, Any]], models: list[str]) -> list[str]:
    """One line of the table: the sizes of a data set, and relative error and time of each model."""
    cells = [rows[0]["set"], f"{rows[0]['n_train']} x {rows[0]['d']}"]
    for model in models:
        mine = [row for row in rows if row["model"] == model]
        seconds = sum(row["time_s"] for row in mine)
        if model == REFERENCE:
            cells += [f"{np.mean([row['rmse'] for row in mine]):.4g}", duration(seconds)]
        else:
            cells += [f"{geometric_mean([row['relative'] for row in mine]):.3f}", duration(seconds)]
    return cells


def names_from(allowed: list[str]) -> Callable[[str], list[str]]:
    """An argparse type: names separated by commas."""

    def parse(text: str) -> list[str]:
        chosen = list(dict.fromkeys(text.split(",")))
        unknown = [name for name in chosen if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(allowed)}")
        return chosen

    return parse


def main() -> None:
    """Evaluate the models, print the tables and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sets", type=names_from(list(SETS)), default=list(SETS), metavar="NAMES", help=f"from: {', '.join(SETS)}"
    )
    parser.add_argument(
        "--peers", type=names_from(OPTIONAL), default=[], metavar="NAMES", help=f"more models: {', '.join(OPTIONAL)}"
    )
    parser.add_argument("--json", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    restart_with_threads(1)
    print_machine(describe_machine())
    models = [REFERENCE, OURS, *arguments.peers]
    rows: list[dict[str, Any]] = []
    lines: list[list[str]] = []
    for name in arguments.sets:
        try:
            found = run_set(name, models)
        except ModuleNotFoundError as error:
            print(f"{name}: left out. {error}")
            continue
        rows += found
        lines.append(set_line(found, models))
        print(*lines[-1], flush=True)
    if not rows:
        parser.error("no set could be read")
    header = ["set", "training rows x columns", f"RMSE of {REFERENCE}", "time"]
    for model in models[1:]:
        header += [model, "time"]
    print("\n" + markdown_table(header, lines))
    summaries = {model: summarize(rows, model) for model in models}
    table = [
        [model, f"{s['relative_rmse']:.3f}", f"{s['relative_time']:.3f}", duration(s["time_s"])]
        for model, s in summaries.items()
    ]
    print(f"\n{markdown_table(['model', 'relative RMSE', 'relative time', 'time'], table)}")
    print(f"\nskrelu's target is {TARGET_ERROR} of the error or less, in {TARGET_TIME} of the time or less.")
    write_json(arguments.json, {"rows": rows, "summary": summaries})


if __name__ == "__main__":
    main()
