"""Sphinx configuration. ``sphinx-build -W docs docs/_build`` builds the website and runs the gallery, offline."""

import sys
from importlib.metadata import distribution
from pathlib import Path

import skrelu

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_run

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
default_role = "literal"  # `alpha` in a docstring is code
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_title_to_header = True
autodoc_typehints = "none"  # the docstrings say more
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False  # the pages list the methods themselves

html_theme = "pydata_sphinx_theme"
html_title = f"skrelu {version}"
html_theme_options = {
    "logo": {"text": "skrelu"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "benchmarks": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
html_sidebars: dict[str, list[str]] = {"**": []}  # the top bar lists the sections, and each page its own contents

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
    "thumbnail_size": (580, 320),
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}
