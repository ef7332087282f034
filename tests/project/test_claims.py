"""What the README and the page of benchmarks claim is what `RESULTS.md`, the programs and `pyproject.toml` say."""

import contextlib
import difflib
import importlib.util
import io
import json
import re
import sys
import tomllib
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_friedman2
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import TwoLayerReLURegressor

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
RECORD = (ROOT / "examples" / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
OUTPUT = re.compile(r"^print\(.*\)  # (.*)$", flags=re.MULTILINE)
PROGRAMS = [p for p in re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE) if OUTPUT.search(p)]


@pytest.fixture(scope="module")
def scripts():
    """`claims.py` and `pictures.py`, which are no part of the package."""
    folder = ROOT / "examples" / "benchmarks"
    loaded = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("claims", "pictures"):
            spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
            loaded[name] = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, loaded[name])  # `pictures` imports `claims`
            spec.loader.exec_module(loaded[name])
    return loaded


# --- figures that were measured ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "parts"), [(README, {"claims", "limits"}), (PAGE, {"five_rows"})], ids=["README", "page"]
)
def test_a_page_states_the_results(scripts, page, parts):
    claims = scripts["claims"]
    assert {mark[2] for mark in claims.MARKED.finditer(page)} == parts
    wrong = claims.differences(page, claims.read(RECORD))
    now = claims.filled(page, claims.read(RECORD))
    assert not wrong, "run examples/benchmarks/claims.py:\n" + "\n".join(
        difflib.unified_diff(page.splitlines(), now.splitlines(), lineterm="")
    )


@pytest.mark.parametrize(("page", "at_least"), [(README, 30), (PAGE, 25)], ids=["README", "page"])
def test_a_figure_that_is_changed_in_a_page_is_found(scripts, page, at_least):
    claims = scripts["claims"]
    results = claims.read(RECORD)
    places = [m.start(3) + d.start() for m in claims.MARKED.finditer(page) for d in re.finditer(r"\d", m[3])]
    assert len(places) >= at_least
    for place in places:
        changed = page[:place] + str((int(page[place]) + 1) % 10) + page[place + 1 :]
        assert len(claims.differences(changed, results)) == 1, page[place - 20 : place + 5]


@pytest.mark.parametrize(
    ("row", "page"),
    [
        (r"^\| adam.*d=10,.*MLPRegressor.*$", README),
        (r"^\| adam.*d=100,.*PyTorch eager.*$", PAGE),
        (r"^\| tutorial.*tutorial's loop.*$", README),
        (r"^\| skrelu  .*$", README),
        (r"^\| boosting  .*$", README),
        (r"^\| catboost  .*$", README),
        (r"^\| lightgbm  .*$", PAGE),
        (r"^\| 500000 x 1000 .*$", README),
        (r"^\| large, 200k .* gd: NumPy .*$", README),
    ],
)
def test_a_result_that_is_measured_anew_is_found(scripts, row, page):
    """A pattern matches one line or several; the digits of all of them are changed."""
    claims = scripts["claims"]

    def other(line):
        first, *cells = line[0].split("|")[1:]
        cells = [re.sub(r"\d", lambda digit: str((int(digit[0]) + 4) % 10), cell) for cell in cells]
        return "|".join(["", first, *cells])

    changed, count = re.subn(row, other, RECORD, flags=re.MULTILINE)
    assert count
    assert claims.differences(page, claims.read(changed))


def test_the_summary_of_the_results_is_that_of_its_sets(scripts):
    claims = scripts["claims"]
    results = claims.read(RECORD)
    ours = np.array([models[claims.OURS] for models in results.sets.values()])
    assert len(ours) == 19
    for model in (claims.REFERENCE, claims.OURS, claims.BOOSTING, "mlp", "ridge", "lightgbm", "catboost"):
        errors = np.array([models[model] for models in results.sets.values()])
        summary = results.summaries[model]
        # Errors of sets have three decimals, and so have their means.
        assert np.exp(np.log(errors).mean()) == pytest.approx(summary.mean, abs=0.002)
        assert np.median(errors) == pytest.approx(summary.median, abs=0.002)
        seconds = [sum(times[m] for times in results.times.values()) for m in (model, claims.REFERENCE)]
        assert seconds[0] / seconds[1] == pytest.approx(summary.time, rel=0.05, abs=0.001)
        if model != claims.OURS:
            ratio = ours / errors
            sure = [np.sum(ratio < 0.989), np.sum(abs(ratio - 1) < 0.009), np.sum(ratio > 1.011)]
            assert all(s <= n for s, n in zip(sure, summary.record, strict=True))
            assert sum(summary.record) == 19


