"""A fitted model elsewhere: pickle, joblib and skops give it back, ONNX runtimes compute it, notebooks show it."""

import copy
import importlib
import pickle
import sys

import joblib
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import LinearGDRegressor, TwoLayerReLURegressor, register_onnx_converters, to_onnx

DTYPES = [np.float32, np.float64]
NETWORK = TwoLayerReLURegressor(
    6, learning_rate_schedule="constant", batch_size=7, max_iter=4, warm_start=True, random_state=0
)
DESCENT = clone(NETWORK).set_params(solver="gd", momentum=0.5)
LINEAR = LinearGDRegressor(max_iter=4, warm_start=True)
# Estimator, number of features for 20 rows, and the engine that trains it.
MODELS = {
    "adam": (NETWORK, 3, "minibatches"),
    "gd": (clone(DESCENT).set_params(precompute=False), 3, "plain"),
    "gd by the Gram matrix": (clone(DESCENT).set_params(precompute=True), 50, "sample_space"),
    "linear": (clone(LINEAR).set_params(precompute=False), 3, "plain"),
    "linear in closed form": (clone(LINEAR).set_params(precompute=True), 3, "tall"),
    "linear in closed form, wide": (clone(LINEAR).set_params(precompute=True), 50, "wide"),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
one_or_two_outputs = pytest.mark.parametrize("m", [None, 2])


def problem(n_features, dtype=np.float64, m=None, n=20):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, n_features)).astype(dtype)
    y = X[:, :2] + 0.1 * rng.normal(size=(n, 2))
    return X, y if m == 2 else y[:, 0]


def by_pickle(model, _):
    return pickle.loads(pickle.dumps(model))


