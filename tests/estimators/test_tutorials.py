"""The tutorials' programs, as they stand in the tutorials, against the same runs by the estimators."""

import numpy as np
import pytest

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

"""The tutorials' programs, as they stand in the tutorials, against the same runs by the estimators."""


N, D_IN, H, D_OUT = 64, 1000, 100, 10
NETWORK = {
    "hidden_layer_size": H,
    "solver": "gd",
    "learning_rate": 1e-6,
    "alpha": 0,
    "fit_intercept": False,
    "init": "standard_normal",
    "standardize": False,
    "reduction": "sum",
}
LINEAR = {"learning_rate": 0.01, "max_iter": 100, "init": "uniform", "standardize": False}


def network_program(random, n_iter, dtype=np.float64):
    """The program of 000, 001, 002 and 004: x, y, the losses it prints, and its final weights."""
    x = random.randn(N, D_IN).astype(dtype)
    y = random.randn(N, D_OUT).astype(dtype)
    w1 = random.randn(D_IN, H).astype(dtype)
    w2 = random.randn(H, D_OUT).astype(dtype)
    learning_rate = 1e-6
    losses = []
    for _ in range(n_iter):
        h = x.dot(w1)
        h_relu = np.maximum(h, 0)
        y_pred = h_relu.dot(w2)
        loss = np.square(y_pred - y).sum()
        losses.append(loss)
        grad_y_pred = 2.0 * (y_pred - y)
        grad_w2 = h_relu.T.dot(grad_y_pred)
        grad_h_relu = grad_y_pred.dot(w2.T)
        grad_h = grad_h_relu.copy()
        grad_h[h < 0] = 0
        grad_w1 = x.T.dot(grad_h)
        w1 -= learning_rate * grad_w1
        w2 -= learning_rate * grad_w2
    return x, y, losses, w1, w2


class LinearProgram:
    """The program of 003; `run` is its last cell, which may be run again."""

    def __init__(self, random):
        self.observations = 1000
        xs = random.uniform(-10, 10, (self.observations, 1))
        zs = random.uniform(-10, 10, (self.observations, 1))
        self.inputs = np.column_stack((xs, zs))
        noise = random.uniform(-1, 1, (self.observations, 1))
        self.targets = 2 * xs - 3 * zs + 5 + noise
        self.random = random

    def draw(self):
        self.weights = self.random.uniform(-0.1, 0.1, size=(2, 1))
        self.biases = self.random.uniform(-0.1, 0.1, size=1)

    def run(self):
        learning_rate = 0.01
        losses = []
        for _ in range(100):
            outputs = np.dot(self.inputs, self.weights) + self.biases
            deltas = outputs - self.targets
            losses.append(np.sum(deltas**2) / 2 / self.observations)
            deltas_scaled = deltas / self.observations
            self.weights = self.weights - learning_rate * np.dot(self.inputs.T, deltas_scaled)
            self.biases = self.biases - learning_rate * np.sum(deltas_scaled)
        return losses


def after_drawing_the_data(seed):
    """The RandomState of the network's program at the point where it draws the weights."""
    random = np.random.RandomState(seed)
    random.randn(N, D_IN)
    random.randn(N, D_OUT)
    return random


def largest_difference(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.one_in(5)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_network(seed, precompute):
    x, y, losses, w1, w2 = network_program(np.random.RandomState(seed), 500)
    model = TwoLayerReLURegressor(
        **NETWORK, max_iter=500, precompute=precompute, random_state=after_drawing_the_data(seed)
    ).fit(x, y)
    # The bounds that the project promises: the first steps, of a network that starts far from its targets, magnify
    # rounding, and the last losses are 1e-13 of the first.
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-6)
    assert largest_difference(model.coefs_[0], w1) < 1e-9
    assert largest_difference(model.coefs_[1], w2) < 1e-9
    assert not np.any(model.intercepts_[0])
    assert not np.any(model.intercepts_[1])
    assert losses[-1] < 1e-3  # the tutorial's point: it fits random data
    assert model.n_iter_ == 500
    assert model.best_loss_ == min(model.loss_curve_)
    assert largest_difference(model.predict(x), np.maximum(x.dot(w1), 0).dot(w2)) < 1e-9


@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")  # as it does there
def test_network_with_one_target():
    rate = 1e-5
    random = np.random.RandomState(0)
    x, y = random.randn(N, D_IN), random.randn(N, D_OUT)
    model = TwoLayerReLURegressor(**NETWORK | {"learning_rate": rate}, max_iter=1, random_state=3).fit(x, y[:, 0])
    # One step of the same arithmetic for one column, written with explicit sums.
    random = np.random.RandomState(3)
    w1, w2 = random.randn(D_IN, H), random.randn(H)
    h = np.einsum("ij,jk->ik", x, w1)
    error = np.einsum("ik,k->i", np.where(h > 0, h, 0.0), w2) - y[:, 0]
    new_w2 = w2 - rate * np.einsum("ik,i->k", np.where(h > 0, h, 0.0), 2.0 * error)
    new_w1 = w1 - rate * np.einsum("ij,i,k,ik->jk", x, 2.0 * error, w2, (h > 0).astype(float), optimize=True)
    # Sums of at most D_IN products.
    tolerance = D_IN * np.finfo(np.float64).eps
    np.testing.assert_allclose(model.loss_curve_, [np.square(error).sum()], rtol=tolerance)
    assert largest_difference(model.coefs_[0], new_w1) < tolerance
    assert largest_difference(model.coefs_[1], new_w2[:, None]) < tolerance


