"""Early stopping: when it ends training, which iterate it keeps, and the rows that it holds out."""

import copy
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from problems import ADAM, DESCENT, EPS, assert_same_fit, every_noisy, noisy, noisy_problem, problem
from skrelu import TwoLayerReLURegressor
from skrelu._rows.rows import Rows


def loss_of(model, X, y, scale, weights=None):
    """L of the rows, from the predictions; the errors in units of `scale`."""
    s = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    squares = np.sum(((model.predict(X) - y) / scale).reshape(len(X), -1) ** 2, axis=1)
    return float(s @ squares if model.reduction == "sum" else s @ squares / (2 * s.sum()))


def stops_after(curve, losses, tol, patience):
    """Number of iterations and of the best one: the rule of the documentation, as a loop."""
    for t in range(1, len(curve) + 1):
        if t > patience:
            best_before, recent = min(curve[: t - patience]), curve[t - patience : t]
            if not any(loss < best_before - tol for loss in recent) and losses[t - 1] <= losses[0]:
                return t, int(np.argmin(curve[:t])) + 1
    return len(curve), int(np.argmin(curve)) + 1


@pytest.mark.one_in(3)
@every_noisy
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


@pytest.mark.parametrize("patience", [3, 12])
def test_with_default_parameters_training_stops(patience):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(2000, 4))
    y = X[:, 0] + X[:, 1] ** 2 + 0.5 * rng.normal(size=2000)
    model = TwoLayerReLURegressor(40, early_stopping=True, n_iter_no_change=patience, random_state=0).fit(X, y)
    assert model.n_iter_ == stops_after(model.validation_loss_curve_, model.loss_curve_, 0.0, patience)[0] < 90
    # The default schedule without early stopping makes 107 passes.


def test_of_a_single_row_none_is_left_to_train_on():
    X, y = problem(1)
    model = TwoLayerReLURegressor(4, max_iter=2, early_stopping=True)
    with pytest.raises(ValueError, match=r"leaves no rows to train on: n_samples=1 .*Pass more rows"):
        model.fit(X, y)
    model.fit(X, y, X_val=X, y_val=y)


def test_under_the_cosine_schedule_the_whole_schedule_runs_and_the_best_epoch_is_kept():
    X, y, X_val, y_val = noisy_problem()
    free = noisy("minibatches", learning_rate_schedule="cosine").fit(X, y, X_val=X_val, y_val=y_val)
    assert stops_after(free.validation_loss_curve_, free.loss_curve_, 0.0, 2)[0] < 200
    model = noisy("minibatches", learning_rate_schedule="cosine", early_stopping=True, n_iter_no_change=2, tol=1e-3)
    model.fit(X, y, X_val=X_val, y_val=y_val)  # and does not warn about tol
    assert (model.n_iter_, model.validation_loss_curve_) == (200, free.validation_loss_curve_)
    assert np.argmin(model.validation_loss_curve_) < 199
    assert_allclose(loss_of(model, X_val, y_val, np.std(y)), min(model.validation_loss_curve_), rtol=1e4 * EPS)


@pytest.mark.one_in(3)
@every_noisy
@pytest.mark.parametrize("weighted", [False, True])
def test_without_a_set_of_ones_own_some_rows_are_held_out(name, weighted):
    X, y = problem(50)
    weights = np.random.RandomState(0).randint(0, 3, 50).astype(float) if weighted else np.ones(50)
    model = noisy(name, early_stopping=True, validation_fraction=0.25, max_iter=20, hidden_layer_size=6)
    model.fit(X, y, weights if weighted else None)
    # Which rows were held out is found from the loss: each row alone, as the set of a fit on the others, tells.
    hold_out, kept = Rows.hold_out, []

    def spy(rows, fraction, seed):
        kept.extend(hold_out(rows, fraction, seed))
        return tuple(kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rows, "hold_out", spy)
        clone(model).fit(X, y, weights if weighted else None)
    parts = []
    for part in kept:
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
        noisy("full batch", early_stopping=True, validation_fraction=fraction).fit(X, y, X_val=X_val, y_val=y_val)
        for fraction in (0.1, 0.9)
    ]
    assert_same_fit(*fits)


@every_noisy
def test_divergence_is_found_though_the_validation_loss_rises(name):
    X, y, X_val, y_val = noisy_problem()
    model = noisy(name, early_stopping=True, n_iter_no_change=1, learning_rate=1e4, max_iter=3000, alpha=0.0)
    if name == "minibatches":
        model.set_params(learning_rate=1e160)  # Adam's steps are of the size of the rate
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, y, X_val=X_val, y_val=y_val)


def test_a_tolerance_that_is_not_reached_is_a_warning_about_the_validation_loss():
    X, y, X_val, y_val = noisy_problem()
    model = noisy("full batch", early_stopping=True, tol=0.0, max_iter=3)
    with pytest.warns(ConvergenceWarning, match="the validation loss of the last one is") as caught:
        model.fit(X, y, X_val=X_val, y_val=y_val)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")  # the other rows
def test_on_other_rows_the_best_is_sought_anew():
    X, y, X_val, y_val = noisy_problem()
    params = {"early_stopping": True, "n_iter_no_change": 3, "warm_start": True, "max_iter": 10}
    model = noisy("full batch", **params).fit(X, y, X_val=X_val, y_val=y_val)
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
    model = noisy("full batch", **params).fit(X, y, X_val=X_val, y_val=y_val)
    first = model.n_iter_
    model.set_params(reduction="sum", learning_rate=1e-3).fit(X, y, X_val=X_val, y_val=y_val)
    curve = model.validation_loss_curve_
    assert min(curve[first:]) > max(curve[:first])
    assert_allclose(loss_of(model, X_val, y_val, np.std(y)), min(curve[first:]), rtol=1e4 * EPS)


def test_partial_fit_has_no_early_stopping():
    X, y = problem()
    model = clone(ADAM).set_params(early_stopping=True)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model.partial_fit(X, y)
    before = copy.deepcopy(vars(model.fit(X, y)))
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model.partial_fit(X, y)
    np.testing.assert_equal(vars(model), before)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_rows_to_hold_some_out(n):
    X, y = problem(n)
    model = clone(DESCENT).set_params(early_stopping=True, validation_fraction=0.6)
    with pytest.raises(ValueError, match=rf"early_stopping=True with validation_fraction=0.6 .*n_samples={n} "):
        model.fit(X, y)
    clone(model).fit(*problem(3))
    weights = np.zeros(30)
    weights[:n] = 1.0
    with pytest.raises(ValueError, match=rf"n_samples={n} \(with a positive weight\)"):
        model.fit(*problem(30), weights)
