"""How fast skrelu is beside others at the same work: see README.md.

    python examples/benchmarks/speed.py [--quick] [--only NAME] [--json PATH] [--chart PATH]

BLAS, OpenMP, PyTorch and XLA have one thread each. Every work runs in a process of its own. There each peer is paired
with skrelu: runs alternate (skrelu, peer, skrelu, peer, ...) and the median of the ratios of the pairs is reported.
Data, initial weights (also MLPRegressor's), dtype, batch size and number of steps are the same; what compiles is
compiled before the clock starts. On a busy machine the ratio of processor times is steadier. The last
columns are the objective on all rows at the end of training, skrelu's and the peer's, and their relative difference.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measure import (
    describe_machine,
    duration,
    in_fresh_process,
    markdown_table,
    print_machine,
    restart_with_threads,
    write_json,
)
from peers import (
    Parameters,
    Run,
    Task,
    jax_adam,
    jax_descent,
    mlp_regressor,
    numpy_linear,
    numpy_network,
    sgd_regressor,
    skorch_adam,
    torch_adam,
    torch_adam_compiled,
    torch_descent,
    torch_descent_compiled,
)

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

SEED = 1


class Peer(NamedTuple):
    """Something to compare with; `target` is how many times faster skrelu is meant to be, None without a target."""

    name: str
    build: Callable[[Task], Run]
    target: float | None = None
    library: str = "numpy"


class Work(NamedTuple):
    """A training and who else does it."""

    title: str
    make: Callable[[], Task]
    ours: Callable[[Task], Run]
    peers: tuple[Peer, ...]
    pairs: int = 9


def tutorial_task(n: int, d: int, h: int, m: int, rate: float, dtype: type) -> Task:
    """Random inputs, outputs and weights, as in the tutorials."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, d).astype(dtype), rng.randn(n, m).astype(dtype)
    rng = np.random.RandomState(SEED)
    return Task(X, y, (rng.randn(d, h).astype(dtype), rng.randn(h, m).astype(dtype)), rate, n_iter=500)


def linear_task(n: int, d: int, n_iter: int) -> Task:
    """A linear function with noise."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + 5 + 0.5 * rng.standard_normal(n)
    return Task(X, y, (), rate=0.01, n_iter=n_iter)


def minibatch_task(n: int, d: int, dtype: type) -> Task:
    """A wavy function with noise; weights as `init="he_normal"` draws them."""
    rng, h = np.random.RandomState(0), 100
    X = rng.standard_normal((n, d))
    y = np.sin(2 * X[:, 0]) + X @ rng.standard_normal(d) / np.sqrt(d) + 0.3 * rng.standard_normal(n)
    rng = np.random.RandomState(SEED)
    W1, W2 = rng.standard_normal((d, h)) * np.sqrt(2 / d), rng.standard_normal((h, 1)) * np.sqrt(2 / h)
    weights = (W1.astype(dtype), W2.astype(dtype))
    return Task(X.astype(dtype), y.astype(dtype), weights, rate=0.001, n_iter=5, batch=200)


def our_descent(task: Task) -> Run:
    """TwoLayerReLURegressor with the tutorials' parameters."""
    model = TwoLayerReLURegressor(
        task.weights[0].shape[1],
        solver="gd",
        learning_rate=task.rate,
        max_iter=task.n_iter,
        alpha=0,
        fit_intercept=False,
        init="standard_normal",
        standardize=False,
        reduction="sum",
        random_state=SEED,
    )
    return partial(fit_network, model, task)


def our_adam(task: Task) -> Run:
    """TwoLayerReLURegressor doing what MLPRegressor does by default, on data that need no scaling."""
    model = TwoLayerReLURegressor(
        task.weights[0].shape[1],
        learning_rate=task.rate,
        learning_rate_schedule="constant",
        batch_size=task.batch,
        max_iter=task.n_iter,
        alpha=0,
        standardize=False,
        random_state=SEED,
    )
    return partial(fit_network, model, task)


def our_linear(task: Task) -> Run:
    """LinearGDRegressor from zero at a given rate."""
    return partial(
        fit_linear, LinearGDRegressor(learning_rate=task.rate, max_iter=task.n_iter, standardize=False), task
    )


def our_linear_defaults(task: Task) -> Run:
    """LinearGDRegressor as it comes."""
    return partial(fit_linear, LinearGDRegressor(), task)


def fit_network(model: TwoLayerReLURegressor, task: Task) -> Parameters:
    """W1, b1, W2 and b2 after `fit`."""
    model.fit(task.X, task.y)
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    return W1, b1, W2, b2


def fit_linear(model: LinearGDRegressor, task: Task) -> Parameters:
    """W and b after `fit`."""
    model.fit(task.X, task.y)
    return model.coef_.reshape(-1, 1), np.array([model.intercept_])


