"""Validation sets: the curve is that of fits stopped by hand, early stopping is a loop over the curve."""

import copy
import math
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import skrelu._closed_form
import skrelu._sample_space
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

N_ITER = 6
CONSTANT = TwoLayerReLURegressor(
    6, batch_size=8, learning_rate_schedule="constant", max_iter=N_ITER, random_state=0, alpha=0.1
)
GD = TwoLayerReLURegressor(6, solver="gd", max_iter=N_ITER, random_state=0)
LINEAR = LinearGDRegressor(max_iter=N_ITER, init="uniform", random_state=0)
ENGINES = {
    "minibatches": CONSTANT,
    "plain": clone(GD).set_params(precompute=False),
    "sample_space": clone(GD).set_params(precompute=True),
    "sample_space_momentum": clone(GD).set_params(precompute=True, momentum=0.9),
    "sample_space_penalty": clone(GD).set_params(precompute=True, momentum=0.5, alpha=2.0),
    "linear": clone(LINEAR).set_params(precompute=False),
    "closed_form": clone(LINEAR).set_params(precompute=True),
    "closed_form_penalty": clone(LINEAR).set_params(precompute=True, alpha=3.0),
}
NETWORKS = [name for name in ENGINES if not name.startswith(("linear", "closed"))]
every_engine = pytest.mark.parametrize("name", ENGINES)
every_network = pytest.mark.parametrize("name", NETWORKS)
EPS = np.finfo(np.float64).eps


def problem(n=30, d=3, m=None, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, d)) + 1.0
    y = np.abs(X[:, 0]) - 2 * X[:, -1] + 0.3 * rng.normal(size=n)
    return X, y if m is None else np.stack([y + k * X[:, 0] for k in range(m)], axis=1)


def attributes_of(estimator):
    return {name: value for name, value in vars(estimator).items() if name.endswith("_") and not name.startswith("_")}


def assert_same_fit(a, b):
    np.testing.assert_equal(attributes_of(a), attributes_of(b))


def loss_of(model, X, y, scale, weights=None):
    """L of the rows, from the predictions; the errors in units of `scale`."""
    s = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    squares = np.sum(((model.predict(X) - y) / scale).reshape(len(X), -1) ** 2, axis=1)
    return float(s @ squares if model.reduction == "sum" else s @ squares / (2 * s.sum()))


def curve_by_hand(estimator, X, y, X_val, y_val, weights_val=None, weights=None):
    """The validation loss of fits of 1, 2, ... iterations."""
    s = np.ones(len(X)) if weights is None else weights
    mean = np.average(y, axis=0, weights=s)
    center = mean if estimator.fit_intercept else 0.0
    scale = np.sqrt(np.average((y - center) ** 2, axis=0, weights=s)) if estimator.standardize else 1.0
    models = [clone(estimator).set_params(max_iter=t).fit(X, y, weights) for t in range(1, estimator.max_iter + 1)]
    return [loss_of(model, X_val, y_val, scale, weights_val) for model in models]


# --- the curve --------------------------------------------------------------------------------------------------------

VARIANTS = {
    "default": {},
    "sum": {"reduction": "sum", "learning_rate": 1e-3},
    "no_intercept": {"fit_intercept": False},
    "raw": {"standardize": False},
}


@every_engine
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(30, 3, None), (30, 3, 2), (10, 25, None), (10, 25, 2)], ids=str)
def test_the_curve_is_that_of_fits_of_so_many_iterations(name, variant, shape):
    n, d, m = shape
    X, y = problem(n, d, m)
    X_val, y_val = problem(40, d, m, seed=1)
    weights, weights_val = np.random.RandomState(2).randint(0, 4, n), np.random.RandomState(3).randint(0, 4, 40)
    model = clone(ENGINES[name]).set_params(**VARIANTS[variant])
    model.fit(X, y, X_val=X_val, y_val=y_val)
    expected = curve_by_hand(model, X, y, X_val, y_val)
    # Both take sums of d + h products of numbers up to the size of the largest; measured: 400 eps
    assert_allclose(model.validation_loss_curve_, expected, rtol=1e4 * EPS)
    model.fit(X, y, weights, X_val=X_val, y_val=y_val, sample_weight_val=weights_val)
    expected = curve_by_hand(model, X, y, X_val, y_val, weights_val, weights)
    assert_allclose(model.validation_loss_curve_, expected, rtol=1e4 * EPS)


