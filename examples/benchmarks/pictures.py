"""The pictures of the README and of the page of benchmarks, drawn from `RESULTS.md`: see README.md.

    python examples/benchmarks/pictures.py

Writes `docs/images/front.svg` and `docs/images/benchmarks.svg`. Each has the figures it shows in its description, for a
test that compares them with `RESULTS.md`. The completed digits are trained here, from a fixed seed.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
from claims import BOOSTING, OURS, REFERENCE, RESULTS, ROOT, TUTORIAL, Results, read, short

IMAGES = ROOT / "docs" / "images"
BLUE, ORANGE, GREEN, GRAY, INK = "#1f5fa8", "#dd7a1c", "#3a8f5c", "#9aa4b0", "#1c2430"
LABELS = {
    OURS: "skrelu",
    REFERENCE: "MLPRegressor, scaled",
    "mlp": "MLPRegressor, raw",
    BOOSTING: "HistGradientBoosting",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "ridge": "Ridge",
}
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "figure.facecolor": "white",  # also on a dark page
    "svg.fonttype": "path",  # the same letters everywhere
    "svg.hashsalt": "skrelu",  # the same file from the same figures
}


# --- figures ----------------------------------------------------------------------------------------------------------


def front_figures(r: Results) -> dict[str, Any]:
    """The figures of the README's picture."""
    peers = {"MLPRegressor": "MLPRegressor", "PyTorch": "PyTorch eager", "JAX, compiled": "JAX jit scan"}
    speed = {"Tutorial's loop": [s.ratio for s in r.of(TUTORIAL, "tutorial's loop")]}
    speed |= {label: [s.ratio for s in r.adam(peer)] for label, peer in peers.items()}
    order = ["catboost", OURS, BOOSTING, "lightgbm", REFERENCE, "mlp", "ridge"]
    accuracy = {m: [r.summaries[m].mean, r.summaries[m].median, r.summaries[m].time] for m in order}
    return {"times_as_fast": speed, "error_mean_median_time": accuracy}


def page_figures(r: Results) -> dict[str, Any]:
    """The figures of the picture of the page of benchmarks."""
    peers = ["MLPRegressor", "PyTorch eager", "PyTorch compiled", "JAX jit scan"]
    speed = {p: [[s.n_columns, s.dtype, s.ratio, s.low, s.high] for s in r.adam(p)] for p in peers}
    models = [OURS, BOOSTING, "catboost"]
    return {"times_as_fast": speed, "error_by_set": {name: [e[m] for m in models] for name, e in r.sets.items()}}


def completed_digits() -> tuple[Any, Any]:
    """Held-out digits, true and with the lower half that skrelu predicts from the upper one."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from skrelu import TwoLayerReLURegressor

    X, digit = load_digits(return_X_y=True)
    X_train, X_test, _, digit_test = train_test_split(X, digit, random_state=0)
    model = TwoLayerReLURegressor(random_state=0).fit(X_train[:, :32], X_train[:, 32:])
    shown = [int(np.flatnonzero(digit_test == d)[0]) for d in (2, 3, 5, 9)]
    true = X_test[shown]
    predicted = np.clip(model.predict(true[:, :32]), 0, 16)
    return true.reshape(-1, 8, 8), np.hstack([true[:, :32], predicted]).reshape(-1, 8, 8)


# --- drawing ----------------------------------------------------------------------------------------------------------


def log_axis(axes: Any, low: float, high: float, ticks: list[float]) -> None:
    """A logarithmic axis with plain numbers, and a line at 1."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color=INK, linewidth=0.9, zorder=1)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)


def draw_speed(axes: Any, speed: dict[str, list[float]]) -> None:
    """A line from the smallest to the largest ratio for each peer, and a dot for each case."""
    log_axis(axes, 0.4, 15, [0.5, 1, 2, 5, 10])
    for place, ratios in enumerate(speed.values()):
        low, high = min(ratios), max(ratios)
        color = BLUE if low >= 1 else ORANGE
        axes.plot([low, high], [place, place], color=color, linewidth=7, alpha=0.28, solid_capstyle="round")
        axes.plot(ratios, [place] * len(ratios), "o", color=color, markersize=5)
        text = axes.text(np.sqrt(low * high), place - 0.37, f"{short(low)} – {short(high)} ×", ha="center", va="center")
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # over the line at 1
    axes.set_yticks(range(len(speed)), list(speed))
    axes.set_ylim(len(speed) - 0.5, -0.75)
    axes.set_xlabel("times as fast as the peer")
    axes.set_title("Training speed, same work", loc="left")


def draw_accuracy(axes: Any, accuracy: dict[str, list[float]], n_sets: int) -> None:
    """A bar for the mean error of each model, a tick for the median, and the time beside it."""
    for place, (model, (mean, median, time)) in enumerate(accuracy.items()):
        weight = "bold" if model == OURS else None
        axes.barh(place, mean, height=0.66, color=BLUE if model == OURS else "#ccd3db")
        axes.text(0.03, place, f"{mean:.3f}", va="center", color="white" if model == OURS else INK, weight=weight)
        axes.plot([median, median], [place - 0.33, place + 0.33], color=INK, linewidth=1.8)
        axes.text(1.52, place, f"{time:.2f}", va="center", ha="right", weight=weight)
    axes.text(1.52, -0.85, "time", va="center", ha="right")
    axes.axvline(1, color=INK, linewidth=0.9, linestyle=":")
    axes.set_yticks(range(len(accuracy)), [LABELS[model] for model in accuracy])
    axes.get_yticklabels()[list(accuracy).index(OURS)].set_weight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(accuracy) - 0.5, -1.2)
    axes.set_xlim(0, 1.53)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("relative error: mean (bar), median (mark)", loc="left")
    axes.set_title(f"Defaults on {n_sets} real data sets", loc="left")


