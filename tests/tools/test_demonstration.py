"""``python -m skrelu``: what it prints is true, and the figure is written where matplotlib is installed."""

import contextlib
import importlib.util
import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu._tools import demo as demonstration

"""``python -m skrelu``: what it prints is true, and the figure is written where matplotlib is installed."""


NUMBER = r"(-?\d+\.?\d*(?:e[+-]?\d+)?)"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture(scope="module")
def run():
    """One run: its results and its text. Warnings are errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        results = demonstration.demonstrate()
    return SimpleNamespace(results=results, text=out.getvalue(), err=err.getvalue())


@pytest.fixture
def written(run, monkeypatch, tmp_path, capsys, caplog):
    """Call `main` on the results of the run, in an empty directory; its text, and the files it wrote."""
    monkeypatch.setattr(demonstration, "demonstrate", lambda: run.results)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        demonstration.main(list(arguments))
        out, err = capsys.readouterr()
        assert err == ""
        assert caplog.records == []
        return out, sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))

    return call


def section(run, number):
    """The text of one of the numbered parts."""
    return re.search(rf"^{number}\. .*?(?=^\d\. |\Z)", run.text, flags=re.MULTILINE | re.DOTALL).group()


@pytest.mark.exhaustive
def test_nothing_but_text(run):
    assert run.err == ""
    assert "Traceback" not in run.text
    assert "Warning" not in run.text


@pytest.mark.exhaustive
def test_network_prints_the_losses_of_the_tutorial(run):
    rng = np.random.RandomState(0)
    x, y, w1, w2 = (rng.randn(*shape) for shape in ((64, 1000), (64, 10), (1000, 100), (100, 10)))
    losses = []
    for _ in range(3):
        h = x.dot(w1)
        h_relu = np.maximum(h, 0)
        grad_y_pred = 2.0 * (h_relu.dot(w2) - y)
        losses.append(np.square(grad_y_pred / 2.0).sum())
        grad_h = grad_y_pred.dot(w2.T)
        grad_h[h < 0] = 0
        w2 -= 1e-6 * h_relu.T.dot(grad_y_pred)
        w1 -= 1e-6 * x.T.dot(grad_h)
    printed = re.findall(rf"^(\d+) {NUMBER}$", section(run, 1), flags=re.MULTILINE)
    assert [t for t, _ in printed] == ["0", "1", "2", "497", "498", "499"]
    np.testing.assert_allclose([float(loss) for _, loss in printed[:3]], losses, rtol=1e-10)
    assert float(printed[-1][1]) < 1e-3
    assert re.search(r"500 iterations .* in \d+\.\d\d s", section(run, 1))
    within = re.search(rf"precompute=False\): \d+\.\d\d s; the losses agree within {NUMBER}\.", section(run, 1)).group(
        1
    )
    assert float(within) < 1e-6  # what 500 iterations may make of rounding


@pytest.mark.exhaustive
def test_linear_model_recovers_the_coefficients(run):
    rows = re.findall(rf"^(.*?)  +weights +{NUMBER} +{NUMBER} +bias +{NUMBER}$", section(run, 2), flags=re.MULTILINE)
    table = {name: np.array(numbers, dtype=float) for name, *numbers in rows}
    truth, first, second, third, default, least_squares = table.values()
    np.testing.assert_array_equal(truth, [2, -3, 5])
    np.testing.assert_array_equal(default, least_squares)
    distances = [np.abs(row - least_squares).max() for row in (first, second, third)]
    assert distances == sorted(distances, reverse=True)
    # Uniform(-1, 1) noise has variance 1/3 and the inputs 100/3, so standard errors are 0.02 and 0.003: five of them.
    np.testing.assert_allclose(default, truth, atol=5 * np.sqrt(1 / 3 / 1000))
    np.testing.assert_allclose(default[:2], truth[:2], atol=5 * np.sqrt(1 / 100 / 1000))


@pytest.mark.exhaustive
def test_search_table(run):
    pattern = rf"^(gd|adam) +(auto \({NUMBER}\)|{NUMBER}) +({NUMBER}|diverged) +{NUMBER} ms(?:   (.+))?$"
    rows = re.findall(pattern, section(run, 3), flags=re.MULTILINE)
    candidates = run.results.candidates
    assert (
        len(rows)
        == len(candidates)
        == sum(len(grid[f"{demonstration.MODEL}__learning_rate"]) for grid in demonstration.GRID)
    )
    for (solver, rate, auto, plain, score, _, _, remark), candidate in zip(rows, candidates, strict=True):
        assert solver == candidate.solver
        if candidate.learning_rate == "auto":
            assert float(auto) == pytest.approx(run.results.auto_rates[solver], rel=1e-2), rate
        else:
            assert float(plain) == candidate.learning_rate
        if candidate.n_diverged:
            assert score == "diverged"
            assert remark == f"in {candidate.n_diverged} of 5 folds"
            assert np.isnan(candidate.score)
        else:
            assert float(score) == pytest.approx(candidate.score, abs=5.1e-4)
    best = max((c for c in candidates if not c.n_diverged), key=lambda c: c.score)
    assert [k for k, row in enumerate(rows) if row[-1] == "<- best"] == [candidates.index(best)]
    assert run.results.chosen == f"solver={best.solver!r}, learning_rate={best.learning_rate!r}"
    assert f"Best parameters: {run.results.chosen}\n" in run.text


@pytest.mark.exhaustive
def test_gradient_descent_diverges_far_above_the_limit_only(run):
    limit = 2 * run.results.auto_rates["gd"]
    for candidate in run.results.candidates:
        if candidate.learning_rate == "auto" or candidate.learning_rate < limit:
            assert candidate.n_diverged == 0
        elif candidate.solver == "gd" and candidate.learning_rate > 10 * limit:
            assert candidate.n_diverged == demonstration.N_FOLDS
    assert any(candidate.n_diverged for candidate in run.results.candidates)
    assert "ValueError: TwoLayerReLURegressor diverged" in run.text


@pytest.mark.exhaustive
def test_table_of_the_held_out_rows(run):
    results = run.results
    rows = re.findall(
        rf"^(\S.*?)  +{NUMBER}(?:  +([+-]{NUMBER}) \+- {NUMBER})? +{NUMBER} ms$", section(run, 4), flags=re.MULTILINE
    )
    names = [row[0] for row in rows]
    assert len(rows) == 5
    assert [sum(part in name for name in names) for part in ("skrelu", "MLPRegressor", "Ridge")] == [2, 2, 1]
    r2 = [float(row[1]) for row in rows]
    X_train, X_test, y_train, y_test = train_test_split(*load_diabetes(return_X_y=True, scaled=False), random_state=0)
    np.testing.assert_array_equal(y_test, results.y_true)
    residual = np.square(results.y_true - results.y_pred).mean()
    assert r2[0] == pytest.approx(1 - residual / np.var(results.y_true), abs=5.1e-4)
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(X_train, y_train)
    assert r2[-1] == pytest.approx(ridge.score(X_test, y_test), abs=5.1e-4)
    for row in rows[:-1]:
        assert float(row[2]) == pytest.approx(float(row[1]) - r2[-1], abs=1.1e-3)
    assert rows[-1][2] == ""


def test_standard_error_of_a_gain():
    """Over many samples, the gain scatters by about its standard error."""
    rng = np.random.RandomState(0)
    gains, errors = [], []
    for _ in range(400):
        y = rng.randn(200)
        before, after = y + rng.randn(200), y + 0.5 * rng.randn(200)
        gain, error = demonstration.gain_in_r2(y, before, after)
        gains.append(gain * np.var(y))
        errors.append(error * np.var(y))
    assert np.mean(gains) == pytest.approx(1 - 0.25, abs=5 * np.std(gains) / 20)
    assert np.std(gains) == pytest.approx(np.mean(errors), rel=0.15)  # a deviation from 400 draws is good to 4 %


@pytest.mark.exhaustive
def test_figure_is_written_where_matplotlib_is(written, tmp_path):
    out, files = written()
    if not HAS_MATPLOTLIB:
        assert files == []
        assert 'pip install "skrelu[plot]"' in out
        return
    assert files == ["skrelu_demo.png"]
    assert (tmp_path / "skrelu_demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert f"Figure: {tmp_path / 'skrelu_demo.png'}" in out


@pytest.mark.exhaustive
@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_output_names_the_figure(written, tmp_path):
    (tmp_path / "figures").mkdir()
    _, files = written("--output", "figures/demo.png")
    assert files == ["figures/demo.png"]


@pytest.mark.exhaustive
def test_without_matplotlib_a_line_says_how_to_get_it(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out, files = written()
    assert files == []
    assert 'pip install "skrelu[plot]"' in out
    assert len(out.strip().splitlines()) == 2  # and the time


@pytest.mark.parametrize("path", [".", "missing/demo.png"])
def test_output_that_cannot_be_written_is_an_error_before_anything_runs(path, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demonstration, "demonstrate", lambda: pytest.fail("ran"))
    with pytest.raises(SystemExit, match="2"):
        demonstration.main(["--output", path])
    assert f"got {path}" in capsys.readouterr().err


@pytest.mark.exhaustive
@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_figure_shows_the_results(run):
    figure = demonstration.draw(run.results)
    losses, search, predictions = figure.axes
    assert losses.get_yscale() == "log"
    assert [len(line.get_xdata()) for line in losses.lines] == [500, 300]
    assert search.get_xscale() == "log"
    crosses = [line for line in search.lines if line.get_marker() == "X"]
    assert len(crosses[0].get_xdata()) == sum(c.n_diverged > 0 and c.solver == "gd" for c in run.results.candidates)
    assert len(predictions.collections[0].get_offsets()) == len(run.results.y_true)
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.get_title() for axes in figure.axes)
