"""A call that fails leaves the estimator exactly as it was."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import skrelu._training.run
from problems import (
    ENGINES,
    TRAINED,
    assert_same,
    assert_unfitted,
    every_engine,
    every_trained,
    problem,
    spoiled,
    unchanged,
)

X20, Y20 = problem(20)
ONES = np.ones(20)


def interrupt(monkeypatch, *, after):
    """Let the next training fail, as by a second Ctrl-C, when `after` iterations are done."""

    def train(engine, loss_curve, **keywords):
        loss_curve.extend(engine.advance(after))
        raise KeyboardInterrupt

    monkeypatch.setattr(skrelu._training.run, "run_iterations", train)


@every_trained
def test_bad_y_after_a_valid_X_with_other_features(name):
    fitted = clone(TRAINED[name]).fit(*problem(20))
    X, y = problem(30, 5, 2)
    with unchanged(fitted, X20), pytest.raises(ValueError, match="Input y contains NaN"):
        fitted.fit(X, spoiled(y, np.nan))
    assert fitted.n_features_in_ == 3


@every_trained
def test_bad_weights_after_valid_other_columns(name):
    names = pd.DataFrame(X20, columns=["a", "b", "c"])
    fitted = clone(TRAINED[name]).fit(names, Y20)
    others = pd.DataFrame(np.ones((20, 2)), columns=["p", "q"])
    with unchanged(fitted, names), pytest.raises(ValueError, match="Negative values"):
        fitted.fit(others, Y20, sample_weight=-ONES)
    with unchanged(fitted, names), pytest.raises(ValueError, match="Negative values"):
        fitted.fit(X20, Y20, sample_weight=-ONES)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
@every_trained
def test_bad_parameter_after_fit(name, warm_start, method):
    fitted = clone(TRAINED[name]).fit(*problem(20)).set_params(warm_start=warm_start, learning_rate=-1.0)
    with unchanged(fitted, X20), pytest.raises(ValueError, match="'learning_rate' parameter"):
        getattr(fitted, method)(*problem(20))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("warm_start", [False, True])
@every_trained
def test_divergence_in_fit(name, warm_start):
    fitted = clone(TRAINED[name]).fit(*problem(20))
    fitted.set_params(warm_start=warm_start, learning_rate=1e200, max_iter=50)
    if getattr(TRAINED[name], "solver", "") == "adam":
        fitted.set_params(learning_rate_schedule="constant")
    with unchanged(fitted, X20), pytest.raises(ValueError, match="diverged"):
        fitted.fit(*problem(20))


@pytest.mark.filterwarnings("ignore:.*training went wrong:sklearn.exceptions.ConvergenceWarning")
@every_trained
def test_divergence_in_partial_fit(name):
    fitted = clone(TRAINED[name]).fit(*problem(20)).set_params(learning_rate=1e308)
    snapshots = []

    def train_on():
        while len(snapshots) < 100:
            snapshots.append(copy.deepcopy(vars(fitted)))
            fitted.partial_fit(*problem(20))

    with pytest.raises(ValueError, match="diverged"):
        train_on()
    assert_same(vars(fitted), snapshots[-1])


@pytest.mark.one_in(3)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
@every_trained
def test_interruption(name, warm_start, method, monkeypatch):
    fitted = clone(TRAINED[name]).fit(*problem(20)).set_params(warm_start=warm_start)
    interrupt(monkeypatch, after=3)
    with unchanged(fitted, X20), pytest.raises(KeyboardInterrupt):
        getattr(fitted, method)(*problem(20))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("warm_start", [False, True])
@every_engine  # the cosine schedule runs to its end without a warning
def test_a_warning_made_an_error(name, warm_start):
    fitted = clone(ENGINES[name]).fit(*problem(20)).set_params(warm_start=warm_start, tol=0.0, max_iter=2)
    with unchanged(fitted, X20), pytest.raises(ConvergenceWarning):
        fitted.fit(*problem(20))


@every_trained
def test_training_after_failures_is_training_without_them(name, monkeypatch):
    straight = clone(TRAINED[name]).fit(*problem(20))
    failed = clone(TRAINED[name]).fit(*problem(20))
    for _ in range(3):
        with pytest.raises(ValueError, match="NaN"):
            failed.partial_fit(X20, spoiled(Y20, np.nan))
        interrupt(monkeypatch, after=2)
        with pytest.raises(KeyboardInterrupt):
            failed.partial_fit(X20, Y20)
        monkeypatch.undo()
        straight.partial_fit(X20, Y20)
        failed.partial_fit(X20, Y20)
    assert_same(vars(failed), vars(straight))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@every_trained
def test_the_never_fitted_stay_unfitted(name, method, monkeypatch):
    estimator = clone(TRAINED[name])
    interrupt(monkeypatch, after=1)
    with pytest.raises(KeyboardInterrupt):
        getattr(estimator, method)(*problem(20))
    assert_unfitted(estimator)
    monkeypatch.undo()
    estimator.set_params(learning_rate=1e200, max_iter=50)
    if getattr(TRAINED[name], "solver", "") == "adam":
        estimator.set_params(learning_rate_schedule="constant")
    with pytest.raises(ValueError, match="diverged"):
        estimator.fit(*problem(20))
    assert_unfitted(estimator)
    with pytest.raises(NotFittedError):
        estimator.predict(X20)


@every_trained
def test_a_failed_call_does_not_touch_what_was_shared(name):
    """Pickles and references taken earlier see nothing of a later call, failed or not."""
    fitted = clone(TRAINED[name]).fit(*problem(20))
    kept = dict(vars(fitted))
    stored = pickle.loads(pickle.dumps(kept))
    with pytest.raises(ValueError, match="NaN"):
        fitted.partial_fit(X20, spoiled(Y20, np.nan))
    fitted.partial_fit(X20, Y20)
    fitted.set_params(warm_start=True).fit(X20, Y20)
    assert_same(kept, stored)
