"""Sphinx configuration. ``sphinx-build -W docs docs/_build`` builds the website and runs the gallery, offline."""

import sys
from importlib.metadata import distribution
from pathlib import Path

from sphinx.application import Sphinx

import skrelu

sys.path.insert(0, str(Path(__file__).parent))  # for the next two
import gallery_run
import scikit_learn

project = "skrelu"
author = "the skrelu developers"
copyright = author
version = release = skrelu.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "templates"]
templates_path = ["templates"]
smartquotes = False  # a quoted default can be copied
toc_object_entries_show_parents = "hide"
autosummary_context = {"from_scikit_learn": scikit_learn.INHERITED}
default_role = "literal"  # `alpha` in a docstring is code
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_title_to_header = True
autodoc_typehints = "none"  # the docstrings say more
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False  # the pages list the methods themselves

GALLERY = [f"gallery/{program.stem}" for program in Path(__file__).parent.glob("../examples/gallery/*.py")]

html_theme = "pydata_sphinx_theme"
html_title = f"skrelu {version}"
html_theme_options = {
    "logo": {"text": "skrelu"},
    "navbar_center": [],  # the menu beside each page lists them all
    "article_header_start": [],
    "navigation_with_keys": False,
    "show_prev_next": True,
    # The contents of a page stand beside it, except where programs and tables need the width.
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        **{page: [] for page in ["index", "mlp", "benchmarks", "scale_out", "gallery/index", *GALLERY]},
    },
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
html_sidebars: dict[str, list[str]] = {"**": ["all-pages.html"]}

# MathJax, in one file with its fonts, from a package on PyPI: formulas work offline.
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
html_css_files = ["site.css"]
html_static_path = ["site.css", str(distribution("sphinx-mathjax-offline").locate_file(MATHJAX))]
mathjax_path = "tex-svg.js"

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("matplotlib", "gallery_run.prepare"),
    "write_computation_times": False,  # that page would load scripts from other sites
    "image_scrapers": ("gallery_run.scrape",),
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("skrelu",),
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}


def setup(app: Sphinx) -> None:
    """Links to scikit-learn, and the gallery's thumbnails, once sphinx-gallery has run."""
    app.connect("missing-reference", scikit_learn.link)
    app.connect("builder-inited", gallery_run.cut_thumbnails, priority=900)
    app.connect("doctree-read", gallery_run.describe_thumbnails)
