"""Training on a GPU, with a stand-in for CuPy: results are NumPy's, and nothing waits for the device in an epoch."""

import pickle
import sys

import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_array_api_input_and_values

import skrelu._engines.full_batch
import skrelu._engines.minibatches
import skrelu._engines.sample_space
from problems import coefficients_of, dtypes
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._arrays import CupyArrayModule
from skrelu._engines.base import _ITERATIONS_PER_LOOK

NETWORK = TwoLayerReLURegressor(10, batch_size=16, max_iter=10, random_state=0)


DESCENT = clone(NETWORK).set_params(solver="gd", precompute=False)


MODELS = {
    "adam": NETWORK,
    "adam, fixed penalty": clone(NETWORK).set_params(alpha=0.5, learning_rate_schedule="constant"),
    "adam, raw": clone(NETWORK).set_params(reduction="sum", fit_intercept=False, standardize=False, learning_rate=1e-3),
    "adam, one batch": clone(NETWORK).set_params(batch_size=1000),
    "adam, four members": clone(NETWORK).set_params(hidden_layer_size=12, n_members=4, scaling_layer=True),
    "adam, one member": clone(NETWORK).set_params(n_members=1, scaling_layer=False),
    "adam, one member, scaling layer": clone(NETWORK).set_params(n_members=1, scaling_layer=True, fit_intercept=False),
    "gd": DESCENT,
    "gd, momentum and penalty": clone(DESCENT).set_params(momentum=0.9, alpha=0.1),
    "gd, tutorial": clone(DESCENT).set_params(
        init="standard_normal", standardize=False, fit_intercept=False, reduction="sum", learning_rate=1e-6, alpha=0
    ),
    "gd, four members": clone(DESCENT).set_params(hidden_layer_size=12, n_members=4, momentum=0.5),
    "sample space": clone(DESCENT).set_params(precompute=True),
    "sample space, momentum and penalty": clone(DESCENT).set_params(precompute=True, momentum=0.9, alpha=0.1),
    "sample space, four members": clone(DESCENT).set_params(hidden_layer_size=12, n_members=4, precompute=True),
    "linear": LinearGDRegressor(max_iter=10, precompute=False, init="uniform", random_state=0),
    "linear, penalty": LinearGDRegressor(max_iter=10, precompute=False, alpha=0.3, fit_intercept=False),
    "closed form": LinearGDRegressor(max_iter=10, precompute=True, init="uniform", random_state=0),
    "closed form, penalty": LinearGDRegressor(max_iter=10, precompute=True, alpha=0.3),
}


# One of each way of training, for what does not depend on the options.
KINDS = {name: MODELS[name] for name in ("adam, four members", "gd", "sample space", "linear", "closed form")}


models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


kinds = pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)


def make_problem(n=60, d=5, n_outputs=2, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(2.0, 3.0, size=(n, d))
    y = np.stack([np.abs(X[:, 0]), X[:, 1] - X[:, 2]], axis=1) + 0.1 * rng.standard_normal((n, 2))
    y = y[:, 0] if n_outputs == 1 else y if n_outputs == 2 else np.column_stack([y, y[:, 0] * y[:, 1]])
    return X.astype(dtype), y.astype(dtype), rng.uniform(0.5, 2.0, n).astype(dtype)


def on_gpu(model, **parameters):
    return clone(model).set_params(array_module="cupy", **parameters)


def assert_same_training(ours, expected, X, dtype):
    """Kernels round as NumPy does; sums of 60 products at most may be in another order, in each of 10 iterations."""
    tolerance = 10 * 60 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=tolerance)
    prediction = expected.predict(X)
    np.testing.assert_allclose(ours.predict(X), prediction, rtol=0, atol=tolerance * np.abs(prediction).max())
    assert ours.predict(X).dtype == dtype
    assert ours.n_iter_ == expected.n_iter_
    assert ours.learning_rate_ == pytest.approx(expected.learning_rate_, rel=tolerance)
    assert ours.alpha_ == pytest.approx(expected.alpha_, rel=tolerance)


