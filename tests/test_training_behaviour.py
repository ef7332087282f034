"""How training goes: divergence, stopping, resuming, defaults that depend on the data, kinds of input, searches."""

import io
import math
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skrelu._definition
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

EPS = np.finfo(np.float64).eps
CLASSES = [TwoLayerReLURegressor, LinearGDRegressor]
every_class = pytest.mark.parametrize("estimator_class", CLASSES)
# More rows than columns and fewer: gradient descent may be carried out in another way for each.
every_shape = pytest.mark.parametrize("shape", [(30, 3), (12, 40)], ids=["tall", "wide"])


def problem(n=30, d=3, m=None, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, d)) + 1.0
    y = np.abs(X[:, 0]) - 2 * X[:, -1] + 0.3 * rng.normal(size=n)
    return X, y if m is None else np.stack([y + k * X[:, 0] for k in range(m)], axis=1)


def arrays_of(estimator):
    if isinstance(estimator, TwoLayerReLURegressor):
        return [*estimator.coefs_, *estimator.intercepts_]
    return [estimator.coef_, np.asarray(estimator.intercept_)]


def assert_identical(a, b):
    """The same fit to the last bit."""
    for left, right in zip(arrays_of(a), arrays_of(b), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert a.loss_curve_ == b.loss_curve_
    assert (a.n_iter_, a.best_loss_, a.alpha_, a.learning_rate_) == (
        b.n_iter_,
        b.best_loss_,
        b.alpha_,
        b.learning_rate_,
    )


# --- divergence -------------------------------------------------------------------------------------------------------


def curvature_of_the_linear_model(
    X, weights=None, *, alpha=0.0, fit_intercept=True, standardize=True, reduction="mean"
):
    """The largest eigenvalue of the Hessian, by LAPACK."""
    s = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    if standardize and fit_intercept:
        mean = np.average(X, axis=0, weights=s)
        X = (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))
    elif standardize:
        X = X / np.sqrt(np.average(X**2, axis=0, weights=s))
    A = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    hessian = (A * s[:, None]).T @ A * (1 / s.sum() if reduction == "mean" else 2.0)
    penalized = np.arange(A.shape[1]) < X.shape[1]
    return np.linalg.eigvalsh(hessian + np.diag(penalized * alpha / s.sum()))[-1]


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


@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("standardize", [True, False])
def test_linear_converges_just_under_two_over_L_and_diverges_above_it(standardize, reduction, precompute):
    X, y = problem()
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
    X, y = problem()
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


@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_network_divergence_names_iteration_rate_and_remedy(dtype, momentum, precompute):
    X, y = problem()
    X = X.astype(dtype)
    model = TwoLayerReLURegressor(10, solver="gd", momentum=momentum, precompute=precompute, max_iter=1, random_state=0)
    limit = 2 * clone(model).fit(X, y).learning_rate_
    model.set_params(learning_rate=30 * limit, max_iter=100_000)
    with pytest.raises(
        ValueError, match=r"TwoLayerReLURegressor diverged: the loss is not finite at iteration \d+"
    ) as e:
        model.fit(X, y)
    assert f"learning_rate={30 * limit:.6g}" in str(e.value)
    # both are found to 1%, and printed with 3 digits
    assert float(re.search(r"2/L = ([\d.e+-]+[\d])", str(e.value))[1]) == pytest.approx(limit, rel=0.025)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("batch_size", [7, 128])
