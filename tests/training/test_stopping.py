"""`tol` ends training where the loss no longer falls, and a fit that does not get there is warned of."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from problems import EPS, assert_same_fit, curvature_of_the_linear_model, every_shape, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

STOPPED = {
    # Without `tol` the schedule would be another.
    "adam": TwoLayerReLURegressor(8, batch_size=7, max_iter=150, random_state=0, learning_rate_schedule="constant"),
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


@pytest.mark.one_in(11)
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


def test_with_tol_the_automatic_schedule_is_constant_and_training_stops():
    X, y = problem(200)
    model = TwoLayerReLURegressor(8, tol=1e-3, n_iter_no_change=5, random_state=0).fit(X, y)
    assert_same_fit(model, clone(model).set_params(learning_rate_schedule="constant").fit(X, y))
    assert model.n_iter_ == stopping_iteration(model.loss_curve_, 1e-3, 5) < 750  # passes without tol


@pytest.mark.parametrize("tol", [0.0, 1e-3, 1e9])
def test_tol_does_not_cut_a_cosine_schedule_short(tol):
    X, y = problem()
    cosine = TwoLayerReLURegressor(8, max_iter=30, learning_rate_schedule="cosine", random_state=0)
    assert_same_fit(clone(cosine).set_params(tol=tol).fit(X, y), cosine.fit(X, y))
    assert_same_fit(clone(cosine).set_params(learning_rate_schedule="auto").fit(X, y), cosine)


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


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
@pytest.mark.parametrize("shape", [(40, 6), (8, 20)])
def test_tol_stops_the_closed_form_where_it_stops_the_iteration(tol, shape):
    X, y = problem(*shape)
    params = {"learning_rate": 0.1, "max_iter": 3000, "tol": tol}
    fast, plain = (LinearGDRegressor(**params, precompute=precompute) for precompute in (True, False))
    fast.fit(X, y)
    plain.fit(X, y)
    assert fast.n_iter_ == plain.n_iter_
    assert_allclose(fast.coef_, plain.coef_, rtol=0, atol=200 * plain.n_iter_ * EPS * np.abs(plain.coef_).max())
    assert 1 < fast.n_iter_ < 3000
