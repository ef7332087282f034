"""Speed of skrelu and other libraries at the same work: see README.md.

    python examples/benchmarks/speed.py [--quick] [--only NAME] [--json PATH] [--chart PATH]

BLAS, OpenMP, PyTorch and XLA have one thread each. Every comparison runs in its own process. Runs of skrelu and the
peer alternate (skrelu, peer, skrelu, peer, ...), and the table reports the median of the ratios of the pairs. Data,
initial weights (also MLPRegressor's), dtype, batch size and number of steps are the same. Compilation ends before the
clock starts. On a busy machine the ratio of processor times is steadier. The last columns are the final objective on
all rows, of skrelu and of the peer, and their relative difference.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from chart import draw
from measure import (
    describe_machine,
    duration,
    in_fresh_process,
    markdown_table,
    print_machine,
    restart_with_threads,
    write_json,
)
from peers import Parameters, Run, Task
from works import works


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
    """Run skrelu and the peer in pairs, in a fresh process; return one row of the table."""
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
        "same_result": peer.same_result,
        "ours_s": statistics.median(a[0] for a, _ in pairs),
        "peer_s": statistics.median(b[0] for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        # Ratio of processor times: the same on an idle machine, less disturbed by other programs on a busy one.
        "processor_ratio": statistics.median(b[1] / a[1] for a, b in pairs),
        "pairs": n_pairs,
        "first_loss": first_loss,
        "our_loss": our_loss,
        "peer_loss": their_loss,
        "loss_difference": our_loss / their_loss - 1,
        # Processor time over wall time: above 1 if more than one thread worked.
        "our_threads": statistics.median(a[1] / a[0] for a, _ in pairs),
        "peer_threads": statistics.median(b[1] / b[0] for _, b in pairs),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a Markdown table."""
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
    """Print remarks on rows that need an explanation."""
    for row in rows:
        if row["peer_threads"] > 1.1:
            print(f"\n{row['against']} kept {row['peer_threads']:.2f} cores busy at: {row['work']}")
        if row["same_result"] and abs(row["loss_difference"]) > 0.02:
            share = abs(row["our_loss"] - row["peer_loss"]) / row["first_loss"]
            print(
                f"\nThe losses of skrelu and {row['against']} differ by more than 2 % at: {row['work']}. "
                f"The difference is {share:.0e} of the loss at the start, {row['first_loss']:.3g}."
            )


def main() -> None:
    """Run the comparisons, then print, write and draw the results."""
    names = list(works())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the pairs")
    parser.add_argument("--only", metavar="NAME", help=f"comparisons whose name starts with NAME: {', '.join(names)}")
    parser.add_argument("--against", metavar="PEER", help="peers whose name starts with PEER")
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
        parser.error("no comparison has this name")
    print()
    print_table(rows)
    print_remarks(rows)
    write_json(arguments.json, {"rows": rows})
    if arguments.chart:
        draw(rows, arguments.chart)
        print(f"Chart: {arguments.chart}")


if __name__ == "__main__":
    main()
