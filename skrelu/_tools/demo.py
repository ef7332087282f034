"""The demonstration, ``python -m skrelu``: raw columns, the two tutorials, completed digits, a search for the rate."""

from __future__ import annotations

import argparse
import importlib.util
import textwrap
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits, make_friedman2
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skrelu import LinearGDRegressor, TwoLayerReLURegressor, __version__

RATES = [0.001, 0.01, "auto", 0.1, 1.0]
N_FOLDS = 5
DRAWN = ["skrelu, raw", "MLPRegressor, raw", "RidgeCV, scaled X"]  # the models whose completed digits are drawn

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Row(NamedTuple):
    """A model of a table: its scores on the held-out rows, and its time to fit."""

    name: str
    r2: float
    rmse: float
    seconds: float


@dataclass(frozen=True)
class Results:
    """What the demonstration computes."""

    units: list[Row]
    losses: list[float]  # of the tutorial's program
    network: TwoLayerReLURegressor  # that imitates it
    digits: list[Row]
    pictures: dict[str, np.ndarray]  # a held-out digit of each class, true and completed by each model
    search: GridSearchCV


def main(arguments: list[str] | None = None) -> None:
    """Run everything, print the results, and draw the digits if matplotlib is installed."""
    parser = argparse.ArgumentParser(prog="python -m skrelu", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("skrelu_demo.png"), help="picture (default: %(default)s)")
    path = parser.parse_args(arguments).output
    if path.is_dir() or not path.absolute().parent.is_dir():
        parser.error(f"--output must be a file in an existing directory; got {path}")
    start = time.perf_counter()
    results = demonstrate()
    heading("The picture of completed digits")
    report_picture(results, path)
    print(f"\nTotal time: {time.perf_counter() - start:.1f} s.")


@threadpool_limits.wrap(limits=1)  # at these sizes more threads do not help, and on a busy machine they hurt
def demonstrate() -> Results:
    """Run the four parts and print their results."""
    print(f"skrelu {__version__}, scikit-learn {sklearn.__version__}, NumPy {np.__version__}, one BLAS thread")
    with warnings.catch_warnings():  # MLPRegressor does not converge in its default number of iterations
        warnings.filterwarnings("ignore", category=ConvergenceWarning, message="Stochastic Optimizer")
        units = raw_units()
        losses, network = network_tutorial()
        linear_tutorial()
        digits, pictures = completed_digits()
    return Results(units, losses, network, digits, pictures, search_learning_rate())


# ---- 1. raw columns


def circuit() -> Data:
    """Rows of four columns with units, and the impedance of the circuit that they describe; a quarter is held out."""
    X, y = make_friedman2(1000, noise=50.0, random_state=0)
    return tuple(train_test_split(X, y, random_state=0))


def raw_units() -> list[Row]:
    """Compare models on raw columns with units."""
    heading("1. Raw columns: the impedance of a circuit, 750 rows to learn from, 250 held out")
    print("from its resistance (up to 100), frequency (1760), inductance (1) and capacitance (11), with noise\n")
    rows, _ = compare(
        {
            "skrelu, raw": TwoLayerReLURegressor(random_state=0),
            "MLPRegressor, raw": MLPRegressor(random_state=0),
            "MLPRegressor, scaled X and y": with_scaled_y(scaled(MLPRegressor(random_state=0))),
            "Ridge, scaled X": scaled(Ridge()),
        },
        circuit(),
    )
    paragraph(
        "All parameters are defaults. skrelu scales X and y itself, in fit. MLPRegressor gets as far if you wrap it in "
        "a pipeline and a TransformedTargetRegressor; on raw data its score depends on the units."
    )
    return rows


def scaled(model: Any) -> Any:
    """The model behind a scaler of X."""
    return make_pipeline(StandardScaler(), model)


def with_scaled_y(model: Any) -> Any:
    """The model with a scaler of y."""
    return TransformedTargetRegressor(model, transformer=StandardScaler())


