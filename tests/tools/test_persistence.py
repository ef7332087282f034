"""Fitted models as files: what pickle, joblib and skops store, and that it predicts the same."""

import io
import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import (
    ADAM,
    ENGINES,
    LINEAR,
    assert_same_fit,
    dtypes,
    every_class,
    every_engine,
    every_library,
    every_shape,
    problem,
)

NETWORK = clone(ADAM).set_params(warm_start=True)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@every_class
def test_pickles_predict_the_same(estimator_class, protocol):
    X, y = problem(m=2)
    model = estimator_class(max_iter=5, random_state=0).fit(X, y)
    loaded = pickle.load(io.BytesIO(pickle.dumps(model, protocol=protocol)))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert_same_fit(loaded, model)


def contents(value):
    """All that is in an attribute: the values in lists and dicts, and their keys."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from contents(item)
    elif isinstance(value, list):
        for item in value:
            yield from contents(item)
    else:
        yield value


@pytest.mark.one_in(5)
@pytest.mark.parametrize("m", [None, 2])
@dtypes
@every_shape
@every_engine
def test_fitted_attributes_are_arrays_numbers_and_strings(name, shape, dtype, m):
    X, y = problem(*shape, m, dtype=dtype)
    model = clone(ENGINES[name]).fit(X, y).partial_fit(X, y)
    found = {type(value) for value in contents(vars(model))}
    assert found <= {np.ndarray, float, int, bool, str, type(None)}
    assert all(value.dtype.kind in "fb" for value in contents(vars(model)) if isinstance(value, np.ndarray))


@pytest.mark.one_in(5)
@dtypes
@every_shape
@every_engine
def test_skops_trusts_nothing_but_the_class(name, shape, dtype):
    skops = pytest.importorskip("skops.io", reason="needs skops")
    estimator = ENGINES[name]
    X, y = problem(*shape, dtype=dtype)
    cls = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    stored = skops.dumps(clone(estimator).fit(X, y))
    assert skops.get_untrusted_types(data=stored) == [cls]
    with pytest.raises(skops.exceptions.UntrustedTypesFoundException, match=cls):
        skops.loads(stored)


def test_skops_takes_a_pipeline_with_what_frames_searches_and_random_states_leave_behind():
    skops = pytest.importorskip("skops.io", reason="needs skops")
    pd = pytest.importorskip("pandas", reason="needs pandas")
    X, y = problem()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    search = GridSearchCV(clone(LINEAR), {"learning_rate": np.logspace(-2, -1, 3)}, cv=3).fit(X, y)
    assert isinstance(search.best_estimator_.learning_rate, np.floating)
    models = {
        "skrelu._linear.LinearGDRegressor": clone(search.best_estimator_),
        "skrelu._two_layer.TwoLayerReLURegressor": clone(NETWORK).set_params(random_state=np.random.RandomState(3)),
    }
    for cls, model in models.items():
        pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), model).fit(frame, y)
        stored = skops.dumps(pipeline)
        assert set(skops.get_untrusted_types(data=stored)) == {cls}
        back = skops.loads(stored, trusted=[cls])
        np.testing.assert_array_equal(back.predict(frame), pipeline.predict(frame))


@every_library
def test_models_of_another_array_library_pickle(library):
    xp = pytest.importorskip(library, reason=f"needs {library}")
    X, y = problem()
    with config_context(array_api_dispatch=True):
        model = clone(NETWORK).fit(xp.asarray(X), xp.asarray(y))
        back = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(np.asarray(back.predict(xp.asarray(X))), np.asarray(model.predict(xp.asarray(X))))
        assert back.fit(xp.asarray(X), xp.asarray(y)).loss_curve_ == model.fit(xp.asarray(X), xp.asarray(y)).loss_curve_
