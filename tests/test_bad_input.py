"""What is not valid is refused by name, and a call that fails leaves the estimator exactly as it was."""

import copy
import inspect
import pickle
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

import skrelu._run
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

CLASSES = [TwoLayerReLURegressor, LinearGDRegressor]
ADAM = TwoLayerReLURegressor(8, batch_size=7, max_iter=4, random_state=0)
TRAINED = {
    "adam": ADAM,
    "adam_constant": clone(ADAM).set_params(learning_rate_schedule="constant", alpha=0.1),
    "gd": TwoLayerReLURegressor(8, solver="gd", max_iter=4, random_state=0),
    "momentum": TwoLayerReLURegressor(8, solver="gd", momentum=0.9, max_iter=4, random_state=0),
    "shortcut": TwoLayerReLURegressor(8, solver="gd", momentum=0.9, precompute=True, max_iter=4, random_state=0),
    "linear": LinearGDRegressor(max_iter=4, random_state=0),
    "linear_plain": LinearGDRegressor(precompute=False, max_iter=4, random_state=0),
}
every_class = pytest.mark.parametrize("estimator_class", CLASSES)
every_estimator = pytest.mark.parametrize("name", TRAINED)


def problem(n=20, d=3, m=None):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, d))
    y = X[:, 0] - 2 * X[:, -1] + 0.1 * rng.normal(size=n)
    return X, y if m is None else np.stack([k + y for k in range(m)], axis=1)


def spoiled(a, value):
    a = a.copy()
    a.flat[5] = value
    return a


# --- parameters -------------------------------------------------------------------------------------------------------

BAD_FOR_BOTH = {
    "learning_rate": [0, 0.0, -1, -0.5, np.nan, np.inf, "fast", None, "1e-3"],
    "max_iter": [0, -1, 1.5, np.nan, None, "many"],
    "alpha": [-1, -0.1, np.nan, np.inf, None, "strong"],
    "fit_intercept": [2, "yes", None],
    "standardize": ["no", None, 1.0],
    "init": ["ones", None, 0],
    "reduction": ["average", None, 0],
    "tol": [-1e-3, np.nan, np.inf, "auto"],
    "warm_start": ["yes", None],
    "precompute": ["yes", None, 2],
    "random_state": ["seed", -1, 1.5],
    "verbose": [-1, 0.5, "loud", None],
}
BAD_FOR_THE_NETWORK = {
    "hidden_layer_size": [0, -1, 2.5, None, (100,), "auto"],
    "solver": ["sgd", "lbfgs", None, ""],
    "learning_rate_schedule": ["adaptive", None],
    "momentum": [-0.1, 1, 1.0, 2, np.nan, "nesterov"],
    "batch_size": [0, -1, 1.5, "auto", None],
    "n_iter_no_change": [0, -1, 1.5, None],
    "early_stopping": ["auto", None, 2],
    "validation_fraction": [0, 0.0, 1, 1.0, -0.1, 2, np.nan, None, "auto"],
}
WHAT_IS_ALLOWED = {
    "learning_rate": r"\(0\.0, inf\) or a str among \{'auto'\}",
    "max_iter": r"an int in the range \[1, inf\)",
    "alpha": r"\[0\.0, inf\)",
    "fit_intercept": "'bool'",
    "standardize": "'bool'",
    "init": r"'standard_normal'",
    "reduction": r"\{'(mean|sum)', '(mean|sum)'\}",
    "tol": r"None or a float in the range \[0\.0, inf\)",
    "warm_start": "'bool'",
    "precompute": "'bool'.*'auto'",
    "random_state": "RandomState",
    "verbose": r"an int in the range \[0, inf\)",
    "hidden_layer_size": r"an int in the range \[1, inf\)",
    "solver": r"\{'(adam|gd)', '(adam|gd)'\}",
    "learning_rate_schedule": r"\{'(cosine|constant)', '(cosine|constant)'\}",
    "momentum": r"\[0\.0, 1\.0\)",
    "batch_size": r"an int in the range \[1, inf\)",
    "n_iter_no_change": r"an int in the range \[1, inf\)",
    "early_stopping": "'bool'",
    "validation_fraction": r"\(0\.0, 1\.0\)",
}


