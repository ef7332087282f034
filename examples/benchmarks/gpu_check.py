"""Check of ``array_module="cupy"`` on a machine with a GPU: same results as NumPy, no waiting, speed.

    pip install -e ".[test,cuda12]"    # or cuda13; install PyTorch for CUDA to compare with it, too
    python examples/benchmarks/gpu_check.py --json gpu_check.json

prints one table and exits with status 1 if a check failed. It takes a few minutes. Without a GPU the script says so,
claims nothing and exits with status 0. `--dry` runs everything at small sizes, at which times mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before SciPy is imported

import numpy as np
import sklearn
from measure import describe_machine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_array_api_input_and_values, check_estimator

from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._arrays import CupyArrayModule, NumpyArrayModule
from skrelu._engines.minibatches import Minibatches
from skrelu._engines.recipe import Recipe
from skrelu._models.network import TwoLayerNetwork
from skrelu._models.penalty import Penalty
from skrelu._models.standardize import identity
from skrelu._rows.batches import Batches

ROOT = Path(__file__).resolve().parents[2]
Row = tuple[str, str, str, bool | None]  # check, result, requirement, whether it holds (None: only measured)


def problem(n: int, d: int, m: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)).astype(dtype)
    y = np.abs(X[:, :1]) + X[:, -1:] * rng.uniform(0.5, 1.5, m) + 0.1 * rng.standard_normal((n, m))
    return X, (y[:, 0] if m == 1 else y).astype(dtype)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest magnitude in `b`."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def synchronize() -> None:
    import cupy

    cupy.cuda.Device().synchronize()


def seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """The shortest time of several runs, after a first run that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times[1:])


# Results


def check_functions(dry: bool) -> list[Row]:
    """Compare every array function with NumPy's, on the cases of the tests; outputs hold NaN before."""
    spec = importlib.util.spec_from_file_location("cases", ROOT / "tests" / "array_cases.py")
    assert spec is not None
    assert spec.loader is not None
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    rows: list[Row] = []
    for dtype in (np.float64, np.float32):
        worst, where, n_cases = 0.0, "", 0
        for name in tests.NAMES:
            for shape in tests.SHAPES[:3] if dry else tests.SHAPES:
                for case in tests.cases(*shape, np.random.default_rng(0))[name]:
                    value, outputs = tests.run(CupyArrayModule(None), name, case, dtype)
                    expected_value, expected = tests.run(NumpyArrayModule(), name, case, dtype)
                    pairs = [(outputs[key], expected[key]) for key in outputs]
                    if expected_value is not None:
                        pairs.append((np.atleast_1d(value), np.atleast_1d(expected_value)))
                    for ours, theirs in pairs:
                        # The unit is the rounding error of a sum of as many terms, each at most 20 in magnitude.
                        scale = 20 * (max(shape) if name in tests.SUMS else 1) * float(np.finfo(dtype).eps)
                        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
                        off = np.where(same, 0.0, np.abs(np.where(same, 0, ours) - np.where(same, 0, theirs))) / scale
                        worst, where = max((worst, where), (float(np.nan_to_num(off, nan=np.inf).max()), name))
                    n_cases += 1
        result = f"{worst:.2g} roundings at most ({where or 'all equal'}), {n_cases} calls"
        rows.append((f"array functions, {np.dtype(dtype).name}", result, "at most 8", worst <= 8))
    return rows


def check_training(dry: bool) -> list[Row]:
    """Compare predictions of models trained on the GPU with NumPy's."""
    rows: list[Row] = []
    n, h = (60, 8) if dry else (5000, 64)
    for dtype, limits in ((np.float64, (1e-9, 1e-6)), (np.float32, (1e-3, 5e-2))):
        X, y = problem(n, 20, 3, dtype)
        works = {
            "gd, 200 steps": (TwoLayerReLURegressor(h, solver="gd", max_iter=200, precompute=False), limits[0]),
            "sample space, 200 steps": (
                TwoLayerReLURegressor(h, solver="gd", max_iter=200, precompute=True),
                limits[0],
            ),
            "linear, 200 steps": (LinearGDRegressor(max_iter=200, precompute=False), limits[0]),
            "closed form": (LinearGDRegressor(max_iter=200, precompute=True), limits[0]),
            "adam, 3 epochs": (TwoLayerReLURegressor(h, n_members=1, scaling_layer=False, max_iter=3), limits[1]),
            "adam, 4 members, 3 epochs": (
                TwoLayerReLURegressor(h, n_members=4, scaling_layer=True, max_iter=3),
                limits[1],
            ),
        }
        for name, (model, limit) in works.items():
            model.set_params(random_state=0)
            few = slice(0, min(n, 500)) if "space" in name else slice(None)
            ours = [sklearn.clone(model).set_params(array_module="cupy").fit(X[few], y[few]) for _ in range(2)]
            expected = sklearn.clone(model).fit(X[few], y[few]).predict(X)
            off = difference(ours[0].predict(X), expected)
            repeated = bool((ours[0].predict(X) == ours[1].predict(X)).all())
            what = f"training, {name}, {np.dtype(dtype).name}"
            rows.append((what, f"relative difference {off:.1e}", f"at most {limit:.0e}", off <= limit))
            rows.append((f"{what}, twice", "equal" if repeated else "not equal", "equal", repeated))
    return rows


