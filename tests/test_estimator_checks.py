"""scikit-learn's checks, generated and importable, on every kind of configuration; and arrays of other libraries."""

import importlib
import re
from collections import Counter

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils._array_api import get_namespace, move_to
from sklearn.utils.estimator_checks import (
    check_array_api_input_and_values,
    check_dataframe_column_names_consistency,
    check_estimator,
    check_param_validation,
    estimator_checks_generator,
    parametrize_with_checks,
)

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

INSTANCES = [
    TwoLayerReLURegressor(),
    LinearGDRegressor(),
    TwoLayerReLURegressor(solver="gd"),
    TwoLayerReLURegressor(solver="gd", momentum=0.9),
    # The first instance trains for the default 1500 iterations; fewer here keep the suite short.
    TwoLayerReLURegressor(max_iter=150, standardize=False),
    TwoLayerReLURegressor(max_iter=150, fit_intercept=False),
    LinearGDRegressor(fit_intercept=False),
    TwoLayerReLURegressor(max_iter=150, reduction="sum"),
    LinearGDRegressor(reduction="sum"),
    LinearGDRegressor(standardize=False),
]

# A few iterations of each way of training, for what does not need the defaults.
BRIEF = [
    TwoLayerReLURegressor(20, max_iter=20, batch_size=8, random_state=0),
    TwoLayerReLURegressor(20, solver="gd", momentum=0.9, max_iter=20, random_state=0),
    TwoLayerReLURegressor(20, solver="gd", fit_intercept=False, max_iter=20, random_state=0),
    LinearGDRegressor(max_iter=20),
]

# Where the dtypes are those that a library and device support; torch is left out where it is not installed.
PLACES = [("array_api_strict", "CPU_DEVICE"), ("array_api_strict", "device1"), ("torch", "cpu")]


def _importable(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@pytest.fixture(autouse=True, scope="module")
def _one_torch_thread():
    """On arrays this small, torch's threads spend the time waiting for each other, most of all on a busy machine."""
    if not _importable("torch"):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _library_and_device(name, device):
    xp = pytest.importorskip(name)
    return xp, xp.Device(device) if name == "array_api_strict" else device


def _by_name(estimator):
    return str(estimator)


def _to_numpy(a):
    with config_context(array_api_dispatch=True):
        return move_to(a, xp=np, device="cpu")


def _fitted_arrays(estimator):
    if isinstance(estimator, TwoLayerReLURegressor):
        return [*estimator.coefs_, *estimator.intercepts_]
    return [estimator.coef_] if isinstance(estimator.intercept_, float) else [estimator.coef_, estimator.intercept_]


def _two_output_problem(dtype=np.float64, n=24):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, 3)).astype(dtype)
    y = (np.stack([np.abs(X[:, 0]), X[:, 1] - X[:, 2]], axis=1) + 0.1 * rng.normal(size=(n, 2))).astype(dtype)
    return X, y, rng.randint(1, 4, size=n)


@parametrize_with_checks(INSTANCES, xfail_strict=True)
def test_generated_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", INSTANCES, ids=_by_name)
def test_no_check_is_lost(estimator):
    # weights, partial_fit, array_api_support and no sparse input: scikit-learn 1.9 makes 80 checks of these tags
    assert len(list(estimator_checks_generator(estimator))) == 80


# Which checks can run depends on the class and its tags alone, so the instances that train fastest are enough.
@pytest.mark.parametrize(
    "estimator", [TwoLayerReLURegressor(solver="gd", max_iter=100), LinearGDRegressor(max_iter=100)], ids=_by_name
)
def test_only_absent_libraries_and_devices_are_skipped(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] not in ("passed", "skipped")] == []
    reasons = [str(r["exception"]) for r in results if r["status"] == "skipped"]
    for reason in reasons:
        assert re.search(r"\b(cupy|dpnp|torch|cuda|CUDA|XPU|MPS|SYCL)\b", reason), reason
        assert re.search(
            r"not installed|not available|no \w+ devices?\b|PYTORCH_ENABLE_MPS_FALLBACK is not set", reason
        )
    assert len(results) == 80
    if not _importable("cupy") and not _importable("dpnp") and not _torch_has_accelerator():
        assert len(reasons) == (14 if _importable("torch") else 17), Counter(reasons)


def _torch_has_accelerator():
    if not _importable("torch"):
        return False
    import torch

    return torch.backends.cuda.is_built() or torch.xpu.is_available() or torch.backends.mps.is_built()


@pytest.mark.parametrize("check_sample_weight", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("library", "device"), PLACES)
@pytest.mark.parametrize("estimator", BRIEF, ids=_by_name)
def test_array_api_values(estimator, library, device, dtype, check_sample_weight):
    check_array_api_input_and_values(
        type(estimator).__name__,
        estimator,
        array_namespace=library,
        device_name=device,
        dtype_name=dtype,
        check_sample_weight=check_sample_weight,
    )


