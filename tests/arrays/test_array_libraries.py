"""Arrays of other libraries: coefficients live where X lives, and values are NumPy's."""

import array_api_strict
import numpy as np
import pytest
import sklearn
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils._array_api import get_namespace
from sklearn.utils.estimator_checks import check_array_api_input_and_values

from problems import coefficients_of, dtypes, every_place, library_and_device, problem, to_numpy, weights_for
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

pytestmark = pytest.mark.usefixtures("one_torch_thread")
# A few iterations of each way of training, for what does not need the defaults.
BRIEF = {
    "adam": TwoLayerReLURegressor(20, n_members=1, scaling_layer=False, max_iter=20, batch_size=8, random_state=0),
    "adam, members": TwoLayerReLURegressor(
        20, n_members=4, scaling_layer=True, max_iter=20, batch_size=8, random_state=0
    ),
    "gd, momentum": TwoLayerReLURegressor(20, solver="gd", momentum=0.9, max_iter=20, random_state=0),
    "gd, no intercept": TwoLayerReLURegressor(20, solver="gd", fit_intercept=False, max_iter=20, random_state=0),
    "linear": LinearGDRegressor(max_iter=20),
}
every_estimator = pytest.mark.parametrize("estimator", BRIEF.values(), ids=BRIEF)


def three_outputs(dtype=np.float64):
    X, y = problem(24, m=3, dtype=dtype)
    return X, y, weights_for(X, whole=True) + 1


