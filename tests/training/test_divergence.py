"""Learning rates over 24 decades: each fit ends with finite numbers, or with an error that names the divergence."""

import math
import pickle
import re
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import ENGINES, EPS, KINDS, curvature_of_the_linear_model, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._training.diagnosis import Diagnosis

RATES = [10.0**k for k in range(-12, 13)]
MODELS = {
    name: clone(ENGINES[name]).set_params(verbose=1)
    for name in [*KINDS, "minibatches, penalty", "full batch, momentum", "sample space, penalty"]
}
MODELS["minibatches"].set_params(learning_rate_schedule="cosine")
RISES_ARE_WARNED_OF = True
every_model = pytest.mark.parametrize("name", MODELS)


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
        assert re.search("training went wrong: the loss rose from .* smaller learning_rate", str(warning.message))
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


@pytest.mark.one_in(17)
@pytest.mark.parametrize("max_iter", [1, 2, 4, 30])  # a few end with the step that overflows, and no loss after it
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_model
def test_a_fit_is_finite_or_says_where_it_diverged(name, dtype, reduction, standardize, max_iter, capsys):
    X, y = problem(spread=3.0) if reduction == "mean" else problem(12, 30, spread=3.0)
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
    if max_iter == 30 and isinstance(model, LinearGDRegressor):
        assert None not in [outcomes[rate] for rate in RATES if rate > 1e6]


@pytest.mark.exhaustive
def test_what_only_float32_cannot_hold_is_named_as_such():
    X, y = problem(spread=3.0)
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


@pytest.mark.one_in(6)
@pytest.mark.filterwarnings("ignore:.* (training went wrong|came to rest):sklearn.exceptions.ConvergenceWarning")
@every_model
def test_a_search_over_the_grid_ranks_what_is_finite(name):
    X, y = problem(40, spread=3.0)
    pipeline = make_pipeline(StandardScaler(), clone(MODELS[name]).set_params(max_iter=300, verbose=0))
    grid = {f"{pipeline.steps[-1][0]}__learning_rate": RATES}
    search = GridSearchCV(pipeline, grid, cv=2, error_score=np.nan)
    if "minibatches" in name:
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
    assert np.isfinite(search.predict(X)).all()