@pytest.mark.parametrize("estimator", INSTANCES, ids=_by_name)
def test_parameters_are_validated(estimator):
    check_param_validation(type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", BRIEF, ids=_by_name)
def test_column_names_are_consistent(estimator):
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator_class", [TwoLayerReLURegressor, LinearGDRegressor])
def test_tags(estimator_class):
    tags = get_tags(estimator_class())
    assert tags.estimator_type == "regressor"
    assert tags.target_tags.multi_output
    assert tags.target_tags.single_output
    assert tags.target_tags.required
    assert tags.array_api_support
    assert not tags.input_tags.sparse
    assert not tags.input_tags.allow_nan
    assert not tags.non_deterministic
    assert not tags.regressor_tags.poor_score
    assert not tags.no_validation


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("estimator", INSTANCES, ids=_by_name)
def test_two_outputs(estimator, dtype):
    X, y, _ = _two_output_problem(dtype)
    fitted = clone(estimator).set_params(random_state=0, max_iter=50).fit(X, y)
    predicted = fitted.predict(X)
    assert predicted.shape == (24, 2)
    assert predicted.dtype == dtype
    assert fitted.n_outputs_ == 2
    assert isinstance(fitted.score(X, y), float)
    assert all(a.dtype == dtype for a in _fitted_arrays(fitted))
    # A product over rows may round differently in another number of rows: by some eps per term, relative to the terms.
    one_by_one = np.concatenate([fitted.predict(X[i : i + 1]) for i in range(24)])
    scale = np.abs(X).max() * sum(np.abs(a).max() for a in _fitted_arrays(fitted)) ** 2 + 1
    np.testing.assert_allclose(predicted, one_by_one, rtol=0, atol=100 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("estimator", INSTANCES, ids=_by_name)
def test_two_outputs_weights_are_repeated_rows(estimator):
    X, y, repeats = _two_output_problem()
    model = clone(estimator).set_params(random_state=0, max_iter=50)
    weighted = clone(model).fit(X, y, sample_weight=repeats)
    repeated = clone(model).fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats, axis=0))
    # Sums over about 50 rows, in another order, in each of 50 iterations; Adam's division passes on what it gets.
    tolerance = 50 * 50 * np.finfo(np.float64).eps
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=tolerance)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=0, atol=tolerance * np.abs(y).max())


def test_two_outputs_of_the_linear_model_are_two_models():
    X, y, weights = _two_output_problem()
    both = LinearGDRegressor(max_iter=50).fit(X, y, weights)
    for k in range(2):
        one = LinearGDRegressor(max_iter=50).fit(X, y[:, k], weights)
        # The step is the same for both, so each column sees the same arithmetic up to the order of sums.
        tolerance = 50 * 24 * np.finfo(np.float64).eps
        np.testing.assert_allclose(both.coef_[k], one.coef_, rtol=0, atol=tolerance * np.abs(one.coef_).max())
        np.testing.assert_allclose(both.intercept_[k], one.intercept_, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("library", "device"), PLACES)