def _bad_parameters():
    for parameter, values in (BAD_FOR_BOTH | BAD_FOR_THE_NETWORK).items():
        for estimator_class in CLASSES if parameter in BAD_FOR_BOTH else CLASSES[:1]:
            for value in values:
                yield estimator_class, parameter, value


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("estimator_class", "parameter", "value"), list(_bad_parameters()))
def test_bad_parameter(estimator_class, parameter, value, method):
    estimator = estimator_class().set_params(**{parameter: value})  # only fit looks at it
    allowed = WHAT_IS_ALLOWED[parameter]
    with pytest.raises(ValueError, match=rf"'{parameter}' parameter of {estimator_class.__name__} must be .*{allowed}"):
        getattr(estimator, method)(*problem())


@every_class
def test_the_bad_value_is_named(estimator_class):
    with pytest.raises(ValueError, match=r"Got -3 instead"):
        estimator_class(learning_rate=-3).fit(*problem())


@every_class
def test_an_unknown_parameter_is_refused(estimator_class):
    with pytest.raises(TypeError, match="learning_rates"):
        estimator_class(learning_rates=0.1)
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rates'"):
        estimator_class().set_params(learning_rates=0.1)


@pytest.mark.parametrize("batch_size", [21, 128, 10**9])
def test_batches_larger_than_the_rows_take_all_rows(batch_size):
    X, y = problem(n=20)  # warnings are errors in these tests: none may be raised
    larger = TwoLayerReLURegressor(8, batch_size=batch_size, max_iter=5, random_state=0).fit(X, y)
    equal = TwoLayerReLURegressor(8, batch_size=20, max_iter=5, random_state=0).fit(X, y)
    assert larger.loss_curve_ == equal.loss_curve_
    np.testing.assert_array_equal(larger.predict(X), equal.predict(X))


# --- X, y and weights -------------------------------------------------------------------------------------------------

X20, Y20 = problem()
ONES = np.ones(20)
BAD_ARRAYS = {
    "X with nan": (spoiled(X20, np.nan), Y20, None, "Input X contains NaN"),
    "X with inf": (spoiled(X20, np.inf), Y20, None, "Input X contains infinity"),
    "X with -inf": (spoiled(X20, -np.inf), Y20, None, "Input X contains infinity"),
    "X is sparse": (sparse.csr_array(X20), Y20, None, "Sparse data was passed for X, but dense data is required"),
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
    "y holds words": (X20, ["a"] * 20, None, "could not convert string to float"),
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


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("cause", BAD_ARRAYS)
@every_estimator
def test_bad_array_before_and_after_fit(name, cause, method):
    X, y, weights, message = BAD_ARRAYS[cause]
    estimator = clone(TRAINED[name])
    before = copy.deepcopy(vars(estimator))
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(estimator, method)(X, y, sample_weight=weights)
    assert_same(vars(estimator), before)
    assert_unfitted(estimator)
    fitted = clone(TRAINED[name]).fit(*problem())
    with unchanged(fitted), pytest.raises((ValueError, TypeError), match=message):
        getattr(fitted, method)(X, y, sample_weight=weights)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (spoiled(X20, np.nan), "Input X contains NaN"),
        (spoiled(X20, np.inf), "Input X contains infinity"),
        (sparse.csr_array(X20), "dense data is required"),
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
    fitted = estimator_class(max_iter=2).fit(*problem())
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


# --- a call that cannot continue the earlier ones ---------------------------------------------------------------------


@every_estimator
def test_more_features_than_before(name):
    X, y = problem(d=4)
    fitted = clone(TRAINED[name]).fit(*problem()).set_params(warm_start=True)
    message = f"X has 4 features, but {type(fitted).__name__} is expecting 3 features as input"
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted), pytest.raises(ValueError, match=message):
            method(X, y)


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
@every_estimator
def test_other_outputs_than_before(name, first, then, message):
    fitted = clone(TRAINED[name]).fit(*problem(m=first)).set_params(warm_start=True)
    X, y = problem(m=then)
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted, X), pytest.raises(ValueError, match=f"cannot continue its earlier training: {message}"):
            method(X, y)