def by_joblib(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib")


def by_compressed_joblib(model, path):
    joblib.dump(model, path / "model.joblib", compress=3)
    return joblib.load(path / "model.joblib")


def by_memory_mapped_joblib(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib", mmap_mode="r")


def by_skops(model, _):
    skops = pytest.importorskip("skops.io", reason="needs skops")
    cls = type(model)
    return skops.loads(skops.dumps(model), trusted=[f"{cls.__module__}.{cls.__qualname__}"])


WAYS = [by_pickle, by_joblib, by_compressed_joblib, by_memory_mapped_joblib, by_skops]


def arrays_of(model):
    if isinstance(model, LinearGDRegressor):
        return [model.coef_, np.asarray(model.intercept_)]
    return [*model.coefs_, *model.intercepts_]


def assert_same(model, expected):
    assert model.loss_curve_ == expected.loss_curve_
    for a, b in zip(arrays_of(model), arrays_of(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# --- pickle, joblib, skops --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@one_or_two_outputs
@every_dtype
@every_model
def test_a_model_that_comes_back_predicts_and_goes_on_exactly(name, dtype, m, way, tmp_path):
    estimator, n_features, engine = MODELS[name]
    X, y = problem(n_features, dtype, m)
    model = clone(estimator).fit(X, y)
    assert model._state["kind"] == engine
    back = way(model, tmp_path)
    assert back.get_params() == model.get_params()
    assert vars(back).keys() == vars(model).keys()
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    assert_same(back, model)
    in_one = clone(estimator).set_params(max_iter=9).fit(X, y)
    assert_same(back.fit(X, y).partial_fit(X, y), in_one)


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


@one_or_two_outputs
@every_dtype
@every_model
def test_fitted_attributes_are_arrays_numbers_and_strings(name, dtype, m):
    estimator, n_features, _ = MODELS[name]
    model = clone(estimator).fit(*problem(n_features, dtype, m)).partial_fit(*problem(n_features, dtype, m))
    found = {type(value) for value in contents(vars(model))}
    assert found <= {np.ndarray, float, int, bool, str, type(None)}
    assert all(value.dtype.kind in "fb" for value in contents(vars(model)) if isinstance(value, np.ndarray))


@every_dtype
@every_model
def test_skops_trusts_nothing_but_the_class(name, dtype):
    skops = pytest.importorskip("skops.io", reason="needs skops")
    estimator, n_features, _ = MODELS[name]
    X, y = problem(n_features, dtype)
    cls = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    stored = skops.dumps(clone(estimator).fit(X, y))
    assert skops.get_untrusted_types(data=stored) == [cls]
    with pytest.raises(skops.exceptions.UntrustedTypesFoundException, match=cls):
        skops.loads(stored)


def test_skops_takes_a_pipeline_with_what_frames_searches_and_random_states_leave_behind():
    skops = pytest.importorskip("skops.io", reason="needs skops")
    pd = pytest.importorskip("pandas", reason="needs pandas")
    X, y = problem(3)
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


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_models_of_another_array_library_pickle(library):
    xp = pytest.importorskip(library, reason=f"needs {library}")
    X, y = problem(3)
    with config_context(array_api_dispatch=True):
        model = clone(NETWORK).fit(xp.asarray(X), xp.asarray(y))
        back = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(np.asarray(back.predict(xp.asarray(X))), np.asarray(model.predict(xp.asarray(X))))
        assert back.fit(xp.asarray(X), xp.asarray(y)).loss_curve_ == model.fit(xp.asarray(X), xp.asarray(y)).loss_curve_


# --- ONNX -------------------------------------------------------------------------------------------------------------


def run(model, X):
    """The outputs of an ONNX model, by its own file form, in one thread."""
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    (result,) = session.run([output.name], {given.name: X})
    return result


def relative_difference(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@one_or_two_outputs
@every_dtype
@every_model
def test_onnx_computes_the_predictions(name, dtype, m):
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    estimator, n_features, _ = MODELS[name]
    X, y = problem(n_features, dtype, m)
    model = clone(estimator).fit(X, y)
    before = copy.deepcopy(vars(model))
    exported = to_onnx(model)
    onnx.checker.check_model(exported, full_check=True)
    expected = ["Gemm"] if isinstance(model, LinearGDRegressor) else ["Gemm", "Relu", "Gemm"]
    assert [node.op_type for node in exported.graph.node] == expected
    rng = np.random.RandomState(1)
    for n_rows in (20, 1, 0, 1000):
        new = rng.normal(size=(n_rows, n_features)).astype(dtype)
        result = run(exported, new)
        assert result.shape == (n_rows, m or 1)
        assert result.dtype == dtype
        if n_rows:
            predicted = model.predict(new).reshape(n_rows, -1)
            assert relative_difference(result, predicted) < (1e-6 if dtype == np.float32 else 1e-14)
    assert pickle.dumps(vars(model)) == pickle.dumps(before)


@pytest.mark.parametrize("fit_intercept", [False, True])
@every_dtype
def test_onnx_without_intercept_and_with_other_options(dtype, fit_intercept):
    pytest.importorskip("onnx", reason="needs onnx")
    X, y = problem(3, dtype)
    for estimator in (NETWORK, DESCENT, LINEAR):
        model = clone(estimator).set_params(fit_intercept=fit_intercept, standardize=False).fit(X, y)
        assert relative_difference(run(to_onnx(model), X)[:, 0], model.predict(X)) < 5 * np.finfo(dtype).eps


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_onnx_of_another_array_library(library):
    pytest.importorskip("onnx", reason="needs onnx")
    xp = pytest.importorskip(library, reason=f"needs {library}")
    for estimator in (NETWORK, LINEAR):
        for m in (None, 2):
            X, y = problem(3, m=m)
            with config_context(array_api_dispatch=True):
                elsewhere = clone(estimator).fit(xp.asarray(X), xp.asarray(y))
            exported = to_onnx(elsewhere)  # with dispatch off again
            model = clone(estimator).fit(X, y)
            assert relative_difference(run(exported, X), model.predict(X).reshape(20, -1)) < 1e-13


def test_onnx_names_and_versions_are_those_of_skl2onnx():
    pytest.importorskip("onnx", reason="needs onnx")
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    X, y = problem(3)
    model = clone(LINEAR).fit(X, y)
    ours, theirs = to_onnx(model), skl2onnx.to_onnx(model, X)
    for a, b in ((ours.graph.input[0], theirs.graph.input[0]), (ours.graph.output[0], theirs.graph.output[0])):
        assert a.name == b.name
        assert a.type.tensor_type.elem_type == b.type.tensor_type.elem_type
        assert [d.dim_value for d in a.type.tensor_type.shape.dim] == [
            d.dim_value for d in b.type.tensor_type.shape.dim
        ]
    assert ours.ir_version == 7
    assert [(opset.domain, opset.version) for opset in ours.opset_import] == [("", 13)]


@pytest.mark.parametrize("given", [np.float32, np.float64, np.int64])
@one_or_two_outputs
@every_dtype
@pytest.mark.parametrize("name", ["adam", "linear"])
def test_skl2onnx_converts_pipelines(name, dtype, m, given):
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    register_onnx_converters()  # nothing happens
    X, y = problem(3, dtype, m)
    X = (20 * X).round() + 5
    pipeline = make_pipeline(StandardScaler(), clone(MODELS[name][0])).fit(X, y)
    exported = skl2onnx.to_onnx(pipeline, X[:1].astype(given))
    result, expected = run(exported, X.astype(given)), pipeline.predict(X).reshape(20, -1)
    assert result.shape == expected.shape
    assert result.dtype == (np.float64 if given == np.float64 else np.float32)
    exact = dtype == given == np.float64
    assert relative_difference(result, expected) < (1e-14 if exact else 1e-6)


def test_skl2onnx_converts_what_contains_a_regressor():
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    X, y = problem(3)
    search = GridSearchCV(clone(LINEAR), {"alpha": [0.0, 1.0]}, cv=2)
    for model in (search, VotingRegressor([("a", clone(NETWORK)), ("b", clone(LINEAR))])):
        model.fit(X, y)
        assert relative_difference(run(skl2onnx.to_onnx(model, X[:1]), X)[:, 0], model.predict(X)) < 1e-14


@pytest.mark.parametrize("estimator", [NETWORK, LINEAR], ids=["network", "linear"])
def test_a_float64_model_keeps_its_digits_far_from_zero(estimator):
    """Coefficients rounded to float32 would not cancel: 1e4 deviations from zero, float32 knows 4 digits less."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    X, y = problem(3, n=200)
    X = (X + 1e4).astype(np.float32).astype(np.float64)  # what float32 input can say
    model = clone(estimator).fit(X, y)
    predicted = model.predict(X)
    # Sums of 3 products of about 1e4, in another order.
    assert relative_difference(run(to_onnx(model), X)[:, 0], predicted) < 1e4 * 10 * np.finfo(np.float64).eps
    in_single = run(skl2onnx.to_onnx(model, X[:1].astype(np.float32)), X.astype(np.float32))
    assert in_single.dtype == np.float32
    assert relative_difference(in_single[:, 0], predicted) < 1e-6


def test_what_cannot_be_exported_is_refused(monkeypatch):
    X, y = problem(3)
    if importlib.util.find_spec("onnx") is not None:
        with pytest.raises(
            TypeError, match=r"got Pipeline\. .*register_onnx_converters\(\) and then skl2onnx\.to_onnx"
        ):
            to_onnx(make_pipeline(LINEAR).fit(X, y))
        with pytest.raises(TypeError, match="got ABCMeta"):
            to_onnx(LinearGDRegressor)
        for estimator in (NETWORK, LINEAR):
            with pytest.raises(NotFittedError):
                to_onnx(clone(estimator))
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r'to_onnx requires onnx\. To install it: pip install "skrelu\[onnx\]"'):
        to_onnx(clone(LINEAR).fit(X, y))
    with pytest.raises(ImportError, match=r"requires skl2onnx\. To install it: pip install skl2onnx"):
        register_onnx_converters()


# --- HTML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("estimator", [NETWORK, LINEAR], ids=["network", "linear"])
def test_html_shows_the_estimator_and_links_nowhere(estimator, fitted):
    model = clone(estimator).fit(*problem(3)) if fitted else clone(estimator)
    html = model._repr_html_()
    assert type(model).__name__ in html
    assert all(parameter in html for parameter in model.get_params())
    assert "href" not in html  # there is no public documentation yet, and scikit-learn's does not have this class
    assert model._get_doc_link() == ""


@pytest.mark.parametrize("estimator", [NETWORK, LINEAR], ids=["network", "linear"])
def test_html_links_to_the_documentation_once_it_has_an_address(estimator, monkeypatch):
    cls = type(estimator)
    monkeypatch.setattr(cls, "_doc_link_template", "https://docs.invalid/{estimator_module}.{estimator_name}.html")
    link = f"https://docs.invalid/skrelu.{cls.__name__}.html"
    assert clone(estimator)._get_doc_link() == link
    for html in (clone(estimator)._repr_html_(), make_pipeline(StandardScaler(), clone(estimator))._repr_html_()):
        assert f'href="{link}"' in html
        assert f'href="{link}#:~:text=learning_rate' in html
        assert "Whether to fit the intercept" in html  # what a parameter means, from the docstring
