"""Accuracy and cost of default parameters on real data: see README.md.

    python examples/benchmarks/accuracy.py [--sets NAMES] [--peers NAMES] [--ablation] [--dtype float32] [--json PATH]

Every model has default parameters and one thread. A quarter of the rows is held out, for seeds 0 and 1 (only seed 0
with more than 9000 training rows). The error is the root mean squared error on the held-out rows, relative to that of
MLPRegressor on scaled X and y, and clipped to [0.5, 2]. Times are processor times of `fit`.

`--ablation` compares variants of skrelu instead of other models. `--dtype float32` also trains skrelu on X in float32;
each time is then the shortest of three fits.
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

REFERENCE, OURS, OURS_32, BOOSTING = "scaled MLP", "skrelu", "skrelu float32", "boosting"
TARGET_ERROR, TARGET_TIME = 0.865, 0.80
TIE = 0.01  # relative errors that differ by less are a tie
TIME_TOLERANCE = 0.05  # of float32 beside float64


def scaled_mlp(seed: int) -> Any:
    """MLPRegressor with X and y scaled."""
    return make_pipeline(
        StandardScaler(), TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    )


def lightgbm(seed: int) -> Any:
    """LightGBM with one thread."""
    from lightgbm import LGBMRegressor

    return LGBMRegressor(random_state=seed, n_jobs=1, verbosity=-1)


def catboost(seed: int) -> Any:
    """CatBoost with one thread."""
    from catboost import CatBoostRegressor

    return CatBoostRegressor(random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False)


def ours(**parameters: Any) -> Callable[[int], Any]:
    """skrelu with these parameters; the others have their defaults."""
    return lambda seed: TwoLayerReLURegressor(random_state=seed, **parameters)


VARIANTS: dict[str, Callable[[int], Any]] = {
    "1 member": ours(n_members=1),
    "1 member, 100 units": ours(n_members=1, hidden_layer_size=100),
    "4 members": ours(n_members=4),
    "no scaling layer": ours(scaling_layer=False),
}
PEERS: dict[str, Callable[[int], Any]] = {
    "mlp": lambda seed: MLPRegressor(random_state=seed),
    "ridge": lambda seed: make_pipeline(StandardScaler(), RidgeCV()),
    "lightgbm": lightgbm,
    "catboost": catboost,
}
MODELS: dict[str, Callable[[int], Any]] = {
    REFERENCE: scaled_mlp,
    OURS: ours(),
    OURS_32: ours(),
    BOOSTING: lambda seed: HistGradientBoostingRegressor(random_state=seed),
    **PEERS,
    **VARIANTS,
}


def evaluate(model: Any, X_train: Any, X_test: Any, y_train: Any, y_test: Any) -> tuple[float, float]:
    """Error on the test rows and processor time of `fit`."""
    start = time.process_time()
    with warnings.catch_warnings():  # MLPRegressor does not converge in its default number of passes
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X_train, y_train)
    elapsed = time.process_time() - start
    return float(root_mean_squared_error(y_test, model.predict(X_test))), elapsed


def run_set(name: str, models: list[str], repeats: int) -> list[dict[str, Any]]:
    """Evaluate all models on one data set: a row for each model and seed, with the shortest of `repeats` times."""
    X, y = load(name)
    rows = []
    for seed in (0, 1):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
        results: dict[str, tuple[float, float]] = {}
        for _ in range(repeats):  # the models alternate
            for model in models:
                dtype = np.float32 if model == OURS_32 else np.float64
                error, elapsed = evaluate(
                    MODELS[model](seed), X_train.astype(dtype), X_test.astype(dtype), y_train, y_test
                )
                results[model] = error, min(elapsed, results[model][1] if model in results else np.inf)
        reference = results[REFERENCE][0]
        for model, (error, elapsed) in results.items():
            relative = float(np.clip(error / reference, 0.5, 2.0))
            sizes = {"set": name, "n_train": len(X_train), "d": X.shape[1]}
            rows.append({**sizes, "seed": seed, "model": model, "rmse": error, "relative": relative, "time_s": elapsed})
        if len(X_train) > 9000:
            break
    return rows


def geometric_mean(values: list[float]) -> float:
    """Geometric mean of positive numbers."""
    return float(np.exp(np.mean(np.log(values))))


def by_set(rows: list[dict[str, Any]], model: str) -> dict[str, float]:
    """Relative error of a model on each set: the geometric mean over the seeds."""
    mine = [row for row in rows if row["model"] == model]
    return {
        name: geometric_mean([row["relative"] for row in mine if row["set"] == name])
        for name in dict.fromkeys(row["set"] for row in mine)
    }


def times(rows: list[dict[str, Any]], model: str) -> dict[str, float]:
    """Time of a model on each set, summed over the seeds."""
    mine = [row for row in rows if row["model"] == model]
    return {
        name: sum(row["time_s"] for row in mine if row["set"] == name)
        for name in dict.fromkeys(row["set"] for row in mine)
    }


def summarize(rows: list[dict[str, Any]], model: str) -> dict[str, Any]:
    """Relative error over the sets, total time, and on how many sets skrelu is better, as good and worse."""
    relative, ours = by_set(rows, model), by_set(rows, OURS)
    ratios = [ours[name] / relative[name] for name in relative]
    wins, losses = sum(ratio < 1 - TIE for ratio in ratios), sum(ratio > 1 + TIE for ratio in ratios)
    total, of_reference = (sum(times(rows, m).values()) for m in (model, REFERENCE))
    return {
        "relative_rmse": geometric_mean(list(relative.values())),
        "median_relative_rmse": float(np.median(list(relative.values()))),
        "time_s": total,
        "relative_time": total / of_reference,
        "skrelu_wins": wins,
        "ties": len(ratios) - wins - losses,
        "skrelu_losses": losses,
    }


def print_summary(rows: list[dict[str, Any]], summaries: dict[str, dict[str, Any]]) -> None:
    """Print one line for each model."""
    header = ["model", "relative RMSE", "median", "relative time", "time", "skrelu better / tie / worse"]
    table = []
    for model, s in summaries.items():
        record = "" if model == OURS else f"{s['skrelu_wins']} / {s['ties']} / {s['skrelu_losses']}"
        errors = [f"{s['relative_rmse']:.3f}", f"{s['median_relative_rmse']:.3f}"]
        table.append([model, *errors, f"{s['relative_time']:.3f}", duration(s["time_s"]), record])
    n_sets = len(by_set(rows, OURS))
    print(f"\n{markdown_table(header, table)}")
    print(f"\nOver {n_sets} sets: geometric mean and median of the relative RMSE. A tie is within {TIE:.0%}.")
    print(f"skrelu's target is {TARGET_ERROR} of the error or less, in {TARGET_TIME} of the time or less.")


def print_dtypes(rows: list[dict[str, Any]]) -> None:
    """Print the times of skrelu in float64 and in float32, and the sets on which float32 is slower."""
    double, single = times(rows, OURS), times(rows, OURS_32)
    ratios = {name: single[name] / double[name] for name in double}
    table = [[name, duration(double[name]), duration(single[name]), f"{ratios[name]:.2f}"] for name in ratios]
    print("\n" + markdown_table(["set", "float64", "float32", "float32 / float64"], table))
    slower = [name for name, ratio in ratios.items() if ratio > 1 + TIME_TOLERANCE]
    print(
        f"\nfloat32 takes more than {1 + TIME_TOLERANCE:.2f} of the time of float64 on: {', '.join(slower) or 'no set'}"
    )


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
        "--peers", type=names_from(list(PEERS)), default=[], metavar="NAMES", help=f"more models: {', '.join(PEERS)}"
    )
    parser.add_argument("--ablation", action="store_true", help=f"variants of skrelu: {'; '.join(VARIANTS)}")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="float32: skrelu in both")
    parser.add_argument("--json", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    restart_with_threads(1)
    print_machine(describe_machine())
    both_dtypes = arguments.dtype == "float32"
    models = [REFERENCE, OURS, *([OURS_32] if both_dtypes else []), *(VARIANTS if arguments.ablation else [BOOSTING])]
    models += arguments.peers
    rows: list[dict[str, Any]] = []
    lines: list[list[str]] = []
    for name in arguments.sets:
        try:
            found = run_set(name, models, repeats=3 if both_dtypes else 1)
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
    print_summary(rows, summaries)
    if both_dtypes:
        print_dtypes(rows)
    write_json(arguments.json, {"rows": rows, "summary": summaries})


if __name__ == "__main__":
    main()
