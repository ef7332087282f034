"""Members and the scaling layer: gradients, the fold, and the equality with networks that are trained apart."""

import numpy as np
import pytest
from sklearn.base import clone

from problems import EPS, STEP, assert_matches_derivative, five_point, problem
from skrelu import TwoLayerReLURegressor
from skrelu._arrays import NumpyArrayModule
from skrelu._engines.minibatches import Minibatches
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Batch
from skrelu._models.network import TwoLayerNetwork
from skrelu._models.penalty import Penalty
from skrelu._models.standardize import Scaling, identity
from skrelu._rows.batches import Batches

N, D = 11, 3


def network(M, h, m, *, intercept=True, scaling_layer=True, seed=0):
    """A network with random parameters, also in the intercepts and the scaling layer."""
    model = TwoLayerNetwork(
        NumpyArrayModule(), D, M * h, m, intercept, np.float64, n_members=M, scaling_layer=scaling_layer
    )
    rng = np.random.default_rng(seed)
    model.theta[...] = rng.standard_normal(len(model.theta))
    if scaling_layer:
        model.views(model.theta)[3][...] = [*rng.uniform(0.5, 1.5, D), *[1.0] * intercept]
    return model


def data(m, weighted, seed=4):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 3.0, (N, 1)) if weighted else None
    s = None if weights is None else weights / weights.mean()
    return rng.standard_normal((N, D)), rng.standard_normal((N, m)), s


def member_losses(model, parameters, X, y, s, c):
    """The definition: the loss of each member."""
    W1, W2, b2, a = parameters
    M, m = model.n_members, model.n_outputs
    W1 = W1 * a[:, None] if model.scaling_layer else W1
    inputs = np.hstack([X, np.ones((len(X), 1))]) if model.fit_intercept else X
    losses = []
    for k in range(M):
        unit = slice(k * model.n_hidden // M, (k + 1) * model.n_hidden // M)
        F = np.maximum(inputs @ W1[:, unit], 0.0) @ W2[unit]
        if model.fit_intercept:
            F = F + b2[k * m : (k + 1) * m]
        losses.append(c / (2 * len(X)) * ((1.0 if s is None else s) * (F - y) ** 2).sum())
    return np.array(losses)


@pytest.mark.parametrize("scaling_layer", [True, False], ids=["scaling layer", "without"])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])
@pytest.mark.parametrize(("M", "h", "m"), [(4, 3, 1), (3, 2, 2), (1, 5, 1), (1, 5, 3)])
def test_gradients_against_numerical_derivatives(M, h, m, weighted, intercept, scaling_layer):
    model = network(M, h, m, intercept=intercept, scaling_layer=scaling_layer)
    (X, y, s), c = data(m, weighted), 3.0
    inputs = np.hstack([X, np.ones((N, 1))]) if intercept else X
    parameters = [a.copy() for a in model.views(model.theta)]
    W1 = parameters[0] * parameters[3][:, None] if scaling_layer else parameters[0]
    assert np.abs(inputs @ W1).min() > 2 * STEP * np.abs(inputs).max() * 2.0  # no entry may move a unit across zero
    loss = model.loss_and_gradient(Batch(inputs, y, s, c / N))
    losses = member_losses(model, parameters, X, y, s, c)
    assert loss == pytest.approx(losses.mean(), rel=1000 * EPS)  # sums of N M m squares of sums
    # Each member has its own loss, so the gradient is that of their sum; the shared factors follow the mean.
    known = [k for k, a in enumerate(parameters) if a.size]

    def of_sum(moved):
        everything = list(parameters)
        for k, a in zip(known, moved, strict=True):
            everything[k] = a
        return member_losses(model, everything, X, y, s, c).sum()

    derivatives = five_point(of_sum, [parameters[k] for k in known])
    for k, derivative in zip(known, derivatives, strict=True):
        gradient = model.views(model.gradient)[k]
        if k == 3:
            derivative = derivative / M
            derivative[D:] = 0.0  # the factor of the column of ones stays 1
        assert_matches_derivative(gradient, derivative, losses.sum())


