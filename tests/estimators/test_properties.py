"""Invariants on random shapes, dtypes, values and options, searched by Hypothesis.

The cases are the same in every run; the default run takes a tenth of them. SKRELU_CASES=25 searches 25 times as many,
and other ones in each run: what it finds becomes a test of its own here or in another file.
"""

import os
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import skrelu._models.base
import skrelu._rows.batches
from problems import EPS, arrays_of
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

FACTOR = float(os.environ.get("SKRELU_CASES", "1"))


# The warnings of a model that training made worse are right for many of these random cases.
pytestmark = pytest.mark.filterwarnings("ignore:.*predicting a constant gives:sklearn.exceptions.ConvergenceWarning")


def cases(number):
    """`number` cases: the same ones each time, unless more are asked for."""
    return settings(
        max_examples=round(number * FACTOR),
        derandomize=FACTOR <= 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


seeds = st.integers(0, 2**31 - 1)
shared = {
    "fit_intercept": st.booleans(),
    "standardize": st.booleans(),
    "reduction": st.sampled_from(["mean", "sum"]),
    "learning_rate": st.one_of(st.just("auto"), st.floats(-12, 12).map(lambda k: 10.0**k)),
    "max_iter": st.integers(1, 8),
    "tol": st.one_of(st.none(), st.just(1e9)),  # which every fit reaches that is long enough
    "random_state": seeds,
    "precompute": st.sampled_from(["auto", True, False]),
}
networks = st.builds(
    TwoLayerReLURegressor,
    st.integers(1, 8),
    **shared,
    solver=st.sampled_from(["adam", "gd"]),
    learning_rate_schedule=st.sampled_from(["auto", "cosine", "constant"]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    batch_size=st.integers(1, 12),
    alpha=st.sampled_from(["auto", 0.0, 1.0]),
    init=st.sampled_from(["he_normal", "standard_normal"]),
    n_iter_no_change=st.integers(1, 3),
)
linear = st.builds(
    LinearGDRegressor,
    **shared,
    alpha=st.sampled_from([0.0, 1.0]),
    init=st.sampled_from(["zeros", "uniform", "standard_normal"]),
)


@st.composite
def wild_problems(draw):
    """Any finite numbers, of any dtype and in any layout; often many of them equal."""
    n, d, m = draw(st.integers(1, 12)), draw(st.integers(1, 6)), draw(st.sampled_from([None, 1, 3]))
    dtype = np.dtype(draw(st.sampled_from(["f8", "f4", ">f8", "f2", "i1", "u8", "?"])))
    if dtype.kind == "f":
        finite = {"width": 8 * dtype.itemsize, "allow_nan": False, "allow_infinity": False}
        bound = draw(st.sampled_from([None, 1.0, 1024.0]))
        elements = st.floats(-bound if bound else None, bound, **finite)
    else:
        elements = hnp.from_dtype(dtype)
    fill = draw(st.one_of(st.none(), elements))
    X = draw(hnp.arrays(dtype, (n, d), elements=elements, fill=st.nothing() if fill is None else st.just(fill)))
    bound = draw(st.sampled_from([None, 1.0]))
    target = st.floats(-bound if bound else None, bound, allow_nan=False, allow_infinity=False)
    y = draw(hnp.arrays(np.float64, n if m is None else (n, m), elements=target))
    weight = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.0, allow_infinity=False))
    weights = draw(st.one_of(st.none(), hnp.arrays(np.float64, n, elements=weight)))
    if weights is not None and not weights.any():
        weights = None
    layout = draw(st.sampled_from(["C", "F", "reversed"]))
    return np.asfortranarray(X) if layout == "F" else X[::-1] if layout == "reversed" else X, y, weights


def refusal(model, *given):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(*given)
    except ValueError as error:
        return str(error)
    return None


@cases(800)
@given(st.one_of(networks, linear), wild_problems())
def test_finite_in_finite_out_or_the_documented_error(model, problem):
    X, y, weights = problem
    before = [a.copy() for a in problem if a is not None]
    parameters = model.get_params()
    message = refusal(model, X, y, weights)
    for a, kept in zip([a for a in problem if a is not None], before, strict=True):
        assert_array_equal(a, kept)
    assert model.get_params() == parameters
    if message is not None:
        assert "diverged" in message or "the range of float" in message or "needs the curvature" in message
        assert set(vars(model)) == set(parameters)
        return
    kept = np.float32 if X.dtype == np.float32 else np.float64
    for a in arrays_of(model):
        assert np.isfinite(a).all()
        assert a.dtype == (np.float64 if a.ndim == 0 else kept)
    assert np.isfinite(model.loss_curve_).all()
    assert 1 <= model.n_iter_ == len(model.loss_curve_) <= model.max_iter
    counts = slice(None) if weights is None else weights > 0
    predicted = model.predict(X[counts])
    assert predicted.shape == y[counts].shape
    assert predicted.dtype == kept
    assert np.isfinite(predicted).all()
    again = clone(model)
    assert again.get_params() == parameters
    assert set(vars(again)) == set(parameters)
    assert refusal(again, X, y, weights) is None
    assert_array_equal(again.predict(X[counts]), predicted)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X[counts]), predicted)


@st.composite
def tame_problems(draw, max_rows=24):
    """Normally distributed numbers: no unit of a network lies within rounding of its kink."""
    rng = np.random.default_rng(draw(seeds))
    n, d, m = draw(st.integers(4, max_rows)), draw(st.integers(1, 8)), draw(st.sampled_from([None, 1, 3]))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d) + rng.uniform(-3, 3, d)
    y = rng.standard_normal(n if m is None else (n, m)) * 10.0 ** rng.uniform(-2, 2) + rng.uniform(-3, 3)
    weights = draw(st.sampled_from(["none", "real", "zeros"]))
    if weights == "none":
        return X, y, None
    s = rng.uniform(0.1, 2.0, n)
    if weights == "zeros":
        s[rng.uniform(size=n) < 0.3] = 0.0
        s[:2] = 1.0
    return X, y, s