@every_engine
def test_a_validation_set_changes_nothing_else(name):
    (X, y), (X_val, y_val) = problem(m=2), problem(50, m=2, seed=1)
    with_set = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    without = clone(ENGINES[name]).fit(X, y)
    assert without.validation_loss_curve_ is None
    assert len(with_set.validation_loss_curve_) == with_set.n_iter_
    with_set.validation_loss_curve_ = None
    assert_same_fit(with_set, without)


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "minibatches"])
def test_on_the_rows_of_training_it_is_the_next_loss(name):
    X, y = problem()
    model = clone(ENGINES[name]).fit(X, y, X_val=X, y_val=y)
    assert_allclose(model.validation_loss_curve_[:-1], model.loss_curve_[1:], rtol=1e4 * EPS)


@every_engine
def test_rows_of_weight_zero_do_not_count_and_repeated_rows_count_as_often(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    weights = np.random.RandomState(0).randint(0, 3, 20)
    model = clone(ENGINES[name])
    weighted = clone(model).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    rows = np.repeat(np.arange(20), weights)
    repeated = clone(model).fit(X, y, X_val=X_val[rows], y_val=y_val[rows])
    assert_allclose(weighted.validation_loss_curve_, repeated.validation_loss_curve_, rtol=1e3 * EPS)


@every_engine
def test_the_curve_does_not_depend_on_how_the_rows_are_read(name):
    (X, y), (X_val, y_val) = problem(), problem(3000, seed=1)
    whole = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    parts = np.zeros(N_ITER)
    for part in np.array_split(np.arange(3000), 7):
        model = clone(ENGINES[name]).fit(X, y, X_val=X_val[part], y_val=y_val[part])
        parts += np.array(model.validation_loss_curve_) * len(part) / 3000
    assert_allclose(whole.validation_loss_curve_, parts, rtol=1e4 * EPS)


@every_engine
def test_single_precision_stays_so(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    exact = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    single = clone(ENGINES[name]).fit(X.astype(np.float32), y, X_val=X_val, y_val=y_val)
    coefficients = single.coefs_[0] if hasattr(single, "coefs_") else single.coef_
    assert coefficients.dtype == np.float32
    assert all(type(loss) is float for loss in single.validation_loss_curve_)
    rounded = clone(single).fit(X.astype(np.float32), y, X_val=X_val.astype(np.float32), y_val=y_val)
    assert single.validation_loss_curve_ == rounded.validation_loss_curve_
    rtol = 1e3 * np.finfo(np.float32).eps
    assert_allclose(single.validation_loss_curve_, exact.validation_loss_curve_, rtol=rtol)


def _frames(X, y):
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]), pd.Series(y)


def _read_only(X, y):
    X, y = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    return X, y


KINDS = {
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "frames": _frames,
    "read_only": _read_only,
    "fortran": lambda X, y: (np.asfortranarray(X), y),
    "column": lambda X, y: (X, y.reshape(-1, 1)),
}


@every_engine
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_input(name, kind):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    expected = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    X_kind, _ = KINDS[kind](X, y)
    X_val, y_val = KINDS[kind](X_val, y_val)
    model = clone(ENGINES[name]).fit(X_kind, y, X_val=X_val, y_val=y_val)
    assert model.validation_loss_curve_ == expected.validation_loss_curve_


@every_engine
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_other_arrays(name, library):
    xp = pytest.importorskip(library)
    (X, y), (X_val, y_val) = problem(m=2), problem(20, m=2, seed=1)
    weights = np.random.RandomState(0).randint(0, 3, 20).astype(float)
    expected = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    X, X_val, moved = xp.asarray(X), xp.asarray(X_val), xp.asarray(y_val)
    with config_context(array_api_dispatch=True):
        for given in (y_val, moved):
            model = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=given, sample_weight_val=weights)
            assert_allclose(model.validation_loss_curve_, expected.validation_loss_curve_, rtol=1e4 * EPS)
        if hasattr(model, "early_stopping"):
            model.set_params(early_stopping=True).fit(X, y)
            assert type(model.coefs_[0]) is type(X)
            model.fit(X, y, X_val=X_val, y_val=y_val)
        with pytest.raises(ValueError, match="X_val must be from the same array library and device as X: got ndarray"):
            model.fit(X, y, X_val=np.asarray(problem(20)[0]), y_val=y_val)


