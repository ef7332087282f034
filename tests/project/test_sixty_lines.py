"""The sixty lines of `examples/two_layer_network.py`: equal to the estimator, short, and quoted as they are."""

import ast
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from skrelu import TwoLayerReLURegressor

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "two_layer_network.py"
EPS = np.finfo(np.float64).eps


@pytest.fixture(scope="module")
def program():
    """The names that the program defines."""
    return runpy.run_path(str(PROGRAM))


def relative_difference(a, b):
    """The largest difference relative to the largest number."""
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("precompute", ["auto", False])
def test_gradient_descent_is_the_estimator(program, precompute):
    n_iter, random = 500, np.random.RandomState(0)
    X, y = random.randn(64, 1000), random.randn(64, 10)
    before_the_weights = random.get_state()
    W1, W2 = random.randn(1000, 100), random.randn(100, 10)
    losses = program["gradient_descent"](X, y, W1, W2, rate=1e-6, n_iter=n_iter)

    random.set_state(before_the_weights)
    model = TwoLayerReLURegressor(
        100,
        solver="gd",
        learning_rate=1e-6,
        max_iter=n_iter,
        alpha=0,
        fit_intercept=False,
        init="standard_normal",
        standardize=False,
        reduction="sum",
        precompute=precompute,
        random_state=random,
    ).fit(X, y)
    # A rounding for each iteration. Losses fall by 11 digits; their square roots, the sizes of E, keep the rounding of
    # the predictions, which are of the first one's size.
    assert len(losses) == len(model.loss_curve_) == n_iter
    sizes = np.sqrt(losses)
    np.testing.assert_allclose(np.sqrt(model.loss_curve_), sizes, rtol=0, atol=n_iter * EPS * sizes[0])
    assert relative_difference(model.coefs_[0], W1) < n_iter * EPS
    assert relative_difference(model.coefs_[1], W2) < n_iter * EPS


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("batch_size", [300, 64], ids=["one batch", "batches of two sizes"])
def test_adam_is_the_estimator(program, n_outputs, batch_size):
    n, d, h, n_epochs, rate = 301, 5, 20, 20, 0.01
    random = np.random.RandomState(1)
    X = random.randn(n, d)
    y = np.stack([np.sin(2 * X[:, 0]) + X[:, k] * X[:, 2] for k in range(n_outputs)], axis=1)
    model = TwoLayerReLURegressor(
        h,
        n_members=1,
        learning_rate=rate,
        learning_rate_schedule="constant",
        batch_size=batch_size,
        max_iter=n_epochs,
        alpha=0,
        standardize=False,
        scaling_layer=False,
        random_state=2,
    ).fit(X, y)

    random = np.random.RandomState(2)  # the estimator draws W1, W2 and then the seed of the shuffling
    W1 = np.sqrt(2 / d) * random.randn(d, h)
    W2 = np.sqrt(2 / h) * random.randn(h, n_outputs)
    seed = random.randint(np.iinfo(np.int32).max)
    parameters = [W1, np.zeros(h), W2, np.zeros(n_outputs)]
    losses = program["adam"](X, y, parameters, seed, rate, batch_size, n_epochs)

    n_steps = n_epochs * max(1, round(n / batch_size))
    rounding = max(10, n_steps) * EPS  # one for each step, and some within a step
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=rounding)
    estimated = (model.coefs_[0], model.intercepts_[0], model.coefs_[1], model.intercepts_[1])
    for ours, theirs in zip(estimated, parameters, strict=True):
        assert relative_difference(ours, theirs) < rounding


def test_it_is_sixty_lines_of_numpy():
    text = PROGRAM.read_text(encoding="utf-8")
    assert len([line for line in text.splitlines() if line.strip()]) <= 62
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


def test_it_prints_losses_that_fall(capsys):
    runpy.run_path(str(PROGRAM), run_name="__main__")
    printed = re.findall(r"^(.+), \w+ +\d+: loss (\S+)$", capsys.readouterr().out, flags=re.MULTILINE)
    for name, factor in (("gradient descent", 1e-11), ("Adam", 0.1)):
        losses = [float(loss) for which, loss in printed if which == name]
        assert len(losses) >= 3
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < factor * losses[0]


def code_of_the_tables(header):
    """The rows below the table header that ends in `header`: the codes of each cell."""
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    table = re.search(rf"^\|.*\| {re.escape(header)} \|\n\|[-|]+\|\n((?:\|.*\n)+)", page, flags=re.MULTILINE).group(1)
    return [[re.findall(r"`([^`]+)`", cell) for cell in row.split(" | ")] for row in table.splitlines()]


def test_the_page_quotes_the_program_and_the_package():
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    text, network = (p.read_text(encoding="utf-8") for p in (PROGRAM, ROOT / "skrelu" / "_models" / "network.py"))
    first, second = code_of_the_tables("`skrelu/_models/network.py`"), code_of_the_tables("in `skrelu/`")
    assert len(first) >= 6
    assert len(second) >= 5
    for _, (tutorial,), (line,), quoted in first:
        assert page.count(tutorial) >= 2  # in the program above the table, too
        assert line in text
        assert all(code in network for code in quoted)
    for _, (line,), (path, code) in second:
        assert line in text
        assert code in (ROOT / "skrelu" / path).read_text(encoding="utf-8")