def stream(model: Any, X: np.ndarray, y: np.ndarray) -> Any:
    for rows in np.array_split(np.arange(len(X)), 40):
        model.partial_fit(X[rows], y[rows])
    return model


def check_data(dry: bool) -> list[Row]:
    """Compare with NumPy what is measured of the data: running moments, the basis of wide X, columns far from zero."""
    rows: list[Row] = []
    n, h = (80, 8) if dry else (4000, 64)
    for dtype, limit in ((np.float64, 1e-6), (np.float32, 5e-2)):
        X, y = problem(n, 20, 3, dtype)
        grows, wide, far = X * np.linspace(1, 3, n, dtype=dtype)[:, None], problem(60, 300, 1, dtype), X.copy()
        far[:, 0] = 1.7e9 + 128 * np.floor(4 * X[:, 0])
        network = TwoLayerReLURegressor(h, max_iter=3, random_state=0)
        works: dict[str, tuple[Any, Callable[..., Any], tuple[np.ndarray, np.ndarray]]] = {
            "stream of a network, 40 chunks, X grows": (network, stream, (grows, y)),
            "stream of a linear model, 40 chunks, X grows": (LinearGDRegressor(), stream, (grows, y)),
            "60 x 300, adam, 3 epochs": (network, lambda model, X, y: model.fit(X, y), wide),
            "a column far from zero, adam, 3 epochs": (network, lambda model, X, y: model.fit(X, y), (far, y)),
        }
        for name, (model, train, data) in works.items():
            ours = train(sklearn.clone(model).set_params(array_module="cupy"), *data).predict(data[0])
            off = difference(ours, train(sklearn.clone(model), *data).predict(data[0]))
            what = f"{name}, {np.dtype(dtype).name}"
            rows.append((what, f"relative difference {off:.1e}", f"at most {limit:.0e}", off <= limit))
    return rows


def check_asynchrony(dry: bool) -> list[Row]:
    """Check that launching an epoch takes much less time than the epoch: the CPU waits for nothing in it."""
    n, d, h, batch = (256, 8, 8, 64) if dry else (65536, 512, 2048, 8192)
    am = CupyArrayModule(None)
    X, y = problem(n, d, 2, np.float32)
    with am.session():
        data = Batches(am, am.from_numpy(X, None), am.from_numpy(y, None), None, identity(d), ones=True, rows=batch)
        model = TwoLayerNetwork(am, d, h, 2, True, np.dtype(np.float32), n_members=4, scaling_layer=True)
        model.load(model.draw(np.random.RandomState(0)))
        penalty = Penalty(model, fixed=None, c=1.0, total_weight=float(n))
        engine = Minibatches(model, data, penalty, Recipe(solver="adam"), rate=1e-3)
        engine._pass()
        synchronize()
        start = time.perf_counter()
        engine._pass()
        launched = time.perf_counter() - start
        synchronize()
        done = time.perf_counter() - start
    share = launched / done
    result = f"launched in {1e3 * launched:.1f} ms, done after {1e3 * done:.1f} ms"
    return [("an epoch does not wait", result, "launched in half the time", None if dry else share < 0.5)]


def check_memory(dry: bool) -> list[Row]:
    import cupy

    X, y = problem(2000, 50, 1, np.float32)
    pool, used, reserved = cupy.get_default_memory_pool(), [], []
    for _ in range(3 if dry else 20):
        TwoLayerReLURegressor(max_iter=2, array_module="cupy", random_state=0).fit(X, y)
        gc.collect()
        used.append(pool.used_bytes())
        reserved.append(pool.total_bytes())
    flat = used[-1] == used[0] and reserved[-1] <= reserved[1]
    result = f"{used[0]:,} to {used[-1]:,} bytes in use, {reserved[1]:,} to {reserved[-1]:,} reserved"
    return [(f"memory of the GPU after {len(used)} fits", result, "no more than at first", flat)]