def test_a_pipeline_transforms_the_validation_set():
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    scaler = StandardScaler().fit(X)
    expected = clone(GD).fit(scaler.transform(X), y, X_val=scaler.transform(X_val), y_val=y_val)
    with config_context(enable_metadata_routing=True):
        model = clone(GD).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scaler", StandardScaler()), ("model", model)], transform_input=["X_val"])
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
        assert_same_fit(pipeline["model"], expected)
        search = GridSearchCV(pipeline, {"model__learning_rate": [0.01, 0.1]}, cv=2)
        search.fit(X, y, X_val=X_val, y_val=y_val)
        assert len(search.best_estimator_["model"].validation_loss_curve_) == N_ITER


def test_names_of_columns_are_checked():
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    frame, _ = _frames(X, y)
    with pytest.raises(ValueError, match=r"(?s)validation set.*feature names"):
        clone(GD).fit(frame, y, X_val=_frames(X_val, y_val)[0].rename(columns={"x0": "other"}), y_val=y_val)


@every_engine
def test_a_look_at_the_validation_set_needs_no_memory(name):
    (X, y), (X_val, y_val) = problem(200, 20), problem(20_000, 20, seed=1)

    def peak(n_iter):
        model = clone(ENGINES[name]).set_params(max_iter=n_iter)
        tracemalloc.start()
        model.fit(X, y, X_val=X_val, y_val=y_val)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(1)
    # a column of X_val would be 160 kB
    assert abs(peak(20) - peak(2)) < 50_000


def test_the_closed_form_computes_many_losses_at_once_where_each_is_looked_at(monkeypatch):
    computed, losses = [], skrelu._closed_form.ClosedForm._losses

    def counted(self, start, stop):
        computed.append(stop - start)
        return losses(self, start, stop)

    monkeypatch.setattr(skrelu._closed_form.ClosedForm, "_losses", counted)
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    model = clone(ENGINES["closed_form_penalty"]).set_params(max_iter=1000)
    watched = clone(model).fit(X, y, X_val=X_val, y_val=y_val)
    assert len(computed) <= 10
    assert sum(computed) < 2 * 1000 + 1
    assert watched.loss_curve_ == model.fit(X, y).loss_curve_


def test_a_validation_loss_that_is_not_finite_is_recorded_as_infinite():
    X, y = problem()
    X, X_val, y_val = (0.01 * X).astype(np.float32), *problem(5, seed=1)
    X_val[2, 1] = 3e38  # is infinite in units of the deviation of X
    for estimator in ENGINES.values():
        model = clone(estimator).fit(X, y, X_val=X_val, y_val=y_val)
        assert model.validation_loss_curve_ == [math.inf] * N_ITER
        assert np.isfinite(model.predict(X)).all()
    for name in NETWORKS:
        model = clone(ENGINES[name]).set_params(early_stopping=True)
        with pytest.raises(ValueError, match="validation loss was not finite after any iteration"):
            model.fit(X, y, X_val=X_val, y_val=y_val)
        assert not hasattr(model, "coefs_")


# --- early stopping ---------------------------------------------------------------------------------------------------


def stops_after(curve, losses, tol, patience):
    """Number of iterations and of the best one: the rule of the documentation, as a loop."""
    for t in range(1, len(curve) + 1):
        if t > patience:
            best_before, recent = min(curve[: t - patience]), curve[t - patience : t]
            if not any(loss < best_before - tol for loss in recent) and losses[t - 1] <= losses[0]:
                return t, int(np.argmin(curve[:t])) + 1
    return len(curve), int(np.argmin(curve)) + 1


NOISY = {
    # a network that learns the noise of few rows
    "minibatches": {"learning_rate": 0.03},
    "plain": {"learning_rate": 0.3},
    "sample_space": {"learning_rate": 0.3},
    "sample_space_momentum": {"learning_rate": 0.1},
    "sample_space_penalty": {"learning_rate": 0.1, "alpha": 0.01},
}


def noisy_problem(n=20, d=8):
    rng = np.random.RandomState(0)
    X, X_val = rng.normal(size=(n, d)), rng.normal(size=(60, d))
    return X, X[:, 0] + rng.normal(size=n), X_val, X_val[:, 0] + rng.normal(size=60)


def noisy(name, **params):
    return clone(ENGINES[name]).set_params(**{"hidden_layer_size": 20, "max_iter": 200} | NOISY[name] | params)


