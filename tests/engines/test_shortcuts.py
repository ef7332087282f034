"""The engines of gradient descent agree: sample space and closed form against the plain iteration."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from problems import arrays_of, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._engines.choose import choose
from skrelu._engines.closed_form import ClosedForm
from skrelu._engines.full_batch import FullBatch
from skrelu._engines.minibatches import Minibatches
from skrelu._engines.sample_space import SampleSpace
from skrelu._inputs import read_rows

EPS = {"float32": np.finfo(np.float32).eps, "float64": np.finfo(np.float64).eps}


def data(n, d, m, dtype="float64", seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * np.exp(rng.uniform(-1, 1, d)) + rng.standard_normal(d)
    y = np.tanh(X @ rng.standard_normal((d, m)) / np.sqrt(d)) + 0.1 * rng.standard_normal((n, m)) + 2.0
    return X.astype(dtype), (y if m > 1 else y[:, 0]), rng.uniform(0, 3, n) * (rng.uniform(size=n) > 0.2)


def assert_close(a, b, n_iter, dtype):
    # Each iteration rounds once more, and the iteration is stable (rate below 2 / L), so errors at most add up; 200
    # covers the lengths of the sums and the folding of the scales.
    tol = 200 * n_iter * EPS[dtype]
    largest = max(np.abs(p).max() for p in arrays_of(b))
    for u, v in zip(arrays_of(a), arrays_of(b), strict=True):
        assert u.dtype == v.dtype
        assert_allclose(u, v, rtol=0, atol=tol * largest)
    # The loss is a sum of squares of residuals that are off by tol times the first ones.
    assert a.n_iter_ == b.n_iter_
    ours, plain = np.array(a.loss_curve_), np.array(b.loss_curve_)
    assert np.all(np.abs(ours - plain) <= tol * np.sqrt(plain * plain.max()) + tol**2 * plain.max())


GRID = list(itertools.product([False, True], [1, 3], [False, True], [0.0, 2.0], [0.0, 0.8], [False, True]))


@pytest.mark.one_in(13)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("weighted", "m", "intercept", "alpha", "momentum", "standardize"), GRID)
def test_sample_space_agrees_with_the_plain_iteration(weighted, m, intercept, alpha, momentum, standardize, dtype):
    X, y, w = data(12, 30, m, dtype)
    params = {
        "hidden_layer_size": 7,
        "solver": "gd",
        "learning_rate": 0.002,
        "max_iter": 25,
        "alpha": alpha,
        "momentum": momentum,
        "fit_intercept": intercept,
        "standardize": standardize,
        "random_state": 0,
    }
    fits = [
        TwoLayerReLURegressor(**params, precompute=precompute).fit(X, y, sample_weight=w if weighted else None)
        for precompute in (True, False)
    ]
    assert_close(*fits, 25, dtype)


LINEAR = list(
    itertools.product([False, True], [1, 3], [False, True], [0.0, 2.0], ["zeros", "standard_normal"], [False, True])
)


@pytest.mark.one_in(29)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(40, 6), (8, 20)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("weighted", "m", "intercept", "alpha", "init", "standardize"), LINEAR)
def test_closed_form_agrees_with_the_plain_iteration(
    weighted, m, intercept, alpha, init, standardize, reduction, shape, dtype
):
    X, y, w = data(*shape, m, dtype)
    params = {
        "max_iter": 60,
        "alpha": alpha,
        "init": init,
        "fit_intercept": intercept,
        "standardize": standardize,
        "reduction": reduction,
        "random_state": 0,
    }
    weights = w if weighted else None
    fast = LinearGDRegressor(**params, precompute=True).fit(X, y, sample_weight=weights)
    plain = LinearGDRegressor(**params, precompute=False, learning_rate=fast.learning_rate_)
    assert_close(fast, plain.fit(X, y, sample_weight=weights), 60, dtype)
    # "auto" finds the same rate by the Lanczos iteration, whose residual of 1e-9 leaves an error near its square.
    auto = LinearGDRegressor(**params, precompute=False).fit(X, y, sample_weight=weights)
    assert_allclose(auto.learning_rate_, fast.learning_rate_, rtol=1e-12 + 200 * EPS[dtype])


NETWORK = {"hidden_layer_size": 5, "solver": "gd", "random_state": 0, "precompute": True}
CONTINUED = {
    "sample space": (TwoLayerReLURegressor(**NETWORK), (12, 30)),
    "sample space, two outputs": (TwoLayerReLURegressor(**NETWORK), (12, 30, 2)),
    "sample space, momentum": (TwoLayerReLURegressor(**NETWORK, momentum=0.5), (12, 30)),
    "sample space, penalty": (TwoLayerReLURegressor(**NETWORK, momentum=0.5, alpha=1.0), (12, 30)),
    "sample space, float32": (TwoLayerReLURegressor(**NETWORK), (12, 30, 1, "float32")),
    "closed form": (LinearGDRegressor(precompute=True), (40, 6)),
    "closed form, penalty": (LinearGDRegressor(precompute=True, alpha=3.0), (40, 6, 2)),
    "closed form, wide": (LinearGDRegressor(precompute=True, init="uniform", random_state=0), (8, 20)),
    "plain": (LinearGDRegressor(precompute=False), (40, 6)),
}


@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CONTINUED)
def test_training_on_other_rows_starts_from_the_model(name):
    model, shape = CONTINUED[name]
    X, y, _ = data(*(*shape, 1)[:3], *shape[3:])
    other_X, other_y, _ = data(*(*shape, 1)[:3], *shape[3:], seed=1)
    params = {"warm_start": True, "max_iter": 10, "learning_rate": 0.01}
    fits = [
        clone(model).set_params(**params, precompute=precompute).fit(X, y).fit(other_X, other_y)
        for precompute in (True, False)
    ]
    assert_close(*fits, 20, str(X.dtype))
    assert_close(*(fit.partial_fit(X, y) for fit in fits), 21, str(X.dtype))


def test_auto_takes_the_shortcut_where_it_pays():
    def engine(estimator, n, d):
        X, y, _ = data(n, d, 1)
        rows = read_rows(estimator, X, y, None, reset=True)
        return choose(estimator._model(rows, estimator._structure(rows, None)), n, estimator._recipe())

    network = TwoLayerReLURegressor(solver="gd")
    assert engine(network, 20, 200) is SampleSpace
    assert engine(network, 200, 20) is FullBatch
    assert engine(LinearGDRegressor(), 200, 20) is ClosedForm
    assert engine(LinearGDRegressor(), 20, 200) is ClosedForm
    assert engine(LinearGDRegressor(precompute=False), 20, 200) is FullBatch
    assert engine(TwoLayerReLURegressor(), 20, 200) is Minibatches


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_a_strong_penalty_over_many_iterations(momentum):
    X, y, w = data(12, 30, 2)
    params = {"learning_rate": 0.01, "max_iter": 300, "alpha": 10.0, "momentum": momentum}
    fits = [
        TwoLayerReLURegressor(6, solver="gd", random_state=0, precompute=precompute, **params).fit(X, y, w)
        for precompute in (True, False)
    ]
    # The initial weights' part in W1 has decayed to (1 - 0.01 alpha / sum(w))^300, about a tenth.
    assert_close(*fits, 300, "float64")


@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")
def test_expanding_modes_have_exact_losses_while_finite():
    X, y, _ = data(40, 6, 1)
    rate = 2.2 * LinearGDRegressor(max_iter=1).fit(X, y).learning_rate_
    fits = [
        LinearGDRegressor(learning_rate=rate, max_iter=50, precompute=precompute).fit(X, y)
        for precompute in (True, False)
    ]
    # Rounding is amplified by what the loss grows.
    growth = fits[1].loss_curve_[-1] / fits[1].loss_curve_[0]
    assert growth > 10
    assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=200 * 50 * EPS["float64"] * growth)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_wide_data_needs_no_matrix_of_the_side_of_the_features(alpha):
    X, y = problem(5, 200_000)  # its square in float64 would be 320 GB
    assert np.isfinite(LinearGDRegressor(alpha=alpha, max_iter=5).fit(X, y).coef_).all()


@pytest.mark.parametrize("init", ["zeros", "standard_normal"])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"standardize": False}, {"reduction": "sum"}])
@pytest.mark.parametrize("m", [None, 2])
def test_wide_data_with_a_penalty(m, options, init):
    """The part of the weights outside the row space predicts nothing, and the penalty shrinks it."""
    (X, y), (X_val, y_val) = problem(12, 50, m), problem(9, 50, m, seed=1)
    model = LinearGDRegressor(alpha=5.0, init=init, max_iter=40, random_state=0, **options)
    fits = [clone(model).set_params(precompute=p).fit(X, y, X_val=X_val, y_val=y_val) for p in (True, False)]
    # Sums of 50 terms in each of 40 iterations; the automatic rate is 1/L to 1e-10.
    atol = 40 * 50 * EPS["float64"] + 1e-9
    for name in ("loss_curve_", "validation_loss_curve_"):
        left, right = (np.array(getattr(fit, name)) for fit in fits)
        assert_allclose(left, right, rtol=0, atol=atol * right.max())
    assert_allclose(fits[0].coef_, fits[1].coef_, rtol=0, atol=atol * np.abs(fits[1].coef_).max())
    parts = clone(model).set_params(precompute=True, warm_start=True, max_iter=15).fit(X, y)
    parts.set_params(max_iter=25).fit(X, y)
    assert parts.loss_curve_ == fits[0].loss_curve_
    np.testing.assert_array_equal(parts.coef_, fits[0].coef_)