def tutorial_work(dtype: type) -> Work:
    """The network of the tutorials."""
    double = dtype is np.float64
    peers = (
        Peer("tutorial's loop", numpy_network, 10 if double else 8),
        Peer("PyTorch eager", torch_descent, 10 if double else None, "torch"),
        Peer("PyTorch compiled", torch_descent_compiled, None, "torch"),
        Peer("JAX jit scan", jax_descent, 6 if double else None, "jax"),
    )
    title = f"tutorial 64 x 1000 x 100 x 10, 500 iterations, {dtype.__name__}"
    return Work(title, partial(tutorial_task, 64, 1000, 100, 10, 1e-6, dtype), our_descent, peers)


def minibatch_work(n: int, d: int, dtype: type, over_mlp: float, over_torch: float) -> Work:
    """Five passes of Adam."""
    peers = (
        Peer("MLPRegressor", mlp_regressor, over_mlp),
        Peer("PyTorch eager", torch_adam, over_torch, "torch"),
        Peer("PyTorch compiled", torch_adam_compiled, None, "torch"),
        Peer("JAX jit scan", jax_adam, None, "jax"),
        Peer("skorch", skorch_adam, None, "skorch"),
    )
    title = f"adam, n={n}, d={d}, h=100, batch 200, 5 passes, {dtype.__name__}"
    return Work(title, partial(minibatch_task, n, d, dtype), our_adam, peers, pairs=9 if d < 1000 else 5)


def works() -> dict[str, Work]:
    """All comparisons by name."""
    all_works = {
        "tutorial64": tutorial_work(np.float64),
        "tutorial32": tutorial_work(np.float32),
        "wide": Work(
            "wide 200 x 5000 x 100 x 1, 500 iterations, float64",
            partial(tutorial_task, 200, 5000, 100, 1, 1e-7, np.float64),
            our_descent,
            (Peer("plain loop", numpy_network, 20),),
            pairs=3,
        ),
        "linear_tall": Work(
            "linear 100000 x 50, 1000 iterations",
            partial(linear_task, 100_000, 50, 1000),
            our_linear,
            (Peer("plain loop", numpy_linear, 30),),
            pairs=3,
        ),
        "linear_small": Work(
            "linear 1000 x 2, 10000 iterations",
            partial(linear_task, 1000, 2, 10_000),
            our_linear,
            (Peer("plain loop", numpy_linear, 100),),
        ),
        "linear_defaults": Work(
            "linear 100000 x 50, default parameters",
            partial(linear_task, 100_000, 50, 1000),
            our_linear_defaults,
            (Peer("SGDRegressor", sgd_regressor),),
        ),
    }
    for n, d, over_mlp, over_torch in ((20_000, 10, 5, 5), (20_000, 100, 3, 2.5), (10_000, 1000, 1.3, 1.1)):
        for dtype in (np.float64, np.float32):
            all_works[f"adam_d{d}_{dtype.__name__}"] = minibatch_work(n, d, dtype, over_mlp, over_torch)
    return all_works


def start_of(task: Task) -> Parameters:
    """The parameters before training."""
    if not task.weights:
        return np.zeros((task.X.shape[1], 1)), np.zeros(1)
    W1, W2 = task.weights
    return W1, np.zeros(W1.shape[1]), W2, np.zeros(W2.shape[1])


def objective(task: Task, parameters: Parameters) -> float:
    """Half the mean of the squared residuals, in float64."""
    *hidden, W, b = (p.astype(np.float64) for p in parameters)
    X = task.X.astype(np.float64)
    H = np.maximum(X @ hidden[0] + hidden[1], 0) if hidden else X
    residuals = H @ W + b - task.y.reshape(len(X), -1)
    return 0.5 * float(np.sum(residuals**2)) / len(X)


def timed(run: Run, task: Task) -> tuple[float, float, float]:
    """Wall time, processor time and final objective of a run."""
    wall, processor = time.perf_counter(), time.process_time()
    parameters = run()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return wall, processor, objective(task, parameters)