def check_scikit_learn(dry: bool) -> list[Row]:
    """Run scikit-learn's checks on estimators that train on the GPU, and on CuPy arrays."""
    rows: list[Row] = []
    network = TwoLayerReLURegressor(max_iter=5 if dry else "auto", array_module="cupy")
    for model in (LinearGDRegressor(array_module="cupy"), *([] if dry else [network])):
        results = check_estimator(model, on_skip=None, on_fail=None)
        failed = [r["check_name"] for r in results if r["status"] not in ("passed", "skipped")]
        skipped = sum(r["status"] == "skipped" for r in results)
        result = f"{len(results) - len(failed) - skipped} passed, {skipped} skipped, failed: {failed or 'none'}"
        rows.append((f"check_estimator({model})", result, "none failed", not failed))
    for model in (LinearGDRegressor(max_iter=20), TwoLayerReLURegressor(20, max_iter=20, batch_size=8, random_state=0)):
        for dtype in ("float64", "float32"):
            check_array_api_input_and_values(
                type(model).__name__, model, array_namespace="cupy", dtype_name=dtype, check_sample_weight=True
            )
        rows.append((f"CuPy in, CuPy out, {type(model).__name__}", "passed", "values as NumPy's", True))
    return rows


def check_tools(dry: bool) -> list[Row]:
    """Check Pipeline, GridSearchCV, and loading the model in a process without a GPU."""
    X, y = problem(200 if dry else 2000, 10, 1, np.float64)
    network = TwoLayerReLURegressor(20, max_iter=5, array_module="cupy", random_state=0)
    pipeline = make_pipeline(StandardScaler(), network)
    grid = {"twolayerreluregressor__learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(pipeline, grid, n_jobs=1, cv=3, error_score="raise").fit(X, y)
    expected = search.predict(X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "model.pickle").write_bytes(pickle.dumps(search.best_estimator_))
        np.savez(path / "data.npz", X=X, expected=expected)
        code = (
            "import pickle, sys, numpy as np; sys.modules['cupy'] = None; data = np.load('data.npz')\n"
            "model = pickle.load(open('model.pickle', 'rb'))\n"
            "assert np.array_equal(model.predict(data['X']), data['expected'])"
        )
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=path, env=environment, capture_output=True, text=True
        )
    same = process.returncode == 0
    score = float(search.best_score_)
    return [
        ("Pipeline in GridSearchCV", f"best score {score:.3f}", "a finite score", bool(np.isfinite(score))),
        ("loaded where there is no GPU", "equal" if same else process.stderr[-300:], "equal predictions", same),
    ]


# Speed


def torch_iteration(X: np.ndarray, y: np.ndarray, h: int, batch: int | None, n_iter: int, device: str) -> float:
    """Seconds per iteration of eager PyTorch: gradient descent, or a pass of Adam over minibatches."""
    import torch

    X_there, y_there = torch.from_numpy(X).to(device), torch.from_numpy(y.reshape(len(y), -1)).to(device)
    d, m = X_there.shape[1], y_there.shape[1]
    module = torch.nn.Sequential(torch.nn.Linear(d, h), torch.nn.ReLU(), torch.nn.Linear(h, m))
    module = module.to(device, X_there.dtype)
    parameters = list(module.parameters())
    optimizer: Any = (
        torch.optim.SGD(parameters, 1e-6) if batch is None else torch.optim.Adam(parameters, 1e-3, fused=True)
    )

    def step(X: Any, y: Any) -> None:
        optimizer.zero_grad()
        (0.5 * torch.nn.functional.mse_loss(module(X), y)).backward()
        optimizer.step()

    def run() -> None:
        for _ in range(n_iter):
            if batch is None:
                step(X_there, y_there)
                continue
            for rows in torch.randperm(len(X), device=device).split(batch):
                step(X_there[rows], y_there[rows])
        if device == "cuda":
            torch.cuda.synchronize()

    return seconds(run) / n_iter


def iteration_of(model: Any, X: np.ndarray, y: np.ndarray, few: int, many: int) -> float:
    """Seconds per iteration, from fits of `few` and of `many` iterations, so that one-time costs do not count."""
    times = [seconds(lambda k=k: sklearn.clone(model).set_params(max_iter=k).fit(X, y), 2) for k in (few, many)]
    return (times[1] - times[0]) / (many - few)


def gemm_rate(dtype: Any, side: int) -> float:
    """Floating-point operations per second of CuPy's matrix product."""
    import cupy

    A, B, out = (cupy.ones((side, side), dtype=dtype) for _ in range(3))

    def products() -> None:
        for _ in range(10):
            cupy.matmul(A, B, out=out)
        synchronize()

    return 10 * 2.0 * side**3 / seconds(products)


def torch_device(dry: bool) -> str | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu" if dry else None