@pytest.mark.parametrize("estimator", BRIEF, ids=_by_name)
def test_coefficients_live_where_X_lives(estimator, library, device, dtype, n_outputs):
    xp, device = _library_and_device(library, device)
    X, y, weights = _two_output_problem(dtype)
    y = y[:, 0] if n_outputs == 1 else y
    weights = weights.astype(dtype)
    with_numpy = clone(estimator).fit(X, y, weights)
    X_xp, y_xp, weights_xp = (xp.asarray(a, device=device) for a in (X, y, weights))
    with config_context(array_api_dispatch=True):
        fitted = clone(estimator).fit(X_xp, y_xp, weights_xp)
        predicted = fitted.predict(X_xp)
        score = fitted.score(X_xp, y_xp)
        for a in [*_fitted_arrays(fitted), predicted]:
            assert get_namespace(a)[0] == get_namespace(X_xp)[0]
            assert a.device == X_xp.device
            assert a.dtype == X_xp.dtype
    assert isinstance(score, float)
    assert all(type(loss) is float for loss in fitted.loss_curve_)
    # Sums of at most 24 products, in another order, in each of 20 iterations.
    tolerance = 20 * 24 * np.finfo(dtype).eps
    np.testing.assert_allclose(fitted.loss_curve_, with_numpy.loss_curve_, rtol=tolerance)
    for a, expected in zip(_fitted_arrays(fitted), _fitted_arrays(with_numpy), strict=True):
        scale = max(np.abs(expected).max(), np.abs(y).max())
        np.testing.assert_allclose(_to_numpy(a), expected, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(_to_numpy(predicted), with_numpy.predict(X), rtol=0, atol=tolerance * np.abs(y).max())


@pytest.mark.parametrize(("library", "device"), PLACES)
@pytest.mark.parametrize("estimator", BRIEF, ids=_by_name)
def test_everything_follows_X(estimator, library, device):
    xp, device = _library_and_device(library, device)
    X, y, weights = _two_output_problem()
    X_xp, y_xp, weights_xp = (xp.asarray(a, device=device) for a in (X, y, weights.astype(float)))
    with config_context(array_api_dispatch=True):
        all_there = clone(estimator).fit(X_xp, y_xp, weights_xp)
        numpy_targets = clone(estimator).fit(X_xp, y, weights)
        numpy_inputs = clone(estimator).fit(X, y_xp, weights_xp)
        assert all(get_namespace(a)[0] == get_namespace(X_xp)[0] for a in _fitted_arrays(numpy_targets))
        assert all(a.device == X_xp.device for a in _fitted_arrays(numpy_targets))
    assert all(isinstance(a, np.ndarray) for a in _fitted_arrays(numpy_inputs))
    # The same numbers meet the same operations: no rounding to allow for.
    for ours, expected in [(numpy_targets, all_there), (numpy_inputs, clone(estimator).fit(X, y, weights))]:
        assert ours.loss_curve_ == expected.loss_curve_
        for a, b in zip(_fitted_arrays(ours), _fitted_arrays(expected), strict=True):
            np.testing.assert_array_equal(_to_numpy(a), _to_numpy(b))


@pytest.mark.parametrize(("library", "device"), PLACES)
@pytest.mark.parametrize("estimator", BRIEF, ids=_by_name)
def test_training_is_resumed_where_X_lives(estimator, library, device):
    xp, device = _library_and_device(library, device)
    X, y, _ = _two_output_problem()
    X_xp, y_xp = xp.asarray(X, device=device), xp.asarray(y, device=device)
    model = clone(estimator)
    if isinstance(model, TwoLayerReLURegressor):
        model.set_params(learning_rate_schedule="constant")
    with config_context(array_api_dispatch=True):
        at_once = clone(model).set_params(max_iter=5).fit(X_xp, y_xp)
        in_parts = clone(model).set_params(max_iter=3, warm_start=True).fit(X_xp, y_xp)
        in_parts.set_params(max_iter=2).fit(X_xp, y_xp)
        plain = clone(model).set_params(max_iter=5, precompute=False).fit(X_xp, y_xp)
        passes = clone(plain)
        for _ in range(5):
            passes.partial_fit(X_xp, y_xp)
    for resumed, straight in ((in_parts, at_once), (passes, plain)):
        assert resumed.loss_curve_ == straight.loss_curve_
        for a, b in zip(_fitted_arrays(resumed), _fitted_arrays(straight), strict=True):
            np.testing.assert_array_equal(_to_numpy(a), _to_numpy(b))


def _elsewhere():
    strict, other = ("array_api_strict", "CPU_DEVICE"), ("array_api_strict", "device1")
    return [(None, strict), (strict, None), (strict, other), (None, ("torch", "cpu")), (("torch", "cpu"), strict)]


@pytest.mark.parametrize(("fitted_on", "given"), _elsewhere())
@pytest.mark.parametrize("estimator", BRIEF, ids=_by_name)
def test_other_namespaces_than_that_of_fit_are_refused(estimator, fitted_on, given):
    X, y, _ = _two_output_problem()

    def moved(a, place):
        if place is None:
            return a
        xp, device = _library_and_device(*place)
        return xp.asarray(a, device=device)

    name = type(estimator).__name__
    with config_context(array_api_dispatch=True):
        fitted = clone(estimator).fit(moved(X, fitted_on), moved(y, fitted_on))
        with pytest.raises(ValueError, match=rf"{name}\.predict\(\) must use the same namespace"):
            fitted.predict(moved(X, given))
        with pytest.raises(ValueError, match=rf"{name}\.partial_fit\(\) must use the same namespace"):
            fitted.partial_fit(moved(X, given), moved(y, given))
        fitted.set_params(warm_start=True)
        with pytest.raises(ValueError, match=rf"{name}\.fit\(\) must use the same namespace"):
            fitted.fit(moved(X, given), moved(y, given))
        assert len(fitted.loss_curve_) == fitted.n_iter_ == 20


def test_dispatch_turned_off_after_fit_is_reported():
    torch = pytest.importorskip("torch")
    X, y, _ = _two_output_problem()
    with config_context(array_api_dispatch=True):
        fitted = LinearGDRegressor(max_iter=3).fit(torch.asarray(X), torch.asarray(y))
    with pytest.raises(ValueError, match="array_api_dispatch=True"):
        fitted.predict(X)
