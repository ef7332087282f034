"""The chart of `speed.py`: a bar for each row of its table, grouped by training task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BLUE, RED, GRAY = "#1f5fa8", "#c22f2f", "#9aa4b0"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw bars from 1, to the right if skrelu is faster, with a mark at each target."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places, headings = arrange(rows)
    bottom = places[-1] + 1
    figure = Figure(figsize=(10, 1.2 + 0.21 * bottom), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_bars(axes, rows, places)
    for place, title in headings:
        text = axes.text(
            -0.2, place, title, transform=axes.get_yaxis_transform(), fontsize=9, weight="bold", va="center"
        )
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.set_yticks(places, [row["against"] for row in rows], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(bottom, -1)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times faster than the peer: median and range of paired runs, one thread")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=130)


def arrange(rows: list[dict[str, Any]]) -> tuple[list[float], list[tuple[float, str]]]:
    """Positions of the rows, from top to bottom, and of the headings between them."""
    places: list[float] = []
    headings: list[tuple[float, str]] = []
    place = 0.0
    for row in rows:
        if not headings or headings[-1][1] != row["work"]:
            place += 0.5 if headings else 0.0
            headings.append((place, row["work"]))
            place += 1.0
        places.append(place)
        place += 1.0
    return places, headings


def draw_bars(axes: Any, rows: list[dict[str, Any]], places: list[float]) -> None:
    """Draw the bars with their ranges, the targets, a column of numbers and the legend."""
    axes.set_xscale("log")
    kinds = [
        (BLUE, "target reached", lambda row: row["target"] and row["ratio"] >= row["target"]),
        (RED, "target missed", lambda row: row["target"] and row["ratio"] < row["target"]),
        (GRAY, "no target", lambda row: not row["target"]),
    ]
    for color, label, belongs in kinds:
        mine = [(place, row["ratio"] - 1) for place, row in zip(places, rows, strict=True) if belongs(row)]
        if mine:
            axes.barh(*zip(*mine, strict=True), left=1, height=0.75, color=color, label=label)
    lows, highs = [row["ratio_min"] for row in rows], [row["ratio_max"] for row in rows]
    axes.hlines(places, lows, highs, color="black", linewidth=0.8, alpha=0.6)
    targets = [(row["target"], place) for place, row in zip(places, rows, strict=True) if row["target"]]
    if targets:
        axes.plot(*zip(*targets, strict=True), "|", color="black", markersize=11, markeredgewidth=2.5, label="target")
    for place, row in zip(places, rows, strict=True):
        number = f"{row['ratio']:.3g}"
        axes.text(1.01, place, number, transform=axes.get_yaxis_transform(), fontsize=9, va="center")
    left, right = min(0.8, *lows) / 1.1, max(2, *highs, *(target for target, _ in targets)) * 1.1
    axes.set_xlim(left, right)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if left < t < right]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="lower right", ncols=4, fontsize=9, bbox_to_anchor=(1.0, 1.0))