def check_speed(dry: bool) -> list[Row]:
    rates = {
        dtype: gemm_rate(dtype, 64 if dry else 8192 if dtype == "float32" else 4096) for dtype in ("float32", "float64")
    }
    rows: list[Row] = [(f"matrix product, {dtype}", f"{rate:.3g} FLOP/s", "", None) for dtype, rate in rates.items()]
    # Sizes, batch, iterations on the GPU and on the CPU, required speedup over NumPy; PyTorch should be no faster.
    works = {
        "tutorial, 64 x 1000 x 100 x 10, float64, gd": (
            64,
            1000,
            100,
            10,
            np.float64,
            None,
            (100, 500),
            (100, 500),
            None,
        ),
        "small, 10k x 20 x 100, float32, Adam": (10_000, 20, 100, 1, np.float32, 128, (4, 16), (2, 6), None),
        "large, 200k x 256 x 1024, float32, gd": (200_000, 256, 1024, 1, np.float32, None, (4, 24), (1, 3), 50.0),
        "large, 200k x 256 x 1024, float32, Adam": (200_000, 256, 1024, 1, np.float32, 8192, (2, 22), (1, 4), None),
    }
    device = torch_device(dry)
    for name, (n, d, h, m, dtype, batch, on_gpu, on_cpu, target) in works.items():
        if dry:
            n, d, h, on_gpu, on_cpu = max(64, n // 1000), min(d, 20), min(h, 16), (1, 2), (1, 2)
        X, y = problem(n, d, m, dtype)
        options = {"learning_rate": 1e-6, "precompute": False} if batch is None else {"batch_size": batch}
        solver = "gd" if batch is None else "adam"
        # One member and no scaling layer: PyTorch's network.
        model = TwoLayerReLURegressor(h, n_members=1, solver=solver, standardize=False, random_state=0, **options)
        there = sklearn.clone(model).set_params(array_module="cupy")
        ours, numpy = iteration_of(there, X, y, *on_gpu), iteration_of(model, X, y, *on_cpu)
        rate = 4.0 * n * d * h / ours / rates[np.dtype(dtype).name]
        result = f"{1e3 * ours:.3f} ms an iteration, {rate:.0%} of the matrix product's rate"
        rows.append((name, result, "", None))
        faster = None if target is None or dry else numpy / ours >= target
        rows.append((f"{name}: NumPy", f"{numpy / ours:.1f} times the time", f"{target:g}" if target else "", faster))
        if device is not None:
            torch = torch_iteration(X, y, h, batch, on_gpu[1], device)
            holds = None if dry else torch >= ours
            rows.append((f"{name}: PyTorch, eager", f"{torch / ours:.2f} times the time", "1", holds))
    return rows


CHECKS = (
    check_functions,
    check_training,
    check_data,
    check_asynchrony,
    check_memory,
    check_scikit_learn,
    check_tools,
    check_speed,
)


def describe() -> dict[str, Any]:
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {"GPU": name, "CUDA": cupy.cuda.runtime.runtimeGetVersion(), "cupy": cupy.__version__} | describe_machine()


def why_not() -> str | None:
    """The reason why this machine cannot run the checks, or None."""
    try:
        CupyArrayModule(None)
    except (ImportError, RuntimeError) as error:
        return str(error)
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the description of the machine and all rows")
    parser.add_argument("--only", default="", help="only checks whose name contains this")
    parser.add_argument("--dry", action="store_true", help="small sizes, at which times mean nothing")
    options = parser.parse_args(arguments)
    reason = why_not()
    if reason is not None:
        print(f"Nothing was checked, and nothing is claimed: {reason}")
        return 0
    start, machine, rows = time.perf_counter(), describe(), []
    print(json.dumps(machine, indent=1))
    print("\n| check | result | asked for | |\n|---|---|---|---|")
    for check in CHECKS:
        if options.only not in check.__name__:
            continue
        try:
            found = check(options.dry)
        except Exception as error:  # run the other checks anyway
            found = [(check.__name__, f"{type(error).__name__}: {error}", "no error", False)]
        for what, result, asked, holds in found:
            print(f"| {what} | {result} | {asked} | {'' if holds is None else 'yes' if holds else 'NO'} |", flush=True)
        rows += found
    failed = [row[0] for row in rows if row[3] is False]
    took = time.perf_counter() - start
    print(f"\n{len(rows)} rows in {took:.0f} s; not as asked for: {', '.join(failed) or 'none'}")
    if options.json:
        table = [dict(zip(("check", "result", "asked for", "holds"), row, strict=True)) for row in rows]
        options.json.write_text(json.dumps(machine | {"seconds": took, "dry": options.dry, "rows": table}, indent=1))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
