"""Lists, frames, memory maps, strides and dtypes: every form of input gives the same fit, and none is written to."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from problems import (
    ADAM,
    ENGINES,
    EPS,
    arrays_of,
    assert_same_fit,
    dtypes,
    every_class,
    every_kind,
    every_shape,
    problem,
    weights_for,
)
from skrelu import LinearGDRegressor, TwoLayerReLURegressor


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
        (np.int8, np.float64),
        (np.bool_, np.float64),
        (np.float16, np.float64),
        (np.longdouble, np.float64),
        (object, np.float64),
    ],
    ids=lambda dtype: dtype.__name__,
)
@every_class
def test_dtype_follows_X(estimator_class, given, kept):
    X, y = problem()
    X = (X.round() > 0 if given is np.bool_ else X.round()).astype(given)
    for target in (y, y.astype(np.float32)):
        model = estimator_class(max_iter=3, random_state=0).fit(X, target)
        assert [a.dtype for a in arrays_of(model) if a.ndim] == [kept] * sum(a.ndim > 0 for a in arrays_of(model))
        assert model.predict(X).dtype == kept
        assert all(type(loss) is float for loss in model.loss_curve_)
    assert_same_fit(model, estimator_class(max_iter=3, random_state=0).fit(X.astype(kept), y.astype(np.float32)))


@every_class
def test_prediction_has_the_wider_dtype(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=3, random_state=0).fit(X.astype(np.float32), y)
    assert model.predict(X).dtype == np.float64
    model = estimator_class(max_iter=3, random_state=0).fit(X, y)
    assert model.predict(X.astype(np.float32)).dtype == np.float64


def read_only(a, tmp_path):
    a = a.copy()
    a.flags.writeable = False
    return a


def mapped(a, tmp_path):
    path = tmp_path / f"{a.ndim}-{a.shape[-1]}-{a.flat[0]}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


def strided(a, tmp_path):
    wide = np.full((2 * a.shape[0], *a.shape[1:], 2), np.nan)
    wide[::2, ..., 0] = a
    return wide[::2, ..., 0]


FORMS = {
    "read-only": read_only,
    "memory-mapped": mapped,
    "Fortran": lambda a, _: np.asfortranarray(a),
    "negative strides": lambda a, _: a[::-1].copy()[::-1],
    "all strides negative": lambda a, _: np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[
        (slice(None, None, -1),) * a.ndim
    ],
    "strided": strided,
    "big-endian": lambda a, _: a.astype(">f8"),
    "list": lambda a, _: a.tolist(),
    "pandas": lambda a, _: (
        pd.Series(a, index=np.arange(len(a))[::-1]) if a.ndim == 1 else pd.DataFrame(a, index=np.arange(len(a))[::-1])
    ),
}
FITTED = {
    "adam": clone(ADAM).set_params(max_iter=3),
    "adam raw": clone(ADAM).set_params(max_iter=3, standardize=False),
    "gd": TwoLayerReLURegressor(8, solver="gd", max_iter=3, random_state=0),
    "gd raw": TwoLayerReLURegressor(
        8, solver="gd", max_iter=3, standardize=False, fit_intercept=False, learning_rate=1e-3, random_state=0
    ),
    "linear": LinearGDRegressor(max_iter=3),
    "linear raw": LinearGDRegressor(max_iter=3, standardize=False, fit_intercept=False),
}


@pytest.mark.one_in(11)
@pytest.mark.parametrize("m", [None, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FITTED)
@every_shape
def test_every_form_of_input_gives_the_same_fit(shape, name, form, m, tmp_path):
    X, y = problem(*shape, m)
    weights = np.random.RandomState(1).uniform(0.5, 2, len(X))
    expected = clone(FITTED[name]).fit(X, y, weights)
    given = [FORMS[form](a, tmp_path) for a in (X, y, weights)]
    model = clone(FITTED[name]).fit(*given)
    assert_same_fit(model, expected)
    # Prediction reads X as it lies: the sums of d and h terms in a row may be rounded in another order.
    predicted = model.predict(given[0])
    scale = (1 + np.abs(X)).max() * X.shape[1] * 8 * (1 + sum(np.abs(a).max() for a in arrays_of(model))) ** 2
    np.testing.assert_allclose(predicted, expected.predict(X), rtol=0, atol=(X.shape[1] + 8) * EPS * scale)
    assert_same_fit(model.partial_fit(*given), expected.partial_fit(X, y, weights))
    for a, kept in zip(given, (X, y, weights), strict=True):  # nor was anything written to
        np.testing.assert_array_equal(np.asarray(a), kept)


@dtypes
@every_kind
def test_input_is_never_written_to_nor_kept(name, dtype):
    X, y = problem(50, m=2, dtype=dtype)
    weights = weights_for(X)
    given = [X.copy(), y.copy(), weights.copy()]
    for a in given:
        a.flags.writeable = False
    model = clone(ENGINES[name]).fit(*given).partial_fit(*given)
    predicted = model.predict(given[0])
    for a, original in zip(given, (X, y, weights), strict=True):
        np.testing.assert_array_equal(a, original)
        a.flags.writeable = True
        a[:] = 0.0
    np.testing.assert_array_equal(model.predict(X), predicted)
