"""Learning rates over 24 decades: each fit ends with finite numbers, or with an error that names the divergence."""

import pickle
import re
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

RATES = [10.0**k for k in range(-12, 13)]
NETWORK = TwoLayerReLURegressor(7, solver="gd", random_state=0, verbose=1)
MODELS = {
    "adam": clone(NETWORK).set_params(solver="adam", batch_size=8),
    "adam constant": clone(NETWORK).set_params(
        solver="adam", batch_size=8, learning_rate_schedule="constant", alpha=1.0
    ),
    "gd": clone(NETWORK).set_params(precompute=False),
    "momentum": clone(NETWORK).set_params(precompute=False, momentum=0.9, alpha=1.0),
    "shortcut": clone(NETWORK).set_params(precompute=True),
    "momentum shortcut": clone(NETWORK).set_params(precompute=True, momentum=0.9, alpha=1.0),
    "linear": LinearGDRegressor(precompute=False, verbose=1),
    "linear shortcut": LinearGDRegressor(precompute=True, verbose=1),
}
RISES_ARE_WARNED_OF = True
every_model = pytest.mark.parametrize("name", MODELS)


def problem(n=30, d=3):
    rng = np.random.RandomState(0)
    X = 3.0 * rng.standard_normal((n, d)) + 1.0
    return X, np.abs(X[:, 0]) - 2 * X[:, -1] + 0.3 * rng.standard_normal(n)