@pytest.mark.one_in(7)
@pytest.mark.parametrize("check_sample_weight", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_place
@every_estimator
def test_array_api_values(estimator, library, device, dtype, check_sample_weight):
    check_array_api_input_and_values(
        type(estimator).__name__,
        estimator,
        array_namespace=library,
        device_name=device,
        dtype_name=dtype,
        check_sample_weight=check_sample_weight,
    )


@pytest.mark.one_in(7)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_place
@every_estimator
def test_coefficients_live_where_X_lives(estimator, library, device, dtype, n_outputs):
    xp, device = library_and_device(library, device)
    X, y, weights = three_outputs(dtype)
    y = y[:, 0] if n_outputs == 1 else y
    weights = weights.astype(dtype)
    with_numpy = clone(estimator).fit(X, y, weights)
    X_xp, y_xp, weights_xp = (xp.asarray(a, device=device) for a in (X, y, weights))
    with config_context(array_api_dispatch=True):
        fitted = clone(estimator).fit(X_xp, y_xp, weights_xp)
        predicted = fitted.predict(X_xp)
        score = fitted.score(X_xp, y_xp)
        for a in [*coefficients_of(fitted), predicted]:
            assert get_namespace(a)[0] == get_namespace(X_xp)[0]
            assert a.device == X_xp.device
            assert a.dtype == X_xp.dtype
    assert isinstance(score, float)
    assert all(type(loss) is float for loss in fitted.loss_curve_)
    # Sums of at most 24 products, in another order, in each of 20 iterations.
    tolerance = 20 * 24 * np.finfo(dtype).eps
    np.testing.assert_allclose(fitted.loss_curve_, with_numpy.loss_curve_, rtol=tolerance)
    for a, expected in zip(coefficients_of(fitted), coefficients_of(with_numpy), strict=True):
        scale = max(np.abs(expected).max(), np.abs(y).max())
        np.testing.assert_allclose(to_numpy(a), expected, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(to_numpy(predicted), with_numpy.predict(X), rtol=0, atol=tolerance * np.abs(y).max())


@pytest.mark.one_in(5)
@every_place
@every_estimator
def test_everything_follows_X(estimator, library, device):
    xp, device = library_and_device(library, device)
    X, y, weights = three_outputs()
    X_xp, y_xp, weights_xp = (xp.asarray(a, device=device) for a in (X, y, weights.astype(float)))
    with config_context(array_api_dispatch=True):
        all_there = clone(estimator).fit(X_xp, y_xp, weights_xp)
        numpy_targets = clone(estimator).fit(X_xp, y, weights)
        numpy_inputs = clone(estimator).fit(X, y_xp, weights_xp)
        assert all(get_namespace(a)[0] == get_namespace(X_xp)[0] for a in coefficients_of(numpy_targets))
        assert all(a.device == X_xp.device for a in coefficients_of(numpy_targets))
    assert all(isinstance(a, np.ndarray) for a in coefficients_of(numpy_inputs))
    # The same numbers meet the same operations: no rounding to allow for.
    for ours, expected in [(numpy_targets, all_there), (numpy_inputs, clone(estimator).fit(X, y, weights))]:
        assert ours.loss_curve_ == expected.loss_curve_
        for a, b in zip(coefficients_of(ours), coefficients_of(expected), strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.one_in(5)
@every_place
@every_estimator
def test_training_is_resumed_where_X_lives(estimator, library, device):
    xp, device = library_and_device(library, device)
    X, y, _ = three_outputs()
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
        for a, b in zip(coefficients_of(resumed), coefficients_of(straight), strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def _elsewhere():
    strict, other = ("array_api_strict", "CPU_DEVICE"), ("array_api_strict", "device1")
    return [(None, strict), (strict, None), (strict, other), (None, ("torch", "cpu")), (("torch", "cpu"), strict)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("fitted_on", "given"), _elsewhere())
@every_estimator
def test_other_namespaces_than_that_of_fit_are_refused(estimator, fitted_on, given):
    X, y, _ = three_outputs()

    def moved(a, place):
        if place is None:
            return a
        xp, device = library_and_device(*place)
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
    X, y, _ = three_outputs()
    with config_context(array_api_dispatch=True):
        fitted = LinearGDRegressor(max_iter=3).fit(torch.asarray(X), torch.asarray(y))
    with pytest.raises(ValueError, match="array_api_dispatch=True"):
        fitted.predict(X)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "model",
    [
        LinearGDRegressor(max_iter=20, precompute=False),
        LinearGDRegressor(max_iter=20, precompute=True),
        TwoLayerReLURegressor(5, solver="gd", max_iter=5, precompute=False, learning_rate=0.05, random_state=0),
        TwoLayerReLURegressor(5, solver="gd", max_iter=5, precompute=True, learning_rate=0.05, random_state=0),
        TwoLayerReLURegressor(5, batch_size=8, max_iter=2, random_state=0),
        TwoLayerReLURegressor(8, n_members=4, batch_size=8, max_iter=2, random_state=0),
        TwoLayerReLURegressor(8, n_members=4, solver="gd", max_iter=5, learning_rate=0.05, random_state=0),
    ],
    ids=["linear", "closed form", "gd", "sample space", "adam", "adam, members", "gd, members"],
)
@dtypes
def test_training_on_a_device_that_is_not_the_default(model, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)).astype(dtype), rng.standard_normal((20, 2)).astype(dtype)
    expected = sklearn.clone(model).fit(X, y).predict(X)
    device = array_api_strict.Device("device1")
    with sklearn.config_context(array_api_dispatch=True):
        there = [array_api_strict.asarray(a, device=device) for a in (X, y)]
        predictions = sklearn.clone(model).fit(*there).predict(there[0])
        assert predictions.device == device
        assert predictions.dtype == getattr(array_api_strict, np.dtype(dtype).name)
        predictions = np.asarray(predictions.to_device(array_api_strict.Device("CPU_DEVICE")))
    # A few steps round a few times. Adam divides by no less than epsilon = 1e-8, so a small gradient that is off by eps
    # moves a weight by up to rate eps / epsilon in each of its six steps, and never by more than the rate.
    eps = np.finfo(dtype).eps
    adam = isinstance(model, TwoLayerReLURegressor) and model.solver == "adam"
    atol = 1e3 * eps + adam * 6 * 0.01 * min(1.0, 10 * eps / 1e-8)
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=atol)