@pytest.mark.one_in(3)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_network_in_single_precision(seed, precompute):
    n_iter = 8
    random = np.random.RandomState(seed)
    x, y, losses, w1, w2 = network_program(random, n_iter, np.float32)
    model = TwoLayerReLURegressor(
        **NETWORK, max_iter=n_iter, precompute=precompute, random_state=after_drawing_the_data(seed)
    ).fit(x, y)
    assert model.coefs_[0].dtype == model.coefs_[1].dtype == np.float32
    # Sums of D_IN products, rounded by at most D_IN eps, in each of the iterations so far.
    tolerance = D_IN * np.finfo(np.float32).eps * np.arange(1, n_iter + 1)
    assert np.all(np.abs(np.array(model.loss_curve_) / losses - 1) < tolerance)
    assert largest_difference(model.coefs_[0], w1) < tolerance[-1]
    assert largest_difference(model.coefs_[1], w2) < tolerance[-1]


def test_network_prints_as_the_tutorial(capsys):
    x, y, losses, _, _ = network_program(np.random.RandomState(0), 6)
    model = TwoLayerReLURegressor(**NETWORK, max_iter=6, verbose=1, random_state=after_drawing_the_data(0)).fit(x, y)
    printed = capsys.readouterr().out
    for t, loss in enumerate(model.loss_curve_):
        print(t, loss)
    assert printed == capsys.readouterr().out
    numbers = np.array([line.split(" ") for line in printed.splitlines()], dtype=float)
    np.testing.assert_array_equal(numbers[:, 0], range(6))
    # Sums of D_IN products in each iteration.
    np.testing.assert_allclose(numbers[:, 1], losses, rtol=6 * D_IN * np.finfo(np.float64).eps)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_linear(seed, precompute):
    program = LinearProgram(np.random.RandomState(seed))
    random = np.random.RandomState()
    random.set_state(program.random.get_state())
    program.draw()
    losses = program.run()
    model = LinearGDRegressor(**LINEAR, precompute=precompute, random_state=random)
    model.fit(program.inputs, program.targets)
    # The bound that the project promises.
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)
    np.testing.assert_allclose(model.coef_, program.weights.T, rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, program.biases, rtol=1e-12)
    assert model.learning_rate_ == 0.01


@pytest.mark.one_in(3)
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_linear_cell_run_again(seed, precompute):
    program = LinearProgram(np.random.RandomState(seed))
    random = np.random.RandomState()
    random.set_state(program.random.get_state())
    program.draw()
    model = LinearGDRegressor(**LINEAR, precompute=precompute, warm_start=True, random_state=random)
    losses = []
    for run in range(1, 4):  # "I ran this code three times"
        losses += program.run()
        model.fit(program.inputs, program.targets)
        assert model.n_iter_ == len(model.loss_curve_) == 100 * run
        np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)
        np.testing.assert_allclose(model.coef_, program.weights.T, rtol=1e-12)
        np.testing.assert_allclose(model.intercept_, program.biases, rtol=1e-12)


def test_linear_follows_its_closed_form():
    """After t steps the error is (I - rate A^T A / n)^t times the first, with A the inputs and a column of ones."""
    program = LinearProgram(np.random.RandomState(0))
    model = LinearGDRegressor(**LINEAR, random_state=5).fit(program.inputs, program.targets)
    random = np.random.RandomState(5)
    start = np.concatenate([random.uniform(-0.1, 0.1, (2, 1)), random.uniform(-0.1, 0.1, (1, 1))])
    A = np.column_stack([program.inputs, np.ones(1000)])
    eigenvalues, Q = np.linalg.eigh(A.T @ A / 1000)
    best = np.linalg.lstsq(A, program.targets, rcond=None)[0]
    expected = best + Q @ ((1 - 0.01 * eigenvalues[:, None]) ** 100 * (Q.T @ (start - best)))
    got = np.concatenate([model.coef_.T, model.intercept_[:, None]])
    # lstsq and the sums over rows round by at most 1000 eps each, and 100 iterations add up.
    tolerance = 100 * 1000 * np.finfo(np.float64).eps
    np.testing.assert_allclose(got, expected, rtol=tolerance)


def test_linear_prints_its_losses(capsys):
    program = LinearProgram(np.random.RandomState(0))
    model = LinearGDRegressor(**LINEAR | {"max_iter": 3}, warm_start=True, verbose=1, random_state=0)
    model.fit(program.inputs, program.targets).fit(program.inputs, program.targets)
    expected = "".join(f"{t} {loss}\n" for t, loss in enumerate(model.loss_curve_))
    assert capsys.readouterr().out == expected
    assert len(model.loss_curve_) == 6
