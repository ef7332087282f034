"""Going on with changed data, parameters and solvers: the model is continued, and the objective is the new one."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

EPS = np.finfo(np.float64).eps


def problem(n=40, d=6, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    return X, np.abs(X[:, 0]) - X[:, 1] + 0.1 * rng.standard_normal(n)


def test_rows_with_the_same_gram_matrix_are_not_taken_for_the_same_rows():
    rng = np.random.RandomState(0)
    X = rng.randint(0, 2, (12, 60)).astype(float)
    y = rng.randint(0, 3, 12).astype(float)
    pairs = itertools.combinations(range(60), 2)
    j, k = next((j, k) for j, k in pairs if X[:, j] @ y == X[:, k] @ y and (X[:, j] != X[:, k]).any())
    swapped = X.copy()
    swapped[:, [j, k]] = X[:, [k, j]]  # the same X X^T, X^T y and y
    params = {"solver": "gd", "max_iter": 50, "standardize": False, "warm_start": True, "random_state": 0}
    fits = [
        TwoLayerReLURegressor(8, **params, precompute=precompute).fit(X, y).fit(swapped, y)
        for precompute in (True, False)
    ]
    assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-6)


def test_wide_data_needs_no_matrix_of_the_side_of_the_features():
    X, y = problem(5, 200_000)  # its square in float64 would be 320 GB
    assert np.isfinite(LinearGDRegressor(max_iter=5).fit(X, y).coef_).all()


CHANGES = [{"reduction": "sum"}, {"alpha": 1e4}, {"reduction": "sum", "alpha": 10.0}]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("precompute", ["auto", False])
@pytest.mark.parametrize("model", [LinearGDRegressor(), TwoLayerReLURegressor(5, solver="gd", random_state=0)])
def test_the_automatic_rate_follows_a_change_of_the_objective(model, precompute, change):
    X, y = problem()
    model.set_params(warm_start=True, max_iter=20, precompute=precompute, alpha=0.0, reduction="mean").fit(X, y)
    before = model.learning_rate_
    model.set_params(**change).fit(X, y)
    assert model.learning_rate_ < before
    assert np.isfinite(model.loss_curve_).all()


def test_the_automatic_rate_of_a_sum_follows_the_weight_of_the_rows():
    X, y = problem(60)
    model = LinearGDRegressor(reduction="sum", standardize=False, learning_rate="auto").partial_fit(X[:6], y[:6])
    before = model.learning_rate_
    model.partial_fit(X, y)
    assert_allclose(model.learning_rate_, before / 10, rtol=4 * EPS)


def test_a_first_call_of_partial_fit_has_to_show_a_scale():
    X, y = problem()
    for model in (LinearGDRegressor(), TwoLayerReLURegressor(5)):
        with pytest.raises(
            ValueError, match=r"no feature varies in these 1\. Pass more rows, or use standardize=False"
        ):
            model.partial_fit(X[:1], y[:1])


def test_a_network_fitted_to_one_row_can_go_on():
    X, y = problem(200)
    model = TwoLayerReLURegressor(20, random_state=0, warm_start=True, max_iter=50).fit(X[:1], y[:1])
    assert_allclose(model.predict(X[:1]), y[:1], rtol=8 * EPS)
    assert model.set_params(max_iter=300).fit(X, y).score(X, y) > 0.8


def test_parameters_may_be_numpy_scalars():
    X, y = problem()
    numbers = {"hidden_layer_size": np.int8(100), "max_iter": np.int16(3), "batch_size": np.uint8(16)}
    flags = {"fit_intercept": np.True_, "standardize": np.True_}
    plain = {"hidden_layer_size": 100, "max_iter": 3, "batch_size": 16}
    for solver in ("adam", "gd"):
        ours = TwoLayerReLURegressor(**numbers, **flags, solver=solver, random_state=0, precompute=np.False_).fit(X, y)
        other = TwoLayerReLURegressor(**plain, solver=solver, random_state=0, precompute=False).fit(X, y)
        assert ours._state["kind"] == other._state["kind"]
        assert_array_equal(ours.coefs_[0], other.coefs_[0])
    assert LinearGDRegressor(**flags, precompute=np.False_, max_iter=np.int8(3)).fit(X, y)._state["kind"] == "plain"
    assert LinearGDRegressor(precompute=np.True_, max_iter=3).fit(X, y)._state["kind"] == "tall"


def test_an_intercept_beyond_single_precision_is_refused():
    X, _ = problem()
    with pytest.raises(ValueError, match="beyond the range of float32"):
        LinearGDRegressor(max_iter=3).fit(X.astype(np.float32), np.full(40, 1e39))


@pytest.mark.parametrize("weight", [1e-311, 1e300])
def test_weights_of_any_size_are_as_good_as_ones(weight):
    X, y = problem()
    heavy = TwoLayerReLURegressor(5, max_iter=5, alpha=0.0, random_state=0).fit(X, y, np.full(40, weight))
    plain = TwoLayerReLURegressor(5, max_iter=5, alpha=0.0, random_state=0).fit(X, y)
    # A subnormal weight has 10 bits fewer; divided by itself it is one, but for the rounding of a mean.
    assert_allclose(heavy.coefs_[0], plain.coefs_[0], rtol=1e4 * EPS)
    auto = TwoLayerReLURegressor(5, max_iter=5, random_state=0).fit(X, np.ones(40), np.full(40, weight))
    assert np.isfinite(auto.loss_curve_).all()


def test_alpha_is_reported_as_it_was_given():
    X, y = problem(49)
    assert LinearGDRegressor(alpha=1.0).fit(X, y).alpha_ == 1.0
    assert TwoLayerReLURegressor(5, max_iter=2, alpha=0.1).fit(X, y).alpha_ == 0.1
    assert TwoLayerReLURegressor(5, max_iter=2, solver="gd").fit(X, y).alpha_ == 0.0
    assert TwoLayerReLURegressor(5, max_iter=2).fit(X, y).alpha_ > 0.0