@pytest.mark.one_in(11)
@pytest.mark.parametrize("shape", [(60, 5, 1), (60, 5, 3), (20, 50, 2)], ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@dtypes
@models
def test_a_gpu_trains_numpy_input_as_numpy_does(cupy_double, model, dtype, weighted, shape):
    X, y, weights = make_problem(*shape, dtype)
    X.flags.writeable = False
    weights = weights if weighted else None
    ours = on_gpu(model).fit(X, y, weights)
    assert "matmul" in cupy_double.launches or "__matmul__" in cupy_double.launches
    assert all(type(a) is np.ndarray for a in [*coefficients_of(ours), ours.predict(X)])
    assert_same_training(ours, clone(model).fit(X, y, weights), X, dtype)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@dtypes
@models
def test_a_gpu_trains_sparse_input(cupy_double, monkeypatch, model, dtype, weighted):
    """Only dense rows pass to the GPU, a batch at a time; the Gram matrices come from the CPU."""
    monkeypatch.setattr("skrelu._rows.sparse_batches._SPARSE_COST", 0)
    X, y, weights = make_problem(dtype=dtype)
    X *= np.random.default_rng(1).uniform(size=X.shape) < 0.5
    weights = weights * (np.arange(len(X)) > 2) if weighted else None
    ours = on_gpu(model).fit(csr_array(X), y, weights)
    assert "take_rows" in cupy_double.launches
    assert all(type(a) is np.ndarray for a in [*coefficients_of(ours), ours.predict(csr_array(X))])
    assert_same_training(ours, clone(model).fit(X, y, weights), X, dtype)


@dtypes
def test_rows_in_several_blocks(cupy_double, monkeypatch, dtype):
    monkeypatch.setattr(CupyArrayModule, "block_scale", 0)  # blocks of 256 rows
    X, y, weights = make_problem(n=600, dtype=dtype)
    for model in (MODELS["gd, momentum and penalty"], MODELS["linear"], MODELS["closed form, penalty"]):
        ours, expected = on_gpu(model).fit(X, y, weights), clone(model).fit(X, y, weights)
        # Ten times the rows of the other tests in each sum.
        np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=10 * 600 * np.finfo(dtype).eps)
    seen = watch_iterations(monkeypatch, cupy_double)
    on_gpu(MODELS["gd"], learning_rate=0.1, max_iter=1).fit(X, y)
    ((_, _, launches),) = seen
    assert launches.count("squared_loss") == 3


@pytest.mark.one_in(7)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_outputs", [1, 2])
@dtypes
@kinds
def test_arrays_of_cupy_in_and_out(cupy_double, model, dtype, n_outputs, order):
    import cupy

    X, y, weights = make_problem(n_outputs=n_outputs, dtype=dtype)
    expected = clone(model).fit(X, y, weights)
    with sklearn.config_context(array_api_dispatch=True):
        there = [cupy.asarray(a) for a in (np.asarray(X, order=order), y, weights)]
        for array_module in ("auto", "cupy"):
            for targets in (there[1:], (y, weights)):  # these follow X
                ours = clone(model).set_params(array_module=array_module).fit(there[0], *targets)
                predicted = ours.predict(there[0])
                for a in [*coefficients_of(ours), predicted]:
                    assert isinstance(a, cupy.ndarray)
                    assert a.dtype == dtype
                tolerance = 10 * 60 * np.finfo(dtype).eps * np.abs(y).max()
                np.testing.assert_allclose(predicted.get(), expected.predict(X), rtol=0, atol=tolerance)
                score = ours.score(there[0], there[1])
                assert isinstance(score, float)
                assert all(type(loss) is float for loss in ours.loss_curve_)
        # Targets on the GPU follow an X that is NumPy's.
        ours = clone(model).fit(X, *there[1:])
        np.testing.assert_array_equal(ours.predict(X), expected.predict(X))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@kinds
def test_scikit_learns_check_of_values(cupy_double, model, dtype):
    check_array_api_input_and_values(
        type(model).__name__, model, array_namespace="cupy", dtype_name=dtype, check_sample_weight=True
    )


def watch_iterations(monkeypatch, double):
    """A list that fills with (waits, transfers, launches) of each iteration."""
    records = (double.waits, double.transfers, double.launches)
    seen = []

    def watched(am, iteration, n_iter, original=skrelu._engines.base.iterate):
        def counted():
            before = [len(record) for record in records]
            loss = iteration()
            seen.append([record[k:] for record, k in zip(records, before, strict=True)])
            return loss

        return original(am, counted, n_iter)

    for module in (skrelu._engines.full_batch, skrelu._engines.minibatches, skrelu._engines.sample_space):
        monkeypatch.setattr(module, "iterate", watched)
    return seen


