"""``python -m skrelu``: what it prints is true, and the picture is written where matplotlib is installed."""

import contextlib
import importlib.util
import io
import re
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_friedman2
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu._tools import demo as demonstration

NUMBER = r"(-?\d+\.?\d*(?:e[+-]?\d+)?)"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture(scope="module")
def run():
    """One run: its results, its text and its processor time. Warnings are errors."""
    out, err, start = io.StringIO(), io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        results = demonstration.demonstrate()
    return SimpleNamespace(
        results=results, text=out.getvalue(), err=err.getvalue(), seconds=time.process_time() - start
    )


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


def check_table(run, number, rows):
    """The printed table of a part holds these rows."""
    pattern = rf"^(\S.*?)  +{NUMBER} +{NUMBER} +{NUMBER} s$"
    printed = re.findall(pattern, section(run, number), flags=re.MULTILINE)
    assert [name for name, *_ in printed] == [row.name for row in rows]
    for (_, r2, rmse, _), row in zip(printed, rows, strict=True):
        assert float(r2) == pytest.approx(row.r2, abs=5.1e-3)
        assert float(rmse) == pytest.approx(row.rmse, rel=5.1e-4)


@pytest.mark.exhaustive
def test_nothing_but_text_and_soon(run):
    assert run.err == ""
    assert "Traceback" not in run.text
    assert "Warning" not in run.text
    assert run.seconds < 30


@pytest.mark.exhaustive
def test_raw_columns(run):
    rows = run.results.units
    check_table(run, 1, rows)
    by_name = {row.name: row for row in rows}
    X, X_test, y, y_test = train_test_split(*make_friedman2(1000, noise=50.0, random_state=0), random_state=0)
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(X, y)
    assert by_name["Ridge, scaled X"].r2 == pytest.approx(ridge.score(X_test, y_test), abs=1e-12)
    residual = ridge.predict(X_test) - y_test
    assert by_name["Ridge, scaled X"].rmse == pytest.approx(np.linalg.norm(residual) / np.sqrt(250), rel=1e-12)
    # The ranges of the columns, as the text gives them.
    np.testing.assert_allclose(np.concatenate([X, X_test]).max(axis=0), [100, 1760, 1, 11], rtol=0.01)
    # What the text says: as good as MLPRegressor with scaled X and y, which is much better than on raw data.
    assert by_name["skrelu, raw"].r2 == pytest.approx(by_name["MLPRegressor, scaled X and y"].r2, abs=0.01)
    assert by_name["MLPRegressor, raw"].r2 < by_name["MLPRegressor, scaled X and y"].r2 - 0.2


@pytest.mark.exhaustive
def test_network_has_the_losses_of_the_tutorial(run):
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
    printed = re.findall(rf"^ +(\d+) +{NUMBER} +{NUMBER}$", section(run, 2), flags=re.MULTILINE)
    assert [t for t, _, _ in printed] == ["0", "1", "2", "100", "499"]
    for column in (1, 2):
        np.testing.assert_allclose([float(row[column]) for row in printed[:3]], losses, rtol=1e-9)
        assert float(printed[-1][column]) < 1e-3
    # What 500 iterations may make of rounding.
    np.testing.assert_allclose(run.results.network.loss_curve_, run.results.losses, rtol=1e-6)
    text = " ".join(section(run, 2).split())
    program, model, ratio, within = re.search(
        rf"{NUMBER} s for the tutorial's NumPy loop, {NUMBER} s for the estimator, {NUMBER} times faster\. "
        rf"All losses agree within {NUMBER},",
        text,
    ).groups()
    low, high = (float(program) - 5e-4) / (float(model) + 5e-4), (float(program) + 5e-4) / (float(model) - 5e-4)
    assert low - 0.05 <= float(ratio) <= high + 0.05
    assert float(within) < 1e-6


@pytest.mark.exhaustive
def test_linear_model_recovers_the_coefficients(run):
    rows = re.findall(rf"^(.*?)  +weights +{NUMBER} +{NUMBER} +bias +{NUMBER}$", section(run, 2), flags=re.MULTILINE)
    table = {name: np.array(numbers, dtype=float) for name, *numbers in rows}
    first, second, third, default, least_squares = table.values()
    np.testing.assert_array_equal(default, least_squares)
    distances = [np.abs(row - least_squares).max() for row in (first, second, third)]
    assert distances == sorted(distances, reverse=True)
    # Uniform(-1, 1) noise has variance 1/3 and the inputs 100/3, so standard errors are 0.02 and 0.003: five of them.
    np.testing.assert_allclose(default, [2, -3, 5], atol=5 * np.sqrt(1 / 3 / 1000))
    np.testing.assert_allclose(default[:2], [2, -3], atol=5 * np.sqrt(1 / 100 / 1000))


