"""A fit that went wrong is warned of, and a fit that goes well is not."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from problems import problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._training.diagnosis import Diagnosis


@pytest.mark.one_in(2)
@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("weights", [None, np.arange(30.0)], ids=["", "weights"])
def test_slow_divergence_is_warned_of(weights, standardize, precompute):
    X, y = problem(spread=3.0)
    model = LinearGDRegressor(standardize=standardize, precompute=precompute, max_iter=200)
    limit = 2.0 * model.fit(X, y, sample_weight=weights).learning_rate_
    model.set_params(learning_rate=1.1 * limit)
    with pytest.warns(ConvergenceWarning, match="LinearGDRegressor's training went wrong") as warned:
        model.fit(X, y, sample_weight=weights)
    message = str(warned[0].message)
    numbers = re.search(r"from (\S+) to (\S+) with learning_rate=(\S+); predicting a constant gives (\S+)\. ", message)
    variance = np.cov(y, aweights=weights, ddof=0)
    unit = 2 * variance if standardize else 2.0
    after = np.average((y - model.predict(X)) ** 2, weights=weights)
    expected = model.loss_curve_[0], after / unit, model.learning_rate_, variance / unit
    assert [float(number) for number in numbers.groups()] == pytest.approx(expected, rel=6e-3)  # printed with 3 digits
    stable = float(re.search(r"2/L = ([\d.e+-]+\d)", message)[1])
    assert stable == pytest.approx(limit, rel=0.02)  # found to 1 %
    assert model.score(X, y, sample_weight=weights) < -1
    # It is no error, and the estimator goes on: the advice is that of the weights before this call.
    with pytest.warns(ConvergenceWarning, match="The loss was .* once: start over with a smaller learning_rate"):
        model.set_params(warm_start=True, max_iter=50).fit(X, y, sample_weight=weights)


def test_adam_that_ends_worse_than_it_began_is_warned_of():
    X, y = problem(spread=3.0)
    model = TwoLayerReLURegressor(7, batch_size=8, random_state=0, max_iter=50)
    for rate in (1e3, 1e5):  # the losses, means over a pass, fall: the first pass is the worst
        with pytest.warns(ConvergenceWarning, match="training went wrong: the loss rose"):
            model.set_params(learning_rate=rate).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        assert model.score(X, y) < -1


def test_what_is_going_well_is_not_warned_of():
    X, y = problem(12, 30, spread=3.0)
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
    wide = TwoLayerReLURegressor(2000, n_members=1, max_iter=1, random_state=2).fit(X, y)
    assert wide.loss_curve_[0] > 1.0  # the mean over a pass that began with large steps
    assert wide.score(X, y) > 0.9
    # A path of growing penalties, each from the weights before: the loss rises, the objective falls.
    X, y = rng.uniform(1, 2, (200, 3)), 100.0 + rng.standard_normal(200)
    path = LinearGDRegressor(fit_intercept=False, warm_start=True, max_iter=2000)
    losses = [path.set_params(alpha=alpha).fit(X, y).loss_curve_[-1] for alpha in (0.0, 1e2, 1e4)]
    assert losses[2] > 10 * losses[1] > 10 * losses[0]


def test_a_path_of_penalties_by_adam_is_not_warned_of():
    rng = np.random.default_rng(2)
    X, y = rng.uniform(1, 2, (200, 3)), 100.0 + rng.standard_normal(200)
    path = TwoLayerReLURegressor(
        5, fit_intercept=False, warm_start=True, learning_rate_schedule="constant", max_iter=100, random_state=0
    )
    losses = [path.set_params(alpha=alpha).fit(X, y).loss_curve_[-1] for alpha in (0.0, 1e2, 1e4)]
    assert losses[2] > 10 * losses[0]


def test_a_warning_that_is_interrupted_keeps_the_fit(monkeypatch):
    X, y = problem(spread=3.0)
    model = LinearGDRegressor(max_iter=50).fit(X, y)
    model.set_params(learning_rate=2.2 * model.learning_rate_)
    with pytest.warns(ConvergenceWarning):
        expected = clone(model).fit(X, y)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Diagnosis, "_limit_of_stability", interrupted)
    with pytest.raises(KeyboardInterrupt, match="n_iter_=50 iterations"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert model.loss_curve_ == expected.loss_curve_