@pytest.mark.one_in(9)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("n_outputs", [1, 2])
@dtypes
@models
def test_the_host_does_not_wait_within_an_epoch(cupy_double, monkeypatch, model, dtype, n_outputs, weighted):
    X, y, weights = make_problem(n_outputs=n_outputs, dtype=dtype)
    seen = watch_iterations(monkeypatch, cupy_double)
    on_gpu(model).fit(X, y, weights if weighted else None)
    iterates = not (isinstance(model, LinearGDRegressor) and model.precompute)
    assert len(seen) == iterates * 10
    shuffles = getattr(model, "solver", "gd") == "adam" and model.batch_size < 60
    for waits, transfers, launches in seen:
        assert waits == []
        assert transfers == [60 * 8] * shuffles  # the order of the rows; the host does not wait for it to arrive
        assert launches


@pytest.mark.one_in(2)
@kinds
def test_looks_are_as_many_for_more_rows_and_rarer_than_iterations(cupy_double, model):
    def waits_of_training(n, max_iter):
        X, y, _ = make_problem(n=n)
        cupy_double.waits.clear()
        # A rate at which 13 iterations learn: a loss that is no better than a constant's is looked at again.
        on_gpu(model, max_iter=max_iter, learning_rate=3e-2).fit(X, y)
        return cupy_double.waits.count(("to_floats", "get"))

    look = _ITERATIONS_PER_LOOK
    assert waits_of_training(60, look) == waits_of_training(120, look) == waits_of_training(60, look - 3)
    looks = waits_of_training(60, 5 * look) - waits_of_training(60, look)
    assert looks == (0 if model is KINDS["closed form"] else 4)