@every_network
@pytest.mark.parametrize(("tol", "patience"), [(None, 1), (None, 10), (1e-3, 5), (0.0, 3), (10.0, 4)])
def test_early_stopping_is_a_loop_over_the_curve(name, tol, patience):
    X, y, X_val, y_val = noisy_problem()
    free = noisy(name).fit(X, y, X_val=X_val, y_val=y_val)
    n_iter, best = stops_after(free.validation_loss_curve_, free.loss_curve_, tol or 0.0, patience)
    assert n_iter < 200
    model = noisy(name, early_stopping=True, tol=tol, n_iter_no_change=patience)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.n_iter_ == n_iter
    assert model.validation_loss_curve_ == free.validation_loss_curve_[:n_iter]
    assert model.loss_curve_ == free.loss_curve_[:n_iter]
    assert model.best_loss_ == min(model.loss_curve_)
    at_best = noisy(name, max_iter=best).fit(X, y)
    for a, b in zip(model.coefs_ + model.intercepts_, at_best.coefs_ + at_best.intercepts_, strict=True):
        assert_array_equal(a, b)
    assert_allclose(loss_of(model, X_val, y_val, np.std(y)), min(model.validation_loss_curve_), rtol=1e4 * EPS)


def test_under_the_cosine_schedule_the_whole_schedule_runs_and_the_best_epoch_is_kept():
    X, y, X_val, y_val = noisy_problem()
    free = noisy("minibatches", learning_rate_schedule="cosine").fit(X, y, X_val=X_val, y_val=y_val)
    assert stops_after(free.validation_loss_curve_, free.loss_curve_, 0.0, 2)[0] < 200
    model = noisy("minibatches", learning_rate_schedule="cosine", early_stopping=True, n_iter_no_change=2, tol=1e-3)
    model.fit(X, y, X_val=X_val, y_val=y_val)  # and does not warn about tol
    assert (model.n_iter_, model.validation_loss_curve_) == (200, free.validation_loss_curve_)
    assert np.argmin(model.validation_loss_curve_) < 199
    assert_allclose(loss_of(model, X_val, y_val, np.std(y)), min(model.validation_loss_curve_), rtol=1e4 * EPS)


@every_network
@pytest.mark.parametrize("weighted", [False, True])
def test_without_a_set_of_ones_own_some_rows_are_held_out(name, weighted):
    X, y = problem(50)
    weights = np.random.RandomState(0).randint(0, 3, 50).astype(float) if weighted else np.ones(50)
    model = clone(ENGINES[name]).set_params(early_stopping=True, validation_fraction=0.25, max_iter=20)
    model.fit(X, y, weights if weighted else None)
    # Which rows were held out is found from the loss: each row alone, as the set of a fit on the others, tells.
    held_out = skrelu._validation.hold_out
    kept = {}

    def spy(problem, fraction, seed):
        kept["problems"] = held_out(problem, fraction, seed)
        return kept["problems"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skrelu._base, "hold_out", spy)
        clone(model).fit(X, y, weights if weighted else None)
    parts = []
    for part in kept["problems"]:
        rows = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in part.X]
        parts.append(np.array(rows))
    train, val = parts
    used = np.flatnonzero(weights)
    assert sorted([*train, *val]) == list(used)
    assert len(val) == math.ceil(0.25 * len(used))
    assert (np.diff(train) > 0).all()
    by_hand = clone(model).fit(
        X[train], y[train], weights[train], X_val=X[val], y_val=y[val], sample_weight_val=weights[val]
    )
    if weighted:
        assert_same_fit(model, by_hand)
    else:
        assert_allclose(model.validation_loss_curve_, by_hand.validation_loss_curve_, rtol=1e4 * EPS)
    assert_same_fit(model, clone(model).fit(X, y, weights if weighted else None))
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert other.validation_loss_curve_ != model.validation_loss_curve_


def test_a_set_of_ones_own_goes_before_the_fraction():
    X, y, X_val, y_val = noisy_problem()
    fits = [
        noisy("plain", early_stopping=True, validation_fraction=fraction).fit(X, y, X_val=X_val, y_val=y_val)
        for fraction in (0.1, 0.9)
    ]
    assert_same_fit(*fits)


@every_network
def test_divergence_is_found_though_the_validation_loss_rises(name):
    X, y, X_val, y_val = noisy_problem()
    model = noisy(name, early_stopping=True, n_iter_no_change=1, learning_rate=1e4, max_iter=3000, alpha=0.0)
    if name == "minibatches":
        model.set_params(learning_rate=1e160)  # Adam's steps are of the size of the rate
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, y, X_val=X_val, y_val=y_val)


