"""X, y and weights that are not valid are refused by name, and so is a call that cannot continue the earlier ones."""

import copy

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from problems import (
    N_ITER,
    TRAINED,
    assert_same,
    assert_unfitted,
    every_class,
    every_trained,
    problem,
    spoiled,
    unchanged,
)
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

X20, Y20 = problem(20)
ONES = np.ones(20)
BAD_ARRAYS = {
    "X with nan": (spoiled(X20, np.nan), Y20, None, "Input X contains NaN"),
    "X with inf": (spoiled(X20, np.inf), Y20, None, "Input X contains infinity"),
    "X with -inf": (spoiled(X20, -np.inf), Y20, None, "Input X contains infinity"),
    "sparse X with nan": (sparse.csr_array(spoiled(X20, np.nan)), Y20, None, "Input X contains NaN"),
    "sparse X with inf": (sparse.csc_array(spoiled(X20, np.inf)), Y20, None, "Input X contains infinity"),
    "sparse X is complex": (sparse.coo_matrix(X20 + 1j), Y20, None, "Complex data not supported"),
    "sparse X is 1-D": (sparse.coo_array(X20[:, 0]), Y20, None, "Expected 2D input, got input with shape"),
    "sparse X has no rows": (sparse.csr_array((0, 3)), Y20[:0], None, r"0 sample\(s\)"),
    "sparse X has no columns": (sparse.csr_array((20, 0)), Y20, None, r"0 feature\(s\)"),
    "sparse X is longer": (sparse.csr_array(X20), Y20[:-1], None, r"inconsistent numbers of samples: \[20, 19\]"),
    "X is complex": (X20 + 1j, Y20, None, "Complex data not supported"),
    "X is 1-D": (X20[:, 0], Y20, None, "Expected 2D array, got 1D array"),
    "X is 3-D": (X20[:, :, None], Y20, None, "Found array with dim 3"),
    "X has no rows": (X20[:0], Y20[:0], None, r"0 sample\(s\)"),
    "X has no columns": (X20[:, :0], Y20, None, r"0 feature\(s\)"),
    "X holds words": ([["a", "b", "c"]] * 20, Y20, None, "could not convert string to float"),
    "y is None": (X20, None, None, "requires y to be passed, but the target y is None"),
    "y with nan": (X20, spoiled(Y20, np.nan), None, "Input y contains NaN"),
    "y with inf": (X20, spoiled(Y20, np.inf), None, "Input y contains infinity"),
    "two y with nan": (X20, spoiled(np.stack([Y20, Y20], axis=1), np.nan), None, "Input y contains NaN"),
    "y is shorter": (X20, Y20[:-1], None, r"inconsistent numbers of samples: \[20, 19\]"),
    "y is longer": (X20[:-1], Y20, None, r"inconsistent numbers of samples: \[19, 20\]"),
    "two y are shorter": (X20, np.ones((19, 2)), None, r"inconsistent numbers of samples: \[20, 19\]"),
    "y is complex": (X20, Y20 + 1j, None, "Complex data not supported"),
    "y holds words": (X20, ["a"] * 20, None, "y holds text|could not convert string to float"),
    "y is 3-D": (X20, np.ones((20, 1, 1)), None, "Found array with dim 3"),
    "y has no columns": (X20, np.ones((20, 0)), None, r"y must have at least one column|0 feature\(s\).* minimum of 1"),
    "y is sparse": (X20, sparse.csr_array(Y20[:, None]), None, "[Ss]parse"),
    "weights with nan": (X20, Y20, spoiled(ONES, np.nan), "Input sample_weight contains NaN"),
    "weights with inf": (X20, Y20, spoiled(ONES, np.inf), "Input sample_weight contains infinity"),
    "one negative weight": (X20, Y20, spoiled(ONES, -1.0), "Negative values in data passed to `sample_weight`"),
    "weights all negative": (X20, Y20, -ONES, "Negative values in data passed to `sample_weight`"),
    "weights all zero": (X20, Y20, 0 * ONES, "[Ww]eights must contain at least one non-zero"),
    "too few weights": (X20, Y20, ONES[:-1], r"sample_weight\.shape == \(19,\), expected \(20,\)"),
    "too many weights": (X20, Y20, np.ones(21), r"sample_weight\.shape == \(21,\), expected \(20,\)"),
    "weights are 2-D": (X20, Y20, ONES[:, None], "Sample weights must be 1D"),
    "weights are complex": (X20, Y20, ONES * 1j, "Complex data not supported"),
    "weights are words": (X20, Y20, ["a"] * 20, "could not convert string to float"),
}