def compare(models: dict[str, Any], data: Data) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Fit the models and print a table of their scores on the held-out rows; their predictions, too."""
    X_train, X_test, y_train, y_test = data
    rows, predicted = [], {}
    print("model                              R2     RMSE   time to fit")
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        predicted[name] = model.predict(X_test)
        rmse = float(np.sqrt(np.mean((predicted[name] - y_test) ** 2)))
        row = Row(name, r2_score(y_test, predicted[name]), rmse, seconds)
        print(f"{row.name:30} {row.r2:6.2f}  {row.rmse:7.4g}  {row.seconds:9.2f} s")
        rows.append(row)
    return rows, predicted


# ---- 2. the tutorials


def network_tutorial() -> tuple[list[float], TwoLayerReLURegressor]:
    """Run the tutorial's program, and the estimator that imitates it."""
    heading("2. The tutorials: 64 rows, 1000 inputs, 100 hidden units, 10 outputs, all random")
    rng = np.random.RandomState(0)
    x, y = rng.randn(64, 1000), rng.randn(64, 10)
    before_the_weights = rng.get_state()
    w1, w2 = rng.randn(1000, 100), rng.randn(100, 10)
    start = time.perf_counter()
    losses = tutorial_program(x, y, w1, w2)
    of_the_program = time.perf_counter() - start

    rng.set_state(before_the_weights)
    model = TwoLayerReLURegressor(
        100,
        solver="gd",
        learning_rate=1e-6,
        max_iter=500,
        alpha=0,
        fit_intercept=False,
        init="standard_normal",
        standardize=False,
        reduction="sum",
        random_state=rng,
    )
    start = time.perf_counter()
    model.fit(x, y)
    of_the_model = time.perf_counter() - start

    print("iteration   loss of the program   loss of TwoLayerReLURegressor")
    for t in (0, 1, 2, 100, 499):
        print(f"{t:9}   {losses[t]:19.10g}   {model.loss_curve_[t]:29.10g}")
    difference = np.max(np.abs(np.divide(model.loss_curve_, losses) - 1.0))
    paragraph(
        f"500 iterations of gradient descent: {of_the_program:.3f} s for the tutorial's NumPy loop, {of_the_model:.3f} "
        f"s for the estimator, {of_the_program / of_the_model:.1f} times faster. All losses agree within "
        f"{difference:.0e}, relative. The estimator iterates with the products between the 64 rows, which is exact."
    )
    return losses, model


