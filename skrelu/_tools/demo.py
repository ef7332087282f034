"""The demo, ``python -m skrelu``: the two tutorials, and a search for the learning rate on real data."""

from __future__ import annotations

import argparse
import importlib.util
import textwrap
import time
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import PredictionErrorDisplay, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skrelu import LearningRateDisplay, LinearGDRegressor, LossCurveDisplay, TwoLayerReLURegressor, __version__

MODEL = "twolayerreluregressor"  # name of this step in the pipeline
GRID = [
    {f"{MODEL}__solver": ["gd"], f"{MODEL}__learning_rate": ["auto", 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]},
    {f"{MODEL}__solver": ["adam"], f"{MODEL}__learning_rate": ["auto", 0.0001, 0.001, 0.1, 1.0]},
]
N_FOLDS = 5

BLUE, ORANGE, GREY = "#1f5fa8", "#dd7a1c", "#8a8a8a"


class Candidate(NamedTuple):
    """One row of the search table; `score` is NaN if any fold diverged."""

    solver: str
    learning_rate: float | str
    score: float
    n_diverged: int
    fit_time: float


@dataclass(frozen=True)
class Results:
    """The data of the figure."""

    network_losses: list[float]
    linear_losses: list[float]
    search: GridSearchCV
    candidates: list[Candidate]
    auto_rates: dict[str, float]  # the value of learning_rate="auto" for each solver on all training rows
    chosen: str
    y_true: np.ndarray
    y_pred: np.ndarray


def main(arguments: list[str] | None = None) -> None:
    """Run everything, print the results, and draw them if matplotlib is installed."""
    parser = argparse.ArgumentParser(prog="python -m skrelu", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("skrelu_demo.png"), help="figure (default: %(default)s)")
    path = parser.parse_args(arguments).output
    if path.is_dir() or not path.absolute().parent.is_dir():
        parser.error(f"--output must be a file in an existing directory; got {path}")
    start = time.perf_counter()
    report_figure(demonstrate(), path)
    print(f"Total time: {time.perf_counter() - start:.1f} s.")


@threadpool_limits.wrap(limits=1)  # at these sizes more threads do not help, and on a busy machine they hurt
def demonstrate() -> Results:
    """Run the tutorials, the search and the comparison, and print their results."""
    print(
        f"skrelu {__version__} with scikit-learn {sklearn.__version__} and NumPy {np.__version__}, BLAS on one thread"
    )
    network_losses = tutorial_network()
    linear_losses = tutorial_linear()
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    search, auto_rates = search_learning_rate(X_train, y_train)
    candidates = candidates_of(search)
    print_search(search, candidates, auto_rates)
    print_divergence(X_train, y_train)
    y_pred = compare(search, X_train, y_train, X_test, y_test)
    return Results(network_losses, linear_losses, search, candidates, auto_rates, describe(search), y_test, y_pred)


def tutorial_network() -> list[float]:
    """Train the two-layer network on random data; print the losses in the tutorial's format."""
    heading("1. The tutorial's network: 64 rows, 1000 inputs, 100 hidden units, 10 outputs, all random")
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
    )
    print(f"{model}\n")
    rng = np.random.RandomState(0)
    x, y = rng.randn(64, 1000), rng.randn(64, 10)
    rng_plain = deepcopy(rng)
    model.set_params(random_state=rng)  # as in the tutorial, the weights are drawn after x and y
    start = time.perf_counter()
    model.fit(x, y)
    elapsed = time.perf_counter() - start
    losses = list(enumerate(model.loss_curve_))
    for t, loss in losses[:3]:
        print(t, loss)
    print("...")
    for t, loss in losses[-3:]:
        print(t, loss)
    print(f"\n{model.n_iter_} iterations of full-batch gradient descent in {elapsed:.2f} s.")
    start = time.perf_counter()
    plain = clone(model).set_params(precompute=False, random_state=rng_plain).fit(x, y)
    elapsed = time.perf_counter() - start
    difference = np.max(np.abs(np.divide(plain.loss_curve_, model.loss_curve_) - 1.0))
    print(f"Without the shortcut (precompute=False): {elapsed:.2f} s; the losses agree within {difference:.0e}.")
    return model.loss_curve_


def tutorial_linear() -> list[float]:
    """Train the linear model; print the coefficients that the tutorial recovers by running its cell three times."""
    heading("2. The linear tutorial: 1000 rows, targets 2 x1 - 3 x2 + 5 + noise")
    rng = np.random.RandomState(0)
    n = 1000
    x1, x2 = rng.uniform(-10, 10, n), rng.uniform(-10, 10, n)
    X = np.column_stack([x1, x2])
    targets = 2 * x1 - 3 * x2 + 5 + rng.uniform(-1, 1, n)
    model = LinearGDRegressor(learning_rate=0.01, max_iter=100, init="uniform", standardize=False, warm_start=True)
    print(f"{model}\n")
    model.set_params(random_state=rng)
    print_coefficients("truth", np.array([2.0, -3.0]), 5.0)
    for runs in (1, 2, 3):
        model.fit(X, targets)
        print_coefficients(f"{100 * runs} iterations (runs of the cell: {runs})", model.coef_, model.intercept_)
    default = LinearGDRegressor().fit(X, targets)
    print_coefficients("LinearGDRegressor(), defaults", default.coef_, default.intercept_)
    exact = LinearRegression().fit(X, targets)
    print_coefficients("least squares (LinearRegression)", exact.coef_, exact.intercept_)
    return model.loss_curve_