@pytest.mark.parametrize("name", ["full batch", "full batch, momentum", "sample space", "linear", "closed form"])
def test_what_diverges_costs_a_few_steps(name):
    X, y = problem(spread=3.0)
    for rate in (1e3, 1e6, 1e9, 1e12):
        model = clone(MODELS[name]).set_params(learning_rate=rate, max_iter=10**6, verbose=0)
        iteration = int(re.search(r"iteration (\d+)", outcome(model, X, y))[1])
        # A linear model's loss grows by rate^2 in each step, up to 1e308; a network's much faster.
        assert iteration <= 3 + 308 / (2 * np.log10(rate) - 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_loss_that_overflows_before_the_first_step_is_not_blamed_on_the_rate(dtype):
    X, y = problem(spread=3.0)
    for model in (LinearGDRegressor(precompute=False), TwoLayerReLURegressor(7, solver="gd", precompute=False)):
        model.set_params(standardize=False, learning_rate=1e-3)
        with pytest.raises(
            ValueError, match=r"at iteration 0, before any step, so no learning_rate helps: the numbers are"
        ):
            model.fit(X, y * 1e160)
    for standardize in (True, False):
        finite = LinearGDRegressor(standardize=standardize, learning_rate=1e-3, max_iter=3)
        assert outcome(finite, X.astype(dtype), y * (1e150 if dtype is np.float64 else 1e30)) is None


def diverges_at(X, y, rate):
    """The first iteration with a loss that is not finite, of gradient descent from zero on the raw rows."""
    A = np.column_stack([X, np.ones(len(X))])
    theta = np.zeros(A.shape[1])
    with np.errstate(all="ignore"):
        for t in range(100_000):
            error = A @ theta - y
            if not np.isfinite(error @ (error / len(X)) / 2):
                return t
            theta -= rate * (A.T @ error) / len(X)
    raise AssertionError("never diverged")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("standardize", [True, False])
def test_linear_converges_just_under_two_over_L_and_diverges_above_it(standardize, reduction, precompute):
    X, y = problem(spread=3.0)
    limit = 2 / curvature_of_the_linear_model(X, standardize=standardize, reduction=reduction)
    model = LinearGDRegressor(standardize=standardize, reduction=reduction, precompute=precompute)
    stable = clone(model).set_params(learning_rate=0.99 * limit, max_iter=5000).fit(X, y)
    A = np.column_stack([X, np.ones(len(X))])
    best = np.linalg.lstsq(A, y, rcond=None)[0]
    # The slowest of the modes shrinks by far more than 1 / eps in 5000 iterations; sums over 30 rows round the rest.
    tolerance = 30 * 30 * EPS
    np.testing.assert_allclose([*stable.coef_, stable.intercept_], best, rtol=tolerance, atol=tolerance)
    assert np.all(np.diff(stable.loss_curve_) <= tolerance * stable.loss_curve_[0])  # it never rises

    unstable = clone(model).set_params(learning_rate=1.05 * limit, max_iter=100_000)
    with pytest.raises(ValueError, match=r"2/L = ") as error:
        unstable.fit(X, y)
    # L is found to 1%, and printed with 3 digits
    assert float(re.search(r"2/L = ([\d.e+-]+[\d])", str(error.value))[1]) == pytest.approx(limit, rel=0.015)


@pytest.mark.parametrize("precompute", [False, True])
def test_linear_divergence_names_iteration_rate_and_remedy(precompute):
    X, y = problem(spread=3.0)
    rate = 1.05 * 2 / curvature_of_the_linear_model(X, standardize=False)
    with pytest.raises(ValueError, match="LinearGDRegressor diverged") as error:
        LinearGDRegressor(standardize=False, precompute=precompute, learning_rate=rate, max_iter=100_000).fit(X, y)
    message = str(error.value)
    named = int(re.search(r"not finite at iteration (\d+)", message)[1])
    # Each iteration multiplies the loss by 1.1^2. An intermediate square may overflow where the loss itself would be a
    # few powers of ten below the largest number, hardly more than three of 308.
    assert abs(named - diverges_at(X, y, rate)) <= math.log(1e3) / math.log(1.1**2)
    assert f"learning_rate={rate:.6g}" in message
    assert "smaller learning_rate" in message
    assert "'auto'" in message


@pytest.mark.one_in(3)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_network_divergence_names_iteration_rate_and_remedy(dtype, momentum, precompute):
    X, y = problem(spread=3.0)
    X = X.astype(dtype)
    model = TwoLayerReLURegressor(10, solver="gd", momentum=momentum, precompute=precompute, max_iter=1, random_state=0)
    limit = 2 * clone(model).fit(X, y).learning_rate_
    model.set_params(learning_rate=30 * limit, max_iter=100_000)
    with pytest.raises(
        ValueError, match=r"TwoLayerReLURegressor diverged: the loss is not finite at iteration \d+"
    ) as e:
        model.fit(X, y)
    assert f"learning_rate={30 * limit:.6g}" in str(e.value)
    # both are found to 1%, and printed with 3 digits; momentum b widens the limit by 1 + b
    named = float(re.search(r"/ ?L = ([\d.e+-]+[\d])", str(e.value))[1])
    assert named == pytest.approx((1.0 + momentum) * limit, rel=0.025)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("batch_size", [7, 128])
@pytest.mark.parametrize(("dtype", "rate"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_adam_divergence_names_iteration_rate_and_remedy(dtype, rate, batch_size, schedule):
    X, y = problem(spread=3.0)
    model = TwoLayerReLURegressor(
        10,
        learning_rate=rate,
        learning_rate_schedule=schedule,
        batch_size=batch_size,
        max_iter=100_000,
        random_state=0,
    )
    with pytest.raises(ValueError, match=r"diverged: the loss is not finite at iteration [01] ") as error:
        model.fit(X.astype(dtype), y)
    assert f"learning_rate={rate:.6g}" in str(error.value)
    assert "smaller learning_rate" in str(error.value)


# Model, shape of X, unit of y, and the iterations that may lie between the two engines. Squares may overflow an
# iteration earlier or later; a loss that grows fast differs by rounding only.
TWICE = [
    *(
        (LinearGDRegressor(learning_rate=50.0, max_iter=100_000, alpha=alpha), shape, 1.0, 1)
        for alpha in (0.0, 2.0)
        for shape in ((40, 6), (8, 20))
    ),
    *(
        (LinearGDRegressor(learning_rate=4.0, max_iter=10_000, standardize=False), (40, 3), unit, 2)
        for unit in (1e-100, 1.0, 1e100)  # the factor of a mode overflows before the loss does, or after it
    ),
    *(
        (TwoLayerReLURegressor(5, solver="gd", learning_rate=rate, random_state=0), (12, 30), 1.0, 0)
        for rate in (1e2, 1e8)
    ),
]


@pytest.mark.parametrize(("model", "shape", "unit", "distance"), TWICE)
def test_a_shortcut_diverges_at_the_iteration_of_the_plain_engine(model, shape, unit, distance):
    X, y = problem(*shape)
    iterations = []
    for precompute in (False, True):
        with pytest.raises(ValueError, match=r"not finite at iteration \d+ with learning_rate=\S+\. .*2/L = ") as error:
            clone(model).set_params(precompute=precompute).fit(X, y * unit)
        iterations.append(int(re.search(r"at iteration (\d+)", str(error.value))[1]))
    assert abs(iterations[0] - iterations[1]) <= distance


@pytest.mark.one_in(3)
@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0, 1e4])
@every_model
def test_looking_for_a_rise_changes_nothing(name, rate, monkeypatch):
    X, y = problem(spread=3.0)
    model = clone(MODELS[name]).set_params(learning_rate=rate, max_iter=3, verbose=0, warm_start=True)

    def trained():
        fitted, states = clone(model), []
        for _ in range(2):
            message = outcome(fitted, X, y)
            states.append((message, pickle.dumps(vars(fitted))))
        return states

    looked = trained()
    monkeypatch.setattr(Diagnosis, "verdict", lambda diagnosis, published: None)
    monkeypatch.setattr(f"{__name__}.RISES_ARE_WARNED_OF", False)
    assert trained() == looked