def tutorial_program(x: np.ndarray, y: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> list[float]:
    """The tutorial's loop; changes w1 and w2, and returns the losses that the tutorial prints."""
    losses = []
    for _ in range(500):
        h = x.dot(w1)
        h_relu = np.maximum(h, 0)
        y_pred = h_relu.dot(w2)
        losses.append(float(np.square(y_pred - y).sum()))
        grad_y_pred = 2.0 * (y_pred - y)
        grad_w2 = h_relu.T.dot(grad_y_pred)
        grad_h = grad_y_pred.dot(w2.T)
        grad_h[h < 0] = 0
        grad_w1 = x.T.dot(grad_h)
        w1 -= 1e-6 * grad_w1
        w2 -= 1e-6 * grad_w2
    return losses


def linear_tutorial() -> None:
    """Recover the coefficients of the linear tutorial, which runs its cell three times."""
    print("\nThe linear tutorial: 1000 rows, targets 2 x1 - 3 x2 + 5 + noise\n")
    rng = np.random.RandomState(0)
    X = rng.uniform(-10, 10, (1000, 2))
    targets = X @ [2.0, -3.0] + 5 + rng.uniform(-1, 1, 1000)
    model = LinearGDRegressor(
        learning_rate=0.01, max_iter=100, init="uniform", standardize=False, warm_start=True, random_state=rng
    )
    for runs in (1, 2, 3):
        print_coefficients(f"{100 * runs} iterations (runs of the cell: {runs})", model.fit(X, targets))
    print_coefficients("LinearGDRegressor(), defaults", LinearGDRegressor().fit(X, targets))
    print_coefficients("least squares (LinearRegression)", LinearRegression().fit(X, targets))


def print_coefficients(what: str, model: Any) -> None:
    """Print a row of the linear tutorial's table."""
    (first, second), intercept = model.coef_, model.intercept_
    print(f"{what:36}  weights {first:8.5f} {second:9.5f}   bias {intercept:8.5f}")


# ---- 3. digits


def completed_digits() -> tuple[list[Row], dict[str, np.ndarray]]:
    """Predict the lower half of digits from the upper half."""
    heading("3. Digits: 32 outputs at once, the lower half of a picture from its upper half; 450 held out")
    digits = load_digits()
    upper, upper_test, lower, lower_test, _, classes = train_test_split(
        digits.data[:, :32], digits.data[:, 32:], digits.target, random_state=0
    )
    rows, predicted = compare(
        {
            "skrelu, raw": TwoLayerReLURegressor(random_state=0),
            "MLPRegressor, raw": MLPRegressor(random_state=0),
            "MLPRegressor, scaled X": scaled(MLPRegressor(random_state=0)),
            "RidgeCV, scaled X": scaled(RidgeCV(np.geomspace(1e-2, 1e4, 13))),
        },
        (upper, upper_test, lower, lower_test),
    )
    paragraph(
        "R2 is the mean over the pixels and counts all alike, also those with little ink. RMSE is in units of ink, "
        "from 0 to 16. All parameters are defaults, except the penalties that RidgeCV chooses from."
    )
    chosen = [np.flatnonzero(classes == digit)[0] for digit in range(10)]
    halves = {"true": lower_test} | {name: predicted[name] for name in DRAWN}
    return rows, {name: np.hstack([upper_test, half])[chosen].reshape(10, 8, 8) for name, half in halves.items()}


# ---- 4. a search


def search_learning_rate() -> GridSearchCV:
    """Search for the learning rate of gradient descent on the columns of part 1."""
    heading(
        f"4. A search: GridSearchCV over the learning rate of gradient descent, {N_FOLDS} folds, the data of part 1"
    )
    X, X_test, y, y_test = circuit()
    model = TwoLayerReLURegressor(solver="gd", random_state=0)
    search = GridSearchCV(model, {"learning_rate": RATES}, cv=N_FOLDS, error_score=np.nan)
    with warnings.catch_warnings():  # the table shows which candidates fail
        warnings.filterwarnings("ignore", category=FitFailedWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
        search.fit(X, y)
    table = search.cv_results_
    automatic = model.set_params(max_iter=1).fit(X, y).learning_rate_
    print("learning rate   mean R2   time to fit")
    for k, rate in enumerate(RATES):
        label = f"auto ({automatic:.2g})" if rate == "auto" else f"{rate:g}"
        score, milliseconds = table["mean_test_score"][k], 1000 * table["mean_fit_time"][k]
        n_diverged = sum(np.isnan(table[f"split{fold}_test_score"][k]) for fold in range(N_FOLDS))
        shown = "diverged" if n_diverged else f"{score:.3f}"
        remark = f"in {n_diverged} of {N_FOLDS} folds" if n_diverged else "<- best" if k == search.best_index_ else ""
        print(f"{label:13}  {shown:>8}  {milliseconds:9.0f} ms   {remark}".rstrip())
    try:
        model.set_params(max_iter="auto", learning_rate=1.0).fit(X, y)
    except ValueError as error:
        paragraph(
            f"The best one scores {search.score(X_test, y_test):.3f} on the held-out rows. A candidate that diverges "
            f"costs few iterations, and the search goes on. Outside a search, fit raises ValueError: {error}"
        )
    return search


# ---- output


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def paragraph(text: str) -> None:
    """Print an empty line, and then the text in lines of up to 100 characters."""
    print("\n" + textwrap.fill(text, width=100, break_on_hyphens=False, break_long_words=False))


def report_picture(results: Results, path: Path) -> None:
    """Save the picture and print its path, or print what it needs."""
    if importlib.util.find_spec("matplotlib") is None:
        print("Not drawn: it needs matplotlib, which is not installed. pip install matplotlib")
        return
    draw(results.pictures).savefig(path, format="png", dpi=150)
    print(f"Saved: {path.absolute()}")


def draw(pictures: dict[str, np.ndarray]) -> Any:
    """Draw a digit of each class, true and completed; the models predict what is below the line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.15 * len(pictures) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("The lower half of a digit, predicted from the upper half", fontweight="bold")
    panels = figure.subplots(len(pictures), 10)
    for row, (name, digits) in zip(panels, pictures.items(), strict=True):
        for axes, digit in zip(row, digits, strict=True):
            axes.imshow(digit, cmap="Blues", vmin=0, vmax=16)
            axes.axhline(3.5, color="#dd7a1c", linewidth=1.5)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.split(",")[0], rotation="horizontal", horizontalalignment="right", y=0.4)
    return figure


if __name__ == "__main__":
    main()
