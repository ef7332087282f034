"""The figures that `README.md` and `docs/benchmarks.md` state, computed from `RESULTS.md`: see README.md.

    python examples/benchmarks/claims.py [--check]

Fills the marked parts of both pages. With `--check`, changes nothing, prints the parts that differ, and exits with 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
MARKED = re.compile(r"(<!-- from RESULTS\.md: (\w+) -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)
SPLIT = re.compile(r"^## ", flags=re.MULTILINE)
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}

REFERENCE, OURS, OURS_32, BOOSTING = "scaled MLP", "skrelu", "skrelu float32", "boosting"
TUTORIAL = "tutorial 64 x 1000 x 100 x 10"
LINEAR = "linear 100000 x 50, 1000 iterations"


@dataclass(frozen=True)
class Speed:
    """One comparison at the same work: how many times as fast as the peer skrelu is."""

    work: str
    against: str
    ratio: float
    low: float
    high: float

    @property
    def n_columns(self) -> int:
        """The number of columns of X, for a comparison of Adam."""
        found = re.search(r"d=(\d+)", self.work)
        return int(found[1]) if found else 0

    @property
    def dtype(self) -> str:
        """float64 or float32."""
        return "float32" if "float32" in self.work else "float64"


@dataclass(frozen=True)
class Summary:
    """One model on all data sets. Error and time are relative to MLPRegressor on scaled X and y."""

    mean: float
    median: float
    time: float
    record: tuple[int, ...]  # on how many sets skrelu is better, as good, worse


@dataclass(frozen=True)
class Results:
    """What the pages need of RESULTS.md."""

    speeds: list[Speed]
    sizes: dict[str, str]  # rows x columns, by set
    sets: dict[str, dict[str, float]]  # relative errors, by set and model
    times: dict[str, dict[str, float]]  # seconds, by set and model
    summaries: dict[str, Summary]
    mapped_mb: list[float]  # peak memory, of 2 GB
    gpu_ratio: float

    def adam(self, peer: str) -> list[Speed]:
        """The comparisons of Adam with a peer: 10, 100, 1000 columns in float64, then in float32."""
        mine = [s for s in self.speeds if s.work.startswith("adam") and s.against == peer]
        return sorted(mine, key=lambda s: (s.dtype == "float32", s.n_columns))

    def of(self, work: str, peer: str) -> list[Speed]:
        """The comparisons of a work with a peer: float64, then float32."""
        mine = [s for s in self.speeds if s.work.startswith(work) and s.against == peer]
        return sorted(mine, key=lambda s: s.dtype == "float32")

    @property
    def slower_sets(self) -> dict[str, float]:
        """The sets on which skrelu takes longer than MLPRegressor on scaled data, and how many times as long."""
        ratios = {name: time[OURS] / time[REFERENCE] for name, time in self.times.items()}
        return {name: ratio for name, ratio in ratios.items() if ratio > 1}


# --- reading ----------------------------------------------------------------------------------------------------------


def tables(text: str, heading: str) -> list[list[list[str]]]:
    """The tables of a section, each a list of rows of cells; the header is the first."""
    section = next(part for part in SPLIT.split(text) if part.startswith(heading))
    found: list[list[list[str]]] = [[]]
    for line in section.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[table[0], *table[2:]] for table in found if table]


def seconds(text: str) -> float:
    """A duration such as `252 ms`, in seconds."""
    number, unit = text.split()
    return float(number) * UNITS[unit]


def read(text: str) -> Results:
    """Read the text of RESULTS.md."""
    speeds = []
    for row in tables(text, "Speed")[0][1:]:
        ratio, low, high = map(float, re.findall(r"\d+(?:\.\d+)?", row[5]))
        speeds.append(Speed(row[0], row[1], ratio, low, high))
    accuracy = tables(text, "Accuracy with default parameters")
    header, *lines = accuracy[0]
    models = {name: column for column, name in enumerate(header) if column > 3 and name != "time"}
    summaries: dict[str, Summary] = {}
    for table in reversed([t for t in accuracy if t[0][0] == "model"]):  # the first table, with all peers, has the say
        for name, mean, median, time, _, record in table[1:]:
            counts = tuple(map(int, re.findall(r"\d+", record)))
            summaries[name] = Summary(float(mean), float(median), float(time), counts)
    sizes = {line[0]: line[1] for line in lines}
    sets = {line[0]: {REFERENCE: 1.0, **{m: float(line[c]) for m, c in models.items()}} for line in lines}
    times = {line[0]: {m: seconds(line[c + 1]) for m, c in {REFERENCE: 2, **models}.items()} for line in lines}
    mapped = [float(row[3].split()[0]) for row in tables(text, "Memory-mapped X")[0][1:]]
    gpu = next(row for row in tables(text, "On a GPU")[0] if row[0] == "large, 200k x 256 x 1024, float32, gd: NumPy")
    return Results(speeds, sizes, sets, times, summaries, mapped, float(gpu[1].split()[0]))


# --- words ------------------------------------------------------------------------------------------------------------


def short(number: float) -> str:
    """Two digits, or all digits before the point."""
    return f"{number:.0f}" if number >= 9.95 else f"{number:.1f}" if number >= 0.995 else f"{number:.2f}"


def span(values: list[float]) -> str:
    """The smallest and the largest number."""
    return f"{short(min(values))} to {short(max(values))}"


def row_of(values: list[float]) -> str:
    """Numbers in a sentence."""
    *first, last = map(short, values)
    return f"{', '.join(first)} and {last}"


def errors(summary: Summary) -> str:
    """Mean and median of a relative error."""
    return f"{summary.mean:.3f} on average (median {summary.median:.3f})"


def record(summary: Summary) -> str:
    """Wins, ties and losses of skrelu."""
    wins, ties, losses = (str(count) if count else "no" for count in summary.record)
    return f"{wins} wins, {ties} ties, {losses} losses"


def fast(r: Results) -> str:
    """The bullet of speed."""
    cases, loop = r.adam("MLPRegressor"), [s.ratio for s in r.of(TUTORIAL, "tutorial's loop")]
    columns = [c.n_columns for c in cases]
    return (
        "**Fast.** At the same work (one network, the same steps), training is "
        f"{span([c.ratio for c in cases])} times as fast as `MLPRegressor` (with {max(columns)} down to {min(columns)} "
        f"columns), and {span(loop)} times as fast as the tutorial's loop."
    )


def accurate(r: Results) -> str:
    """The bullet of accuracy: wins, ties and losses, mean and median, and boosted trees with their times."""
    mlp, ours, boosting, catboost = (r.summaries[m] for m in (REFERENCE, OURS, BOOSTING, "catboost"))
    return (
        f"**Accurate without tuning.** Default parameters on {len(r.sets)} real data sets: {record(mlp)} against "
        f"`MLPRegressor` with scaled X and y. skrelu's error, relative to it, is {errors(ours)}, in {ours.time:.2f} of "
        f"the time. Boosted trees: `HistGradientBoostingRegressor` {errors(boosting)}, in {boosting.time:.2f} of the "
        f"time ({record(boosting)} for skrelu), and CatBoost {errors(catboost)}, in {catboost.time:.1f} times the time "
        f"({record(catboost)})."
    )


def raw(r: Results) -> str:
    """The bullet of raw data."""
    return (
        "**Takes raw data.** It scales X and y itself and folds the scaling into `coefs_` and `intercepts_`, also in "
        "streams of chunks (`partial_fit`). On raw columns, `MLPRegressor`'s error, relative to that with scaled ones, "
        f"is {errors(r.summaries['mlp'])}."
    )


def loud(r: Results) -> str:
    """The bullet of errors and of resuming."""
    return (
        "**Fails loudly, resumes exactly.** Gradient descent that diverges raises an error with the iteration, the "
        "learning rate and the remedy; a model that training made worse than predicting the mean brings a warning, "
        "also with Adam. At a constant rate, 10 iterations plus 20 more are the model of 30 to the last bit."
    )


def light(r: Results) -> str:
    """The bullet of dependencies, memory and GPU."""
    return (
        "**Light.** It needs NumPy and scikit-learn, nothing else, and passes all of scikit-learn's estimator checks. "
        f"An epoch on a 2 GB file takes {min(r.mapped_mb):.0f} to {max(r.mapped_mb):.0f} MB of memory. On an NVIDIA "
        f"H200, gradient descent (200000 x 256, 1024 hidden units) is {r.gpu_ratio:.0f} times as fast as NumPy on 16 "
        "cores."
    )


def limits(r: Results) -> str:
    """What skrelu does not do, and where others are faster or better."""
    jax, slower, catboost = [s.ratio for s in r.adam("JAX jit scan")], r.slower_sets, r.summaries["catboost"]
    torch = [s for s in r.adam("PyTorch eager") if s.ratio < 1]
    of_torch = "".join(f"; PyTorch, {short(s.ratio)} of it for {s.n_columns} columns in {s.dtype}" for s in torch)
    worst = max(slower, key=lambda name: slower[name])
    return bullets(
        [
            "**More layers, or classes.** It has one hidden layer and does regression only. Stay with `MLPRegressor`, "
            "or use `MLPClassifier`.",
            "**Older scikit-learn.** It needs 1.9 or later, for the callbacks: progress bars, monitored scores, "
            "stopping.",
            f"**The fastest training everywhere.** For Adam, JAX, which compiles the whole training, takes {span(jax)} "
            f"of skrelu's time{of_torch}. Default fits take longer than `MLPRegressor`'s on {len(slower)} of the "
            f"{len(r.sets)} sets, up to {short(slower[worst])} times as long (`{worst}`: {r.sizes[worst]}). "
            f"LightGBM takes {short(r.summaries['lightgbm'].time / r.summaries[OURS].time)} of skrelu's time.",
            f"**The least error everywhere.** CatBoost has less error on {catboost.record[2]} of the "
            f"{len(r.sets)} sets.",
        ]
    )


def bullets(texts: list[str]) -> str:
    """A list in Markdown, wrapped."""
    keep = {"break_long_words": False, "break_on_hyphens": False}
    return "".join(
        textwrap.fill(text, 119, initial_indent="- ", subsequent_indent="  ", **keep) + "\n" for text in texts
    )


def claims(r: Results) -> str:
    """The bullets of the README."""
    return bullets([fast(r), accurate(r), raw(r), loud(r), light(r)])


def five_rows(r: Results) -> str:
    """The table of the page of benchmarks."""
    mlp, torch, jax = ([s.ratio for s in r.adam(peer)] for peer in ("MLPRegressor", "PyTorch eager", "JAX jit scan"))
    loop, linear = [s.ratio for s in r.of(TUTORIAL, "tutorial's loop")], r.of(LINEAR, "plain loop")[0].ratio
    low, high = (f(pair for s in r.adam("MLPRegressor") for pair in (s.low, s.high)) for f in (min, max))
    ours, boosting, lightgbm, catboost = (r.summaries[m] for m in (OURS, BOOSTING, "lightgbm", "catboost"))
    tasks = [f"defaults on {len(r.sets)} real sets", "Adam, the same work", "gradient descent, the same work"]

    def trees(name: str, s: Summary) -> str:
        return f"{name}: {record(s)}; its error {s.mean:.3f}, median {s.median:.3f}; its time {short(s.time)}"

    names = zip(
        ("`HistGradientBoostingRegressor`", "LightGBM", "CatBoost"), (boosting, lightgbm, catboost), strict=True
    )
    rows = [
        ["compared with", "task", "result for skrelu"],
        ["---"] * 3,
        ["`MLPRegressor`", tasks[1], f"{span(mlp)} times as fast (single pairs of runs: {span([low, high])})"],
        ["PyTorch, eager; JAX, compiled", tasks[1], f"{span(torch)} times as fast; {span(jax)} times as fast"],
        ["NumPy loops", tasks[2], f"{span(loop)} times as fast (the tutorial); {short(linear)} times (linear model)"],
        [
            "`MLPRegressor`, X and y scaled",
            tasks[0],
            f"{record(r.summaries[REFERENCE])}; error {ours.mean:.3f}, median {ours.median:.3f}; time {ours.time:.2f} "
            f"({r.summaries[OURS_32].time:.2f} in float32)",
        ],
        ["boosted trees, on the same scale", tasks[0], ". ".join(trees(*pair) for pair in names)],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


PARTS: dict[str, Callable[[Results], str]] = {"claims": claims, "limits": limits, "five_rows": five_rows}


# --- pages ------------------------------------------------------------------------------------------------------------


def filled(page: str, results: Results) -> str:
    """The page with its marked parts written anew."""
    return MARKED.sub(lambda m: m[1] + PARTS[m[2]](results) + m[4], page)


def differences(page: str, results: Results) -> list[str]:
    """The names of the marked parts that do not say what RESULTS.md says."""
    return [m[2] for m in MARKED.finditer(page) if m[3] != PARTS[m[2]](results)]


def main() -> int:
    """Fill the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page differs")
    check = parser.parse_args().check
    results = read(RESULTS.read_text(encoding="utf-8"))
    status = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in differences(text, results):
            print(f"{page.relative_to(ROOT)}: {name} {'differs from RESULTS.md' if check else 'is written anew'}")
            status = 1 if check else 0
        if not check:
            page.write_text(filled(text, results), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
