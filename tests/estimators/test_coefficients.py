"""Coefficients set by hand, pruned or taken from another model are what training resumes from."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import SGDRegressor

from problems import ENGINES, EPS, arrays_of, assert_same_fit, dtypes, every_engine, problem, unchanged
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

SLOW = 1e-300  # a learning rate at which no weight changes


def resumed(name, **parameters):
    return clone(ENGINES[name]).set_params(warm_start=True, **parameters)


def replaced(model, arrays):
    """Set all coefficients of the model to these arrays."""
    if isinstance(model, TwoLayerReLURegressor):
        model.coefs_, model.intercepts_ = list(arrays[:2]), list(arrays[2:])
    else:
        model.coef_, model.intercept_ = arrays[0], float(arrays[1]) if np.ndim(arrays[1]) == 0 else arrays[1]


def halved(name, model):
    """Other coefficients; without some of the units, for a network."""
    arrays = [0.5 * a for a in arrays_of(model)]
    if isinstance(model, TwoLayerReLURegressor):
        arrays[0][:, 0] = 0.0
    return arrays


@dtypes
@every_engine
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("m", [None, 2])
def test_training_goes_on_from_the_attributes(name, method, m, dtype):
    """At a rate of next to nothing the function stays that of the coefficients that were set."""
    X, y = problem(m=m, dtype=dtype)
    model = resumed(name).fit(X, y)
    replaced(model, halved(name, model))
    expected = model.predict(X)
    model.set_params(learning_rate=SLOW)
    getattr(model, method)(X, y)
    # Weights go from raw units to standardized ones and back: some roundings of numbers as large as they are.
    scale = np.abs(expected).max() + np.abs(arrays_of(model)[-1]).max()
    assert_allclose(model.predict(X), expected, rtol=0, atol=300 * np.finfo(dtype).eps * scale)


@every_engine
def test_writing_into_an_array_counts_too(name):
    X, y = problem(m=2)
    model = resumed(name).fit(X, y)
    arrays_of(model)[0][...] = 0.0  # pruned in place
    expected = model.predict(X)
    model.set_params(learning_rate=SLOW).partial_fit(X, y)
    assert_allclose(model.predict(X), expected, rtol=0, atol=100 * EPS * np.abs(expected).max())


@every_engine
def test_equal_copies_change_nothing(name):
    """What counts is the numbers: training resumes to the last bit, as if nobody had touched them."""
    X, y = problem(m=2)
    model, untouched = resumed(name).fit(X, y), resumed(name).fit(X, y)
    replaced(model, [a.copy() for a in arrays_of(model)])
    assert_same_fit(model.fit(X, y), untouched.fit(X, y))


@every_engine
def test_after_a_pickle(name):
    X, y = problem(m=2)
    model = resumed(name).fit(X, y)
    replaced(model, halved(name, model))
    again = pickle.loads(pickle.dumps(model))
    assert_same_fit(again.fit(X, y), model.fit(X, y))


def test_a_step_from_given_coefficients_by_the_formula():
    """W - eta dW with the gradient of half the mean squared error at the coefficients that were set."""
    X, y = problem(40)
    model = LinearGDRegressor(standardize=False, learning_rate=0.1, max_iter=1, warm_start=True).fit(X, y)
    w, b = np.array([1.0, -2.0, 0.5]), 3.0
    model.coef_, model.intercept_ = w.copy(), b
    model.fit(X, y)
    error = X @ w + b - y
    assert_allclose(model.coef_, w - 0.1 * X.T @ error / 40, rtol=40 * EPS)
    assert_allclose(model.intercept_, b - 0.1 * error.mean(), rtol=40 * EPS)


def test_the_optimum_is_where_training_stays():
    X, y = problem(40)
    model = LinearGDRegressor(max_iter=1, warm_start=True).fit(X, y)
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(40)]), y, rcond=None)[0]
    model.coef_, model.intercept_ = solution[:3].copy(), float(solution[3])
    model.set_params(max_iter=100).fit(X, y)
    assert_allclose([*model.coef_, model.intercept_], solution, rtol=1e-12)


def test_coefficients_of_another_library():
    X, y = problem(40)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    other = SGDRegressor(random_state=0).fit(X, y)
    model = LinearGDRegressor(warm_start=True, max_iter=1).fit(X, y)
    model.coef_, model.intercept_ = other.coef_, other.intercept_  # an array of one
    model.set_params(learning_rate=SLOW).fit(X, y)
    assert_allclose(model.predict(X), other.predict(X), rtol=0, atol=100 * EPS)


def test_adam_starts_over_with_its_moments():
    """The first step of Adam has the size of the rate in each weight that has a gradient."""
    X, y = problem(40)
    model = TwoLayerReLURegressor(
        4, n_members=1, standardize=False, learning_rate=1e-4, learning_rate_schedule="constant", batch_size=100,
        max_iter=20, alpha=0, warm_start=True, random_state=0,
    ).fit(X, y)  # fmt: skip
    model.coefs_ = [1.5 * a for a in model.coefs_]
    before = [a.copy() for a in model.coefs_]
    model.set_params(max_iter=1).fit(X, y)
    for a, b in zip(model.coefs_, before, strict=True):
        step = np.abs(a - b)
        assert_allclose(step[step > 0], 1e-4, rtol=1e-3)
        assert (step > 0).any()


def test_the_weights_of_another_model():
    X, y = problem(60)
    good = TwoLayerReLURegressor(max_iter=100, random_state=0).fit(X, y)
    other = TwoLayerReLURegressor(random_state=1).partial_fit(X, y)
    other.coefs_, other.intercepts_ = good.coefs_, good.intercepts_
    other.set_params(learning_rate=SLOW).partial_fit(X, y)
    assert_allclose(other.predict(X), good.predict(X), rtol=0, atol=1e3 * EPS)
    assert other.score(X, y) > 0.9


def test_early_stopping_forgets_the_best_of_other_weights():
    X, y = problem(60)
    model = TwoLayerReLURegressor(5, solver="gd", early_stopping=True, max_iter=30, warm_start=True, random_state=0)
    model.fit(X, y)
    model.coefs_ = [0.5 * a for a in model.coefs_]
    expected = model.predict(X)
    model.set_params(learning_rate=SLOW, max_iter=1).fit(X, y)
    assert_allclose(model.predict(X), expected, rtol=0, atol=100 * EPS * np.abs(expected).max())


def test_a_given_weight_of_a_constant_column_is_kept():
    X, y = problem(40)
    X[:, 1] = 4.0
    model = LinearGDRegressor(warm_start=True, max_iter=5).fit(X, y)
    assert model.coef_[1] == 0.0
    model.coef_ = model.coef_ + np.array([0.0, 2.0, 0.0])
    expected = model.predict(X)
    model.set_params(learning_rate=SLOW, max_iter=1).fit(X, y)
    assert_allclose(model.predict(X), expected, rtol=100 * EPS)


# --- what cannot be used ----------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_refused_and_stays():
    X, y = problem(m=2)
    network = TwoLayerReLURegressor(6, warm_start=True, max_iter=2, n_members=2, random_state=0).fit(X, y)
    linear = LinearGDRegressor(warm_start=True, max_iter=2).fit(X, y)
    W1, W2 = network.coefs_
    cases = [
        (network, {"coefs_": [W1[:, :4], W2]}, r"coefs_\[0\] was set to an array of shape \(3, 4\).* shape \(3, 6\)"),
        (network, {"coefs_": [W1]}, "coefs_ has 1 arrays, and this network has two layers"),
        (network, {"intercepts_": [np.zeros(6), np.zeros(3)]}, r"intercepts_\[1\] .* shape \(3,\).* shape \(2,\)"),
        (network, {"coefs_": [W1 * np.nan, W2]}, "that were set on this TwoLayerReLURegressor are not finite"),
        (linear, {"coef_": np.zeros((3, 3))}, r"coef_ was set to an array of shape \(3, 3\).* shape \(2, 3\)"),
        (linear, {"intercept_": np.zeros(1)}, r"intercept_ .* shape \(1,\).* shape \(2,\)"),
        (network, {"coefs_": [W1.tolist(), W2]}, r"were set to a list, and must be arrays: .* np\.asarray"),
        (linear, {"coef_": linear.coef_.tolist()}, "were set to a list, and must be arrays"),
        (linear, {"coef_": linear.coef_.astype(object)}, "are not arrays of numbers"),
    ]
    for model, attributes, message in cases:
        broken = pickle.loads(pickle.dumps(model))
        vars(broken).update(attributes)
        before = dict(vars(broken))
        for method in (broken.fit, broken.partial_fit):
            with pytest.raises((TypeError, ValueError), match=message):
                method(X, y)
        assert vars(broken) == before
        with unchanged(model, X):
            pass


def test_an_intercept_that_training_would_drop_is_refused():
    X, y = problem()
    model = LinearGDRegressor(fit_intercept=False, warm_start=True).fit(X, y)
    model.intercept_ = 2.0
    with pytest.raises(ValueError, match="fit_intercept=False trains without any"):
        model.fit(X, y)


@every_engine
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_what_is_set_on_an_unfitted_estimator_is_refused(name, method):
    X, y = problem()
    fitted, model = resumed(name).fit(X, y), resumed(name)
    replaced(model, arrays_of(fitted))
    with pytest.raises(ValueError, match="that is not fitted"):
        getattr(model, method)(X, y)


def test_a_given_weight_of_a_constant_column_stays_when_the_column_varies():
    X, y = problem(40)
    X[:, 1] = 4.0
    model = LinearGDRegressor(max_iter=5).fit(X, y)
    model.coef_[1] = 2.0
    Z, _ = problem(40, seed=1)
    expected = model.predict(Z)
    model.set_params(learning_rate=SLOW).partial_fit(Z, y)
    assert_allclose(model.predict(Z), expected, rtol=1e-10)


def test_predictions_use_the_attributes():
    X, y = problem()
    model = LinearGDRegressor().fit(X, y)
    model.coef_, model.intercept_ = np.array([1.0, 2.0, 3.0]), 4.0
    assert_array_equal(model.predict(X), X @ np.array([1.0, 2.0, 3.0]) + 4.0)
