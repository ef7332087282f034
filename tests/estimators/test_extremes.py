"""Extreme numbers: units over 300 decades, offsets, the largest float; a right answer or a clear error."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from problems import dtypes, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

ADAM_EPSILON, ADAM_RATE = 1e-8, 0.01
NETWORK = TwoLayerReLURegressor(8, solver="gd", max_iter=10, random_state=0)
MODELS = {
    "adam": clone(NETWORK).set_params(solver="adam", batch_size=16, max_iter=5, learning_rate=ADAM_RATE),
    "gd": clone(NETWORK).set_params(precompute=False),
    "momentum shortcut": clone(NETWORK).set_params(precompute=True, momentum=0.9, alpha=1.0),
    "linear": LinearGDRegressor(precompute=False, max_iter=50),
    "linear shortcut": LinearGDRegressor(precompute=True, max_iter=50),
}
every_model = pytest.mark.parametrize("name", MODELS)


def tolerance(name, model, dtype, delta=1.0):
    """What `delta` eps in the data becomes in the predictions; `test_invariances.py` says why."""
    eps = np.finfo(dtype).eps
    atol = 100 * model.max_iter * delta * eps
    if name == "adam" and dtype is np.float64:  # in float32 no gradient here is small enough to matter
        atol += model.max_iter * ADAM_RATE * 10 * delta * eps / ADAM_EPSILON
    return atol


def changed(a, decade, offset, dtype):
    """(a + offset) times a power of ten, computed in extended precision and rounded once."""
    return ((a.astype(np.longdouble) + np.longdouble(offset)) * np.longdouble(10) ** decade).astype(dtype)


def changed_back(a, decade, offset):
    return (a.astype(np.longdouble) / np.longdouble(10) ** decade - np.longdouble(offset)).astype(np.float64)


UNITS = {
    np.float64: [(-150, 0), (0, -150), (150, 0), (0, 150), (150, 150), (-150, -150), (150, -150), (-150, 150)],
    np.float32: [(-20, 0), (0, -20), (20, 0), (0, 20), (20, 20), (-20, -20), (17, -17), (-17, 17)],
}


@pytest.mark.one_in(13)
@pytest.mark.parametrize(
    ("dtype", "fit_intercept", "offset"),
    [
        (np.float64, False, 0.0),
        (np.float64, True, 0.0),
        (np.float64, True, 1e3),
        (np.float64, True, 1e8),
        (np.float32, False, 0.0),
        (np.float32, True, 0.0),
        (np.float32, True, 1e3),  # the next test has larger ones
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(40, 4), (12, 40)], ids=["tall", "wide"])
@every_model
def test_affine_changes_over_the_whole_range(name, dtype, shape, reduction, fit_intercept, offset):
    X, y = problem(*shape, 2, dtype=dtype, center=0.0)
    model = clone(MODELS[name]).set_params(reduction=reduction, fit_intercept=fit_intercept)
    expected = clone(model).fit(X, y)
    # The changed data are rounded by eps relative to the offset, in standard deviations.
    atol = tolerance(name, model, dtype, delta=max(1.0, offset))
    for x_decade, y_decade in UNITS[dtype]:
        X_changed, y_changed = changed(X, x_decade, offset, dtype), changed(y, y_decade, offset, dtype)
        model.fit(X_changed, y_changed)
        predicted = changed_back(model.predict(X_changed), y_decade, offset)
        assert_allclose(predicted, expected.predict(X), rtol=0, atol=atol * np.abs(y).max())
        # The root of a loss is the length of residuals, which are rounded relative to y.
        lengths, expected_lengths = np.sqrt(model.loss_curve_), np.sqrt(expected.loss_curve_)
        assert_allclose(lengths, expected_lengths, rtol=0, atol=atol * expected_lengths.max())


RAW_UNITS = [(-120, 0), (-82, 0), (-80, 0), (-60, -100), (0, -140), (40, 100), (70, -100), (77, 0), (120, 0)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(40, 3), (3, 10)], ids=["tall", "wide"])
def test_raw_data_in_any_unit(shape, alpha, precompute):
    """Without scaling, the squares of the Hessian or the gradient leave float64 before the losses do."""
    X, y = problem(*shape, 2, center=0.0)
    model = LinearGDRegressor(standardize=False, fit_intercept=False, max_iter=100, precompute=precompute)
    expected = clone(model).set_params(alpha=alpha).fit(X, y)
    lengths, coef = np.sqrt(expected.loss_curve_), expected.coef_
    rounding = 4 * model.max_iter * np.finfo(np.float64).eps  # of a few operations in each iteration
    for x_decade, y_decade in RAW_UNITS:
        x_unit, y_unit = 10.0**x_decade, 10.0**y_decade
        model.set_params(alpha=alpha * x_unit**2).fit(X * x_unit, y * y_unit)
        assert_allclose(np.sqrt(model.loss_curve_) / y_unit, lengths, rtol=0, atol=rounding * lengths[0])
        assert_allclose(model.coef_ * x_unit / y_unit, coef, rtol=0, atol=rounding * np.abs(coef).max())


@every_model
def test_what_float32_cannot_tell_apart_is_constant(name):
    X, y = problem(m=2, dtype=np.float32, center=0.0)
    without = clone(MODELS[name]).fit(np.delete(X, 1, axis=1), y) if name.startswith("linear") else None
    X[:, 1] += 1e8
    model = clone(MODELS[name]).fit(X, y)
    assert_array_equal(model.coef_[:, 1] if without else model.coefs_[0][1], 0.0)
    if without:
        assert_allclose(model.predict(X), without.predict(np.delete(X, 1, axis=1)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize(
    ("x_unit", "y_unit", "end"), [(1e-20, 1e20, "beyond"), (1e20, 1e-20, "below"), (1e30, 1e-30, "below")]
)
def test_a_coefficient_that_its_dtype_cannot_hold(x_unit, y_unit, end, shortcut):
    X, y = problem(m=2, dtype=np.float32, center=0.0)
    X, y = (X * np.float32(x_unit)), (y * np.float32(y_unit))
    with pytest.raises(
        ValueError, match=rf"coefficient for the raw X and y is of magnitude .*, {end} the range of flo"
    ):
        LinearGDRegressor(precompute=shortcut).fit(X, y)
    assert np.isfinite(LinearGDRegressor(precompute=shortcut).fit(X.astype(float), y).predict(X)).all()


def test_a_coefficient_that_float64_cannot_hold():
    X, y = problem(m=2, center=0.0)
    with pytest.raises(ValueError, match=r"below the range of float64, the dtype of X\. Divide X or multiply y"):
        LinearGDRegressor().fit(X * 1e200, y * 1e-200)
    with pytest.raises(ValueError, match=r"beyond the range of float64, the dtype of X\. Divide X or y"):
        LinearGDRegressor().fit(X * 1e-200, y * 1e200)


@pytest.mark.one_in(7)
@pytest.mark.parametrize("value", ["max", "-max", "tiny", "smallest_subnormal"])
@dtypes
@every_model
def test_a_constant_column_at_the_end_of_the_range(name, dtype, value):
    X, y = problem(m=2, dtype=dtype, center=0.0)
    number = -np.finfo(dtype).max if value == "-max" else getattr(np.finfo(dtype), value)
    model = clone(MODELS[name]).fit(np.column_stack([X, np.full(len(X), number, dtype)]), y)
    effect = model.coef_[:, -1] if name.startswith("linear") else model.coefs_[0][-1]
    assert_array_equal(effect, 0.0)
    with_number, with_zero = (np.column_stack([X, np.full(len(X), a, dtype)]) for a in (number, 0.0))
    assert_array_equal(model.predict(with_number), model.predict(with_zero))


@pytest.mark.one_in(7)
@pytest.mark.parametrize("value", ["max", "-max", "tiny", "smallest_subnormal"])
@dtypes
@every_model
def test_a_constant_y_at_the_end_of_the_range(name, dtype, value):
    X, _ = problem(m=2, dtype=dtype, center=0.0)
    number = -np.finfo(dtype).max if value == "-max" else getattr(np.finfo(dtype), value)
    assert_array_equal(clone(MODELS[name]).fit(X, np.full(len(X), number, dtype)).predict(X), number)


def refusal(model, X, y):
    """The message of the error, or None where fit and predictions are finite."""
    try:
        model.fit(X, y)
    except ValueError as error:
        return str(error)
    assert np.isfinite(model.predict(X)).all()
    return None


@pytest.mark.one_in(17)
@pytest.mark.filterwarnings("ignore:.* came to rest:sklearn.exceptions.ConvergenceWarning")  # raw X: a tiny rate
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("where", ["X", "y", "X and y"])
@pytest.mark.parametrize("how", ["one value", "spread", "both signs"])
@dtypes
@every_model
def test_the_largest_floats_are_fitted_or_refused(name, dtype, how, where, standardize, fit_intercept):
    """No warning, nothing that is not finite, and no error but one that says what to do."""
    X, y = problem(m=2, dtype=dtype, center=0.0)
    largest = np.finfo(dtype).max
    for a in (X, y):
        if (a is X and "X" in where) or (a is y and "y" in where):
            if how == "one value":
                a[3] = largest
            elif how == "spread":
                a *= largest / 8
            else:
                a[::2], a[1::2] = largest, -largest
    model = clone(MODELS[name]).set_params(standardize=standardize, fit_intercept=fit_intercept)
    message = refusal(model, X, y)
    assert message is None or "by a constant" in message or "smaller learning_rate" in message


@pytest.mark.parametrize("max_iter", [1, 50])
@every_model
def test_subnormal_numbers_are_fitted_or_refused(name, max_iter):
    X, y = problem(m=2, dtype=np.float64, center=0.0)
    small = np.finfo(np.float64).smallest_subnormal
    for x_unit, y_unit, fit_intercept in [(30 * small, 1.0, True), (1.0, 30 * small, True), (30 * small, 1.0, False)]:
        model = clone(MODELS[name]).set_params(max_iter=max_iter, fit_intercept=fit_intercept)
        message = refusal(model, X * x_unit, y * y_unit)
        assert message is None or "by a constant" in message


@dtypes
@every_model
def test_a_prediction_beyond_the_range_is_an_error_that_names_the_row(name, dtype):
    X, y = problem(m=2, dtype=dtype, center=0.0)
    model = clone(MODELS[name]).fit(X, 1e3 * y)
    far = X.copy()
    far[5] = np.finfo(dtype).max
    with pytest.raises(ValueError, match=rf"The prediction for row 5 is beyond the range of {np.dtype(dtype).name}: "):
        model.predict(far)
    far[5] /= 1e6
    assert np.isfinite(model.predict(far)).all()


@every_model
def test_numbers_beyond_float64_are_refused(name):
    X, y = problem(m=2, center=0.0)
    with pytest.raises(ValueError, match="Input X contains infinity or a value too large"):
        clone(MODELS[name]).fit(X.astype(np.longdouble) * np.longdouble("1e4000"), y)
    with pytest.raises(ValueError, match=r"Input y contains infinity|y has values of magnitude inf"):
        clone(MODELS[name]).fit(X, y.astype(np.longdouble) * np.longdouble("1e4000"))
    with pytest.raises(ValueError, match="Input X contains infinity or a value too large"):
        clone(MODELS[name]).fit(X, y).predict(X.astype(np.longdouble) * np.longdouble("1e4000"))