def outcome(model, X, y):
    """The message of the divergence, or None where all that was fitted is finite; a loss that rose is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X, y)
        except ValueError as error:
            return str(error)
    for warning in caught:
        assert issubclass(warning.category, ConvergenceWarning)
        assert re.search("made the model worse: the loss rose from .* smaller learning_rate", str(warning.message))
    # Far beyond what a penalty, or a start that is better than a constant, could account for.
    if model.get_params().get("solver") != "adam" and model.loss_curve_[-1] > 1e6 * model.loss_curve_[0]:
        assert caught or not RISES_ARE_WARNED_OF
    if isinstance(model, LinearGDRegressor):
        fitted = [model.coef_, model.intercept_]
    else:
        fitted = [*model.coefs_, *model.intercepts_]
    for a in (*fitted, model.loss_curve_, model.predict(X)):
        assert np.isfinite(a).all()
    return None


@pytest.mark.parametrize("max_iter", [1, 2, 4, 30])  # a few end with the step that overflows, and no loss after it
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_model
def test_a_fit_is_finite_or_says_where_it_diverged(name, dtype, reduction, standardize, max_iter, capsys):
    X, y = problem() if reduction == "mean" else problem(12, 30)
    outcomes = {}
    for rate in RATES:
        model = clone(MODELS[name]).set_params(learning_rate=rate, reduction=reduction, standardize=standardize)
        outcomes[rate] = message = outcome(model.set_params(max_iter=max_iter), X.astype(dtype), y)
        losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
        finite = np.isfinite(losses)
        if message is None:
            assert finite.all()
            assert len(losses) == max_iter
            continue
        where = r"the loss is not finite at iteration (\d+)|predictions are not finite after (\d+) iterations"
        named = re.match(rf"\w+ diverged: (?:{where}) with learning_rate=(\S+)\. ", message)
        assert float(named[3]) == pytest.approx(rate)
        assert "smaller learning_rate" in message
        if named[1]:
            assert int(named[1]) == len(losses) - 1  # it stopped there
            assert finite[:-1].all()  # and had not gone on after a loss that was not finite
            assert not finite[-1]
        else:
            assert int(named[2]) == len(losses) == max_iter
            assert finite.all()
    assert outcomes[1e-12] is None
    if max_iter == 30 and name.startswith("linear"):
        assert None not in [outcomes[rate] for rate in RATES if rate > 1e6]


def test_what_only_float32_cannot_hold_is_named_as_such():
    X, y = problem()
    n_named = 0
    for model in MODELS.values():
        for rate in RATES:
            for max_iter in (1, 2, 3, 4, 10):
                model = clone(model).set_params(learning_rate=rate, max_iter=max_iter, verbose=0)
                message = outcome(model, X.astype(np.float32), y)
                if message is None:
                    continue
                assert "X is float32, which ends at 3.4e+38: with X as float64" in message
                survived = outcome(model, X, y)
                n_named += survived is None
                assert survived is None or "float32" not in survived
    assert n_named > 10


@pytest.mark.filterwarnings("ignore:.* made the model worse:sklearn.exceptions.ConvergenceWarning")
@every_model
def test_a_search_over_the_grid_ranks_what_is_finite(name):
    X, y = problem(40)
    model = clone(MODELS[name]).set_params(max_iter=300, verbose=0)
    search = GridSearchCV(model, {"learning_rate": RATES}, cv=2, error_score=np.nan)
    if "adam" in name:
        search.fit(X, y)
        failed = np.isnan(search.cv_results_["mean_test_score"])
    else:
        with (
            pytest.warns(FitFailedWarning, match="diverged: (the loss is|predictions are) not finite"),
            pytest.warns(UserWarning, match="One or more of the test scores are non-finite"),
        ):
            search.fit(X, y)
        failed = np.isnan(search.cv_results_["mean_test_score"])
        assert failed[RATES.index(1e6) :].all()
    assert not failed[: RATES.index(0.1)].any()
    assert search.cv_results_["rank_test_score"][failed].min(initial=99) > (~failed).sum()
    assert search.best_score_ == np.nanmax(search.cv_results_["mean_test_score"]) > 0.5


@pytest.mark.parametrize("name", ["gd", "momentum", "shortcut", "linear", "linear shortcut"])
def test_what_diverges_costs_a_few_steps(name):
    X, y = problem()
    for rate in (1e3, 1e6, 1e9, 1e12):
        model = clone(MODELS[name]).set_params(learning_rate=rate, max_iter=10**6, verbose=0)
        iteration = int(re.search(r"iteration (\d+)", outcome(model, X, y))[1])
        # A linear model's loss grows by rate^2 in each step, up to 1e308; a network's much faster.
        assert iteration <= 3 + 308 / (2 * np.log10(rate) - 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_loss_that_overflows_before_the_first_step_is_not_blamed_on_the_rate(dtype):
    X, y = problem()
    for model in (LinearGDRegressor(precompute=False), TwoLayerReLURegressor(7, solver="gd", precompute=False)):
        model.set_params(standardize=False, learning_rate=1e-3)
        with pytest.raises(
            ValueError, match=r"at iteration 0, before any step, so no learning_rate helps: the numbers are"
        ):
            model.fit(X, y * 1e160)
    for standardize in (True, False):
        finite = LinearGDRegressor(standardize=standardize, learning_rate=1e-3, max_iter=3)
        assert outcome(finite, X.astype(dtype), y * (1e150 if dtype is np.float64 else 1e30)) is None


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_the_closed_form_diverges_where_iterating_does(scale):
    """The factor of a mode overflows before the loss does, or after it, where y is small or large."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), scale * rng.standard_normal(40)
    iterations = []
    for precompute in (False, True):
        model = LinearGDRegressor(learning_rate=4.0, max_iter=10_000, standardize=False, precompute=precompute)
        with pytest.raises(ValueError, match="diverged") as error:
            model.fit(X, y)
        iterations.append(int(re.search(r"at iteration (\d+)", str(error.value))[1]))
    # The squares that are summed overflow an iteration earlier or later.
    assert abs(iterations[0] - iterations[1]) <= 2


@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("weights", [None, np.arange(30.0)], ids=["", "weights"])
def test_slow_divergence_is_warned_of(weights, standardize, precompute):
    X, y = problem()
    model = LinearGDRegressor(standardize=standardize, precompute=precompute, max_iter=200)
    limit = 2.0 * model.fit(X, y, sample_weight=weights).learning_rate_
    model.set_params(learning_rate=1.1 * limit)
    with pytest.warns(ConvergenceWarning, match="LinearGDRegressor made the model worse") as warned:
        model.fit(X, y, sample_weight=weights)
    message = str(warned[0].message)
    numbers = re.search(r"from (\S+) to (\S+) with learning_rate=(\S+); that of a constant is (\S+)\. ", message)
    variance = np.cov(y, aweights=weights, ddof=0)
    unit = 2 * variance if standardize else 2.0
    after = np.average((y - model.predict(X)) ** 2, weights=weights)
    expected = model.loss_curve_[0], after / unit, model.learning_rate_, variance / unit
    assert [float(number) for number in numbers.groups()] == pytest.approx(expected, rel=6e-3)  # printed with 3 digits
    stable = float(re.search(r"2/L = ([\d.e+-]+\d)", message)[1])
    assert stable == pytest.approx(limit, rel=0.02)  # found to 1 %
    assert model.score(X, y, sample_weight=weights) < -1
    # It is no error, and the estimator goes on: the advice is that of the weights before this call.
    with pytest.warns(ConvergenceWarning, match="whose loss was .* start anew with a smaller learning_rate"):
        model.set_params(warm_start=True, max_iter=50).fit(X, y, sample_weight=weights)


