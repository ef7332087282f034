"""One warning for a fit that went wrong, none for a fit that is a model: counts over many random runs."""

import os
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_linnerud, load_wine, make_friedman1
from sklearn.exceptions import ConvergenceWarning

from problems import problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

CASES = float(os.environ.get("SKRELU_CASES", "1"))


def outcome(model, X, y, weights=None):
    """The warnings of a fit, or None where it raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X, y, weights)
        except ValueError:  # "diverged", as other tests hold
            return None
    assert len(caught) <= 1
    return [str(warning.message) for warning in caught]


def half_mse(model, X, y):
    with np.errstate(over="ignore"):
        return 0.5 * np.mean((model.predict(X) - y) ** 2)


# --- silent failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["diabetes", "friedman1", "wine", "linnerud"])
def test_the_tutorials_settings_on_raw_data(data):
    """They kill all units in a step or two, and the loss then stays where it is for ever."""
    X, y = {
        "diabetes": lambda: load_diabetes(return_X_y=True, scaled=False),
        "friedman1": lambda: make_friedman1(300, noise=1, random_state=0),
        "wine": lambda: load_wine(return_X_y=True),
        "linnerud": lambda: load_linnerud(return_X_y=True),
    }[data]()
    n_worse, inactive = 0, 0
    for rate in np.logspace(-9, -1, 9):
        model = TwoLayerReLURegressor(
            100,
            solver="gd",
            learning_rate=rate,
            max_iter=200,
            alpha=0,
            fit_intercept=False,
            init="standard_normal",
            standardize=False,
            reduction="sum",
            random_state=0,
        )
        messages = outcome(model, X, np.asarray(y, float))
        if messages is None:
            continue
        if max(model.loss_curve_) > 2 * model.loss_curve_[0] and model.score(X, y) < 0:
            n_worse += 1
            assert messages, rate
            assert "smaller learning_rate" in messages[0]
        dead = (X @ model.coefs_[0] <= 0).all(axis=0).sum()
        if messages and dead >= 90:
            inactive += 1
            assert f"{dead} of 100 hidden units are inactive on every training row" in messages[0]
    assert n_worse >= 3
    assert inactive >= 3


@pytest.mark.parametrize("n", [1, 40])
def test_a_constant_y_has_a_loss_of_zero_to_compare_with(n):
    X, y = problem(n, 5)[0], np.full(n, 3.0)
    with pytest.warns(ConvergenceWarning, match=r"predicting a constant gives 0\."):
        LinearGDRegressor(standardize=False, learning_rate=10.0, max_iter=50).fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"predicting a constant gives 0\."):
        TwoLayerReLURegressor(10, standardize=False, learning_rate=300.0, max_iter=20, random_state=0).fit(X, y)


def run_of_descent(rng):
    n, d = rng.integers(4, 40), rng.integers(1, 20)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    if rng.random() < 0.5:
        model = LinearGDRegressor(random_state=0, precompute=bool(rng.integers(2)))
    else:
        momentum = float(rng.choice([0.0, 0.9]))
        shortcut = bool(rng.integers(2))
        model = TwoLayerReLURegressor(6, solver="gd", momentum=momentum, precompute=shortcut, random_state=0)
    rate = model.set_params(max_iter=1).fit(X, y).learning_rate_
    factor, n_iter = np.exp(rng.uniform(0, np.log(30))), int(rng.integers(2, 61))
    return model.set_params(max_iter=n_iter, learning_rate=factor * rate), X, y


def test_no_rise_of_gradient_descent_is_silent():
    n_risen = 0
    for seed in range(int(3000 * CASES)):
        model, X, y = run_of_descent(np.random.default_rng(seed))
        messages = outcome(model, X, y)
        if messages is None:
            continue
        after = half_mse(model, X, y) / y.var()
        if after > 2 * max(model.loss_curve_[0], 0.5):
            n_risen += 1
            assert messages, seed
    assert n_risen > 100 * CASES


def test_no_failure_of_adam_is_silent():
    n_worse = 0
    for seed in range(int(200 * CASES)):
        rng = np.random.default_rng(seed)
        X, y = problem(int(rng.integers(10, 100)), int(rng.integers(2, 8)), seed=seed)
        rate, n_iter = 10.0 ** rng.uniform(-1, 2), int(rng.integers(5, 60))
        schedule = str(rng.choice(["cosine", "constant"]))
        model = TwoLayerReLURegressor(
            20, learning_rate=rate, learning_rate_schedule=schedule, max_iter=n_iter, batch_size=16, random_state=seed
        )
        messages = outcome(model, X, y)
        if messages is not None and half_mse(model, X, y) > 2 * 0.5 * y.var():
            n_worse += 1
            assert messages, (seed, rate)
    assert n_worse > 20 * CASES


def test_a_best_iterate_that_is_bad_is_told():
    X, y = problem(60, spread=3.0)
    model = TwoLayerReLURegressor(
        20, solver="gd", learning_rate=0.5, max_iter=6, early_stopping=True, n_iter_no_change=50, random_state=0
    )
    (message,) = outcome(model, X, y)
    assert "training went wrong" in message
    assert model.score(X, y) < -1


def test_partial_fit_tells_a_loss_that_has_risen():
    X, y = problem(60)
    model = LinearGDRegressor(learning_rate=2.2 * LinearGDRegressor(max_iter=1).fit(X, y).learning_rate_)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(30):
            model.partial_fit(X, y)
    assert len(caught) == 1  # of 30 calls
    assert "training went wrong" in str(caught[0].message)


def test_rows_far_away_do_not_silence_partial_fit():
    X, y = problem(60)
    model = LinearGDRegressor(standardize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shift in (0.0, 9.0, 0.0):  # the second call has a large loss, but its step reduces it
            model.partial_fit(X, y + shift)
    assert model.loss_curve_[1] > 20 * max(model.loss_curve_[0], 0.5)
    model.set_params(learning_rate=6 * model.learning_rate_)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(20):
            model.partial_fit(X, y)
    assert len(caught) == 1
    assert "training went wrong" in str(caught[0].message)


# --- false warnings ---------------------------------------------------------------------------------------------------


def sound_fit(rng):
    """A model and data for which training does what was asked."""
    kind, n, d = rng.integers(0, 8), int(rng.integers(1, 80)), int(rng.integers(1, 12))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, d) + rng.uniform(-5, 5, d)
    y = rng.standard_normal(n) * 10.0 ** rng.uniform(-3, 3) + rng.uniform(-100, 100)
    if rng.random() < 0.5:
        y = y + X @ rng.standard_normal(d)
    weights = rng.uniform(0.5, 3, n) if rng.random() < 0.3 else None
    intercept, alpha = bool(rng.random() < 0.8), float(rng.choice([0.0, 0.1, 10.0, 1e4]))
    n_iter, reduction = int(rng.integers(1, 60)), str(rng.choice(["mean", "sum"]))
    common = {"fit_intercept": intercept, "max_iter": n_iter, "reduction": reduction, "random_state": 0}
    if kind == 0:
        model = LinearGDRegressor(alpha=alpha, init=str(rng.choice(["zeros", "uniform", "standard_normal"])), **common)
    elif kind == 1:
        model = LinearGDRegressor(alpha=alpha, precompute=False, **common)
        model.set_params(learning_rate=1.9 * model.fit(X, y, weights).learning_rate_)
    elif kind == 2:
        model = TwoLayerReLURegressor(10, solver="gd", alpha=alpha, **common)
    elif kind == 3:
        model = TwoLayerReLURegressor(10, solver="gd", momentum=0.5, init="standard_normal", **common)
    elif kind == 4:
        model = TwoLayerReLURegressor(16, batch_size=16, **common)
    elif kind == 5:
        model = TwoLayerReLURegressor(16, alpha=alpha, learning_rate_schedule="constant", **common)
    elif kind == 6:
        X = np.full((n, d), 7.0) if rng.random() < 0.5 else X
        model = TwoLayerReLURegressor(16, learning_rate=1e-3, **common)
    else:
        model = TwoLayerReLURegressor(16, early_stopping=n >= 2, max_iter=n_iter, random_state=0)
    return model, X, y, weights


def test_sound_fits_are_not_warned_of():
    false = []
    for seed in range(int(600 * CASES)):
        model, X, y, weights = sound_fit(np.random.default_rng(seed))
        messages = outcome(model, X, y, weights)
        if messages:
            false.append((seed, messages))
    assert not false


def test_a_path_of_penalties_is_not_warned_of():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y = rng.uniform(1, 2, (50, 3)), 100.0 + rng.standard_normal(50)
        for model in (
            LinearGDRegressor(warm_start=True, fit_intercept=seed % 2 == 0),
            TwoLayerReLURegressor(8, solver="gd", warm_start=True, max_iter=100, random_state=0),
            TwoLayerReLURegressor(8, learning_rate_schedule="constant", warm_start=True, max_iter=50, random_state=0),
        ):
            for alpha in (0.0, 1.0, 1e2, 1e4, 1e2):
                assert outcome(model.set_params(alpha=alpha), X, y) == []
