"""Members as a user meets them: how many there are, the spread of their predictions, and the automatic penalty."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1

from problems import EPS, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

FAST = TwoLayerReLURegressor(8, max_iter=3, random_state=0)


# --- how many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "h", "solver", "n_members"),
    [
        *((100, 200, "adam", 8), (4999, 200, "adam", 8), (5000, 200, "adam", 4), (100, 200, "gd", 1)),
        *((100, 12, "adam", 4), (100, 7, "adam", 1), (5000, 6, "adam", 2)),
    ],
)
def test_auto(n, h, solver, n_members):
    X, y = problem(n)
    model = TwoLayerReLURegressor(h, solver=solver, max_iter=1, random_state=0).fit(X, y)
    assert model._member_intercepts.shape == (n_members, 1)
    assert [W.shape for W in model.coefs_] == [(3, h), (h, 1)]
    assert [b.shape for b in model.intercepts_] == [(h,), (1,)]


def test_a_number_that_does_not_divide_the_units_is_refused():
    with pytest.raises(ValueError, match=r"n_members=3 does not divide hidden_layer_size=200.*Choose a divisor of 200"):
        TwoLayerReLURegressor(n_members=3).fit(*problem())


def test_another_number_cannot_resume():
    model = clone(FAST).set_params(warm_start=True).fit(*problem())
    with pytest.raises(ValueError, match="n_members was 8 and is 4"):
        model.set_params(n_members=4).fit(*problem())
    model.set_params(n_members="auto").fit(*problem(6000))  # stays what it was
    assert model._member_intercepts.shape == (8, 1)


def test_a_scaling_layer_needs_adam_and_standardized_columns():
    for parameters in ({"solver": "gd"}, {"standardize": False}):
        with pytest.raises(ValueError, match="scaling_layer=True needs solver='adam' and standardize=True"):
            clone(FAST).set_params(scaling_layer=True, **parameters).fit(*problem())
        clone(FAST).set_params(**parameters).fit(*problem())


@pytest.mark.parametrize("parameters", [{"solver": "gd", "learning_rate": 1e-15}, {"scaling_layer": False}])
def test_a_run_without_the_scaling_layer_resumes_the_same_function(parameters):
    X, y = problem()
    model = TwoLayerReLURegressor(8, max_iter=20, warm_start=True, random_state=0).fit(X, y)
    before = model.predict(X)
    rate = {"learning_rate": 1e-15, "learning_rate_schedule": "constant"}
    model.set_params(max_iter=1, **rate | parameters).fit(X, y)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-9)
    model.set_params(solver="adam", scaling_layer="auto").fit(X, y)  # and with one again
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-9)


# --- return_std -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [None, 2])
def test_return_std(m, dtype):
    X, y = problem(40, 4, m, dtype=dtype)
    model = TwoLayerReLURegressor(12, n_members=4, max_iter=5, random_state=0).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape
    assert mean.dtype == std.dtype == dtype
    np.testing.assert_array_equal(mean, model.predict(X))
    # Each member is a network of its own columns of the weights.
    members = []
    for k in range(4):
        unit = slice(3 * k, 3 * k + 3)
        hidden = np.maximum(X @ model.coefs_[0][:, unit] + model.intercepts_[0][unit], 0)
        members.append(4 * hidden @ model.coefs_[1][unit] + model._member_intercepts[k])
    members = np.reshape(members, (4, *y.shape))
    tolerance = 1000 * np.finfo(dtype).eps * np.abs(members).max()  # sums over features and units in another order
    np.testing.assert_allclose(members.mean(axis=0), mean, rtol=0, atol=tolerance)
    np.testing.assert_allclose(members.std(axis=0), std, rtol=0, atol=tolerance)
    one_std = model.predict(X[:1], return_std=True)[1]
    np.testing.assert_allclose(one_std, std[:1], rtol=0, atol=tolerance)
    again = pickle.loads(pickle.dumps(model)).predict(X, return_std=True)
    np.testing.assert_array_equal(again, (mean, std))


def test_members_disagree_far_from_the_rows():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 1))
    model = TwoLayerReLURegressor(random_state=0, max_iter=100).fit(X, np.sin(3 * X[:, 0]))
    _, near = model.predict(np.linspace(-0.9, 0.9, 20)[:, None], return_std=True)
    _, far = model.predict([[-4.0], [4.0]], return_std=True)
    assert far.min() > 5 * near.max()


def test_one_member_has_no_spread():
    model = clone(FAST).set_params(n_members=1).fit(*problem())
    with pytest.raises(ValueError, match=r"return_std=True needs at least two members.*n_members=8"):
        model.predict(problem()[0], return_std=True)


# --- columns of two values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(0.0, 1.0), (-3.0, 5.0)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_column_of_two_values_is_divided_by_their_distance(values, fit_intercept):
    X, y = problem(200)
    X[:, 1] = values[0]
    X[::40, 1] = values[1]  # five rows of 200: 6.2 standard deviations apart
    model = clone(FAST).set_params(fit_intercept=fit_intercept).fit(X, y)
    scale = model._state["x_scaling"][1]
    assert scale[1] == values[1] - values[0]
    spread = X.std(axis=0) if fit_intercept else np.sqrt(np.square(X).mean(axis=0))
    np.testing.assert_allclose(scale[[0, 2]], spread[[0, 2]], rtol=100 * EPS)
    # Rows of weight 0 do not count, whatever their value.
    weights = np.ones(200)
    X[7, 1], weights[7] = 99.0, 0.0
    assert clone(model).fit(X, y, weights)._state["x_scaling"][1][1] == values[1] - values[0]
    X[8, 1] = 98.0
    assert clone(model).fit(X, y, weights)._state["x_scaling"][1][1] != values[1] - values[0]


def test_the_linear_model_keeps_standard_deviations():
    X, y = problem(200)
    X[:, 1] = np.arange(200) % 40 == 0
    model = LinearGDRegressor(max_iter=3).fit(X, y)
    np.testing.assert_allclose(model._state["x_scaling"][1], X.std(axis=0), rtol=100 * EPS)


# --- the automatic penalty --------------------------------------------------------------------------------------------


def test_the_penalty_starts_after_40_percent_of_the_schedule():
    X, y = problem(100)
    model = TwoLayerReLURegressor(8, batch_size=10, max_iter=10, random_state=0)
    fit = clone(model).fit(X, y)

    # A fit of 100 steps: 40 of them without a penalty, as with alpha=0, to the bit.
    losses = clone(model).set_params(alpha=0).fit(X, y).loss_curve_
    assert fit.loss_curve_[:4] == losses[:4]
    assert fit.loss_curve_[5:] != losses[5:]
    assert fit.alpha_ > 0


def test_with_a_constant_rate_the_delay_counts_the_steps_of_all_calls():
    X, y = problem(100)
    model = TwoLayerReLURegressor(
        8, learning_rate_schedule="constant", max_iter=599, warm_start=True, random_state=0
    )  # one batch, and 1500 steps by default
    assert model.fit(X, y).alpha_ == 0.0
    assert model.set_params(max_iter=1).fit(X, y).alpha_ == 0.0
    assert model.fit(X, y).alpha_ > 0.0


def test_partial_fit_counts_the_rows_of_all_calls():
    X, y = problem(60)
    model = clone(FAST).set_params(alpha=3.0)
    for k, chunk in enumerate(np.split(np.arange(60), 6), start=1):
        model.partial_fit(X[chunk], y[chunk])
        assert model._state["total_weight"] == 10.0 * k
    model.partial_fit(X[chunk], y[chunk])  # the same rows again
    assert model._state["total_weight"] == 60.0
    for chunk in np.split(np.arange(60), 6):  # a second pass
        model.partial_fit(X[chunk], y[chunk])
        assert model._state["total_weight"] == 60.0
    model.partial_fit(X[:10], y[:10], np.full(10, 2.0))  # other rows, by their weights
    assert model._state["total_weight"] == 80.0
    assert model.set_params(warm_start=True).fit(X, y)._state["total_weight"] == 60.0


def test_a_stream_of_small_chunks_learns():
    X, y = make_friedman1(3000, noise=1.0, random_state=0)
    X_test, y_test = make_friedman1(1000, random_state=1)
    scores = []
    for alpha in ("auto", 0.0):
        model = TwoLayerReLURegressor(alpha=alpha, random_state=0)
        for chunk in np.split(np.arange(3000), 600):
            model.partial_fit(X[chunk], y[chunk])
        scores.append(model.score(X_test, y_test))
    assert scores[0] > 0.85
    assert scores[0] > scores[1] - 0.03


def test_weights_that_are_shares_are_told_once():
    X, y = problem(50)
    with pytest.warns(
        UserWarning, match="sample_weight has the sum 1 for 50 rows.*divide them by their mean"
    ) as caught:
        clone(FAST).fit(X, y, np.full(50, 1 / 50))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    clone(FAST).set_params(alpha=1.0).fit(X, y, np.full(50, 1 / 50))  # a number is as it was chosen
    clone(FAST).fit(X, y, np.full(50, 0.5))
    LinearGDRegressor(alpha=1.0, max_iter=2).fit(X, y, np.full(50, 1 / 50))


# --- what a newcomer tries first --------------------------------------------------------------------------------------


def first_experiments(rng):
    x = rng.uniform(-3, 3, (200, 1))
    yield "sin(2x), 200 rows", 0.80, x, np.sin(2 * x[:, 0]) + 0.1 * rng.standard_normal(200)
    x = rng.uniform(-3, 3, (1000, 1))
    yield "sin(2x), 1000 rows", 0.92, x, np.sin(2 * x[:, 0]) + 0.1 * rng.standard_normal(1000)
    x = np.linspace(-1, 1, 20)[:, None]
    yield "x^2, 20 rows", 0.95, x, x[:, 0] ** 2
    x = rng.uniform(-3, 3, (300, 2))
    yield "sin(2x) cos(y)", 0.60, x, np.sin(2 * x[:, 0]) * np.cos(x[:, 1]) + 0.1 * rng.standard_normal(300)
    x = rng.uniform(0, 4, (1000, 2))
    yield "checkerboard", 0.25, x, np.floor(x).sum(1) % 2 + 0.1 * rng.standard_normal(1000)


@pytest.mark.exhaustive
def test_simple_functions_are_learned_by_default():
    scores, least = {}, {}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for name, wanted, X, y in first_experiments(rng):
            order = rng.permutation(len(y))
            fitted, kept = np.split(order, [len(y) * 3 // 4])
            model = TwoLayerReLURegressor(random_state=seed).fit(X[fitted], y[fitted])
            scores.setdefault(name, []).append(model.score(X[kept], y[kept]))
            least[name] = wanted
    means = {name: np.mean(values) for name, values in scores.items()}
    assert all(means[name] >= least[name] for name in means), means


def test_kinks_start_between_the_rows_of_few_columns():
    X, y = problem(200, 2)
    start = TwoLayerReLURegressor(random_state=0, max_iter=1, learning_rate=1e-300).fit(X, y)
    W1, b1 = start.coefs_[0], start.intercepts_[0]
    active = (X @ W1 + b1 > 0).mean(axis=0)
    assert 0.05 < np.quantile(active, 0.1) < 0.4  # all units would be active on about half of the rows
    assert 0.6 < np.quantile(active, 0.9) < 0.95
    mean = X.mean(axis=0) @ W1 + b1
    assert (np.abs(mean) > 1e-6 * np.abs(b1)).all()  # no kink at the mean
    wide = clone(start).fit(*problem(200, 4))
    at_mean = problem(200, 4)[0].mean(axis=0) @ wide.coefs_[0] + wide.intercepts_[0]
    assert np.abs(at_mean).max() < 1e-12 * np.abs(wide.intercepts_[0]).max()


# --- no denormals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "max_iter"), [(np.float32, 1500), (np.float64, 12000)])
def test_a_long_fit_leaves_no_denormal_numbers(dtype, max_iter):
    """Units that die under a strong penalty decay by a factor a step, for thousands of steps."""
    X, y = problem(64, 4, dtype=dtype)
    model = TwoLayerReLURegressor(
        40, alpha=30.0, max_iter=max_iter, learning_rate=0.05, learning_rate_schedule="constant", random_state=0
    ).fit(X, y)
    state = model._state
    arrays = [*state["parameters"], *state["engine"]["moments"]]
    for a in arrays:
        assert not ((a != 0) & (np.abs(a) < np.finfo(dtype).tiny)).any()
    assert any((a == 0).any() for a in state["parameters"][:2])  # some have been small