@pytest.mark.parametrize(("M", "m"), [(4, 1), (2, 3)])
def test_training_against_pytorch(M, m):
    """Adam on minibatches, with a penalty and a scaling layer, against automatic differentiation."""
    torch = pytest.importorskip("torch")
    h, rate, strength, n_epochs, am = 3, 0.02, 0.05, 8, NumpyArrayModule()
    model = network(M, h, m)
    start = [a.copy() for a in model.views(model.theta)]
    X, y, _ = data(m, False)
    batches = Batches(am, X, y, None, identity(D), ones=True, rows=4)
    tensors = [torch.tensor(a, requires_grad=True) for a in start]
    optimizer = torch.optim.Adam(tensors, lr=rate)
    expected = []
    for epoch in range(n_epochs):
        total = 0.0
        for rows, targets, _, _ in batches.shuffled(5, epoch):
            optimizer.zero_grad()
            W1, W2, b2, a = tensors
            hidden = torch.relu(torch.tensor(rows.copy()) @ (W1 * a[:, None]))
            losses = []
            for k in range(M):
                unit = slice(k * h, (k + 1) * h)
                F = hidden[:, unit] @ W2[unit] + b2[k * m : (k + 1) * m]
                losses.append(((F - torch.tensor(targets.copy())) ** 2).sum() / (2 * len(rows)))
            (sum(losses) + strength / 2 * ((W1[:D] ** 2).sum() + (W2**2).sum())).backward()
            a.grad /= M
            a.grad[D:] = 0.0
            total += sum(losses).item() / M * len(rows) / N
            optimizer.step()
        expected.append(total)
    penalty = Penalty(model, fixed=strength, c=1.0, total_weight=float(N))
    recipe = Recipe(solver="adam", max_iter=n_epochs)
    engine = Minibatches(
        model, Batches(am, X, y, None, identity(D), ones=True, rows=4), penalty, recipe, rate=rate, seed=5
    )
    # Adam divides by the root of a mean square of gradients, so rounding of small entries grows; it stays far below.
    np.testing.assert_allclose(engine.advance(n_epochs), expected, rtol=1e-9)
    for a, tensor in zip(model.views(model.theta), tensors, strict=True):
        np.testing.assert_allclose(a, tensor.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_fold_is_the_average_of_the_members(m, intercept):
    M, h = 4, 3
    model = network(M, h, m, intercept=intercept)
    X, _, _ = data(m, False)
    rng = np.random.default_rng(7)
    x = Scaling(rng.standard_normal(D) * intercept, rng.uniform(0.5, 2.0, D), np.zeros(D, dtype=bool))
    y = Scaling(rng.standard_normal(m) * intercept, rng.uniform(0.5, 2.0, m), np.zeros(m, dtype=bool))
    inputs = (X - x.shift) / x.scale
    members = model.forward(np.hstack([inputs, np.ones((N, 1))]) if intercept else inputs).reshape(N, M, m)
    layers = model.fold(model.parameters(model.theta), x, y)
    assert [W.shape for W, _ in layers] == [(D, M * h), (M * h, m)]
    folded = TwoLayerNetwork.predict(NumpyArrayModule(), layers, X)
    expected = members.mean(axis=1) * y.scale + y.shift
    # Sums over d and M h of numbers of this size, in another order.
    np.testing.assert_allclose(folded, expected, rtol=0, atol=100 * EPS * np.abs(expected).max())
    plain = model.plain()
    model.average(plain)
    F = plain.forward(np.hstack([inputs, np.ones((N, 1))]) if intercept else inputs)
    np.testing.assert_allclose(F, members.mean(axis=1), rtol=0, atol=100 * EPS * np.abs(members).max())
    intercepts = model.member_intercepts(model.parameters(model.theta), y)
    apart = TwoLayerNetwork.predict_members(NumpyArrayModule(), layers, intercepts, X)
    np.testing.assert_allclose(apart, members * y.scale + y.shift, rtol=0, atol=100 * EPS * np.abs(apart).max())


ADAM = TwoLayerReLURegressor(12, n_members=4, batch_size=8, max_iter=15, alpha=1.0, scaling_layer=False, random_state=0)
DESCENT = TwoLayerReLURegressor(
    12, n_members=4, solver="gd", learning_rate=0.05, max_iter=40, alpha=1.0, random_state=0
)
SOLVERS = {
    "adam": ADAM,
    "adam, sum": clone(ADAM).set_params(reduction="sum"),
    "adam, no intercept": clone(ADAM).set_params(fit_intercept=False),
    "gd": clone(DESCENT).set_params(precompute=False),
    "gd, momentum": clone(DESCENT).set_params(precompute=False, momentum=0.5),
    "sample space": clone(DESCENT).set_params(precompute=True),
    "sample space, momentum": clone(DESCENT).set_params(precompute=True, momentum=0.5),
}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("m", [None, 3])
def test_members_are_networks_trained_apart(name, m, monkeypatch):
    """Same initial weights and minibatches, alpha a number, no scaling layer: the mean of their predictions."""
    X, y = problem(30, 4, m)
    rng = np.random.default_rng(3)
    M, h, n_outputs = 4, 3, m or 1
    W1, W2 = rng.standard_normal((4, M * h)), rng.standard_normal((M * h, n_outputs))
    units = slice(None)

    def draw(model, rng):
        b = int(model.fit_intercept)
        first = np.concatenate([W1[:, units], np.zeros((b, W1[:, units].shape[1]))])
        return [first, W2[units].copy(), np.zeros(model.n_predictions * b), np.ones(0)]

    monkeypatch.setattr(TwoLayerNetwork, "draw", draw)
    together = clone(SOLVERS[name]).fit(X, y, X_val=X, y_val=y)
    apart = []
    for k in range(M):
        units = slice(k * h, (k + 1) * h)
        apart.append(clone(SOLVERS[name]).set_params(hidden_layer_size=h, n_members=1).fit(X, y))
    predictions = np.array([model.predict(X) for model in apart])
    # Rounding of 15 passes of Adam, or 40 steps of gradient descent: the same products, their sums in another order.
    tolerance = 1e-9 if "adam" in name else 1e5 * EPS
    scale = np.abs(predictions).max()
    np.testing.assert_allclose(together.predict(X), predictions.mean(axis=0), rtol=0, atol=tolerance * scale)
    losses = np.mean([model.loss_curve_ for model in apart], axis=0)
    np.testing.assert_allclose(together.loss_curve_, losses, rtol=tolerance)
    mean, std = together.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, together.predict(X))
    np.testing.assert_allclose(std, predictions.std(axis=0), rtol=0, atol=10 * tolerance * scale)
    # The validation loss is that of the average, in units of standard deviations of y.
    deviations = (together.predict(X) - y).reshape(30, -1) / y.reshape(30, -1).std(axis=0)
    c = 60.0 if "sum" in name else 1.0
    unit = 1.0
    if "no intercept" in name:
        unit = (y.reshape(30, -1).std(axis=0) ** 2) / np.square(y.reshape(30, -1)).mean(axis=0)
    expected = c / 2 * (np.square(deviations).mean(axis=0) * unit).sum()
    assert together.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e4 * EPS)


def test_one_member_draws_what_a_plain_network_draws():
    rng, other = np.random.RandomState(0), np.random.RandomState(0)
    model = TwoLayerNetwork(NumpyArrayModule(), 5, 4, 2, True, np.float64, init="standard_normal")
    W1, W2, b2, a = model.draw(rng)
    np.testing.assert_array_equal(W1[:5], other.randn(5, 4))
    np.testing.assert_array_equal(W2, other.randn(4, 2))
    assert not W1[5].any()
    assert not b2.any()
    assert a.size == 0