@pytest.mark.one_in(5)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("cause", BAD_ARRAYS)
@every_trained
def test_bad_array_before_and_after_fit(name, cause, method):
    X, y, weights, message = BAD_ARRAYS[cause]
    estimator = clone(TRAINED[name])
    before = copy.deepcopy(vars(estimator))
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(estimator, method)(X, y, sample_weight=weights)
    assert_same(vars(estimator), before)
    assert_unfitted(estimator)
    fitted = clone(TRAINED[name]).fit(*problem(20))
    with unchanged(fitted, X20), pytest.raises((ValueError, TypeError), match=message):
        getattr(fitted, method)(X, y, sample_weight=weights)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (spoiled(X20, np.nan), "Input X contains NaN"),
        (spoiled(X20, np.inf), "Input X contains infinity"),
        (sparse.coo_array(spoiled(X20, np.nan)), "Input X contains NaN"),
        (sparse.csr_array(X20[:, :2]), "X has 2 features, but {name} is expecting 3 features as input"),
        (X20 * 1j, "Complex data not supported"),
        (X20[0], "Expected 2D array, got 1D array"),
        (X20[:, :, None], "Found array with dim 3"),
        (X20[:0], r"0 sample\(s\)"),
        (X20[:, :2], "X has 2 features, but {name} is expecting 3 features as input"),
        (np.ones((20, 4)), "X has 4 features, but {name} is expecting 3 features as input"),
    ],
)
@every_class
def test_predict_refuses(estimator_class, X, message):
    fitted = estimator_class(max_iter=2).fit(*problem(20))
    with pytest.raises((ValueError, TypeError), match=message.format(name=estimator_class.__name__)):
        fitted.predict(X)


@every_class
def test_predict_before_fit(estimator_class):
    with pytest.raises(NotFittedError, match=f"{estimator_class.__name__} instance is not fitted yet"):
        estimator_class().predict(X20)


def test_values_beyond_single_precision_are_named():
    X = X20.astype(np.float32)
    for estimator in (
        LinearGDRegressor(standardize=False, max_iter=2),
        TwoLayerReLURegressor(8, standardize=False, max_iter=2),
    ):
        with pytest.raises(ValueError, match=r"y has values of magnitude 1e\+300, beyond the range of float32"):
            estimator.fit(X, np.full(20, 1e300))
        assert_unfitted(estimator)
    with pytest.raises(ValueError, match=r"beyond the range of float32, the dtype of X\. Pass X as float64"):
        LinearGDRegressor(max_iter=2).fit(X, 1e300 * Y20)


@every_trained
def test_more_features_than_before(name):
    X, y = problem(20, 4)
    fitted = clone(TRAINED[name]).fit(*problem(20)).set_params(warm_start=True)
    message = f"X has 4 features, but {type(fitted).__name__} is expecting 3 features as input"
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted, X20), pytest.raises(ValueError, match=message):
            method(X, y)


@pytest.mark.one_in(5)
@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (2, 3, "the number of outputs was 2 and is 3"),
        (3, 2, "the number of outputs was 3 and is 2"),
        (None, 2, "the number of outputs was 1 and is 2"),
        (2, None, "the number of outputs was 2 and is 1"),
        (None, 1, "the number of dimensions of y was 1 and is 2"),
        (1, None, "the number of dimensions of y was 2 and is 1"),
    ],
)
@every_trained
def test_other_outputs_than_before(name, first, then, message):
    fitted = clone(TRAINED[name]).fit(*problem(20, m=first)).set_params(warm_start=True)
    X, y = problem(20, m=then)
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted, X), pytest.raises(ValueError, match=f"cannot continue its earlier training: {message}"):
            method(X, y)


@pytest.mark.parametrize(("first", "then"), [("float64", "float32"), ("float32", "float64")])
@every_trained
def test_other_dtype_than_before(name, first, then):
    X, y = problem(20)
    fitted = clone(TRAINED[name]).fit(X.astype(first), y).set_params(warm_start=True)
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted, X20), pytest.raises(ValueError, match=f"the dtype of X was {first} and is {then}"):
            method(X.astype(then), y)


def _changes():
    for name in TRAINED:
        yield name, "fit_intercept", False, "fit_intercept was True and is False"
        yield name, "standardize", False, "standardize was True and is False"
        if isinstance(TRAINED[name], TwoLayerReLURegressor):
            yield name, "hidden_layer_size", 12, "hidden_layer_size was 6 and is 12"


@pytest.mark.parametrize(("name", "parameter", "value", "message"), list(_changes()))
def test_other_structure_than_before(name, parameter, value, message):
    fitted = clone(TRAINED[name]).fit(*problem(20)).set_params(warm_start=True, **{parameter: value})
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted, X20), pytest.raises(ValueError, match=f"{message}. Restore it, or start over"):
            method(*problem(20))
    anew = fitted.set_params(warm_start=False).fit(*problem(20))
    assert anew.n_iter_ == N_ITER


def test_an_intercept_beyond_single_precision_is_refused():
    X, _ = problem(40, 6)
    with pytest.raises(ValueError, match="beyond the range of float32"):
        LinearGDRegressor(max_iter=3).fit(X.astype(np.float32), np.full(40, 1e39))