def compare(name: str, peer_name: str, quick: bool) -> dict[str, Any]:
    """One row of the table: pairs of runs of skrelu and the peer. For a fresh process."""
    work = works()[name]
    peer = next(p for p in work.peers if p.name == peer_name)
    task = work.make()
    ours, theirs = work.ours(task), peer.build(task)
    ours()  # imports and first calls
    n_pairs = max(1, work.pairs // 3) if quick else work.pairs
    pairs = [(timed(ours, task), timed(theirs, task)) for _ in range(n_pairs)]
    ratios = [b[0] / a[0] for a, b in pairs]
    our_loss, their_loss = pairs[-1][0][2], pairs[-1][1][2]
    first_loss = objective(task, start_of(task))
    return {
        "name": name,
        "work": work.title,
        "against": peer.name,
        "target": peer.target,
        "ours_s": statistics.median(a[0] for a, _ in pairs),
        "peer_s": statistics.median(b[0] for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        # Of processor times: the same on an idle machine, less disturbed by other programs on a busy one.
        "processor_ratio": statistics.median(b[1] / a[1] for a, b in pairs),
        "pairs": n_pairs,
        "first_loss": first_loss,
        "our_loss": our_loss,
        "peer_loss": their_loss,
        "loss_difference": our_loss / their_loss - 1,
        # Processor time over wall time: above 1 where more than one thread worked.
        "our_threads": statistics.median(a[1] / a[0] for a, _ in pairs),
        "peer_threads": statistics.median(b[1] / b[0] for _, b in pairs),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows in Markdown."""
    header = [
        "work",
        "against",
        "target",
        "skrelu",
        "peer",
        "times faster (range)",
        "processor time",
        "reached",
        "losses",
        "relative",
    ]
    table = [
        [
            row["work"],
            row["against"],
            f"{row['target']:g} x" if row["target"] else "",
            duration(row["ours_s"]),
            duration(row["peer_s"]),
            f"{row['ratio']:.3g} ({row['ratio_min']:.3g} .. {row['ratio_max']:.3g})",
            f"{row['processor_ratio']:.3g}",
            "" if row["target"] is None else "yes" if row["ratio"] >= row["target"] else "NO",
            f"{row['our_loss']:.4g}, {row['peer_loss']:.4g}",
            f"{row['loss_difference']:+.0e}",
        ]
        for row in rows
    ]
    print(markdown_table(header, table))


def print_remarks(rows: list[dict[str, Any]]) -> None:
    """What a reader of the table should know of some rows."""
    for row in rows:
        if row["peer_threads"] > 1.1:
            print(f"\n{row['against']} kept {row['peer_threads']:.2f} cores busy at: {row['work']}")
        if abs(row["loss_difference"]) > 0.02:
            share = abs(row["our_loss"] - row["peer_loss"]) / row["first_loss"]
            print(
                f"\nThe losses of skrelu and {row['against']} differ by more than 2 % at: {row['work']}. "
                f"The difference is {share:.0e} of the loss at the start, {row['first_loss']:.3g}."
            )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A bar for each row: how many times faster; a mark where the target is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.4 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(rows))
    targets = [(place, row["target"]) for place, row in enumerate(rows) if row["target"]]
    ratios = [row["ratio"] for row in rows]
    missed = [row["target"] is not None and row["ratio"] < row["target"] for row in rows]
    axes.barh(places, ratios, color=["#c22f2f" if miss else "#1f5fa8" for miss in missed], height=0.7)
    if targets:
        axes.plot(*zip(*((t, p) for p, t in targets), strict=True), "|", color="black", ms=14, mew=2, label="target")
        axes.legend(frameon=False, loc="lower right")
    for place, ratio in zip(places, ratios, strict=True):
        axes.annotate(f"{ratio:.3g}", (ratio, place), (14, 0), textcoords="offset points", va="center", fontsize=9)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, *ratios) * 0.9, max(ratios) * 2)
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if t < max(ratios) * 2]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_yticks(places, [f"{row['work']}  |  {row['against']}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("times faster than the peer (one thread, median of paired runs)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    print(f"\nChart: {path}")


def main() -> None:
    """Run the comparisons and print, write and draw them."""
    names = list(works())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the pairs")
    parser.add_argument("--only", metavar="NAME", help=f"works whose name starts so, of: {', '.join(names)}")
    parser.add_argument("--against", metavar="PEER", help="peers whose name starts so")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--chart", type=Path, metavar="PATH", help="PNG, SVG or PDF; needs matplotlib")
    arguments = parser.parse_args()
    restart_with_threads(1)
    print_machine(describe_machine())
    rows = []
    for name, work in works().items():
        if not name.startswith(arguments.only or ""):
            continue
        for peer in work.peers:
            if not peer.name.startswith(arguments.against or ""):
                continue
            if importlib.util.find_spec(peer.library) is None:
                print(f"{name} against {peer.name}: left out, {peer.library} is not installed")
                continue
            rows.append(in_fresh_process(compare, name, peer.name, arguments.quick))
            print(f"{name} against {peer.name}: {rows[-1]['ratio']:.3g} times faster", flush=True)
    if not rows:
        parser.error("nothing has such a name")
    print()
    print_table(rows)
    print_remarks(rows)
    write_json(arguments.json, {"rows": rows})
    if arguments.chart:
        draw(rows, arguments.chart)


if __name__ == "__main__":
    main()
