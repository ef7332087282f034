"""Growth of time and memory of `fit`, and the choices of the cost model: see README.md.

    python examples/benchmarks/scaling.py [--quick] [--only NAME] [--dtype float32] [--threads N] [--json PATH]
    python examples/benchmarks/scaling.py --cost-model [--quick] [--json PATH]

Memory is anonymous memory, which excludes pages of a mapped file. It counts from the level of the process after the
imports, the creation of the data and the fit of a tiny model. Each line comes from its own process. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

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

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

PASSES = {"adam": 4, "gd": 20}
MAPPED_BYTES = 2 * 10**9


class Point(NamedTuple):
    """A problem and its training parameters; the defaults are the starting point of the sweeps."""

    n: int = 2**14
    d: int = 64
    h: int = 128
    m: int = 1
    batch: int = 128
    solver: str = "adam"
    members: int = 4  # "auto" takes 8 for few rows

    @property
    def flops(self) -> float:
        """Floating-point operations of the matrix products of all passes."""
        n_products = 3 if self.m > 1 else 1  # with W2: one output needs only that of the forward pass
        return PASSES[self.solver] * self.n * self.h * (4.0 * self.d + 2.0 * n_products * self.members * self.m)


class Sweep(NamedTuple):
    """One size grows by powers of two, the others stay constant."""

    size: str
    first: int  # exponents
    last: int
    start: Point = Point()

    def points(self, quick: bool) -> Iterator[Point]:
        for exponent in range(self.first, self.last + 1, 2 if quick else 1):
            yield self.start._replace(**{self.size: 2**exponent})


SWEEPS = {
    "n": Sweep("n", 11, 18),
    "d": Sweep("d", 2, 11),
    "h": Sweep("h", 3, 11),
    "m": Sweep("m", 0, 7),
    "batch": Sweep("batch", 3, 12),
    "gd_n": Sweep("n", 11, 18, Point(solver="gd", members=1)),
}


def matmul_rate(dtype: str, side: int = 1536) -> float:
    """Floating-point operations per second of a large matrix product."""
    A = np.random.default_rng(0).standard_normal((side, side)).astype(dtype)
    out, times = np.empty_like(A), []
    for _ in range(8):
        start = time.perf_counter()
        np.matmul(A, A, out=out)
        times.append(time.perf_counter() - start)
    return 2.0 * side**3 / min(times)


def regressor(point: Point) -> TwoLayerReLURegressor:
    """The network, trained for a fixed number of passes."""
    return TwoLayerReLURegressor(
        point.h,
        n_members=point.members,
        solver=point.solver,
        learning_rate=1e-3,
        batch_size=point.batch,
        max_iter=PASSES[point.solver],
        precompute=False,
        random_state=0,
    )


def warm_up(dtype: str) -> None:
    """Fit a tiny model, so that imports and BLAS's own buffers do not count."""
    rng = np.random.default_rng(0)
    for n, d in ((20, 3), (512, 64)):
        TwoLayerReLURegressor(8, max_iter=1).fit(rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(n))