def tamed(model, problem, **parameters):
    """With a learning rate at which no step amplifies rounding by much, and without what stops early."""
    model = clone(model).set_params(tol=None, learning_rate="auto", **parameters)
    if isinstance(model, TwoLayerReLURegressor):
        # The automatic rate itself is known to fewer digits; after a few steps, or of raw data, it may be too large.
        model.set_params(standardize=True)
        rate = clone(model).set_params(max_iter=1).fit(*problem).learning_rate_
        model.set_params(learning_rate=min(rate / 2, 0.1))
    return model


def assert_close(a, b, X, y, model):
    """Up to rounding as in `test_invariances.py`, for data far from zero in units of their deviation."""
    delta = 1.0
    for values in (X, y):
        delta *= max(2.0, (np.abs(values).max(axis=0) / values.std(axis=0)).max())
    atol = 100 * model.max_iter * delta * EPS
    if getattr(model, "solver", "gd") == "adam":
        atol += model.max_iter * 0.01 * 10 * delta * EPS / 1e-8
    left, right = a.predict(X), b.predict(X)
    size = max(np.abs(a).max() for a in (left, right, y))  # predictions may be small because large numbers cancel
    assert_allclose(left, right, rtol=0, atol=atol * size)


@cases(300)
@given(st.one_of(networks, linear), tame_problems(), seeds)
def test_weights_are_repeated_rows(model, problem, seed):
    X, y, _ = problem
    weights = np.random.default_rng(seed).integers(0, 4, len(X))
    weights[:2] = 1
    model = tamed(model, problem, **({"batch_size": 100} if isinstance(model, TwoLayerReLURegressor) else {}))
    repeated = clone(model).fit(X.repeat(weights, axis=0), y.repeat(weights, axis=0))
    assert_close(model.fit(X, y, weights), repeated, X, y, model)


@cases(200)
@given(st.one_of(networks, linear), tame_problems(), seeds)
def test_rows_without_weight_are_rows_left_out(model, problem, seed):
    X, y, weights = problem
    weights = np.ones(len(X)) if weights is None else weights
    weights[np.random.default_rng(seed).integers(2, len(X), 2)] = 0.0
    counts = weights > 0
    X_other = np.where(counts[:, None], X, np.finfo(np.float64).max)
    message, other = refusal(model, X[counts], y[counts], weights[counts]), clone(model)
    assert refusal(other, X_other, y, weights) == message
    if message is None:
        assert other.loss_curve_ == model.loss_curve_
        for a, b in zip(arrays_of(other), arrays_of(model), strict=True):
            assert_array_equal(a, b)


@cases(300)
@given(st.one_of(networks.filter(lambda model: model.solver == "gd"), linear), tame_problems())
def test_shortcuts_agree_with_the_plain_iteration(model, problem):
    X, y, _ = problem
    model = tamed(model, problem)
    fits = [clone(model).set_params(precompute=precompute).fit(*problem) for precompute in (True, False)]
    assert_close(*fits, X, y, fits[0])
    largest = max(fits[1].loss_curve_)
    assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=0, atol=1e-9 * largest)


@cases(200)
@given(st.one_of(networks, linear), tame_problems(), st.integers(1, 40))
def test_predictions_and_batches_do_not_depend_on_blocks_of_rows(model, problem, block):
    X, *_ = problem
    model = tamed(model, problem)
    whole = clone(model).fit(*problem)
    predicted = whole.predict(X)
    names = [
        (skrelu._models.base, "_PREDICT_BLOCK"),
        (skrelu._rows.batches, "KEPT_NUMBERS"),
        (skrelu._rows.batches, "_STAGE_NUMBERS"),
    ]
    before = [getattr(module, name) for module, name in names]
    try:
        for (module, name), value in zip(names, (block, 0, block), strict=True):
            setattr(module, name, value)
        blocks, in_blocks = whole.predict(X), model.fit(*problem)
    finally:
        for (module, name), value in zip(names, before, strict=True):
            setattr(module, name, value)
    size = max(np.abs(a).max() for a in arrays_of(whole)) ** 2 * (1.0 + np.abs(X).max()) * 100
    assert_allclose(blocks, predicted, rtol=0, atol=20 * EPS * max(size, np.abs(predicted).max()))
    # What is standardized, and in which pieces, is the same arithmetic.
    assert in_blocks.loss_curve_ == whole.loss_curve_


@cases(300)
@given(st.one_of(networks, linear), tame_problems(), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_training_in_parts_is_training_at_once(model, problem, parts, through_pickle):
    model = clone(model).set_params(tol=None)
    if isinstance(model, TwoLayerReLURegressor):
        model.set_params(learning_rate_schedule="constant")
    message = refusal(model.set_params(max_iter=sum(parts)), *problem)
    in_parts = clone(model).set_params(warm_start=True)
    messages = []
    for part in parts:
        messages.append(refusal(in_parts.set_params(max_iter=part), *problem))
        if messages[-1] is not None:
            break
        if through_pickle:
            in_parts = pickle.loads(pickle.dumps(in_parts))
    assert (messages[-1] is None) == (message is None) or model.learning_rate != "auto"
    if message is None and messages[-1] is None:
        assert in_parts.loss_curve_ == model.loss_curve_
        for a, b in zip(arrays_of(in_parts), arrays_of(model), strict=True):
            assert_array_equal(a, b)