@pytest.mark.parametrize(("first", "then"), [("float64", "float32"), ("float32", "float64")])
@every_estimator
def test_other_dtype_than_before(name, first, then):
    X, y = problem()
    fitted = clone(TRAINED[name]).fit(X.astype(first), y).set_params(warm_start=True)
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted), pytest.raises(ValueError, match=f"the dtype of X was {first} and is {then}"):
            method(X.astype(then), y)


def _changes():
    for name in TRAINED:
        yield name, "fit_intercept", False, "fit_intercept was True and is False"
        yield name, "standardize", False, "standardize was True and is False"
        if not name.startswith("linear"):
            yield name, "hidden_layer_size", 9, "hidden_layer_size was 8 and is 9"


@pytest.mark.parametrize(("name", "parameter", "value", "message"), list(_changes()))
def test_other_structure_than_before(name, parameter, value, message):
    fitted = clone(TRAINED[name]).fit(*problem()).set_params(warm_start=True, **{parameter: value})
    for method in (fitted.partial_fit, fitted.fit):
        with unchanged(fitted), pytest.raises(ValueError, match=f"{message}. Restore it, or start anew"):
            method(*problem())
    anew = fitted.set_params(warm_start=False).fit(*problem())
    assert anew.n_iter_ == 4


# --- a call that fails leaves everything as it was --------------------------------------------------------------------