def test_adam_that_ends_worse_than_it_began_is_warned_of():
    X, y = problem()
    model = TwoLayerReLURegressor(7, batch_size=8, random_state=0, max_iter=50)
    for rate in (1e3, 1e5):  # the losses, means over a pass, fall: the first pass is the worst
        with pytest.warns(ConvergenceWarning, match="made the model worse: the loss rose"):
            model.set_params(learning_rate=rate).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        assert model.score(X, y) < -1


def test_what_is_going_well_is_not_warned_of():
    X, y = problem(12, 30)
    for max_iter in (1, 2, 5):  # the tutorial's network starts far above the loss of a constant, and falls
        model = TwoLayerReLURegressor(
            50, solver="gd", learning_rate=1e-6, max_iter=max_iter, init="standard_normal", standardize=False
        )
        losses = model.fit(X, y).loss_curve_
        assert losses[-1] > 10 * y.var()
        model.set_params(solver="adam").fit(X, 1e6 + y)
    rng = np.random.default_rng(2)
    X = rng.standard_normal((10_000, 5))
    y = X @ rng.standard_normal(5)
    wide = TwoLayerReLURegressor(2000, max_iter=1, random_state=2).fit(X, y)
    assert wide.loss_curve_[0] > 1.0  # the mean over a pass that began with large steps
    assert wide.score(X, y) > 0.9
    # A path of growing penalties, each from the weights before: the loss rises, the objective falls.
    X, y = rng.uniform(1, 2, (200, 3)), 100.0 + rng.standard_normal(200)
    path = LinearGDRegressor(fit_intercept=False, warm_start=True, max_iter=2000)
    losses = [path.set_params(alpha=alpha).fit(X, y).loss_curve_[-1] for alpha in (0.0, 1e2, 1e4)]
    assert losses[2] > 10 * losses[1] > 10 * losses[0]


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0, 1e4])
@every_model
def test_looking_for_a_rise_changes_nothing(name, rate, monkeypatch):
    X, y = problem()
    model = clone(MODELS[name]).set_params(learning_rate=rate, max_iter=3, verbose=0, warm_start=True)

    def trained():
        fitted, states = clone(model), []
        for _ in range(2):
            message = outcome(fitted, X, y)
            states.append((message, pickle.dumps(vars(fitted))))
        return states

    looked = trained()
    monkeypatch.setattr(type(model), "_warn_of_a_rise", lambda *arguments: False)
    monkeypatch.setattr(f"{__name__}.RISES_ARE_WARNED_OF", False)
    assert trained() == looked


def test_a_path_of_penalties_by_adam_is_not_warned_of():
    rng = np.random.default_rng(2)
    X, y = rng.uniform(1, 2, (200, 3)), 100.0 + rng.standard_normal(200)
    path = TwoLayerReLURegressor(
        5, fit_intercept=False, warm_start=True, learning_rate_schedule="constant", max_iter=100, random_state=0
    )
    losses = [path.set_params(alpha=alpha).fit(X, y).loss_curve_[-1] for alpha in (0.0, 1e2, 1e4)]
    assert losses[2] > 10 * losses[0]


def test_a_warning_that_is_interrupted_keeps_the_fit(monkeypatch):
    X, y = problem()
    model = LinearGDRegressor(max_iter=50).fit(X, y)
    model.set_params(learning_rate=2.2 * model.learning_rate_)
    with pytest.warns(ConvergenceWarning):
        expected = clone(model).fit(X, y)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(LinearGDRegressor, "_limit", interrupted)
    with pytest.raises(KeyboardInterrupt, match="n_iter_=50 iterations"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert model.loss_curve_ == expected.loss_curve_