def test_a_tolerance_that_is_not_reached_is_a_warning_about_the_validation_loss():
    X, y, X_val, y_val = noisy_problem()
    model = noisy("plain", early_stopping=True, tol=0.0, max_iter=3)
    with pytest.warns(ConvergenceWarning, match="the validation loss of the last one is") as caught:
        model.fit(X, y, X_val=X_val, y_val=y_val)
    assert caught[0].filename == __file__


# --- going on ---------------------------------------------------------------------------------------------------------


@every_network
@pytest.mark.parametrize("own_set", [True, False])
@pytest.mark.parametrize("first", [1, 4, 30])
def test_a_fit_continued_is_the_fit_at_once(name, own_set, first):
    X, y, X_val, y_val = noisy_problem()
    held_out = {"X_val": X_val, "y_val": y_val} if own_set else {}
    params = {"early_stopping": True, "n_iter_no_change": 40, "warm_start": True}
    whole = noisy(name, max_iter=60, **params).fit(X, y, **held_out)
    parts = noisy(name, max_iter=first, **params).fit(X, y, **held_out)
    parts = pickle.loads(pickle.dumps(parts)).set_params(max_iter=whole.n_iter_ - first).fit(X, y, **held_out)
    assert_same_fit(whole, parts)


@every_engine
def test_a_curve_continued_is_the_curve_at_once(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    whole = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    parts = clone(ENGINES[name]).set_params(warm_start=True, max_iter=2).fit(X, y, X_val=X_val, y_val=y_val)
    parts.set_params(max_iter=N_ITER - 2).fit(X, y, X_val=X_val, y_val=y_val)
    assert_same_fit(whole, parts)


def test_on_other_rows_the_best_is_sought_anew():
    X, y, X_val, y_val = noisy_problem()
    params = {"early_stopping": True, "n_iter_no_change": 3, "warm_start": True, "max_iter": 10}
    model = noisy("plain", **params).fit(X, y, X_val=X_val, y_val=y_val)
    first = model.n_iter_
    # On these rows the loss is far larger, and falls
    model.fit(X, y, X_val=X_val, y_val=y_val + 10.0)
    curve = model.validation_loss_curve_
    assert first < model.n_iter_ == len(curve)
    assert min(curve[first:]) > max(curve[:first])
    assert_allclose(loss_of(model, X_val, y_val + 10.0, np.std(y)), min(curve[first:]), rtol=1e4 * EPS)


def test_with_another_loss_the_best_is_sought_anew():
    X, y, X_val, y_val = noisy_problem()
    params = {"early_stopping": True, "n_iter_no_change": 3, "warm_start": True, "max_iter": 10}
    model = noisy("plain", **params).fit(X, y, X_val=X_val, y_val=y_val)
    first = model.n_iter_
    model.set_params(reduction="sum", learning_rate=1e-3).fit(X, y, X_val=X_val, y_val=y_val)
    curve = model.validation_loss_curve_
    assert min(curve[first:]) > max(curve[:first])
    assert_allclose(loss_of(model, X_val, y_val, np.std(y)), min(curve[first:]), rtol=1e4 * EPS)


@every_engine
def test_iterations_without_a_validation_set_have_no_validation_loss(name):
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    model = clone(ENGINES[name]).set_params(warm_start=True).fit(X, y)
    model.fit(X, y, X_val=X_val, y_val=y_val).partial_fit(X, y)
    missing = np.isnan(model.validation_loss_curve_)
    assert missing.tolist() == [True] * N_ITER + [False] * N_ITER + [True]
    whole = clone(ENGINES[name]).set_params(max_iter=2 * N_ITER).fit(X, y, X_val=X_val, y_val=y_val)
    assert_allclose(model.validation_loss_curve_[N_ITER:-1], whole.validation_loss_curve_[N_ITER:], rtol=1e4 * EPS)
    assert clone(model).set_params(warm_start=False).fit(X, y).validation_loss_curve_ is None


def test_training_goes_on_from_the_last_iterate_and_not_from_the_best():
    X, y, X_val, y_val = noisy_problem()
    model = noisy("plain", early_stopping=True, warm_start=True).fit(X, y, X_val=X_val, y_val=y_val)
    n_iter = model.n_iter_
    assert n_iter < 200
    model.set_params(early_stopping=False).partial_fit(X, y)
    assert_array_equal(model.coefs_[0], noisy("plain", max_iter=n_iter + 1).fit(X, y).coefs_[0])


def test_partial_fit_has_no_early_stopping():
    X, y = problem()
    model = clone(CONSTANT).set_params(early_stopping=True)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model.partial_fit(X, y)
    before = copy.deepcopy(vars(model.fit(X, y)))
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model.partial_fit(X, y)
    np.testing.assert_equal(vars(model), before)


# --- what is not valid ------------------------------------------------------------------------------------------------

X_0, Y_0 = problem(8, seed=1)
INVALID = {
    "no y_val": ({"X_val": X_0}, "X_val given without y_val: a validation set needs X_val and y_val"),
    "no X_val": ({"y_val": Y_0}, "y_val given without X_val"),
    "weights alone": ({"sample_weight_val": Y_0}, "sample_weight_val given without X_val"),
    "features": ({"X_val": X_0[:, :2], "y_val": Y_0}, r"validation set .*X has 2 features.*expecting 3"),
    "rows": ({"X_val": X_0, "y_val": Y_0[:5]}, r"validation set .*inconsistent numbers of samples: \[8, 5\]"),
    "no rows": ({"X_val": X_0[:0], "y_val": Y_0[:0]}, r"validation set .*0 sample"),
    "outputs": ({"X_val": X_0, "y_val": np.stack([Y_0, Y_0], axis=1)}, "y_val has 2 outputs, and y has 1"),
    "NaN in X_val": ({"X_val": X_0 * np.nan, "y_val": Y_0}, "validation set .*NaN"),
    "infinite y_val": ({"X_val": X_0, "y_val": np.append(Y_0[1:], np.inf)}, "validation set .*infinity"),
    "negative weights": (
        {"X_val": X_0, "y_val": Y_0, "sample_weight_val": -np.ones(8)},
        r"validation set .*[Nn]egative",
    ),
    "zero weights": ({"X_val": X_0, "y_val": Y_0, "sample_weight_val": np.zeros(8)}, "validation set .*weight.*zero"),
    "text": ({"X_val": [["a"] * 3], "y_val": [1.0]}, "validation set .*could not convert"),
}


@every_engine
@pytest.mark.parametrize("case", INVALID)
def test_what_is_not_valid_is_refused_by_name(name, case):
    X, y = problem()
    given, message = INVALID[case]
    model = clone(ENGINES[name])
    before = dict(vars(model))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X, y, **given)
    assert vars(model) == before
    before = copy.deepcopy(vars(model.set_params(warm_start=True).fit(X, y)))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X, y, **given)
    np.testing.assert_equal(vars(model), before)


