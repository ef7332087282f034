"""The site and the files beside the code: API pages, links, recipes for contributors, the citation, the release."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import skrelu

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ESTIMATORS = [skrelu.TwoLayerReLURegressor, skrelu.LinearGDRegressor]
CLASSES = [name for name in skrelu.__all__ if isinstance(getattr(skrelu, name), type)]


@pytest.fixture(scope="module")
def links():
    """The module of the site that knows scikit-learn's pages."""
    pytest.importorskip("docutils", reason="needs docutils")
    spec = importlib.util.spec_from_file_location("links", DOCS / "scikit_learn.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_page_of_an_estimator_has_every_public_method(estimator, links):
    own = set(re.findall(r"automethod:: (\w+)", (DOCS / "templates" / "class.rst").read_text(encoding="utf-8")))
    public = {name for name in dir(estimator) if not name.startswith("_") and callable(getattr(estimator, name))}
    assert own == {"fit", "partial_fit", "predict"}
    assert public - own <= links.INHERITED.keys()


def test_links_to_scikit_learn(links):
    generated = "https://scikit-learn.org/stable/modules/generated/"
    assert links.page_of("sklearn.linear_model.Ridge") == f"{generated}sklearn.linear_model.Ridge.html"
    method = "sklearn.linear_model.Ridge.fit"
    assert links.page_of(method) == f"{generated}sklearn.linear_model.Ridge.html#{method}"
    with pytest.raises(LookupError, match=r"no sklearn\.linear_model\.Bridge"):
        links.page_of("sklearn.linear_model.Bridge")


@pytest.mark.parametrize("name", CLASSES)
def test_a_program_of_the_gallery_uses_each_class(name):
    programs = [path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "gallery").glob("*.py")]
    assert any(re.search(rf"\b{name}[.(]", program) for program in programs)


def test_the_menu_has_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    menu = "\n".join(re.findall(r"^```{toctree}\n(.*?)^```", index, flags=re.DOTALL | re.MULTILINE))
    entries = {re.sub(r".*<(.*)>", r"\1", line) for line in menu.splitlines() if line and not line.startswith(":")}
    assert entries == {path.stem for path in DOCS.glob("*.md")} - {"index"} | {"gallery/index"}


def test_contributing_names_files_that_exist():
    text = (DOCS / "contributing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|md|css))", text))
    named = {name for name in named if "NAME" not in name}
    assert len(named) > 25
    for name in named:
        places = [ROOT / name, ROOT / "skrelu" / name, DOCS / name, ROOT / "tests" / name]
        assert any(place.exists() for place in places), name


def test_the_order_of_a_fit_names_functions_that_exist():
    text = (DOCS / "contributing.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\| \d \| (.*?) \|", text, flags=re.MULTILINE)
    assert len(steps) == 8
    for step in steps:
        code = re.findall(r"`([^`]*)`", step)
        files = [part for part in code if part.endswith(".py")]
        source = "".join((ROOT / "skrelu" / file).read_text(encoding="utf-8") for file in files)
        for name in set(code) - set(files):
            assert re.search(rf"(def|class) {name}\b", source), (step, name)


def test_the_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {skrelu.__version__}\n" in citation


def test_the_source_distribution_leaves_out_the_built_site():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    excluded = pyproject["tool"]["hatch"]["build"]["targets"]["sdist"]["exclude"]
    configuration = (DOCS / "conf.py").read_text(encoding="utf-8")
    gallery = re.search(r'"gallery_dirs": "(.*)"', configuration)[1]
    written = {gallery, "_build", *re.findall(r":toctree: (\w+)", (DOCS / "api.md").read_text(encoding="utf-8"))}
    assert {f"/docs/{folder}" for folder in written} <= set(excluded)


@pytest.mark.skipif(not (ROOT / ".gitignore").exists(), reason="not in a source distribution")
def test_nothing_brings_the_built_site_back():
    # A pattern with "!" in .gitignore undoes the exclusions above: hatchling reads it after them.
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("!")] == ["!/docs/images/*.png"]


def test_help_of_the_package_names_everything():
    lines = skrelu.__doc__.splitlines()
    assert len(lines) <= 10
    for name in set(skrelu.__all__) - {"__version__"}:
        assert name in skrelu.__doc__
    for page in re.findall(r"\w+\.md", skrelu.__doc__):
        assert (DOCS / page).exists()