@pytest.mark.exhaustive
def test_digits(run):
    rows = run.results.digits
    check_table(run, 3, rows)
    by_name = {row.name: row for row in rows}
    data = load_digits()
    upper, upper_test, lower, lower_test = train_test_split(data.data[:, :32], data.data[:, 32:], random_state=0)
    assert f"{len(lower_test)} held out" in section(run, 3)
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-2, 1e4, 13))).fit(upper, lower)
    assert by_name["RidgeCV, scaled X"].r2 == pytest.approx(ridge.score(upper_test, lower_test), abs=1e-9)
    assert by_name["skrelu, raw"].rmse < by_name["RidgeCV, scaled X"].rmse
    assert by_name["skrelu, raw"].r2 > by_name["RidgeCV, scaled X"].r2

    pictures = run.results.pictures
    assert list(pictures) == ["true", *demonstration.DRAWN]
    assert set(demonstration.DRAWN) <= set(by_name)
    for digit, picture in enumerate(pictures["true"]):
        (k,) = np.flatnonzero((data.images == picture).all(axis=(1, 2)))
        assert data.target[k] == digit
    for name in demonstration.DRAWN:
        assert pictures[name].shape == (10, 8, 8)
        np.testing.assert_array_equal(pictures[name][:, :4], pictures["true"][:, :4])
    first = pictures["true"][0].ravel()
    np.testing.assert_allclose(pictures["RidgeCV, scaled X"][0].ravel()[32:], ridge.predict(first[None, :32])[0])


@pytest.mark.exhaustive
def test_search_table(run):
    pattern = rf"^(auto \({NUMBER}\)|{NUMBER}) +({NUMBER}|diverged) +{NUMBER} ms(?:   (.+))?$"
    rows = re.findall(pattern, section(run, 4), flags=re.MULTILINE)
    search, rates = run.results.search, demonstration.RATES
    assert len(rows) == len(rates) == 5
    scores = np.array([search.cv_results_[f"split{k}_test_score"] for k in range(demonstration.N_FOLDS)])
    diverged = np.isnan(scores).sum(axis=0)
    for k, ((_, auto, plain, score, _, _, remark), rate) in enumerate(zip(rows, rates, strict=True)):
        if rate != "auto":
            assert float(plain) == rate
        if diverged[k]:
            assert score == "diverged"
            assert remark == f"in {diverged[k]} of 5 folds"
        else:
            assert float(score) == pytest.approx(scores[:, k].mean(), abs=5.1e-4)
            assert remark == ("<- best" if k == np.nanargmax(scores.mean(axis=0)) else "")
        # Gradient descent is stable up to 2/L at its start, and diverges far above it.
        limit = 2 * float(next(row[1] for row in rows if row[1]))
        if auto or rate < limit:
            assert diverged[k] == 0
        elif rate > 10 * limit:
            assert diverged[k] == 5
    assert sum("<- best" in row for row in rows) == 1
    assert "ValueError: TwoLayerReLURegressor diverged" in " ".join(section(run, 4).split())
    _, X_test, _, y_test = demonstration.circuit()
    assert f"scores {search.score(X_test, y_test):.3f} on" in section(run, 4)


@pytest.mark.exhaustive
def test_picture_is_written_where_matplotlib_is(written, tmp_path):
    out, files = written()
    if not HAS_MATPLOTLIB:
        assert files == []
        assert "pip install matplotlib" in out
        return
    assert files == ["skrelu_demo.png"]
    assert (tmp_path / "skrelu_demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert f"Saved: {tmp_path / 'skrelu_demo.png'}" in out
    assert re.search(r"^Total time: \d+\.\d s\.$", out, flags=re.MULTILINE)


@pytest.mark.exhaustive
@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_output_names_the_picture(written, tmp_path):
    (tmp_path / "pictures").mkdir()
    _, files = written("--output", "pictures/demo.png")
    assert files == ["pictures/demo.png"]


@pytest.mark.exhaustive
def test_without_matplotlib_a_line_says_how_to_get_it(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out, files = written()
    assert files == []
    assert "pip install matplotlib" in out
    assert "Saved" not in out


@pytest.mark.parametrize("path", [".", "missing/demo.png"])
def test_output_that_cannot_be_written_is_an_error_before_anything_runs(path, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demonstration, "demonstrate", lambda: pytest.fail("ran"))
    with pytest.raises(SystemExit, match="2"):
        demonstration.main(["--output", path])
    assert f"got {path}" in capsys.readouterr().err


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_picture_has_a_row_for_each_model_and_a_digit_of_each_class():
    rng = np.random.RandomState(0)
    pictures = {name: rng.uniform(0, 16, (10, 8, 8)) for name in ("true", *demonstration.DRAWN)}
    figure = demonstration.draw(pictures)
    assert len(figure.axes) == 10 * len(pictures)
    for axes, picture in zip(figure.axes, np.concatenate(list(pictures.values())), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), picture)
    assert [axes.get_ylabel() for axes in figure.axes[::10]] == ["true", "skrelu", "MLPRegressor", "RidgeCV"]
