"""ONNX: the exported graph computes the predictions, and what cannot be exported is refused."""

import copy
import importlib
import importlib.util
import pickle
import sys

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import ADAM, DESCENT, ENGINES, LINEAR, dtypes, every_engine, every_library, problem
from skrelu import LinearGDRegressor, register_onnx_converters, to_onnx

NETWORK = clone(ADAM).set_params(warm_start=True)
one_or_two_outputs = pytest.mark.parametrize("m", [None, 2])


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


@pytest.mark.one_in(7)
@one_or_two_outputs
@dtypes
@every_engine
def test_onnx_computes_the_predictions(name, dtype, m):
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    X, y = problem(m=m, dtype=dtype)
    model = clone(ENGINES[name]).fit(X, y)
    before = copy.deepcopy(vars(model))
    exported = to_onnx(model)
    onnx.checker.check_model(exported, full_check=True)
    expected = ["Gemm"] if isinstance(model, LinearGDRegressor) else ["Gemm", "Relu", "Gemm"]
    assert [node.op_type for node in exported.graph.node] == expected
    rng = np.random.RandomState(1)
    for n_rows in (20, 1, 0, 1000):
        new = rng.normal(size=(n_rows, 3)).astype(dtype)
        result = run(exported, new)
        assert result.shape == (n_rows, m or 1)
        assert result.dtype == dtype
        if n_rows:
            predicted = model.predict(new).reshape(n_rows, -1)
            assert relative_difference(result, predicted) < (1e-6 if dtype == np.float32 else 1e-14)
    assert pickle.dumps(vars(model)) == pickle.dumps(before)


@pytest.mark.parametrize("fit_intercept", [False, True])
@dtypes
def test_onnx_without_intercept_and_with_other_options(dtype, fit_intercept):
    pytest.importorskip("onnx", reason="needs onnx")
    X, y = problem(20, dtype=dtype)
    for estimator in (NETWORK, DESCENT, LINEAR):
        model = clone(estimator).set_params(fit_intercept=fit_intercept, standardize=False).fit(X, y)
        assert relative_difference(run(to_onnx(model), X)[:, 0], model.predict(X)) < 5 * np.finfo(dtype).eps


@every_library
def test_onnx_of_another_array_library(library):
    pytest.importorskip("onnx", reason="needs onnx")
    xp = pytest.importorskip(library, reason=f"needs {library}")
    for estimator in (NETWORK, LINEAR):
        for m in (None, 2):
            X, y = problem(20, m=m)
            with config_context(array_api_dispatch=True):
                elsewhere = clone(estimator).fit(xp.asarray(X), xp.asarray(y))
            exported = to_onnx(elsewhere)  # with dispatch off again
            model = clone(estimator).fit(X, y)
            assert relative_difference(run(exported, X), model.predict(X).reshape(20, -1)) < 1e-13


def test_onnx_names_and_versions_are_those_of_skl2onnx():
    pytest.importorskip("onnx", reason="needs onnx")
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    X, y = problem(20)
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


@pytest.mark.one_in(5)
@pytest.mark.parametrize("given", [np.float32, np.float64, np.int64])
@one_or_two_outputs
@dtypes
@pytest.mark.parametrize("name", ["minibatches", "linear"])
def test_skl2onnx_converts_pipelines(name, dtype, m, given):
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    register_onnx_converters()  # nothing happens
    X, y = problem(20, m=m, dtype=dtype)
    X = (20 * X).round() + 5
    pipeline = make_pipeline(StandardScaler(), clone(ENGINES[name])).fit(X, y)
    exported = skl2onnx.to_onnx(pipeline, X[:1].astype(given))
    result, expected = run(exported, X.astype(given)), pipeline.predict(X).reshape(20, -1)
    assert result.shape == expected.shape
    assert result.dtype == (np.float64 if given == np.float64 else np.float32)
    exact = dtype == given == np.float64
    assert relative_difference(result, expected) < (1e-14 if exact else 1e-6)


def test_skl2onnx_converts_what_contains_a_regressor():
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    X, y = problem(20)
    search = GridSearchCV(clone(LINEAR), {"alpha": [0.0, 1.0]}, cv=2)
    for model in (search, VotingRegressor([("a", clone(NETWORK)), ("b", clone(LINEAR))])):
        model.fit(X, y)
        assert relative_difference(run(skl2onnx.to_onnx(model, X[:1]), X)[:, 0], model.predict(X)) < 1e-14


@pytest.mark.parametrize("estimator", [NETWORK, LINEAR], ids=["network", "linear"])
def test_a_float64_model_keeps_its_digits_far_from_zero(estimator):
    """Coefficients rounded to float32 would not cancel: 1e4 deviations from zero, float32 knows 4 digits less."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")
    register_onnx_converters()
    X, y = problem(200)
    X = (X + 1e4).astype(np.float32).astype(np.float64)  # what float32 input can say
    model = clone(estimator).fit(X, y)
    predicted = model.predict(X)
    # Sums of 3 products of about 1e4, in another order.
    assert relative_difference(run(to_onnx(model), X)[:, 0], predicted) < 1e4 * 10 * np.finfo(np.float64).eps
    in_single = run(skl2onnx.to_onnx(model, X[:1].astype(np.float32)), X.astype(np.float32))
    assert in_single.dtype == np.float32
    assert relative_difference(in_single[:, 0], predicted) < 1e-6


def test_what_cannot_be_exported_is_refused(monkeypatch):
    X, y = problem(20)
    if importlib.util.find_spec("onnx") is not None:
        with pytest.raises(
            TypeError, match=r"got Pipeline\. .*register_onnx_converters\(\) and then skl2onnx\.to_onnx"
        ):
            to_onnx(make_pipeline(LINEAR).fit(X, y))
        with pytest.raises(TypeError, match="got type"):
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