def measure_point(point: Point, dtype: str, repeats: int) -> dict[str, Any]:
    """Measure time and peak memory of `fit`, in a fresh process."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((point.n, point.d)).astype(dtype, copy=False)
    y = rng.standard_normal((point.n, point.m)).astype(dtype, copy=False)
    warm_up(dtype)
    with PeakMemory() as memory:
        regressor(point).fit(X, y)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        regressor(point).fit(X, y)
        times.append(time.perf_counter() - start)
    data = X.nbytes + y.nbytes
    return {**point._asdict(), "time_s": statistics.median(times), "peak_bytes": memory.peak, "data_bytes": data}


def slope(sizes: list[int], values: list[float]) -> float:
    """Slope of the line through the points on logarithmic axes."""
    return float(np.polyfit(np.log2(sizes), np.log2(np.maximum(values, 1.0e-9)), 1)[0])


def run_sweep(name: str, dtype: str, quick: bool) -> dict[str, Any]:
    """Measure all points of a sweep and print them."""
    sweep, rows = SWEEPS[name], []
    rate = in_fresh_process(matmul_rate, dtype)
    for point in sweep.points(quick):
        row = in_fresh_process(measure_point, point, dtype, 1 if quick else 3)
        row["fraction_of_matmul_rate"] = point.flops / row["time_s"] / rate
        rows.append(row)
    sizes = [row[sweep.size] for row in rows]
    times, peaks = [row["time_s"] for row in rows], [row["peak_bytes"] for row in rows]
    half = len(rows) // 2
    slopes = {
        "time": slope(sizes, times),
        "time_last_half": slope(sizes[half:], times[half:]),
        "memory_last_half": slope(sizes[half:], peaks[half:]),
    }
    fixed = ", ".join(f"{key}={value}" for key, value in sweep.start._asdict().items() if key != sweep.size)
    print(f"\n{sweep.size} grows; {fixed}, {PASSES[sweep.start.solver]} passes, {dtype}\n")
    table = [
        [
            str(row[sweep.size]),
            duration(row["time_s"]),
            f"{row['fraction_of_matmul_rate']:.1%}",
            f"{row['peak_bytes'] / 1e6:.1f}",
            f"{row['data_bytes'] / 1e6:.1f}",
        ]
        for row in rows
    ]
    print(markdown_table([sweep.size, "time", "of the matmul rate", "peak memory, MB", "X and y, MB"], table))
    print(
        f"\nSlope of time {slopes['time']:.2f} ({slopes['time_last_half']:.2f} in the last half), of memory "
        f"{slopes['memory_last_half']:.2f} (last half); a matrix product runs at {rate / 1e9:.1f} Gflop/s.",
        flush=True,
    )
    return {"rows": rows, "slopes": slopes, "matmul_flops_per_second": rate}


def write_mapped(folder: Path, n: int, d: int) -> None:
    """Write X as raw float32, a block at a time, and y."""
    rng = np.random.default_rng(0)
    w, y = rng.standard_normal(d, dtype=np.float32) / np.float32(np.sqrt(d)), np.empty(n)
    with (folder / "X.float32").open("wb") as file:
        for start in range(0, n, 2**14):
            X = rng.standard_normal((min(2**14, n - start), d), dtype=np.float32)
            X.tofile(file)
            y[start : start + len(X)] = np.maximum(X @ w, 0)
    np.save(folder / "y.npy", y)


def fit_mapped(folder: Path, n: int, d: int) -> dict[str, Any]:
    """Train for one pass over the mapped X with default parameters, in a fresh process."""
    X = np.memmap(folder / "X.float32", dtype=np.float32, mode="r", shape=(n, d))
    y = np.load(folder / "y.npy")
    warm_up("float32")
    model = TwoLayerReLURegressor(max_iter=1, random_state=0)
    start = time.perf_counter()
    with PeakMemory() as memory:
        model.fit(X, y)
    elapsed = time.perf_counter() - start
    return {"n": n, "d": d, "X_bytes": X.nbytes, "time_s": elapsed, "peak_bytes": memory.peak}


def run_mapped(quick: bool) -> list[dict[str, Any]]:
    """Train on an X of 2 GB in a file, wide and narrow; the file is temporary."""
    rows: list[dict[str, Any]] = []
    for d in (1000,) if quick else (1000, 100):
        n = MAPPED_BYTES // (4 * d)
        with tempfile.TemporaryDirectory() as name:
            free = shutil.disk_usage(name).free
            if free < 2 * MAPPED_BYTES:
                print(f"\nmapped: left out, {name} has only {free / 1e9:.1f} GB free")
                return rows
            in_fresh_process(write_mapped, Path(name), n, d)
            rows.append(in_fresh_process(fit_mapped, Path(name), n, d))
    print("\nX mapped from a file, float32; default parameters, one pass in batches of 128 rows\n")
    table = [
        [
            f"{row['n']} x {row['d']}",
            f"{row['X_bytes'] / 1e9:.2f} GB",
            duration(row["time_s"]),
            f"{row['peak_bytes'] / 1e6:.1f} MB",
            "yes" if row["peak_bytes"] < 200e6 else "NO",
        ]
        for row in rows
    ]
    print(markdown_table(["X", "size", "time", "peak memory", "under 200 MB"], table), flush=True)
    return rows


class Choice(NamedTuple):
    """A problem on which the shortcut and the plain engine are timed; h = 0 is the linear model."""

    n: int
    d: int
    h: int

    @property
    def model(self) -> Any:
        options: dict[str, Any] = {"max_iter": 300, "learning_rate": 1e-6, "random_state": 0}
        return TwoLayerReLURegressor(self.h, solver="gd", **options) if self.h else LinearGDRegressor(**options)

    @property
    def plain_flops(self) -> float:
        return 300 * 4.0 * self.n * self.d * max(self.h, 10)


def choices(quick: bool) -> list[Choice]:
    """The grid, without problems that would take the plain engine more than some seconds."""
    widths, heights = (32, 128, 512, 2048), (10, 100)
    network = [Choice(max(2, int(d * f)), d, h) for h in heights for d in widths for f in (0.25, 1, 1.5, 2, 2.5, 4)]
    sides = (2, 10, 50, 200, 1000, 3000)
    linear = [Choice(n, d, 0) for d in sides for n in (30, 300, 3000, 30_000, 300_000)]
    limit = 2e10 if quick else 1e11
    return [choice for choice in network + linear if choice.plain_flops < limit and choice.n * choice.d < 2e7]


def time_choice(choice: Choice) -> dict[str, Any]:
    """Time both engines, alternating, and find the choice of "auto"."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((choice.n, choice.d)), rng.standard_normal(choice.n)
    times: dict[bool, list[float]] = {True: [], False: []}
    begin = time.perf_counter()
    while not times[False] or (len(times[False]) < 15 and time.perf_counter() - begin < 1.0):
        for precompute in (True, False):
            model = choice.model.set_params(precompute=precompute)
            start = time.perf_counter()
            model.fit(X, y)
            times[precompute].append(time.perf_counter() - start)
    auto = choice.model.set_params(max_iter=1).fit(X, y)
    shortcut = "shortcut" in auto._state["engine"]
    medians = {precompute: statistics.median(values) for precompute, values in times.items()}
    return {
        **choice._asdict(),
        "auto_takes_shortcut": shortcut,
        "shortcut_s": medians[True],
        "plain_s": medians[False],
        "regret": medians[shortcut] / min(medians.values()) - 1,
    }