def test_targets_beyond_single_precision_are_refused():
    X, y = problem()
    with pytest.raises(ValueError, match=r"validation set .*y has values of magnitude"):
        clone(GD).fit(X.astype(np.float32), y, X_val=X_0, y_val=Y_0 * 1e60)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_rows_to_hold_some_out(n):
    X, y = problem(n)
    model = clone(GD).set_params(early_stopping=True, validation_fraction=0.6)
    with pytest.raises(ValueError, match=rf"early_stopping=True with validation_fraction=0.6 .*n_samples={n} "):
        model.fit(X, y)
    clone(model).fit(*problem(3))
    weights = np.zeros(30)
    weights[:n] = 1.0
    with pytest.raises(ValueError, match=rf"n_samples={n} \(with a positive weight\)"):
        model.fit(*problem(30), weights)


# --- scikit-learn's checks --------------------------------------------------------------------------------------------

# scikit-learn's convention is that partial_fit refuses early_stopping, and no random choice of rows sees a row that is
# repeated as one row of twice the weight.
REFUSED = {
    "check_fit_score_takes_y": "partial_fit does not support early_stopping=True",
    "check_n_features_in_after_fitting": "partial_fit does not support early_stopping=True",
    "check_estimators_partial_fit_n_features": "partial_fit does not support early_stopping=True",
    "check_sample_weight_equivalence_on_dense_data": "is not equivalent",
}


@pytest.mark.parametrize("params", [{"max_iter": 100}, {"solver": "gd", "max_iter": 100}], ids=str)
def test_estimator_checks_with_early_stopping(params):
    results = check_estimator(TwoLayerReLURegressor(early_stopping=True, **params), on_skip=None, on_fail=None)
    assert len(results) == 80
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert failed.keys() == REFUSED.keys()
    for check, reason in REFUSED.items():
        assert reason in failed[check]
