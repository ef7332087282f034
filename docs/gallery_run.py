"""The gallery's configuration: a common style before each program, thumbnails of one panel, and their alt text."""

import re
import warnings
from pathlib import Path
from typing import Any

from docutils import nodes

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
THUMBNAIL = (480, 340)  # pixels, at most
FEW_PANELS = 4  # a figure with more is one picture, e.g. a grid of digits
IMAGES = Path("gallery", "images")  # below the sources of the site, where sphinx-gallery writes


def prepare(gallery_conf: dict[str, Any], name: str) -> None:
    """Set warnings and style for the build process; sphinx-gallery has just reset matplotlib's style."""
    import matplotlib.pyplot as plt

    warnings.filterwarnings("error", module=r"skrelu|sklearn|__main__")
    plt.rcParams.update(STYLE | {"axes.prop_cycle": plt.cycler(color=COLORS)})


def scrape(block: tuple[str, str, int], block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures as sphinx-gallery does and, beside each, the first panel and its title."""
    import matplotlib.pyplot as plt
    from sphinx_gallery.scrapers import matplotlib_scraper

    n_before = len(block_vars["image_path_iterator"])
    folder = Path(gallery_conf["src_dir"]) / IMAGES / "panel"
    folder.mkdir(parents=True, exist_ok=True)
    for number, figure in enumerate(map(plt.figure, plt.get_fignums()), start=n_before + 1):
        panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
        box, title = None, figure.get_suptitle()
        if 1 <= len(panels) <= FEW_PANELS:
            figure.canvas.draw()  # the layout is known from here on
            box = panels[0].get_tightbbox().padded(8).transformed(figure.dpi_scale_trans.inverted())
            title = panels[0].get_title() or panels[0].get_title(loc="left") or title
        path = folder / f"{Path(block_vars['src_file']).stem}_{number}.png"
        figure.savefig(path, bbox_inches=box)
        path.with_suffix(".txt").write_text(" ".join(title.split()), encoding="utf-8")
    return matplotlib_scraper(block, block_vars, gallery_conf)


def panel_of(source: Path, program: str) -> Path:
    """The panel that stands for a program: that of its first figure, or of `sphinx_gallery_thumbnail_number`."""
    text = (source / program).with_suffix(".py").read_text(encoding="utf-8")
    number = re.search(r"sphinx_gallery_thumbnail_number = (\d+)", text)
    return source / IMAGES / "panel" / f"{Path(program).stem}_{number[1] if number else 1}.png"


def cut_thumbnails(app: Any) -> None:
    """Replace sphinx-gallery's thumbnails, of whole figures, by those of one panel."""
    from PIL import Image

    source = Path(app.srcdir)
    for thumbnail in (source / IMAGES / "thumb").glob("sphx_glr_*_thumb.png"):
        panel = panel_of(source, f"gallery/{program_of(thumbnail.name)}")
        if panel.exists():
            with Image.open(panel) as picture:
                picture.thumbnail(THUMBNAIL)
                picture.save(thumbnail)


def program_of(thumbnail: str) -> str:
    """The program of a thumbnail."""
    return thumbnail.removeprefix("sphx_glr_").removesuffix("_thumb.png")


def describe_thumbnails(app: Any, doctree: nodes.document) -> None:
    """Give thumbnails an alt text, the title of the panel, for those who do not see it."""
    for image in doctree.findall(nodes.image):
        name = Path(image["uri"]).name
        if name.endswith("_thumb.png") and not image.get("alt"):
            path = panel_of(Path(app.srcdir), f"gallery/{program_of(name)}").with_suffix(".txt")
            title = path.read_text(encoding="utf-8") if path.exists() else ""
            image["alt"] = f"Plot: {title or program_of(name)}"