def run_cost_model(quick: bool) -> list[dict[str, Any]]:
    """Print the choices of the cost model beside the measured times."""
    rows = in_fresh_process(time_choices, choices(quick))
    for title, part in (
        ("Network, gradient descent", [row for row in rows if row["h"]]),
        ("Linear model", [row for row in rows if not row["h"]]),
    ):
        wrong = [row for row in part if row["regret"] > 0]
        best, taken = 0.0, 0.0
        for row in part:
            best += min(row["shortcut_s"], row["plain_s"])
            taken += row["shortcut_s"] if row["auto_takes_shortcut"] else row["plain_s"]
        table = [
            [
                f"{row['n']} x {row['d']}" + (f" x {row['h']}" if row["h"] else ""),
                duration(row["shortcut_s"]),
                duration(row["plain_s"]),
                "shortcut" if row["auto_takes_shortcut"] else "plain",
                f"{row['regret']:.0%}" if row["regret"] > 0 else "",
            ]
            for row in part
        ]
        print(f"\n{title}, 300 iterations, float64\n")
        print(markdown_table(["n x d" + " x h" * bool(part[0]["h"]), "shortcut", "plain", "auto", "regret"], table))
        print(
            f"\n{len(part) - len(wrong)} of {len(part)} choices were the faster engine. Together, the choices took "
            f"{taken / best - 1:.1%} more time than the best ones would have; the worst choice took "
            f"{max((row['regret'] for row in wrong), default=0):.0%} more.",
            flush=True,
        )
    return rows


def time_choices(grid: list[Choice]) -> list[dict[str, Any]]:
    """Call `time_choice` for the whole grid, in a fresh process."""
    time_choice(grid[0])  # imports
    return [time_choice(choice) for choice in grid]


def main() -> None:
    """Measure, print the tables and write the results."""
    names = [*SWEEPS, "mapped"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every other size, once")
    parser.add_argument("--only", choices=names, help="one sweep, or the mapped file")
    parser.add_argument("--cost-model", action="store_true", help="time the engines that precompute chooses from")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="dtype of the sweeps")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="BLAS threads (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    restart_with_threads(arguments.threads)
    print_machine(describe_machine())
    results: dict[str, Any] = {}
    if arguments.cost_model:
        results["cost_model"] = run_cost_model(arguments.quick)
    else:
        for name in [arguments.only] if arguments.only else names:
            if name == "mapped":
                results[name] = run_mapped(arguments.quick)
            else:
                results[name] = run_sweep(name, arguments.dtype, arguments.quick)
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
