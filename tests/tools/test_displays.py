"""The displays draw what the estimators and searches hold, on axes that survive zero losses and absurd scores."""

import sys

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import EPS
from skrelu import LearningRateDisplay, LinearGDRegressor, LossCurveDisplay, TwoLayerReLURegressor

"""The displays draw what the estimators and searches hold, on axes that survive zero losses and absurd scores."""


matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib")


matplotlib.use("Agg")


plt = pytest.importorskip("matplotlib.pyplot")
RNG = np.random.RandomState(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.5 * RNG.normal(size=40)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # the drawing can be rendered, without a warning
    plt.close("all")


def legend_of(ax):
    return [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    "estimator",
    [LinearGDRegressor(max_iter=7), TwoLayerReLURegressor(4, max_iter=7), TwoLayerReLURegressor(4, solver="gd")],
)
def test_the_line_is_the_loss_curve(estimator):
    model = estimator.fit(X, Y)
    display = LossCurveDisplay.from_estimator(model)
    assert display.line_.get_ydata().tolist() == model.loss_curve_
    assert display.line_.get_xdata().tolist() == list(range(model.n_iter_))
    assert display.validation_line_ is None
    assert display.ax_.get_yscale() == "log"
    assert display.figure_ is display.ax_.figure
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Iteration", "Loss")
    assert legend_of(display.ax_) == [type(model).__name__]


def test_several_estimators_on_one_ax():
    first = LossCurveDisplay.from_estimator(LinearGDRegressor(max_iter=5).fit(X, Y), name="first")
    second = LossCurveDisplay.from_estimator(LinearGDRegressor(max_iter=9).fit(X, Y), name="second", ax=first.ax_)
    assert second.ax_ is first.ax_
    assert [len(line.get_xdata()) for line in first.ax_.lines] == [5, 9]
    assert first.line_.get_color() != second.line_.get_color()
    assert legend_of(first.ax_) == ["first", "second"]
    assert len(plt.get_fignums()) == 1


def test_validation_loss_is_dashed_and_of_the_same_color():
    model = LinearGDRegressor(max_iter=3).fit(X, Y, X_val=X[:5], y_val=Y[:5])
    LossCurveDisplay.from_estimator(model)  # another color of the cycle
    display = LossCurveDisplay.from_estimator(model, name="model", line_kwargs={"linewidth": 3})
    assert display.validation_line_.get_ydata().tolist() == model.validation_loss_curve_
    assert display.validation_line_.get_linestyle() == "--" != display.line_.get_linestyle()
    assert display.validation_line_.get_color() == display.line_.get_color()
    assert display.validation_line_.get_linewidth() == display.line_.get_linewidth() == 3
    assert legend_of(display.ax_) == ["model, training", "model, validation"]
    unnamed = LossCurveDisplay(loss_curve=[1.0], validation_loss_curve=[2.0]).plot()
    assert legend_of(unnamed.ax_) == ["training", "validation"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("losses", [[1.0, 0.1, 0.0, 0.0], [0.0, 1.0], [5e-324, 0.0], [1e200, 1e-200]])
def test_log_axis_survives_zero_losses(losses):
    display = LossCurveDisplay(loss_curve=losses).plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_yscale() == "log"
    low, high = display.ax_.get_ylim()
    assert 0.0 <= low < high < np.inf
    assert legend_of(display.ax_) == []


def test_a_fit_whose_losses_are_all_zero():
    model = LinearGDRegressor(max_iter=4).fit(X, np.full(40, 3.0))
    assert set(model.loss_curve_) == {0.0}
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_yscale() == "linear"
    before = LossCurveDisplay(loss_curve=[1.0, 0.5]).plot()
    assert LossCurveDisplay.from_estimator(model, ax=before.ax_).ax_.get_yscale() == "log"


def test_a_single_loss_is_seen():
    display = LossCurveDisplay.from_estimator(LinearGDRegressor(max_iter=1).fit(X, Y))
    assert display.line_.get_marker() == "o"
    assert LossCurveDisplay(loss_curve=[2.0, 1.0]).plot().line_.get_marker() == "None"


def test_linear_scale_and_styles():
    display = LossCurveDisplay(loss_curve=[2.0, 1.0], name="a").plot(
        scale="linear", name="b", line_kwargs={"color": "red"}
    )
    assert display.ax_.get_yscale() == "linear"
    assert display.line_.get_color() == "red"
    assert legend_of(display.ax_) == ["b"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda model: make_pipeline(StandardScaler(), model), "LinearGDRegressor"),
        (lambda model: GridSearchCV(model, {"alpha": [0.0, 1.0]}), "LinearGDRegressor"),
        (lambda model: TransformedTargetRegressor(make_pipeline(StandardScaler(), model)), "LinearGDRegressor"),
        (lambda _: MLPRegressor(hidden_layer_sizes=2, max_iter=8, tol=0.0, n_iter_no_change=100), "MLPRegressor"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_model_within_is_found(wrap, name):
    display = LossCurveDisplay.from_estimator(wrap(LinearGDRegressor(max_iter=8)).fit(X, Y))
    assert len(display.line_.get_xdata()) == 8
    assert legend_of(display.ax_) == [name]


def test_what_has_no_loss_curve_is_refused():
    for estimator in (LinearGDRegressor(), make_pipeline(LinearGDRegressor()), GridSearchCV(LinearGDRegressor(), {})):
        with pytest.raises(NotFittedError):
            LossCurveDisplay.from_estimator(estimator)
    with pytest.raises(ValueError, match="Ridge has no loss_curve_"):
        LossCurveDisplay.from_estimator(make_pipeline(Ridge()).fit(X, Y))
    with pytest.raises(ValueError, match="scale must be 'log' or 'linear'; got 'symlog'"):
        LossCurveDisplay(loss_curve=[1.0]).plot(scale="symlog")
    assert plt.get_fignums() == []


RATES = ["auto", 0.3, 0.001, 0.03, 30.0, 100.0]  # 30 and 100 are far above 2/L, which is at most 2


def searched(grid, estimator=None, **parameters):
    model = LinearGDRegressor(max_iter=400, precompute=False) if estimator is None else estimator
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        return GridSearchCV(model, grid, cv=4, **parameters).fit(X, Y)


def test_means_deviations_and_what_diverged():
    search = searched({"learning_rate": RATES})
    display = LearningRateDisplay.from_search(search)
    table = search.cv_results_
    (line,), (level,), (crosses,) = display.lines_, display.levels_, display.diverged_
    assert line.get_xdata().tolist() == [0.001, 0.03, 0.3]
    order = [2, 3, 1]
    np.testing.assert_allclose(line.get_ydata(), table["mean_test_score"][order], rtol=10 * EPS)
    assert crosses.get_xdata().tolist() == [30.0, 100.0]
    assert crosses.get_marker() == "X"
    np.testing.assert_allclose(level.get_ydata(), table["mean_test_score"][0], rtol=10 * EPS)
    low = (table["mean_test_score"] - table["std_test_score"])[order]
    high = (table["mean_test_score"] + table["std_test_score"])[order]
    vertices = display.ax_.collections[0].get_paths()[0].vertices[:, 1]
    assert vertices.min() == pytest.approx(low.min(), rel=1e-12)
    assert vertices.max() == pytest.approx(high.max(), rel=1e-12)
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_ylabel() == "Score over 4 splits"
    assert legend_of(display.ax_) == ["'auto'"]
    assert [text.get_text() for text in display.ax_.texts] == ["diverged"]
    # The strip of the crosses is below every score.
    (strip,) = display.ax_.patches
    to_data = display.ax_.transAxes + display.ax_.transData.inverted()
    assert to_data.transform((0, strip.get_height()))[1] <= low.min()


def test_one_line_for_each_combination_of_the_other_parameters():
    grid = [
        {"lineargdregressor__learning_rate": [0.01, 0.1, 50.0], "lineargdregressor__fit_intercept": [True, False]},
        {"lineargdregressor__learning_rate": ["auto"], "lineargdregressor__reduction": ["mean"]},
    ]
    search = searched(grid, make_pipeline(LinearGDRegressor(max_iter=400, precompute=False)), scoring="r2")
    display = LearningRateDisplay.from_search(search)
    assert legend_of(display.ax_) == ["fit_intercept=True", "fit_intercept=False", "'auto'"]
    with_intercept, without, of_auto = display.lines_
    assert with_intercept.get_xdata().tolist() == without.get_xdata().tolist() == [0.01, 0.1]
    assert len(of_auto.get_xdata()) == 0
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(with_intercept.get_ydata(), scores[[0, 1]], rtol=10 * EPS)
    assert [crosses.get_color() for crosses in display.diverged_] == [
        with_intercept.get_color(),
        without.get_color(),
    ]
    assert len({tuple(crosses.get_ydata()) for crosses in display.diverged_}) == 2  # not on top of each other
    assert display.levels_[0].get_color() == of_auto.get_color()
    assert display.ax_.get_ylabel() == "r2 over 4 splits"


def test_a_candidate_without_a_rate_has_that_of_the_estimator():
    grid = [{"learning_rate": [0.1, 0.2]}, {"fit_intercept": [True]}]
    search = GridSearchCV(LinearGDRegressor(learning_rate=0.3), grid).fit(X, Y)
    display = LearningRateDisplay.from_search(search)
    assert np.concatenate([line.get_xdata() for line in display.lines_]).tolist() == [0.1, 0.2, 0.3]


def test_several_metrics():
    search = searched(
        {"learning_rate": [0.1, 0.3, 50.0]}, scoring=["r2", "neg_mean_absolute_error"], refit="neg_mean_absolute_error"
    )
    by_refit = LearningRateDisplay.from_search(search)
    assert by_refit.ax_.get_ylabel() == "neg mean absolute error over 4 splits"
    np.testing.assert_allclose(
        by_refit.lines_[0].get_ydata(), search.cv_results_["mean_test_neg_mean_absolute_error"][:2], rtol=10 * EPS
    )
    named = LearningRateDisplay.from_search(search, metric="r2", score_name="R²")
    assert named.ax_.get_ylabel() == "R² over 4 splits"
    np.testing.assert_allclose(named.lines_[0].get_ydata(), search.cv_results_["mean_test_r2"][:2], rtol=10 * EPS)
    search.set_params(refit=False)
    for metric in (None, "max_error"):
        with pytest.raises(ValueError, match=rf"metric must be one of .*'r2'\]; got {metric!r}"):
            LearningRateDisplay.from_search(search, metric=metric)


def test_other_searches():
    rates = {"learning_rate": np.logspace(-3, -0.5, 6)}
    halving = HalvingGridSearchCV(LinearGDRegressor(), rates, min_resources=20, factor=2, cv=3, random_state=0).fit(
        X, Y
    )
    rows = {p["learning_rate"]: k for k, p in enumerate(halving.cv_results_["params"])}
    assert len(rows) < len(halving.cv_results_["params"])
    display = LearningRateDisplay.from_search(halving)
    assert display.lines_[0].get_xdata().tolist() == sorted(rows)
    expected = [halving.cv_results_["mean_test_score"][rows[rate]] for rate in sorted(rows)]
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected, rtol=10 * EPS)
    random = RandomizedSearchCV(LinearGDRegressor(), rates, n_iter=4, random_state=0, refit=False).fit(X, Y)
    assert len(LearningRateDisplay.from_search(random).lines_[0].get_xdata()) == 4


def test_absurd_scores_do_not_flatten_the_picture():
    scores = [[0.1, 0.2], [0.5, 0.6], [0.7, 0.8], [-1e200, -1e300], [np.nan, 0.0]]
    display = LearningRateDisplay(learning_rates=[0.001, 0.01, 0.1, 1.0, 10.0], scores=scores).plot()
    low, high = display.ax_.get_ylim()
    assert -1.0 < low < 0.1
    assert 0.8 < high < 1.0
    assert display.lines_[0].get_ydata()[-1] == pytest.approx(-5e299)  # it is there, below the edge
    near = LearningRateDisplay(learning_rates=[0.001, 0.01, 0.1], scores=[[-3.0, -1.0], [0.5, 0.6], [0.6, 0.7]]).plot()
    assert near.ax_.get_ylim()[0] < -3.0


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("rates", "scores", "label"),
    [
        ([1.0, 2.0], [[np.nan, 0.1], [np.inf, 0.1]], None),
        ([1.0, "auto"], [[0.1, 0.2], [np.nan, 0.1]], "'auto': diverged"),
        (["auto"], [[0.1, 0.2]], "'auto'"),
        ([1.0], [[0.3]], None),
        ([1.0, 1.0], [[0.3], [0.3]], None),
    ],
)
def test_few_or_no_scores(rates, scores, label):
    display = LearningRateDisplay(learning_rates=rates, scores=scores).plot()
    assert legend_of(display.ax_) == [label] * (label is not None)
    low, high = display.ax_.get_ylim()
    assert low < high


def test_a_diverged_level_says_of_which_name():
    display = LearningRateDisplay(
        learning_rates=["auto", "auto", 0.1], scores=[[0.1], [np.nan], [0.2]], names=["a", "b", "b"]
    ).plot()
    assert legend_of(display.ax_) == ["b", "'auto': b diverged"]
    assert len(display.levels_) == 1


def test_searches_that_do_not_fit_are_refused():
    with pytest.raises(NotFittedError):
        LearningRateDisplay.from_search(GridSearchCV(LinearGDRegressor(), {"learning_rate": [0.1]}))
    no_rate = GridSearchCV(LinearGDRegressor(), {"alpha": [0.0, 1.0]}).fit(X, Y)
    with pytest.raises(TypeError, match=r"takes a fitted search such as GridSearchCV; got LinearGDRegressor"):
        LearningRateDisplay.from_search(LinearGDRegressor().fit(X, Y))
    with pytest.raises(
        ValueError, match=r"found none that is called learning_rate\. The parameters of the search are \['alpha'\].*got"
    ):
        LearningRateDisplay.from_search(no_rate)
    with pytest.raises(ValueError, match=r"none that is called eta.*got param_name='eta'"):
        LearningRateDisplay.from_search(no_rate, param_name="eta")
    by_name = LearningRateDisplay.from_search(no_rate, param_name="alpha")
    assert len(by_name.lines_[0].get_xdata()) == 2
    assert len(plt.get_fignums()) == 1


def test_without_matplotlib_an_error_says_what_is_missing(monkeypatch):
    model = LinearGDRegressor(max_iter=2).fit(X, Y)
    search = GridSearchCV(LinearGDRegressor(), {"learning_rate": [0.1]}).fit(X, Y)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: LossCurveDisplay.from_estimator(model),
        lambda: LossCurveDisplay(loss_curve=[1.0]).plot(),
        lambda: LearningRateDisplay.from_search(search),
        lambda: LearningRateDisplay(learning_rates=[0.1], scores=[[1.0]]).plot(),
    ):
        with pytest.raises(ImportError, match="requires matplotlib"):
            draw()