@pytest.mark.parametrize(("dtype", "rate"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_adam_divergence_names_iteration_rate_and_remedy(dtype, rate, batch_size, schedule):
    X, y = problem()
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


@pytest.mark.parametrize(
    "model", [TwoLayerReLURegressor(8, solver="gd", max_iter=200, random_state=0), LinearGDRegressor(max_iter=200)]
)
def test_a_search_over_learning_rates_survives_divergence(model):
    X, y = problem(60)
    rates = [1e-4, 1e-1, 1e3, 1e6]
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    search = GridSearchCV(pipeline, {"model__learning_rate": rates}, cv=3, error_score=np.nan)
    with (
        pytest.warns(FitFailedWarning, match="6 fits failed out of a total of 12"),
        pytest.warns(UserWarning, match="One or more of the test scores are non-finite"),
    ):
        search.fit(X, y)
    assert list(np.isnan(search.cv_results_["mean_test_score"])) == [False, False, True, True]
    assert search.best_params_ == {"model__learning_rate": 0.1}
    assert np.isfinite(search.predict(X)).all()


# --- stopping ---------------------------------------------------------------------------------------------------------

STOPPED = {
    "adam": TwoLayerReLURegressor(8, batch_size=7, max_iter=150, random_state=0),
    "adam constant": TwoLayerReLURegressor(
        8, batch_size=7, max_iter=150, random_state=0, learning_rate_schedule="constant", learning_rate=0.05
    ),
    "gd": TwoLayerReLURegressor(8, solver="gd", max_iter=150, random_state=0),
    "momentum": TwoLayerReLURegressor(8, solver="gd", momentum=0.95, max_iter=150, random_state=0),
    "linear": LinearGDRegressor(max_iter=150),
    "linear unscaled": LinearGDRegressor(max_iter=150, standardize=False),
}


def stopping_iteration(losses, tol, n_iter_no_change):
    """How many losses there are when none of the last ones is lower than the best before by more than `tol`."""
    for t in range(n_iter_no_change + 1, len(losses) + 1):
        best_before = min(losses[: t - n_iter_no_change])
        if all(best_before - loss <= tol for loss in losses[t - n_iter_no_change : t]) and losses[t - 1] <= losses[0]:
            return t
    return None


@pytest.mark.parametrize("n_iter_no_change", [1, 3, 10])
@pytest.mark.parametrize("tol", [0.0, 1e-6, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("name", STOPPED)
@every_shape
def test_tol(shape, name, tol, n_iter_no_change):
    X, y = problem(*shape)
    model = clone(STOPPED[name])
    if isinstance(model, TwoLayerReLURegressor):
        model.set_params(n_iter_no_change=n_iter_no_change)
    else:
        n_iter_no_change = 1
    free = clone(model).fit(X, y)
    expected = stopping_iteration(free.loss_curve_, tol, n_iter_no_change)
    model.set_params(tol=tol)
    if expected is None:
        with pytest.warns(ConvergenceWarning, match=rf"did not reach tol={tol} within max_iter=150 iterations"):
            model.fit(X, y)
    else:
        model.fit(X, y)  # a warning would be an error
    # one iteration at a time or many at once, the arithmetic is the same
    assert model.loss_curve_ == free.loss_curve_[: expected or 150]
    assert model.n_iter_ == (expected or 150)


@pytest.mark.parametrize("name", STOPPED)
def test_tol_is_reached_by_some_and_missed_by_others(name):
    """That the test above sees both ends of the rule."""
    X, y = problem()
    losses = clone(STOPPED[name]).fit(X, y).loss_curve_
    reached = [stopping_iteration(losses, tol, 3) for tol in (1.0, 1e-2)]
    assert None not in reached
    assert reached[0] < reached[1]


@pytest.mark.parametrize("name", ["gd", "momentum", "linear", "adam constant"])
def test_tol_goes_on_over_calls(name):
    X, y = problem()
    model = clone(STOPPED[name]).set_params(tol=1e-2)
    at_once = clone(model).fit(X, y)
    in_parts = clone(model).set_params(max_iter=at_once.n_iter_ - 1, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        in_parts.fit(X, y)
    in_parts.set_params(max_iter=100).fit(X, y)
    assert_identical(in_parts, at_once)


@pytest.mark.parametrize("tol", [0.0, 1e-3, 1e9])
def test_a_rising_loss_has_not_converged(tol):
    # One mode alone: each iteration multiplies the loss by (1 - 2.02)^2.
    X = np.random.RandomState(0).normal(size=(30, 1))
    choices = {"fit_intercept": False, "standardize": False}
    rate = 1.01 * 2 / curvature_of_the_linear_model(X, **choices)
    model = LinearGDRegressor(learning_rate=rate, max_iter=20, tol=tol, **choices)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, 3 * X[:, 0])
    # Rounding of the error by eps relative to y, in each iteration; doubled as errors are squared.
    ratios = np.array(model.loss_curve_[1:]) / model.loss_curve_[:-1]
    np.testing.assert_allclose(ratios, 1.02**2, rtol=2 * 20 * 30 * EPS)
    assert model.n_iter_ == 20


@pytest.mark.parametrize("name", STOPPED)
def test_no_warning_for_a_number_of_iterations(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = clone(STOPPED[name]).set_params(max_iter=3).fit(*problem())
        model.partial_fit(*problem()).predict(problem()[0])
    assert caught == []
    assert model.n_iter_ == 4


def test_partial_fit_never_looks_at_tol():
    model = LinearGDRegressor(tol=1e9)
    for _ in range(5):
        model.partial_fit(*problem())
    assert model.n_iter_ == 5


# --- resuming ---------------------------------------------------------------------------------------------------------

CONSTANT = TwoLayerReLURegressor(8, learning_rate_schedule="constant", batch_size=7, random_state=0)
RESUMED = {
    "adam": CONSTANT,
    "adam alpha": clone(CONSTANT).set_params(alpha=0.5),
    "adam sum": clone(CONSTANT).set_params(reduction="sum"),
    "adam raw": clone(CONSTANT).set_params(standardize=False, learning_rate=0.003),
    "adam whole batch": clone(CONSTANT).set_params(batch_size=100),
    "adam no intercept": clone(CONSTANT).set_params(fit_intercept=False),
    "gd": TwoLayerReLURegressor(8, solver="gd", random_state=0),
    "gd rate": TwoLayerReLURegressor(8, solver="gd", learning_rate=0.01, alpha=0.5, random_state=0),
    "gd no intercept": TwoLayerReLURegressor(8, solver="gd", fit_intercept=False, random_state=0),
    "momentum": TwoLayerReLURegressor(8, solver="gd", momentum=0.9, random_state=0),
    "momentum alpha": TwoLayerReLURegressor(8, solver="gd", momentum=0.5, alpha=0.5, random_state=0),
    "linear": LinearGDRegressor(),
    "linear rate": LinearGDRegressor(learning_rate=0.01, alpha=0.5),
    "linear raw": LinearGDRegressor(standardize=False, init="uniform", random_state=0),
    "linear sum": LinearGDRegressor(reduction="sum", init="standard_normal", random_state=0),
    "linear no intercept": LinearGDRegressor(fit_intercept=False),
    "gd plain": TwoLayerReLURegressor(8, solver="gd", precompute=False, random_state=0),
    "gd shortcut": TwoLayerReLURegressor(8, solver="gd", precompute=True, random_state=0),
    "momentum shortcut": TwoLayerReLURegressor(
        8, solver="gd", momentum=0.9, alpha=0.5, precompute=True, random_state=0
    ),
    "linear plain": LinearGDRegressor(precompute=False, init="uniform", random_state=0),
    "linear shortcut": LinearGDRegressor(precompute=True, alpha=0.5, init="uniform", random_state=0),
}


def unchanged(estimator, tmp_path):
    return estimator


def pickled(estimator, tmp_path):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    return joblib.load(tmp_path / "estimator.joblib")


def memory_mapped(estimator, tmp_path):
    """As joblib hands it to a worker: all arrays read-only."""
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    return joblib.load(tmp_path / "estimator.joblib", mmap_mode="r")


@pytest.mark.parametrize(
    ("between", "dtype"),
    [
        (unchanged, np.float64),
        (pickled, np.float64),
        (through_joblib, np.float64),
        (memory_mapped, np.float64),
        (pickled, np.float32),
    ],
)
@pytest.mark.parametrize("name", RESUMED)
@every_shape
def test_fit_goes_on_exactly(shape, name, between, dtype, tmp_path):
    X, y = problem(*shape)
    X = X.astype(dtype)
    weights = np.random.RandomState(1).uniform(0, 2, len(X))
    at_once = clone(RESUMED[name]).set_params(max_iter=9).fit(X, y, weights)
    first = clone(RESUMED[name]).set_params(max_iter=4, warm_start=True).fit(X, y, weights)
    then = between(first, tmp_path).set_params(max_iter=5).fit(X, y, weights)
    assert then.n_iter_ == len(then.loss_curve_) == 9
    assert_identical(then, at_once)
    np.testing.assert_array_equal(then.predict(X), at_once.predict(X))


@pytest.mark.parametrize("parts", [(1, 8), (8, 1), (2, 1, 1, 5), (3, 3, 3)])
@pytest.mark.parametrize("name", RESUMED)
@every_shape
def test_fit_goes_on_exactly_in_any_parts(shape, name, parts):
    X, y = problem(*shape)
    at_once = clone(RESUMED[name]).set_params(max_iter=9).fit(X, y)
    in_parts = clone(RESUMED[name]).set_params(warm_start=True)
    for part in parts:
        in_parts.set_params(max_iter=part).fit(X, y)
    assert_identical(in_parts, at_once)


@pytest.mark.parametrize("m", [None, 2])
@pytest.mark.parametrize("name", RESUMED)
@every_shape
def test_partial_fit_goes_on_exactly_where_fit_ended(shape, name, m):
    X, y = problem(*shape, m=m)
    at_once = clone(RESUMED[name]).set_params(max_iter=6).fit(X, y)
    mixed = clone(RESUMED[name]).set_params(max_iter=2, warm_start=True).fit(X, y)
    for k in (3, 4):
        mixed = pickled(mixed.partial_fit(X, y), None)
        assert mixed.n_iter_ == k
    assert_identical(mixed.fit(X, y), at_once)


@pytest.mark.parametrize("m", [None, 2])
@pytest.mark.parametrize("name", RESUMED)
@every_shape
def test_partial_fit_alone_is_fit_without_shortcut(shape, name, m):
    X, y = problem(*shape, m=m)
    at_once = clone(RESUMED[name]).set_params(max_iter=6, precompute=False).fit(X, y)
    passes = clone(RESUMED[name])
    for k in range(6):
        passes = pickled(passes.partial_fit(X, y), None) if k % 2 else passes.partial_fit(X, y)
        assert passes.n_iter_ == k + 1
    assert_identical(passes, at_once)


@pytest.mark.parametrize("name", RESUMED)
@every_shape
def test_partial_fit_alone_is_fit_to_rounding(shape, name):
    X, y = problem(*shape)
    at_once = clone(RESUMED[name]).set_params(max_iter=6).fit(X, y)
    passes = clone(RESUMED[name])
    for _ in range(6):
        passes.partial_fit(X, y)
    # Sums of at most 40 terms in each of 6 iterations, relative to the largest entries. The "auto" rate of the network
    # is 1/L with L found to the square of 1e-5, and one step passes on at most twice that.
    tolerance = 6 * (40 * EPS + 2 * TwoLayerReLURegressor._curvature_rtol**2)
    np.testing.assert_allclose(passes.loss_curve_, at_once.loss_curve_, rtol=0, atol=tolerance * at_once.loss_curve_[0])
    np.testing.assert_allclose(passes.predict(X), at_once.predict(X), rtol=0, atol=tolerance * np.abs(y).max())


def test_the_order_of_rows_differs_between_passes():
    """Else resuming exactly would be no feat."""
    X, y = problem()
    one = clone(CONSTANT).set_params(max_iter=1, random_state=0).fit(X, y)
    same_order_twice = clone(CONSTANT).partial_fit(X, y)
    assert_identical(one, same_order_twice)
    reordered = X[::-1].copy(), y[::-1].copy()
    assert clone(CONSTANT).set_params(max_iter=1).fit(*reordered).loss_curve_ != one.loss_curve_


def test_without_warm_start_fit_starts_anew():
    X, y = problem()
    for estimator in RESUMED.values():
        model = clone(estimator).set_params(max_iter=3)
        assert_identical(clone(model).fit(X, y).partial_fit(X, y).fit(X, y), clone(model).fit(X, y))
        other = problem(n=25, d=5, m=2, seed=3)
        assert_identical(clone(model).fit(X, y).fit(*other), clone(model).fit(*other))


@every_class
def test_the_learning_rate_of_auto_is_kept(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=2, warm_start=True, random_state=0)
    if estimator_class is TwoLayerReLURegressor:
        model.set_params(solver="gd")
    rate = model.fit(X, y).learning_rate_
    assert model.fit(X, y).learning_rate_ == rate
    assert model.partial_fit(X, y).learning_rate_ == rate


def test_auto_after_another_solver_is_one_over_L():
    X, y = problem()
    adam = TwoLayerReLURegressor(8, max_iter=1, warm_start=True, random_state=0).fit(X, y)
    rate = adam.set_params(solver="gd").fit(X, y).learning_rate_
    automatic = TwoLayerReLURegressor(8, solver="gd", max_iter=1, random_state=0).fit(X, y).learning_rate_
    # One step of Adam moves each weight by 0.01, of weights around 0.5: L changes by a few percent.
    assert rate == pytest.approx(automatic, rel=0.2)


def test_cosine_starts_anew_in_each_fit():
    """Of a run of two steps, the first has the whole learning rate and the second half of it."""
    X, y = problem()
    cosine = TwoLayerReLURegressor(8, learning_rate=0.02, max_iter=2, warm_start=True, random_state=0)
    stepwise = clone(cosine).set_params(learning_rate_schedule="constant", max_iter=1)
    for _ in range(3):
        cosine.fit(X, y)
        stepwise.set_params(learning_rate=0.02).fit(X, y)
        stepwise.set_params(learning_rate=0.01).fit(X, y)
        assert cosine.loss_curve_ == stepwise.loss_curve_
        np.testing.assert_array_equal(cosine.predict(X), stepwise.predict(X))
    assert cosine.n_iter_ == 6
    assert cosine.learning_rate_ == 0.02
    at_once = clone(cosine).set_params(max_iter=6).fit(X, y)
    assert at_once.loss_curve_ != cosine.loss_curve_


def test_partial_fit_has_no_schedule():
    X, y = problem()
    cosine = clone(CONSTANT).set_params(learning_rate_schedule="cosine")
    constant = clone(CONSTANT)
    for _ in range(3):
        assert_identical(cosine.partial_fit(X, y), constant.partial_fit(X, y))


@pytest.mark.parametrize("k", [1, 2, 3, 7, True])
@pytest.mark.parametrize("name", ["adam", "momentum", "linear"])
def test_verbose_prints_every_kth_iteration(name, k, capsys):
    X, y = problem()
    model = clone(RESUMED[name]).set_params(max_iter=5, verbose=k, warm_start=True).fit(X, y).fit(X, y)
    expected = "".join(f"{t} {loss}\n" for t, loss in enumerate(model.loss_curve_) if t % int(k) == 0)
    assert capsys.readouterr().out == expected
    quiet = clone(model).set_params(max_iter=10, verbose=0, warm_start=False).fit(X, y)
    assert capsys.readouterr().out == ""
    assert_identical(quiet, model)


# --- prediction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 64, 10**9])
@pytest.mark.parametrize("m", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_network_predicts_its_formula(fit_intercept, dtype, m, block, monkeypatch):
    monkeypatch.setattr(skrelu._definition, "_PREDICT_BLOCK", block)
    X, y = problem(m=m)
    model = TwoLayerReLURegressor(9, max_iter=5, fit_intercept=fit_intercept, random_state=0).fit(X.astype(dtype), y)
    X = np.random.RandomState(2).normal(size=(101, 3)).astype(dtype)
    (W1, W2), (b1, b2) = [[a.astype(np.float64) for a in arrays] for arrays in (model.coefs_, model.intercepts_)]
    expected = np.maximum(X @ W1 + b1, 0) @ W2 + b2
    # Each of the d + h + 2 operations rounds by eps relative to the sum of the magnitudes.
    bound = (3 + 9 + 2) * np.finfo(dtype).eps * ((np.abs(X) @ np.abs(W1) + np.abs(b1)) @ np.abs(W2) + np.abs(b2))
    predicted = model.predict(X)
    assert predicted.shape == ((101,) if m is None else (101, m))
    assert np.all(np.abs(predicted.reshape(101, -1) - expected) <= bound)


@pytest.mark.parametrize("block", [1, 64, 10**9])
@pytest.mark.parametrize("m", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_linear_predicts_its_formula(dtype, m, block, monkeypatch):
    monkeypatch.setattr(skrelu._definition, "_PREDICT_BLOCK", block)
    X, y = problem(m=m)
    model = LinearGDRegressor(max_iter=5).fit(X.astype(dtype), y)
    X = np.random.RandomState(2).normal(size=(101, 3)).astype(dtype)
    W, b = model.coef_.astype(np.float64).reshape(-1, 3).T, np.asarray(model.intercept_, dtype=np.float64)
    bound = (3 + 1) * np.finfo(dtype).eps * (np.abs(X) @ np.abs(W) + np.abs(b))
    predicted = model.predict(X)
    assert predicted.shape == ((101,) if m is None else (101, m))
    assert np.all(np.abs(predicted.reshape(101, -1) - (X @ W + b)) <= bound)


@pytest.mark.parametrize("m", [None, 1, 2])
def test_shapes_follow_y(m):
    X, y = problem(m=m)
    outputs = m or 1
    network = TwoLayerReLURegressor(9, max_iter=2, random_state=0).fit(X, y)
    assert [a.shape for a in arrays_of(network)] == [(3, 9), (9, outputs), (9,), (outputs,)]
    linear = LinearGDRegressor(max_iter=2).fit(X, y)
    assert linear.coef_.shape == ((3,) if m is None else (m, 3))
    assert isinstance(linear.intercept_, float) if m is None else linear.intercept_.shape == (m,)
    for model in (network, linear):
        assert model.n_outputs_ == outputs
        assert model.predict(X).shape == y.shape
        assert isinstance(model.score(X, y), float)


@every_class
def test_one_column_trains_as_none(estimator_class):
    X, y = problem()
    flat = estimator_class(max_iter=5, random_state=0).fit(X, y)
    column = estimator_class(max_iter=5, random_state=0).fit(X, y[:, None])
    assert flat.loss_curve_ == column.loss_curve_
    np.testing.assert_array_equal(flat.predict(X), column.predict(X)[:, 0])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
        (np.int8, np.float64),
        (np.bool_, np.float64),
        (np.float16, np.float64),
        (np.longdouble, np.float64),
        (object, np.float64),
    ],
    ids=lambda dtype: dtype.__name__,
)
@every_class
def test_dtype_follows_X(estimator_class, given, kept):
    X, y = problem()
    X = (X.round() > 0 if given is np.bool_ else X.round()).astype(given)
    for target in (y, y.astype(np.float32)):
        model = estimator_class(max_iter=3, random_state=0).fit(X, target)
        assert [a.dtype for a in arrays_of(model) if a.ndim] == [kept] * sum(a.ndim > 0 for a in arrays_of(model))
        assert model.predict(X).dtype == kept
        assert all(type(loss) is float for loss in model.loss_curve_)
    assert_identical(model, estimator_class(max_iter=3, random_state=0).fit(X.astype(kept), y.astype(np.float32)))


@every_class
def test_prediction_has_the_wider_dtype(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=3, random_state=0).fit(X.astype(np.float32), y)
    assert model.predict(X).dtype == np.float64
    model = estimator_class(max_iter=3, random_state=0).fit(X, y)
    assert model.predict(X.astype(np.float32)).dtype == np.float64


# --- kinds of input ---------------------------------------------------------------------------------------------------


def read_only(a, tmp_path):
    a = a.copy()
    a.flags.writeable = False
    return a


def mapped(a, tmp_path):
    path = tmp_path / f"{a.ndim}-{a.shape[-1]}-{a.flat[0]}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


def strided(a, tmp_path):
    wide = np.full((2 * a.shape[0], *a.shape[1:], 2), np.nan)
    wide[::2, ..., 0] = a
    return wide[::2, ..., 0]


FORMS = {
    "read-only": read_only,
    "memory-mapped": mapped,
    "Fortran": lambda a, _: np.asfortranarray(a),
    "negative strides": lambda a, _: a[::-1].copy()[::-1],
    "all strides negative": lambda a, _: np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[
        (slice(None, None, -1),) * a.ndim
    ],
    "strided": strided,
    "big-endian": lambda a, _: a.astype(">f8"),
    "list": lambda a, _: a.tolist(),
    "pandas": lambda a, _: (
        pd.Series(a, index=np.arange(len(a))[::-1]) if a.ndim == 1 else pd.DataFrame(a, index=np.arange(len(a))[::-1])
    ),
}
FITTED = {
    "adam": clone(CONSTANT).set_params(max_iter=3),
    "adam raw": clone(CONSTANT).set_params(max_iter=3, standardize=False),
    "gd": TwoLayerReLURegressor(8, solver="gd", max_iter=3, random_state=0),
    "gd raw": TwoLayerReLURegressor(
        8, solver="gd", max_iter=3, standardize=False, fit_intercept=False, learning_rate=1e-3, random_state=0
    ),
    "linear": LinearGDRegressor(max_iter=3),
    "linear raw": LinearGDRegressor(max_iter=3, standardize=False, fit_intercept=False),
}


@pytest.mark.parametrize("m", [None, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FITTED)
@every_shape
def test_every_form_of_input_gives_the_same_fit(shape, name, form, m, tmp_path):
    X, y = problem(*shape, m=m)
    weights = np.random.RandomState(1).uniform(0.5, 2, len(X))
    expected = clone(FITTED[name]).fit(X, y, weights)
    given = [FORMS[form](a, tmp_path) for a in (X, y, weights)]
    model = clone(FITTED[name]).fit(*given)
    assert_identical(model, expected)
    # Prediction reads X as it lies: the sums of d and h terms in a row may be rounded in another order.
    predicted = model.predict(given[0])
    scale = (1 + np.abs(X)).max() * X.shape[1] * 8 * (1 + sum(np.abs(a).max() for a in arrays_of(model))) ** 2
    np.testing.assert_allclose(predicted, expected.predict(X), rtol=0, atol=(X.shape[1] + 8) * EPS * scale)
    assert_identical(model.partial_fit(*given), expected.partial_fit(X, y, weights))
    for a, kept in zip(given, (X, y, weights), strict=True):  # nor was anything written to
        np.testing.assert_array_equal(np.asarray(a), kept)


@pytest.mark.parametrize("name", FITTED)
def test_input_is_never_written_to(name):
    X, y = problem()
    weights = np.ones(len(X))
    given = X.copy(), y.copy(), weights.copy()
    model = clone(FITTED[name]).fit(*given).partial_fit(*given)
    predicted = model.predict(given[0])
    for a, kept in zip(given, (X, y, weights), strict=True):
        np.testing.assert_array_equal(a, kept)
    given[0][:] = 0.0  # and nothing of it is kept
    given[1][:] = 0.0
    np.testing.assert_array_equal(model.predict(X), predicted)


@every_class
def test_feature_names_are_checked(estimator_class):
    X, y = problem()
    table = pd.DataFrame(X, columns=["age", "height", "weight"])
    model = estimator_class(max_iter=3, random_state=0).fit(table, y)
    assert list(model.feature_names_in_) == ["age", "height", "weight"]
    assert model.n_features_in_ == 3
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        model.predict(table[["weight", "age", "height"]])
    with pytest.raises(ValueError, match="Feature names unseen at fit time"):
        model.partial_fit(table.rename(columns={"age": "years"}), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert model.predict(X).shape == (30,)
    assert not hasattr(estimator_class(max_iter=3).fit(X, y), "feature_names_in_")


# --- what depends on the data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "batch_size"),
    [(30, 128), (30, 7), (30, 2), (300, 128), (97, 1), (1, 1), (17000, 1)],
    ids=["one batch", "few", "between", "real", "many", "one row", "a pass is too much"],
)
def test_the_step_budget_of_auto(n, batch_size):
    X, y = problem(n, d=1)
    model = TwoLayerReLURegressor(1, batch_size=batch_size, random_state=0).fit(X, y)
    steps = min(max(150 * n / batch_size, 1500), 12000)
    assert model.n_iter_ == math.ceil(steps / math.ceil(n / min(batch_size, n)))


def test_iterations_of_the_other_solvers():
    assert TwoLayerReLURegressor(3, solver="gd", random_state=0).fit(*problem()).n_iter_ == 500
    assert LinearGDRegressor().fit(*problem()).n_iter_ == 1000


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 50.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_auto_rate_of_the_linear_model_is_one_over_L(fit_intercept, standardize, reduction, alpha, weighted):
    X, y = problem(d=5)
    weights = np.random.RandomState(1).uniform(0, 3, len(X)) if weighted else None
    choices = {"alpha": alpha, "fit_intercept": fit_intercept, "standardize": standardize, "reduction": reduction}
    model = LinearGDRegressor(**choices, max_iter=1).fit(X, y, weights)
    L = curvature_of_the_linear_model(X, weights, **choices)
    # L is promised to 1e-10 of itself; sums over 30 rows round by less.
    assert model.learning_rate_ == pytest.approx(1 / L, rel=2e-10)
    assert model.alpha_ == pytest.approx(alpha, rel=4 * EPS)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("m", [1, 2])
def test_auto_rate_of_gd_is_one_over_L(m, reduction):
    """L of the Gauss-Newton matrix J^T J, with J the finite differences of the predictions by the weights."""
    X, y = problem(n=12, m=m)
    h = 4
    model = TwoLayerReLURegressor(
        h, solver="gd", fit_intercept=False, standardize=False, reduction=reduction, max_iter=1, random_state=0
    ).fit(X, y)
    random = np.random.RandomState(0)
    start = np.concatenate(
        [
            (random.standard_normal((3, h)) * np.sqrt(2 / 3)).ravel(),
            (random.standard_normal((h, m)) * np.sqrt(2 / h)).ravel(),
        ]
    )

    def predict(theta):
        return (np.maximum(X @ theta[: 3 * h].reshape(3, h), 0) @ theta[3 * h :].reshape(h, m)).ravel()

    # Linear in each weight between the kinks, so central differences are exact up to rounding.
    step = 1e-6
    J = np.stack([(predict(start + step * e) - predict(start - step * e)) / (2 * step) for e in np.eye(len(start))])
    L = np.linalg.eigvalsh(J @ J.T)[-1] * (1 / 12 if reduction == "mean" else 2.0)
    assert 1 / L * (1 - 1e-6) <= model.learning_rate_ <= 1 / L * 1.0102  # from below to 1%, differences to 1e-9


@pytest.mark.parametrize("rate", [0.003, "auto"])
def test_learning_rate_of_adam(rate):
    model = TwoLayerReLURegressor(3, learning_rate=rate, max_iter=2, random_state=0).fit(*problem())
    assert model.learning_rate_ == (0.01 if rate == "auto" else rate)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("solver", ["adam", "gd"])
def test_a_given_alpha_is_alpha(solver, reduction):
    model = TwoLayerReLURegressor(3, solver=solver, reduction=reduction, alpha=0.7, max_iter=2, random_state=0)
    weights = np.random.RandomState(0).uniform(size=30)
    assert model.fit(*problem(), weights).alpha_ == pytest.approx(0.7, rel=4 * EPS)


def test_auto_alpha_of_gd_is_zero():
    assert TwoLayerReLURegressor(3, solver="gd", max_iter=2, random_state=0).fit(*problem()).alpha_ == 0.0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", [30, 2000], ids=["many steps at the cap", "under the cap"])
def test_auto_alpha_follows_the_noise(n, m, reduction):
    X, y = problem(n, m=m)
    model = TwoLayerReLURegressor(5, batch_size=n, max_iter=130, reduction=reduction, random_state=0).fit(X, y)
    c = 1.0 if reduction == "mean" else 2.0 * n
    mse = 0.0
    for t, loss in enumerate(model.loss_curve_):  # one batch an iteration: these are the batches' losses
        mse += max(0.01, 1 / (t + 1)) * (2 * loss / (c * m) - mse)
    # one rounding in each of 130 running means
    assert model.alpha_ == pytest.approx(c * n * min(20 * min(mse, 1.0) / n, 0.1), rel=130 * 4 * EPS)


@pytest.mark.parametrize("name", RESUMED)
def test_loss_curve_and_its_summaries(name):
    model = clone(RESUMED[name]).set_params(max_iter=7).fit(*problem())
    assert isinstance(model.loss_curve_, list)
    assert all(type(loss) is float for loss in model.loss_curve_)
    assert model.n_iter_ == len(model.loss_curve_) == 7
    assert model.best_loss_ == min(model.loss_curve_)
    assert type(model.learning_rate_) is float
    assert type(model.alpha_) is float


# --- in the company of scikit-learn -----------------------------------------------------------------------------------


@every_class
def test_routed_weights_arrive_in_a_search_over_a_pipeline(estimator_class):
    X, y = problem(60)
    weights = np.random.RandomState(1).uniform(0, 2, len(X))
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = estimator_class(max_iter=20, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        name = estimator_class.__name__.lower()
        search = GridSearchCV(make_pipeline(scaler, model), {f"{name}__alpha": [0.1, 10.0]}, cv=3)
        search.fit(X, y, sample_weight=weights)
    scaled = StandardScaler().fit_transform(X)
    direct = clone(model).set_params(alpha=search.best_params_[f"{name}__alpha"]).fit(scaled, y, weights)
    assert_identical(search.best_estimator_[-1], direct)
    unweighted = clone(direct).fit(scaled, y)
    assert unweighted.loss_curve_ != direct.loss_curve_


@every_class
def test_parameters_are_stored_untouched(estimator_class):
    X, y = problem()
    parameters = {"random_state": np.random.RandomState(0), "max_iter": np.int64(3), "learning_rate": np.float32(1e-3)}
    model = estimator_class(**parameters)
    before = dict(vars(model))
    model.fit(X, y).partial_fit(X, y)
    for key, value in before.items():
        assert getattr(model, key) is value
    assert model.get_params() == {**clone(model).get_params(), "random_state": parameters["random_state"]}
    assert type(model.learning_rate_) is float


@every_class
def test_clones_are_unfitted_and_fit_alike(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=5, alpha=0.5, random_state=0).fit(X, y)
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert not hasattr(copied, "loss_curve_")
    assert_identical(copied.fit(X, y), model)
    assert copied.set_params(alpha=2.0) is copied
    assert copied.get_params()["alpha"] == 2.0


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@every_class
def test_pickles_predict_the_same(estimator_class, protocol):
    X, y = problem(m=2)
    model = estimator_class(max_iter=5, random_state=0).fit(X, y)
    loaded = pickle.load(io.BytesIO(pickle.dumps(model, protocol=protocol)))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert_identical(loaded, model)


@every_class
def test_a_seed_decides_everything(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=5)
    if estimator_class is LinearGDRegressor:
        model.set_params(init="uniform")
    else:
        model.set_params(batch_size=7)
    assert_identical(
        clone(model).set_params(random_state=4).fit(X, y), clone(model).set_params(random_state=4).fit(X, y)
    )
    one = clone(model).set_params(random_state=np.random.RandomState(4)).fit(X, y)
    assert_identical(one, clone(model).set_params(random_state=4).fit(X, y))
    assert clone(model).set_params(random_state=5).fit(X, y).loss_curve_ != one.loss_curve_


def test_threads_do_not_meet():
    X, y = problem(100)
    models = [clone(RESUMED[name]).set_params(max_iter=30) for name in RESUMED] * 2
    serial = [clone(model).fit(X, y) for model in models]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda model: clone(model).fit(X, y), models))
    for a, b in zip(parallel, serial, strict=True):
        assert_identical(a, b)
