"""Set-up that sphinx-gallery runs before each example: warnings are errors, and all figures share one style."""

import warnings
from typing import Any

STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
COLORS = ["#1f5fa8", "#dd7a1c", "#2e8b57", "#8a4fbf", "#8a8a8a"]


def prepare(gallery_conf: dict[str, Any], name: str) -> None:
    """Set warnings and style for the build process; sphinx-gallery has just reset matplotlib's style."""
    import matplotlib.pyplot as plt

    warnings.filterwarnings("error", module=r"skrelu|sklearn|__main__")
    plt.rcParams.update(STYLE | {"axes.prop_cycle": plt.cycler(color=COLORS)})