@pytest.mark.parametrize(
    "short", [{"c": "red", "ls": ":", "lw": 3}, {"color": "red", "linestyle": ":", "linewidth": 3}]
)
def test_short_names_of_matplotlib_are_taken(short):
    model = TwoLayerReLURegressor(4, max_iter=3).fit(X, Y, X_val=X, y_val=Y)
    display = LossCurveDisplay.from_estimator(model, line_kwargs=short)
    search = GridSearchCV(LinearGDRegressor(), {"learning_rate": [0.1, 0.2]}).fit(X, Y)
    line = LearningRateDisplay.from_search(search, line_kwargs={**short, "marker": "x"}).lines_[0]
    for drawn in (display.line_, line):
        assert (drawn.get_color(), drawn.get_linestyle(), drawn.get_linewidth()) == ("red", ":", 3)
    assert (display.validation_line_.get_color(), display.validation_line_.get_linestyle()) == ("red", "--")


def test_the_iteration_that_early_stopping_kept_is_marked():
    model = TwoLayerReLURegressor(20, early_stopping=True, warm_start=True, random_state=0).fit(X, Y)
    kept = int(np.argmin(model.validation_loss_curve_))
    assert kept < model.n_iter_ - 1
    display = LossCurveDisplay.from_estimator(model)
    assert display.validation_line_.get_markevery() == [kept]
    assert display.line_.get_markevery() is None
    # On another validation set the best is sought anew.
    before = model.n_iter_
    model.fit(X, Y, X_val=X, y_val=Y + 9.0)
    again = before + int(np.argmin(model.validation_loss_curve_[before:]))
    assert LossCurveDisplay.from_estimator(model).validation_line_.get_markevery() == [again]
    unmarked = model.set_params(early_stopping=False).fit(X, Y, X_val=X, y_val=Y)
    assert LossCurveDisplay.from_estimator(unmarked).validation_line_.get_markevery() is None


