"""Changes of the problem that must not change the model, or must change it in a known way."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from problems import EPS
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._models.network import TwoLayerNetwork

N_ITER = 12
ADAM_EPSILON, ADAM_RATE = 1e-8, 0.01
linear = {"name": "linear", "alpha": 0.5, "max_iter": 40, "precompute": False}
closed_form = linear | {"precompute": True}
gd = {"name": "gd", "alpha": 0.5, "max_iter": N_ITER, "precompute": False}
momentum = gd | {"momentum": 0.7}
sample_space = momentum | {"precompute": True}
adam = {"name": "adam", "alpha": 0.5, "max_iter": N_ITER, "batch_size": 10**6}  # the whole batch in each step
LINEAR = {"linear": linear, "closed form": closed_form}
FULL_BATCH = LINEAR | {"gd": gd, "momentum": momentum, "sample space": sample_space}
NETWORKS = {"gd": gd, "momentum": momentum, "sample space": sample_space, "adam": adam}


def over(solvers):
    return pytest.mark.parametrize("settings", solvers.values(), ids=solvers)


linear_models, full_batch, networks = over(LINEAR), over(FULL_BATCH), over(NETWORKS)
every_solver = over(FULL_BATCH | NETWORKS)
standardizes = pytest.mark.parametrize("standardize", [True, False], ids=["standardized", "raw"])


def make(settings, **parameters):
    parameters = {"random_state": 0} | settings | parameters
    name = parameters.pop("name")
    if name == "linear":
        return LinearGDRegressor(**parameters)
    network = {"hidden_layer_size": 6, "solver": name}
    if name == "gd":  # "auto" is an estimate to 1e-5, which is more than rounding
        network["learning_rate"] = 0.02 if parameters.get("standardize", True) else 0.001
    return TwoLayerReLURegressor(**network | parameters)


def no_scaling_layer(settings):
    """It comes with `standardize`, so a comparison with data standardized by hand leaves it out."""
    return {} if settings["name"] == "linear" else {"scaling_layer": False}


def make_data(n=40, d=4, m=1):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * [1.0, 3.0, 0.2, 10.0][:d] + [0.0, 1.0, -0.5, 5.0][:d]
    y = np.sin(X) @ rng.standard_normal((d, m)) + 0.1 * rng.standard_normal((n, m)) + 2.0
    return X, y[:, 0] if m == 1 else y


def tolerance(settings, delta=1.0):
    """What `delta` eps in the data, or in sums over the rows, becomes in the predictions after these few iterations.

    A step of gradient descent below the stability limit does not amplify an error by more than a little: 100 for each
    iteration also covers the size of the sums. Adam divides small gradients by no less than epsilon, so that a
    difference of eps in one of them moves a weight by rate eps / epsilon in a step.
    """
    atol = 100 * settings["max_iter"] * delta * EPS
    if settings["name"] == "adam":
        atol += settings["max_iter"] * ADAM_RATE * 10 * delta * EPS / ADAM_EPSILON
    return atol


def assert_close(a, b, atol):
    """Up to `atol` in units of the size of b."""
    np.testing.assert_allclose(a, b, rtol=0, atol=atol * np.abs(b).max())


@pytest.mark.one_in(5)
@every_solver
@standardizes
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"reduction": "sum"}], ids=str)
@pytest.mark.parametrize("m", [1, 2])
def test_weights_are_repeated_rows(settings, standardize, m, options):
    X, y = make_data(m=m)
    if settings["name"] == "gd" and "reduction" in options:
        options = options | {"learning_rate": 1e-5}  # of a sum; "auto" is an estimate
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    assert (weights == 0).any()
    model = make(settings, standardize=standardize, **options).fit(X, y, sample_weight=weights)
    repeated = make(settings, standardize=standardize, **options)
    repeated.fit(X.repeat(weights, axis=0), y.repeat(weights, axis=0))
    assert_close(model.predict(X), repeated.predict(X), tolerance(settings))
    np.testing.assert_allclose(model.loss_curve_, repeated.loss_curve_, rtol=tolerance(settings))
    assert model.alpha_ == pytest.approx(repeated.alpha_, rel=10 * EPS, abs=0.0)


def automatic_rate(settings, standardize, X, y, sample_weight=None):
    parameters = {"standardize": standardize, "learning_rate": "auto", "max_iter": 1}
    return make(settings, **parameters).fit(X, y, sample_weight=sample_weight).learning_rate_


@full_batch
@standardizes
def test_the_automatic_learning_rate_sees_only_the_objective(settings, standardize):
    X, y = make_data()
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    X_repeated, y_repeated = X.repeat(weights, axis=0), y.repeat(weights, axis=0)
    order = np.random.default_rng(2).permutation(len(y_repeated))
    rates = [
        automatic_rate(settings, standardize, X, y, weights),
        automatic_rate(settings, standardize, X_repeated, y_repeated),
        automatic_rate(settings, standardize, X_repeated[order], y_repeated[order]),
    ]
    # The residual is brought under 1e-5, and the eigenvalue of a symmetric matrix is as good as its square.
    np.testing.assert_allclose(rates, rates[0], rtol=10 * 1e-5**2)


def test_weights_are_repeated_rows_for_the_automatic_penalty():
    X, y = make_data()
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    model = make(adam, alpha="auto").fit(X, y, sample_weight=weights)
    repeated = make(adam, alpha="auto").fit(X.repeat(weights, axis=0), y.repeat(weights, axis=0))
    assert_close(model.predict(X), repeated.predict(X), tolerance(adam))
    assert model.alpha_ == pytest.approx(repeated.alpha_, rel=tolerance(adam), abs=0.0)


@every_solver
@standardizes
def test_unit_weights_are_no_weights(settings, standardize):
    X, y = make_data()
    weighted = make(settings, standardize=standardize).fit(X, y, sample_weight=np.ones(len(X)))
    plain = make(settings, standardize=standardize).fit(X, y)
    assert_close(weighted.predict(X), plain.predict(X), tolerance(settings))


@pytest.mark.one_in(5)
@every_solver
@standardizes
@pytest.mark.parametrize("factor", [2.0**-20, 3.7, 1e200])
def test_scaled_weights_with_scaled_alpha(settings, standardize, factor):
    X, y = make_data()
    weights = np.random.default_rng(1).uniform(0.0, 2.0, len(X))
    model = make(settings, standardize=standardize).fit(X, y, sample_weight=weights)
    scaled = make(settings, standardize=standardize, alpha=settings["alpha"] * factor)
    scaled.fit(X, y, sample_weight=weights * factor)
    assert_close(scaled.predict(X), model.predict(X), tolerance(settings))
    np.testing.assert_allclose(scaled.loss_curve_, model.loss_curve_, rtol=tolerance(settings))


@every_solver
@standardizes
def test_stacking_the_rows_twice_with_twice_the_alpha(settings, standardize):
    X, y = make_data()
    model = make(settings, standardize=standardize).fit(X, y)
    stacked = make(settings, standardize=standardize, alpha=2 * settings["alpha"])
    stacked.fit(np.vstack([X, X]), np.concatenate([y, y]))
    assert_close(stacked.predict(X), model.predict(X), tolerance(settings))
    np.testing.assert_allclose(stacked.loss_curve_, model.loss_curve_, rtol=tolerance(settings))


@every_solver
@standardizes
def test_the_order_of_the_rows(settings, standardize):
    X, y = make_data()
    order = np.random.default_rng(2).permutation(len(X))
    model = make(settings, standardize=standardize).fit(X, y)
    permuted = make(settings, standardize=standardize).fit(X[order], y[order])
    assert_close(permuted.predict(X), model.predict(X), tolerance(settings))


@linear_models
@standardizes
def test_the_order_of_the_features_of_the_linear_model(settings, standardize):
    X, y = make_data()
    order = [2, 0, 3, 1]
    model = make(settings, standardize=standardize).fit(X, y)
    permuted = make(settings, standardize=standardize).fit(X[:, order], y)
    assert_close(permuted.coef_, model.coef_[order], tolerance(settings))
    assert permuted.intercept_ == pytest.approx(model.intercept_, rel=tolerance(settings), abs=0.0)


def draw_rows(monkeypatch, rows):
    """Make the network take these rows of what it draws for W1, zeros where a row is None."""
    original = TwoLayerNetwork.draw

    def draw(self, rng):
        n_drawn = sum(row is not None for row in rows)
        shape = n_drawn, self.n_hidden, self.n_outputs, self.fit_intercept
        W1, W2, b2, _ = original(TwoLayerNetwork(self.am, *shape, self.theta.dtype, n_members=self.n_members), rng)
        taken = [np.zeros_like(W1[0]) if row is None else W1[row] for row in rows]
        return [np.vstack([*taken, W1[-1]]), W2, b2, np.ones(self.n_inputs * self.scaling_layer)]

    monkeypatch.setattr(TwoLayerNetwork, "draw", draw)


@networks
@standardizes
def test_the_order_of_the_features_with_initial_weights_to_match(settings, standardize, monkeypatch):
    X, y = make_data()
    order = [2, 0, 3, 1]
    model = make(settings, standardize=standardize).fit(X, y)
    draw_rows(monkeypatch, order)
    permuted = make(settings, standardize=standardize).fit(X[:, order], y)
    assert_close(permuted.predict(X[:, order]), model.predict(X), tolerance(settings))
    assert_close(permuted.coefs_[0], model.coefs_[0][order], 10 * tolerance(settings))


@pytest.mark.one_in(5)
@every_solver
@pytest.mark.parametrize("x_scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("y_scale", [1e-6, 1e6])
def test_affine_changes_of_standardized_data(settings, x_scale, y_scale):
    X, y = make_data(m=2)
    rng = np.random.default_rng(3)
    scales, offsets = x_scale * 10.0 ** rng.uniform(-1, 1, 4), x_scale * np.array([0.0, 50.0, -300.0, 1000.0])
    model = make(settings).fit(X, y)
    changed = make(settings).fit(X * scales + offsets, y * y_scale + 100.0 * y_scale)
    predictions = changed.predict(X * scales + offsets) / y_scale - 100.0
    # An offset of k standard deviations rounds the data by k eps in standard deviations: here below 1000 / 0.02.
    smallest = (X.std(axis=0) * scales / x_scale).min()
    assert smallest > 0.02
    assert_close(predictions, model.predict(X), tolerance(settings, delta=1000.0 / 0.02))
    np.testing.assert_allclose(changed.loss_curve_, model.loss_curve_, rtol=tolerance(settings, delta=1000.0 / 0.02))


@every_solver
@pytest.mark.parametrize("exponents", [(-40, 30), (200, -150)])
def test_powers_of_two_change_nothing_at_all(settings, exponents):
    X, y = make_data()
    x_scale, y_scale = 2.0 ** exponents[0], 2.0 ** exponents[1]
    model = make(settings).fit(X, y)
    changed = make(settings).fit(X * x_scale, y * y_scale)
    np.testing.assert_array_equal(changed.predict(X * x_scale) / y_scale, model.predict(X))
    assert changed.loss_curve_ == model.loss_curve_


@pytest.mark.one_in(11)
@every_solver
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 5.0, -0.1, 1e-20, 1e20])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_constant_y_is_predicted_exactly(settings, dtype, value, weighted):
    X, _ = make_data()
    value = dtype(value)
    weights = np.random.default_rng(1).uniform(0.0, 2.0, len(X)) if weighted else None
    model = make(settings).fit(X.astype(dtype), np.full(len(X), value), sample_weight=weights)
    np.testing.assert_array_equal(model.predict(100 * X.astype(dtype)), value)
    assert model.loss_curve_ == [0.0] * settings["max_iter"]


@every_solver
def test_a_constant_output_beside_another(settings):
    X, y = make_data()
    model = make(settings).fit(X, np.column_stack([np.full(len(X), 1.1), y]))
    np.testing.assert_array_equal(model.predict(100 * X)[:, 0], 1.1)
    assert model.predict(X)[:, 1].std() > 0.0


@pytest.mark.one_in(5)
@every_solver
@pytest.mark.parametrize("constant", [0.0, 0.1, -1e8, 1e-300])
def test_a_constant_feature_is_harmless(settings, constant, monkeypatch):
    X, y = make_data()
    model = make(settings).fit(X, y)
    wider = np.insert(X, 2, constant, axis=1)
    if settings["name"] != "linear":
        draw_rows(monkeypatch, [0, 1, None, 2, 3])
    with_constant = make(settings).fit(wider, y)
    assert_close(with_constant.predict(wider), model.predict(X), tolerance(settings))
    coef = with_constant.coef_[2] if settings["name"] == "linear" else with_constant.coefs_[0][2]
    # Its standardized values are zeros, so its weight starts at zero and has no gradient.
    np.testing.assert_array_equal(coef, 0.0)


@every_solver
@standardizes
def test_a_column_of_zeros_is_harmless_without_intercept(settings, standardize):
    X, y = make_data()
    X[:, 1] = 0.0
    model = make(settings, fit_intercept=False, standardize=standardize).fit(X, y)
    X_new = X.copy()
    X_new[:, 1] = 1.0
    assert np.isfinite(model.predict(X_new)).all()
    if settings["name"] == "linear":  # starts at zero and has no gradient
        assert model.coef_[1] == 0.0


@linear_models
def test_only_constant_features_predict_the_mean(settings):
    _, y = make_data()
    X = np.full((len(y), 3), 7.0)
    model = make(settings).fit(X, y)
    assert_close(model.predict(X), np.full(len(y), y.mean()), tolerance(settings))


@every_solver
@pytest.mark.parametrize("m", [1, 2])
def test_standardizing_by_hand(settings, m):
    X, y = make_data(m=m)
    x_scaler, y_scaler = StandardScaler().fit(X), StandardScaler().fit(y.reshape(len(y), -1))
    model = make(settings, **no_scaling_layer(settings)).fit(X, y)
    scaled_y = y_scaler.transform(y.reshape(len(y), -1))
    by_hand = make(settings, standardize=False, learning_rate=model.learning_rate_)
    by_hand.fit(x_scaler.transform(X), scaled_y)
    predictions = y_scaler.inverse_transform(by_hand.predict(x_scaler.transform(X))).reshape(y.shape)
    assert_close(model.predict(X), predictions, tolerance(settings))
    np.testing.assert_allclose(model.loss_curve_, by_hand.loss_curve_, rtol=tolerance(settings))
    # The fold: (x - mean) / scale W' + b' = x (W' / scale) + (b' - mean / scale W').
    if settings["name"] == "linear":
        first, bias = by_hand.coef_.T, by_hand.intercept_
        expected = first * y_scaler.scale_ / x_scaler.scale_[:, None]
        assert_close(model.coef_.reshape(m, -1).T, expected, 10 * tolerance(settings))
    else:
        first, bias = by_hand.coefs_[0], by_hand.intercepts_[0]
        assert_close(model.coefs_[0], first / x_scaler.scale_[:, None], 10 * tolerance(settings))
        assert_close(model.coefs_[1], by_hand.coefs_[1] * y_scaler.scale_, 10 * tolerance(settings))
        expected = bias - x_scaler.mean_ / x_scaler.scale_ @ first
        assert_close(model.intercepts_[0], expected, 10 * tolerance(settings))


@every_solver
def test_scaling_by_hand_without_intercept(settings):
    X, y = make_data()
    x_scale, y_scale = np.sqrt(np.square(X).mean(axis=0)), np.sqrt(np.square(y).mean())
    model = make(settings, **no_scaling_layer(settings), fit_intercept=False).fit(X, y)
    by_hand = make(settings, fit_intercept=False, standardize=False, learning_rate=model.learning_rate_)
    by_hand.fit(X / x_scale, y / y_scale)
    assert_close(model.predict(X), y_scale * by_hand.predict(X / x_scale), tolerance(settings))
    assert_close(model.predict(np.zeros((1, 4))), np.zeros(1), tolerance(settings))


@pytest.mark.one_in(5)
@full_batch
@standardizes
@pytest.mark.parametrize("learning_rate", [0.01, "auto"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_sum_is_the_mean_at_another_learning_rate(settings, standardize, learning_rate, weighted):
    X, y = make_data(m=2)
    X = X / 10.0
    weights = np.random.default_rng(1).uniform(0.1, 2.0, len(X)) if weighted else None
    factor = 2.0 * (weights.sum() if weighted else len(X))  # the sum is 2 S times the mean, with 2 S times the penalty
    mean = make(settings, standardize=standardize, learning_rate=learning_rate).fit(X, y, sample_weight=weights)
    total = make(
        settings,
        standardize=standardize,
        reduction="sum",
        alpha=factor * settings["alpha"],
        learning_rate=learning_rate if learning_rate == "auto" else learning_rate / factor,
    ).fit(X, y, sample_weight=weights)
    assert_close(total.predict(X), mean.predict(X), tolerance(settings))
    np.testing.assert_allclose(total.loss_curve_, factor * np.array(mean.loss_curve_), rtol=tolerance(settings))
    assert total.learning_rate_ * factor == pytest.approx(mean.learning_rate_, rel=tolerance(settings), abs=0.0)


def test_the_automatic_penalty_is_the_same_for_both_reductions():
    # Adam does not see a constant factor of the objective but through its epsilon, here 80 times smaller.
    X, y = make_data()
    settings = adam | {"alpha": "auto"}
    mean = make(settings).fit(X, y)
    total = make(settings, reduction="sum").fit(X, y)
    smallest_gradient_that_matters = 1e-3
    atol = settings["max_iter"] * ADAM_RATE * ADAM_EPSILON / smallest_gradient_that_matters
    assert_close(total.predict(X), mean.predict(X), 10 * atol)
    assert total.alpha_ == pytest.approx(2 * len(X) * mean.alpha_, rel=10 * atol, abs=0.0)


@linear_models
@standardizes
def test_a_copy_of_an_output_is_predicted_like_the_original(settings, standardize):
    X, y = make_data()
    model = make(settings, standardize=standardize).fit(X, y)
    copied = make(settings, standardize=standardize).fit(X, np.column_stack([y, -y, y]))
    for k, sign in enumerate([1.0, -1.0, 1.0]):
        assert_close(sign * copied.predict(X)[:, k], model.predict(X), tolerance(settings))
    assert copied.loss_curve_ == pytest.approx(3 * np.array(model.loss_curve_), rel=tolerance(settings), abs=0.0)
    assert copied.learning_rate_ == pytest.approx(model.learning_rate_, rel=tolerance(settings), abs=0.0)


@pytest.mark.parametrize("shortcut", [False, True])
def test_copies_of_a_column_share_its_coefficient(shortcut):
    X, y = make_data(m=2)
    X = X[:, :4] / [1.0, 3.0, 0.2, 10.0]
    model = LinearGDRegressor(precompute=shortcut, learning_rate=0.05, max_iter=40)
    copied = clone(model).fit(X[:, [0, 1, 1, 1]], y)
    assert_allclose(copied.coef_[:, 1:], copied.coef_[:, [1, 1, 1]], rtol=1e4 * EPS)
    # A column scaled by sqrt(k) takes the same steps as k copies together.
    scaled = clone(model).set_params(standardize=False, fit_intercept=False)
    one = clone(scaled).fit(X[:, :1] * np.sqrt(3.0), y)
    three = clone(scaled).fit(X[:, [0, 0, 0]], y)
    assert_allclose(one.predict(X[:, :1] * np.sqrt(3.0)), three.predict(X[:, [0, 0, 0]]), rtol=1e4 * EPS)