def test_the_readme_has_no_other_figures_of_speed_or_accuracy(scripts):
    figure = re.compile(r"\d (times|%|of the time)|\d (wins|ties|losses)|\bMB\b")
    assert figure.search(README)
    assert not figure.search(scripts["claims"].MARKED.sub("", README))


@pytest.mark.parametrize(("name", "figures"), [("front", "front_figures"), ("benchmarks", "page_figures")])
def test_a_picture_shows_the_results(scripts, name, figures):
    text = (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
    shown = unescape(re.search(r"<dc:description>(.*?)</dc:description>", text, flags=re.DOTALL)[1])
    results = scripts["claims"].read(RECORD)
    now = json.loads(json.dumps(getattr(scripts["pictures"], figures)(results)))
    assert json.loads(shown) == now, "run examples/benchmarks/pictures.py"


# --- figures of programs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [pytest.param(p, marks=[pytest.mark.exhaustive] if "GridSearchCV" in p else []) for p in PROGRAMS],
    ids=range(len(PROGRAMS)),
)
def test_a_program_of_the_readme_prints_what_is_shown(program):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "README.md", "exec"), {})
    assert printed.getvalue().splitlines() == OUTPUT.findall(program)


def test_all_programs_of_the_readme_print_something():
    assert len(PROGRAMS) == README.count("```python\n") == 3


def friedman():
    X, y = make_friedman2(n_samples=1000, noise=50, random_state=0)
    return train_test_split(X, y, random_state=0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_peers_of_the_first_example_reach_what_is_said():
    X_train, X_test, y_train, y_test = friedman()
    peers = [
        make_pipeline(StandardScaler(), Ridge()),
        MLPRegressor(random_state=0),
        TransformedTargetRegressor(
            make_pipeline(StandardScaler(), MLPRegressor(random_state=0)), transformer=StandardScaler()
        ),
    ]
    scores = [f"{peer.fit(X_train, y_train).score(X_test, y_test):.2f}" for peer in peers]
    sentence = "`Ridge` reaches {}. `MLPRegressor` reaches {}, and {} if you scale X and y."
    assert sentence.format(*scores) in " ".join(README.split())


def test_both_sides_of_the_readmes_change_run():
    lines = re.search(r"^```diff\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)[1].splitlines()
    X_train, X_test, y_train, y_test = friedman()
    for side, other in (("-", "+"), ("+", "-")):
        names = {**globals(), "X_train": X_train, "X_test": X_test, "y_train": y_train}
        exec("\n".join(line[1:] for line in lines if not line.startswith(other)), names)
        assert names["model"].score(X_test, y_test) > 0.9, side
    assert isinstance(names["model"], TwoLayerReLURegressor)


# --- badges and links -------------------------------------------------------------------------------------------------


def test_the_badges_are_true():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for badge, value in (("python", project["requires-python"]), ("license", project["license"])):
        assert f"](docs/images/{badge}.svg)" in README
        texts = re.findall(r"<text.*?>(.*?)</text>", (ROOT / "docs" / "images" / f"{badge}.svg").read_text("utf-8"))
        assert unescape(texts[1]).replace(" ", "") == value


def test_the_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)]*)\)", README)
    assert len(links) > 10
    anchors = {
        re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", README, re.M)
    }
    for link in links:
        path, _, fragment = link.partition("#")
        if not path:
            assert fragment in anchors, link
            continue
        assert (ROOT / path).exists(), link
        assert not fragment or f"({fragment})=" in (ROOT / path).read_text(encoding="utf-8"), link


def test_pictures_are_small_and_need_no_network():
    for path in sorted((ROOT / "docs" / "images").glob("*.svg")):
        assert path.stat().st_size < 120_000, path
        assert 'href="http' not in path.read_text(encoding="utf-8")