@pytest.mark.parametrize("scale", [1.5e308, 1e304, 1e300, 1e200])
@pytest.mark.parametrize("n_others", [0, 2])
def test_scores_near_the_largest_number(scale, n_others):
    scores = [[-scale, -scale, -scale / 2]] * 3 + [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]][:n_others]
    rates = [0.1, 1.0, 10.0, 0.01, 0.001][: len(scores)]
    display = LearningRateDisplay(learning_rates=rates, scores=scores).plot()
    display.figure_.canvas.draw()
    assert len(display.diverged_) == (scale > 1e301)
    assert np.isfinite(display.ax_.get_ylim()).all()


@pytest.mark.parametrize("rates", [[0.1, 1.0, 1e300], [0.1, 1.0, 1.7e308], [1e-300, 1.0, 1e300], [5e-324, 0.1, 1.0]])
@pytest.mark.parametrize("last", [0.3, np.nan])
def test_extreme_rates_leave_the_others_in_sight(rates, last):
    display = LearningRateDisplay(learning_rates=rates, scores=[[0.1], [0.2], [last]]).plot()
    display.figure_.canvas.draw()
    low, high = display.ax_.get_xlim()
    drawn = np.concatenate([line.get_xdata() for line in [*display.lines_, *display.diverged_]])
    assert len(drawn) == 3
    assert low < drawn.min() < drawn.max() < high