def draw_digits(axes: Any, true: Any, completed: Any) -> None:
    """Rows of pictures: what skrelu sees, what it completes, and the truth."""
    from matplotlib.patches import Rectangle

    seen = true.copy()
    seen[:, 4:] = np.nan
    gap = 1.5
    for row, pictures in enumerate((seen, completed, true)):
        for column, picture in enumerate(pictures):
            left, top = column * (8 + gap), row * (8 + gap)
            axes.imshow(picture, cmap="gray_r", vmin=0, vmax=16, extent=(left, left + 8, top + 8, top))
            width, color = (1.2, BLUE) if row == 1 else (0.6, GRAY)
            axes.add_patch(Rectangle((left, top), 8, 8, fill=False, edgecolor=color, linewidth=width))
    height = 3 * 8 + 2 * gap
    axes.set_xlim(-0.3, len(true) * (8 + gap) - gap + 0.3)
    axes.set_ylim(height + 0.3, -0.3)
    axes.set_xticks([])
    axes.set_yticks([4, 12 + gap, 20 + 2 * gap], ["seen", "completed", "truth"])
    axes.get_yticklabels()[1].set_weight("bold")
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_anchor("N")
    axes.set_xlabel("upper half in, lower half out")
    axes.set_title("Learned: lower halves", loc="left")


def draw_cases(axes: Any, speed: dict[str, list[list[Any]]]) -> None:
    """A dot with its range for each case of each peer."""
    names = {"PyTorch eager": "PyTorch", "PyTorch compiled": "PyTorch, compiled", "JAX jit scan": "JAX, compiled"}
    log_axis(axes, 0.32, 15, [0.5, 1, 2, 5, 10])
    labels, place = [], 0.0
    for peer, cases in speed.items():
        for n_columns, dtype, ratio, low, high in sorted(cases):
            color = BLUE if dtype == "float64" else ORANGE
            axes.plot([low, high], [place, place], color=color, linewidth=1.2, alpha=0.7)
            axes.plot([ratio], [place], "o", color=color, markersize=5.5)
            if dtype == "float64":
                name = f"{names.get(peer, peer)}: " if n_columns == cases[0][0] else ""
                labels.append((place - 0.5, f"{name}{n_columns} columns"))
            place += 1.0
        place += 0.7
    axes.set_yticks([p for p, _ in labels], [label for _, label in labels])
    axes.set_ylim(place - 1, -1)
    for color, dtype in ((BLUE, "float64"), (ORANGE, "float32")):
        axes.plot([], [], "o", color=color, label=dtype)
    axes.legend(frameon=False, loc="lower right")
    axes.set_xlabel("times as fast as the peer: median and range of paired runs")
    axes.set_title("Training speed of Adam, same work", loc="left")


def draw_sets(axes: Any, sets: dict[str, list[float]]) -> None:
    """The errors of three models on each set, best sets of skrelu first."""
    log_axis(axes, 0.47, 2.1, [0.5, 0.6, 0.8, 1, 1.2, 1.5, 2])
    names = sorted(sets, key=lambda name: sets[name][0])
    styles = (("skrelu", BLUE, "o", 7), ("HistGradientBoosting", ORANGE, "s", 5), ("CatBoost", GREEN, "D", 4.5))
    for k, (label, color, marker, size) in reversed(list(enumerate(styles))):
        errors, places = [sets[name][k] for name in names], np.arange(len(names)) + (0, -0.25, 0.25)[k]
        axes.plot(errors, places, marker, color=color, markersize=size, label=label, zorder=4 - k)
    axes.hlines(range(len(names)), 0.47, 2.1, color=GRAY, linewidth=0.4, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.legend(loc="lower left", reverse=True, framealpha=1, edgecolor="white")
    axes.set_xlabel("error relative to MLPRegressor with scaled X and y, clipped to 0.5 .. 2")
    axes.set_title("Error with default parameters, by data set", loc="left")


# --- files ------------------------------------------------------------------------------------------------------------


def save(figure: Any, name: str, figures: dict[str, Any]) -> None:
    """Write a picture with the figures it shows."""
    path, text = IMAGES / name, io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Description": json.dumps(figures)})
    small = re.sub(
        r"(\d\d\.\d\d)\d+", r"\1", re.sub(r"\n +", "\n", text.getvalue())
    )  # a hundredth of a point is enough
    path.write_text(small, encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Draw both pictures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    results = read(RESULTS.read_text(encoding="utf-8"))
    IMAGES.mkdir(exist_ok=True)
    with rc_context(STYLE):
        front = front_figures(results)
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
        speed, accuracy, digits = figure.subplots(1, 3, width_ratios=[1, 1.1, 1.25])
        draw_speed(speed, front["times_as_fast"])
        draw_accuracy(accuracy, front["error_mean_median_time"], len(results.sets))
        draw_digits(digits, *completed_digits())
        save(figure, "front.svg", front)

        page = page_figures(results)
        figure = Figure(figsize=(7.2, 10), layout="constrained")
        cases, sets = figure.subplots(2, 1, height_ratios=[1, 1.1])
        draw_cases(cases, page["times_as_fast"])
        draw_sets(sets, page["error_by_set"])
        save(figure, "benchmarks.svg", page)


if __name__ == "__main__":
    main()