# Two launches take rows; H and F take two each, the loss and the sum of the losses one each, dW1 with dw four, db2 one,
# the penalty two and Adam one. The scaling layer adds four: V, two for da, dW1. Members add one, which places the
# blocks of W2. With several outputs, dW2 takes two and dZ two, and three of the four for dW1 with dw are not needed.
@pytest.mark.parametrize(
    ("name", "n_outputs", "n_products", "n_launches"),
    [
        ("adam, one member", 1, 3, 16),
        ("adam, four members", 1, 3, 21),
        ("adam, four members", 3, 5, 23),
    ],
)
def test_a_step_is_few_launches(cupy_double, monkeypatch, name, n_outputs, n_products, n_launches):
    X, y, _ = make_problem(n=64, n_outputs=n_outputs)
    seen = watch_iterations(monkeypatch, cupy_double)
    on_gpu(MODELS[name], max_iter=2).fit(X, y)
    launches = seen[1][2]  # the penalty begins in the first epoch
    per_step = launches[1:][: (len(launches) - 1) // 4]  # the first makes the scalar of the epoch; 4 batches
    assert launches[1:] == 4 * per_step
    assert per_step.count("matmul") == n_products
    assert len(per_step) == n_launches, per_step


@kinds
def test_stopping_by_tolerance_and_printing_are_as_on_the_cpu(cupy_double, model, capsys):
    X, y, _ = make_problem()
    options = {"tol": 1e-2, "max_iter": 500, "verbose": 7, "learning_rate": 0.01}
    ours = on_gpu(model, **options).fit(X, y)
    printed = capsys.readouterr().out
    expected = clone(model).set_params(**options).fit(X, y)
    assert ours.n_iter_ == expected.n_iter_ < 500
    numbers, same = (np.array(text.split(), dtype=float).reshape(-1, 2) for text in (printed, capsys.readouterr().out))
    np.testing.assert_allclose(numbers, same, rtol=1e-9)  # 500 iterations of sums of 60 terms


@pytest.mark.parametrize("name", ["gd", "sample space", "linear", "closed form", "adam", "adam, four members"])
def test_divergence_is_reported_at_the_iteration_where_it_happens(cupy_double, name):
    X, y, _ = make_problem()
    model = clone(MODELS[name]).set_params(learning_rate=1e200 if name.startswith("adam") else 3e8, max_iter=400)
    fitted = on_gpu(model, learning_rate=1e-3, max_iter=3).fit(X, y)
    before = dict(fitted.__dict__)
    messages = []
    for estimator in (fitted.set_params(**model.get_params() | {"array_module": "cupy"}), model):
        with pytest.raises(ValueError, match=r"diverged: the loss is not finite at iteration \d+") as error:
            estimator.fit(X, y)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert fitted.coefs_ is before["coefs_"] if "coefs_" in before else fitted.coef_ is before["coef_"]


@kinds
def test_training_is_resumed_exactly(cupy_double, model):
    X, y, _ = make_problem()
    if isinstance(model, TwoLayerReLURegressor):
        model = clone(model).set_params(learning_rate_schedule="constant")
    at_once = on_gpu(model, max_iter=5).fit(X, y)
    parts = on_gpu(model, max_iter=3, warm_start=True).fit(X, y)
    parts = pickle.loads(pickle.dumps(parts)).set_params(max_iter=2).fit(X, y)
    plain, passes = on_gpu(model, max_iter=5, precompute=False).fit(X, y), on_gpu(model, precompute=False)
    for _ in range(5):
        passes.partial_fit(X, y)
    for resumed, straight in ((parts, at_once), (passes, plain)):
        assert resumed.loss_curve_ == straight.loss_curve_
        for a, b in zip(coefficients_of(resumed), coefficients_of(straight), strict=True):
            np.testing.assert_array_equal(a, b)
    # What was begun on a GPU goes on without one.
    parts.set_params(array_module="auto").partial_fit(X, y)
    assert parts.n_iter_ == 6


def leaves(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@pytest.mark.one_in(3)
@models
def test_a_model_trained_on_a_gpu_knows_nothing_of_it(cupy_double, monkeypatch, model):
    X, y, weights = make_problem()
    fitted = on_gpu(model).fit(X, y, weights)
    allowed = (np.ndarray, np.generic, str, int, float, type(None))
    assert all(isinstance(leaf, allowed) for leaf in leaves(vars(fitted)))
    stored, expected = pickle.dumps(fitted), fitted.predict(X)
    assert b"cupy_double" not in stored
    monkeypatch.setitem(sys.modules, "cupy", None)  # a machine without CuPy
    cupy_double.launches.clear()
    np.testing.assert_array_equal(pickle.loads(stored).predict(X), expected)
    assert not cupy_double.launches


@kinds
def test_the_state_holds_arrays_of_numpy_for_input_of_cupy_too(cupy_double, model):
    import cupy

    X, y, _ = make_problem()
    with sklearn.config_context(array_api_dispatch=True):
        fitted = clone(model).fit(cupy.asarray(X), cupy.asarray(y))
    assert not any(isinstance(leaf, cupy.ndarray) for leaf in leaves(fitted._state))


@pytest.mark.exhaustive
def test_search_and_pipeline(cupy_double):
    X, y, _ = make_problem(n_outputs=1)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), NETWORK), {"twolayerreluregressor__learning_rate": [1e-3, 1e-2]}
    )
    there = clone(search).set_params(estimator__twolayerreluregressor__array_module="cupy").fit(X, y)
    search.fit(X, y)
    # Adam amplifies differences in rounding, see above; scores are of the order of 1.
    np.testing.assert_allclose(there.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=1e-6)


@pytest.mark.one_in(3)
@dtypes
@kinds
def test_arrays_of_another_library_train_on_a_gpu(cupy_double, model, dtype):
    xp = pytest.importorskip("array_api_strict")
    X, y, weights = make_problem(dtype=dtype)
    device = xp.Device("device1")
    expected = on_gpu(model).fit(X, y, weights).predict(X)
    with sklearn.config_context(array_api_dispatch=True):
        there = [xp.asarray(a, device=device) for a in (X, y, weights)]
        fitted = on_gpu(model).fit(*there)
        assert all(a.device == device for a in coefficients_of(fitted))
        predicted = np.asarray(fitted.predict(there[0]).to_device(xp.Device("CPU_DEVICE")))
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=60 * np.finfo(dtype).eps * np.abs(expected).max())


def test_data_frames_train_on_a_gpu(cupy_double):
    pd = pytest.importorskip("pandas")
    X, y, _ = make_problem()
    table = pd.DataFrame(X, columns=list("abcde"))
    ours = on_gpu(NETWORK).fit(table, y)
    np.testing.assert_array_equal(ours.predict(table), on_gpu(NETWORK).fit(X, y).predict(X))
    assert list(ours.feature_names_in_) == list("abcde")