def print_coefficients(what: str, coef: np.ndarray, intercept: float) -> None:
    """Print one row of the linear tutorial's table."""
    print(f"{what:36}  weights {coef[0]:8.5f} {coef[1]:9.5f}   bias {intercept:8.5f}")


def search_learning_rate(X: np.ndarray, y: np.ndarray) -> tuple[GridSearchCV, dict[str, float]]:
    """The fitted search, and the value of "auto" for each solver on these rows."""
    pipeline = make_pipeline(SimpleImputer(), TwoLayerReLURegressor(random_state=0))
    search = GridSearchCV(pipeline, GRID, cv=N_FOLDS, error_score=np.nan)
    with warnings.catch_warnings():  # the table shows which candidates fail
        warnings.filterwarnings("ignore", category=FitFailedWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
        search.fit(X, y)
    gd = TwoLayerReLURegressor(solver="gd", max_iter=1, random_state=0).fit(X, y)
    adam = TwoLayerReLURegressor(solver="adam", max_iter=1, random_state=0).fit(X, y)
    return search, {"gd": gd.learning_rate_, "adam": adam.learning_rate_}


def candidates_of(search: GridSearchCV) -> list[Candidate]:
    """The rows of the search table, in the order of the grid."""
    table = search.cv_results_
    scores = np.stack([table[f"split{k}_test_score"] for k in range(N_FOLDS)])
    return [
        Candidate(parameters[f"{MODEL}__solver"], parameters[f"{MODEL}__learning_rate"], score, n_diverged, fit_time)
        for parameters, score, n_diverged, fit_time in zip(
            table["params"],
            table["mean_test_score"].tolist(),
            np.isnan(scores).sum(axis=0).tolist(),
            table["mean_fit_time"].tolist(),
            strict=True,
        )
    ]


def print_search(search: GridSearchCV, candidates: list[Candidate], auto_rates: dict[str, float]) -> None:
    """Print the table, the best parameters and the limit of the learning rate."""
    heading("3. A search for the learning rate: scikit-learn's raw diabetes data, 331 of the 442 patients")
    steps = " -> ".join(type(step).__name__ for _, step in search.estimator.steps)
    print(f"GridSearchCV, {N_FOLDS} folds, over the pipeline {steps}")
    print("\nsolver  learning rate      mean R2   fit time")
    for k, (solver, rate, score, n_diverged, fit_time) in enumerate(candidates):
        label = f"auto ({auto_rates[solver]:.3g})" if rate == "auto" else f"{rate:g}"
        shown = "diverged" if n_diverged else f"{score:.3f}"
        remark = f"in {n_diverged} of {N_FOLDS} folds" if n_diverged else "<- best" if k == search.best_index_ else ""
        print(f"{solver:6}  {label:14}  {shown:>10}  {1000 * fit_time:6.0f} ms   {remark}".rstrip())
    eta = auto_rates["gd"]
    print(f"\nBest parameters: {describe(search)}")
    paragraph(
        "For gd, 'auto' is 1/L, with L the curvature of the loss at the initial weights. "
        f"It is {eta:.3g} on all training rows; each fold has its own value. Around the initial weights, gradient "
        f"descent is stable up to 2/L = {2 * eta:.3g}. Slightly above, a network may still settle in a region with a "
        "flatter loss. Far above, it diverges, which costs only the few iterations before it is detected. Adam "
        "divides its steps by the size of the gradient, so a rate that is too large gives a bad score instead of "
        "divergence. The imputer has nothing to fill here; it is a placeholder for your own preprocessing."
    )


def describe(search: GridSearchCV) -> str:
    """The best parameters, as text."""
    best = search.best_params_
    return f"solver={best[f'{MODEL}__solver']!r}, learning_rate={best[f'{MODEL}__learning_rate']!r}"


def print_divergence(X: np.ndarray, y: np.ndarray) -> None:
    """Print the error that a diverging `fit` raises outside a search."""
    try:
        TwoLayerReLURegressor(solver="gd", learning_rate=1.0, random_state=0).fit(X, y)
    except ValueError as error:
        paragraph(f"Outside a search, a diverging fit raises ValueError: {error}")


def compare(
    search: GridSearchCV, X_train: np.ndarray, y_train: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> np.ndarray:
    """Compare R2 on the held-out rows with other models; return the predictions of the model found by the search."""
    heading(f"4. Comparison on the {len(y_test)} held-out patients, which the search has not seen")
    scaled_mlp = make_pipeline(StandardScaler(), MLPRegressor(random_state=0))
    others: dict[str, Any] = {
        "skrelu's TwoLayerReLURegressor(), defaults": TwoLayerReLURegressor(random_state=0),
        "MLPRegressor(), X scaled": scaled_mlp,
        "MLPRegressor(), X and y scaled": TransformedTargetRegressor(scaled_mlp, transformer=StandardScaler()),
        "Ridge(), X scaled": make_pipeline(StandardScaler(), Ridge()),
    }
    found = search.predict(X_test)
    rows = [("skrelu's TwoLayerReLURegressor, found above", found, search.refit_time_)]
    for name, model in others.items():
        start = time.perf_counter()
        with warnings.catch_warnings():  # MLPRegressor does not converge in its default number of iterations
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            model.fit(X_train, y_train)
        rows.append((name, model.predict(X_test), time.perf_counter() - start))
    ridge = rows[-1][1]
    print("model                                             R2    minus Ridge's   fit time")
    for name, y_pred, fit_time in rows:
        gain, error = gain_in_r2(y_test, ridge, y_pred)
        against = f"{gain:+.3f} +- {error:.3f}" if y_pred is not ridge else ""
        print(f"{name:44} {r2_score(y_test, y_pred):7.3f}  {against:>15}  {1000 * fit_time:6.0f} ms")
    mlp = scaled_mlp[-1]
    paragraph(
        "All parameters are defaults, except those that were searched. skrelu's models get the raw X and y. All other "
        "models get X through StandardScaler, and the second MLPRegressor gets y through StandardScaler as well. The "
        f"first MLPRegressor made {mlp.n_iter_} passes; its default limit is {mlp.max_iter}. The column "
        '"minus Ridge\'s" has the difference in R2 and its standard error over these patients. The data are few, '
        "noisy and close to linear, so Ridge is hard to beat. One split gives only a rough comparison."
    )
    return found


def gain_in_r2(y: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """R2 of `after` minus R2 of `before`, and its standard error from paired differences of squared errors."""
    gains = ((y - before) ** 2 - (y - after) ** 2) / np.var(y)
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(y)))


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def paragraph(text: str) -> None:
    """Print an empty line, and then the text in lines of up to 100 characters."""
    print("\n" + textwrap.fill(text, width=100, break_on_hyphens=False, break_long_words=False))


def report_figure(results: Results, path: Path) -> None:
    """Save the figure and print its path, or print how to install matplotlib."""
    print()
    if importlib.util.find_spec("matplotlib") is None:
        print('No figure: matplotlib is not installed. To install it: pip install "skrelu[plot]"')
        return
    draw(results).savefig(path, format="png", dpi=150)
    print(f"Figure: {path.absolute()}")


def draw(results: Results) -> Any:
    """Draw the figure: loss curves, score over learning rate, and predicted against actual values."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(14, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03))
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    draw_losses(left, results)
    draw_search(middle, results)
    draw_predictions(right, results)
    for axes in (left, middle, right):
        axes.title.set_fontweight("bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def draw_losses(axes: Any, results: Results) -> None:
    """Draw the loss curves of the two tutorials."""
    network = LossCurveDisplay(loss_curve=results.network_losses, name="network: sum of squared errors")
    network.plot(axes, line_kwargs={"color": BLUE, "linewidth": 2})
    linear = LossCurveDisplay(loss_curve=results.linear_losses, name="linear model: half the mean squared error")
    linear.plot(axes, line_kwargs={"color": ORANGE, "linewidth": 2})
    axes.set(title="The tutorials", xlabel="iteration", ylabel="loss")
    axes.legend(frameon=False, loc="upper right")


def draw_search(axes: Any, results: Results) -> None:
    """Draw R2 of each candidate, and crosses for those that diverged."""
    axes.set_prop_cycle(color=[BLUE, ORANGE])
    LearningRateDisplay.from_search(results.search, ax=axes, score_name="R²", line_kwargs={"linewidth": 2})
    limit = 2 * results.auto_rates["gd"]
    axes.axvline(limit, color=BLUE, linestyle=":", linewidth=1.2)
    where = axes.get_xaxis_transform()  # x is a learning rate, y a fraction of the height
    axes.text(1.15 * limit, 0.13, "2/L of gd", color=BLUE, transform=where)
    axes.set(title="Search on the diabetes data", xlabel="learning rate")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 0.1))


def draw_predictions(axes: Any, results: Results) -> None:
    """Draw predicted against actual values of the held-out rows with scikit-learn's own display."""
    PredictionErrorDisplay.from_predictions(
        results.y_true,
        results.y_pred,
        kind="actual_vs_predicted",
        ax=axes,
        scatter_kwargs={"color": BLUE, "alpha": 0.6, "edgecolor": "none", "s": 36},
        line_kwargs={"color": GREY, "linestyle": "--"},
    )
    ticks = np.arange(0, 351, 50)
    axes.set_aspect("equal", adjustable="box")
    axes.set(xticks=ticks, yticks=ticks, xlim=(20, 355), ylim=(20, 355))
    r2 = r2_score(results.y_true, results.y_pred)
    axes.set(title=f"Held-out patients: R² = {r2:.2f}")
    axes.set(xlabel="predicted disease progression", ylabel="actual disease progression")
    axes.text(0.98, 0.03, results.chosen, color=BLUE, horizontalalignment="right", transform=axes.transAxes)


if __name__ == "__main__":
    main()