def assert_same(a, b, where="vars"):
    """Same keys, types and values, arrays to the last bit."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{where}[{k}]")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(a, b, err_msg=where)
    elif isinstance(a, np.random.RandomState):
        assert_same(a.get_state(), b.get_state(), where)
    else:
        assert a == b or (a != a and b != b), where


@contextmanager
def unchanged(estimator, X=X20):
    """A block after which `estimator` is as it was before: attributes, their order, values, and predictions."""
    before = copy.deepcopy(vars(estimator))
    objects = dict(vars(estimator))
    predictions = estimator.predict(X)
    yield
    assert_same(vars(estimator), before)
    assert all(vars(estimator)[key] is value for key, value in objects.items())
    np.testing.assert_array_equal(estimator.predict(X), predictions)


def assert_unfitted(estimator):
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    assert set(vars(estimator)) == set(estimator.get_params())


def interrupt(monkeypatch, *, after):
    """Let the next training fail, as by a second Ctrl-C, when `after` iterations are done; see test_interrupts.py."""

    def train(engine, loss_curve, **keywords):
        loss_curve.extend(engine.advance(after))
        raise KeyboardInterrupt

    monkeypatch.setattr(skrelu._run, "train", train)


@every_estimator
def test_bad_y_after_a_valid_X_with_other_features(name):
    fitted = clone(TRAINED[name]).fit(*problem())
    X, y = problem(n=30, d=5, m=2)
    with unchanged(fitted), pytest.raises(ValueError, match="Input y contains NaN"):
        fitted.fit(X, spoiled(y, np.nan))
    assert fitted.n_features_in_ == 3


@every_estimator
def test_bad_weights_after_valid_other_columns(name):
    names = pd.DataFrame(X20, columns=["a", "b", "c"])
    fitted = clone(TRAINED[name]).fit(names, Y20)
    others = pd.DataFrame(np.ones((20, 2)), columns=["p", "q"])
    with unchanged(fitted, names), pytest.raises(ValueError, match="Negative values"):
        fitted.fit(others, Y20, sample_weight=-ONES)
    with unchanged(fitted, names), pytest.raises(ValueError, match="Negative values"):
        fitted.fit(X20, Y20, sample_weight=-ONES)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
@every_estimator
def test_bad_parameter_after_fit(name, warm_start, method):
    fitted = clone(TRAINED[name]).fit(*problem()).set_params(warm_start=warm_start, learning_rate=-1.0)
    with unchanged(fitted), pytest.raises(ValueError, match="'learning_rate' parameter"):
        getattr(fitted, method)(*problem())


@pytest.mark.parametrize("warm_start", [False, True])
@every_estimator
def test_divergence_in_fit(name, warm_start):
    fitted = clone(TRAINED[name]).fit(*problem())
    fitted.set_params(warm_start=warm_start, learning_rate=1e200, max_iter=50)
    if name.startswith("adam"):
        fitted.set_params(learning_rate_schedule="constant")
    with unchanged(fitted), pytest.raises(ValueError, match="diverged"):
        fitted.fit(*problem())


@every_estimator
def test_divergence_in_partial_fit(name):
    fitted = clone(TRAINED[name]).fit(*problem()).set_params(learning_rate=1e308)
    snapshots = []

    def train_on():
        while len(snapshots) < 100:
            snapshots.append(copy.deepcopy(vars(fitted)))
            fitted.partial_fit(*problem())

    with pytest.raises(ValueError, match="diverged"):
        train_on()
    assert_same(vars(fitted), snapshots[-1])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
@every_estimator
def test_interruption(name, warm_start, method, monkeypatch):
    fitted = clone(TRAINED[name]).fit(*problem()).set_params(warm_start=warm_start)
    interrupt(monkeypatch, after=3)
    with unchanged(fitted), pytest.raises(KeyboardInterrupt):
        getattr(fitted, method)(*problem())


@pytest.mark.parametrize("warm_start", [False, True])
@every_estimator
def test_a_warning_made_an_error(name, warm_start):
    fitted = clone(TRAINED[name]).fit(*problem()).set_params(warm_start=warm_start, tol=0.0, max_iter=2)
    with unchanged(fitted), pytest.raises(ConvergenceWarning):
        fitted.fit(*problem())


@every_estimator
def test_training_goes_on_after_failures_as_if_there_had_been_none(name, monkeypatch):
    straight = clone(TRAINED[name]).fit(*problem())
    failed = clone(TRAINED[name]).fit(*problem())
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
@every_estimator
def test_the_never_fitted_stay_unfitted(name, method, monkeypatch):
    estimator = clone(TRAINED[name])
    interrupt(monkeypatch, after=1)
    with pytest.raises(KeyboardInterrupt):
        getattr(estimator, method)(*problem())
    assert_unfitted(estimator)
    monkeypatch.undo()
    estimator.set_params(learning_rate=1e200, max_iter=50)
    if name.startswith("adam"):
        estimator.set_params(learning_rate_schedule="constant")
    with pytest.raises(ValueError, match="diverged"):
        estimator.fit(*problem())
    assert_unfitted(estimator)
    with pytest.raises(NotFittedError):
        estimator.predict(X20)


@every_estimator
def test_a_failed_call_does_not_touch_what_was_shared(name):
    """Pickles and references taken earlier see nothing of a later call, failed or not."""
    fitted = clone(TRAINED[name]).fit(*problem())
    kept = dict(vars(fitted))
    stored = pickle.loads(pickle.dumps(kept))
    with pytest.raises(ValueError, match="NaN"):
        fitted.partial_fit(X20, spoiled(Y20, np.nan))
    fitted.partial_fit(X20, Y20)
    fitted.set_params(warm_start=True).fit(X20, Y20)
    assert_same(kept, stored)


class Renamed(LinearGDRegressor):
    """A subclass with other parameters."""

    def __init__(self, factor=1.0, *, tol=None):
        super().__init__(tol=tol)
        self.factor = factor


def test_names_of_parameters_are_those_of_the_class():
    expected = sorted(inspect.signature(LinearGDRegressor).parameters)
    names = LinearGDRegressor._get_param_names()
    assert names == expected
    names.remove("tol")  # a caller may do with the list what it likes
    assert sorted(LinearGDRegressor().get_params()) == expected
    assert clone(LinearGDRegressor(tol=1e-3)).tol == 1e-3
    assert sorted(Renamed().get_params()) == ["factor", "tol"]
    assert clone(Renamed(3.0, tol=1.0)).get_params() == {"factor": 3.0, "tol": 1.0}
    assert sorted(TwoLayerReLURegressor().get_params()) == sorted(inspect.signature(TwoLayerReLURegressor).parameters)
