"""The hand-written gradients: against numerical derivatives, a step worked by hand, and PyTorch."""

from types import SimpleNamespace

import numpy as np
import pytest

from skrelu import TwoLayerReLURegressor
from skrelu._array_module import NumpyArrayModule
from skrelu._batches import Batches
from skrelu._network import LinearModel, TwoLayerNetwork
from skrelu._optimizers import Adam, GradientDescent
from skrelu._plain import FullBatch, Minibatches, Penalty
from skrelu._standardize import identity

EPS = np.finfo(np.float64).eps
STEP = 2.0**-13
AM = NumpyArrayModule()

# (n, d, h, m): with one output and few inputs the backward pass skips dZ; with many it builds it.
SKIPS_DZ = (11, 2, 7, 1)
BUILDS_DZ = (5, 9, 4, 1)
THREE_OUTPUTS = (9, 4, 5, 3)
LINEAR = [(11, 3, None, 1), (5, 9, None, 1), (9, 4, None, 3)]

options = [
    pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"]),
    pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"]),
    pytest.mark.parametrize("reduction", ["mean", "sum"]),
    pytest.mark.parametrize("shape", [SKIPS_DZ, BUILDS_DZ, THREE_OUTPUTS, *LINEAR], ids=str),
]


def every_option(test):
    for option in options:
        test = option(test)
    return test


def make_problem(shape, *, weighted=False, intercept=True, reduction="mean", seed=0):
    """Data and parameters of a model; `raw_weights` are the sample weights, `s` and `c` what the model takes."""
    n, d, h, m = shape
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal((n, m))
    raw_weights = rng.uniform(0.1, 3.0, n) if weighted else np.ones(n)
    if weighted:
        raw_weights[1] = 0.0
    sizes = [(d, m), (m,)] if h is None else [(d, h), (h,), (h, m), (m,)]
    parameters = [rng.standard_normal(size) for size in sizes]
    if not intercept:
        parameters = [p if p.ndim == 2 else np.zeros_like(p) for p in parameters]
    total = raw_weights.sum()
    return SimpleNamespace(
        shape=shape,
        X=X,
        y=y,
        raw_weights=raw_weights,
        parameters=parameters,
        intercept=intercept,
        reduction=reduction,
        total=total,
        inputs=np.hstack([X, np.ones((n, 1))]) if intercept else X,
        s=(raw_weights / raw_weights.mean())[:, None] if weighted else None,
        c=1.0 if reduction == "mean" else 2.0 * total,
    )


def make_model(problem, rows=None, am=AM):
    n, d, h, m = problem.shape
    if h is None:
        model = LinearModel(am, d, m, problem.intercept, rows or n, np.float64)
    else:
        model = TwoLayerNetwork(am, d, h, m, problem.intercept, rows or n, np.float64)
    write(model, model.theta, problem.parameters)
    return model


def write(model, flat, parameters):
    """Put the parameters, in the order W1, b1, W2, b2 (W, b), into a flat vector of the model."""
    first, bias, *last = parameters
    views = model.views(flat)
    views[0][: len(first)] = first
    views[0][len(first) :] = bias
    for view, value in zip(views[1:], last, strict=True):
        view[...] = value[: len(view)]


def read(problem, model, flat):
    """The parameters in a flat vector of the model; intercepts are empty where there are none."""
    first, *last = (view.copy() for view in model.views(flat))
    d = problem.shape[1]
    return [first[:d], first[d:].ravel(), *last]


def predict(X, parameters):
    """The definition of both models."""
    if len(parameters) == 2:
        W, b = parameters
        return X @ W + b
    W1, b1, W2, b2 = parameters
    return np.maximum(X @ W1 + b1, 0.0) @ W2 + b2


def objective(problem, parameters):
    """The definition of the loss, in terms of the sample weights."""
    squares = problem.raw_weights @ np.square(predict(problem.X, parameters) - problem.y).sum(axis=1)
    return squares if problem.reduction == "sum" else squares / (2.0 * problem.total)


def five_point(function, parameters):
    """Derivatives of `function` by each entry of `parameters`: lists of arrays shaped (*parameter, *value)."""
    derivatives = []
    for k, parameter in enumerate(parameters):
        entries = []
        for index in np.ndindex(parameter.shape):

            def at(t, k=k, index=index):
                moved = [p.copy() for p in parameters]
                moved[k][index] += t * STEP
                return function(moved)

            entries.append((at(-2) - 8.0 * at(-1) + 8.0 * at(1) - at(2)) / (12.0 * STEP))
        derivatives.append(np.reshape(entries, parameter.shape + np.shape(entries[0])))
    return derivatives


def assert_away_from_kinks(problem):
    """No entry of the derivative may move a unit across zero, where there is no derivative."""
    W1, b1 = problem.parameters[:2]
    reach = 2.0 * STEP * max(1.0, np.abs(problem.X).max())
    assert np.abs(problem.X @ W1 + b1).min() > reach


def assert_matches_derivative(gradient, derivative, scale):
    """The five-point formula has an error of about 1.5 eps |L| / step from rounding, and no other away from kinks."""
    np.testing.assert_allclose(gradient, derivative, rtol=5e-6, atol=1e-10 * max(1.0, scale))


@every_option
def test_loss_and_gradient(shape, reduction, weighted, intercept):
    problem = make_problem(shape, weighted=weighted, intercept=intercept, reduction=reduction)
    if shape[2]:
        assert_away_from_kinks(problem)
    model = make_model(problem)
    loss = model.loss_and_gradient(problem.inputs, problem.y, problem.s, problem.c)
    expected = objective(problem, problem.parameters)
    # A sum of n m squares, each of a prediction that is a sum of d h products.
    assert loss == pytest.approx(expected, rel=100 * EPS, abs=0.0)
    derivatives = five_point(lambda p: objective(problem, p), problem.parameters)
    for gradient, derivative in zip(read(problem, model, model.gradient), derivatives, strict=True):
        assert_matches_derivative(gradient, derivative[: len(gradient)], expected)


@pytest.mark.parametrize(("shape", "builds_dZ"), [(SKIPS_DZ, False), (BUILDS_DZ, True), (THREE_OUTPUTS, True)])
def test_the_shapes_take_both_branches_of_the_backward_pass(shape, builds_dZ, monkeypatch):
    calls = []
    original = NumpyArrayModule.mask_backward

    def record(self, *args, **kwargs):
        calls.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(NumpyArrayModule, "mask_backward", record)
    problem = make_problem(shape)
    make_model(problem).loss_and_gradient(problem.inputs, problem.y, problem.s, problem.c)
    assert bool(calls) == builds_dZ


def test_both_branches_give_the_same_gradient():
    problem = make_problem((5, 9, 7, 1), weighted=True)
    gradients = []
    for rows in (5, 500):  # the branch is chosen by the rows there is room for
        model = make_model(problem, rows=rows)
        model.loss_and_gradient(problem.inputs, problem.y, problem.s, problem.c)
        gradients.append(read(problem, model, model.gradient))
    n, _, h, _ = problem.shape
    for built, skipped in zip(*gradients, strict=True):
        # Sums of n products of three factors taken in another order; h roundings in the residuals.
        np.testing.assert_allclose(built, skipped, rtol=0, atol=2 * (n + h + 3) * EPS * np.abs(built).max())


def test_a_batch_smaller_than_the_buffers():
    problem = make_problem(THREE_OUTPUTS, weighted=True)
    gradients = []
    for rows in (problem.shape[0], 40):
        model = make_model(problem, rows=rows)
        model.loss_and_gradient(problem.inputs, problem.y, problem.s, problem.c)
        gradients.append(model.gradient.copy())
    np.testing.assert_allclose(*gradients, rtol=0, atol=50 * EPS * np.abs(gradients[0]).max())  # sums of 9 products


@pytest.mark.parametrize("rows", [2, 40], ids=["builds dZ", "skips dZ"])
def test_relu_has_derivative_zero_at_zero(rows):
    # z = (0, 0): f = 0 W2 = 0, E = -1. No gradient may pass a unit at exactly zero.
    problem = make_problem((2, 1, 2, 1), intercept=False)
    model = make_model(problem, rows=rows)
    model.theta[...] = 0.0
    model.W2[...] = 3.0
    model.loss_and_gradient(problem.X, np.ones((2, 1)), None, 1.0)
    np.testing.assert_array_equal(model.gradient, 0.0)


# A step with small integers, reduction="sum", learning rate 1/2:
#
#   X = [[1, 2], [3, -1]]   W1 = [[1, -1], [-1, 1]]   b1 = [1, 1]   W2 = [[2], [3]]   b2 = [1]   y = [[5], [14]]
#
#   Z = X W1 + b1   = [[1 - 2 + 1, -1 + 2 + 1], [3 + 1 + 1, -3 - 1 + 1]] = [[0, 2], [5, -3]]
#   H = relu(Z)     = [[0, 2], [5, 0]]        mask = [[0, 1], [1, 0]]        the unit at exactly 0 passes nothing
#   F = H W2 + b2   = [[6 + 1], [10 + 1]]     = [[7], [11]]
#   E = F - y       = [[2], [-3]]             L = 4 + 9 = 13
#   D = 2 E         = [[4], [-6]]
#   dW2 = H^T D     = [[5 * -6], [2 * 4]]     = [[-30], [8]]                 db2 = 4 - 6 = -2
#   dH = D W2^T     = [[8, 12], [-12, -18]]   dZ = [[0, 12], [-12, 0]]
#   dW1 = X^T dZ    = [[3 * -12, 1 * 12], [-1 * -12, 2 * 12]] = [[-36, 12], [12, 24]]     db1 = [-12, 12]
#
#   W1 - dW1 / 2 = [[19, -7], [-7, -11]]      b1 - db1 / 2 = [7, -5]
#   W2 - dW2 / 2 = [[17], [-1]]               b2 - db2 / 2 = 2
#
# Everything is an integer, so floating point has nothing to round and the comparison is exact.
HAND = SimpleNamespace(
    shape=(2, 2, 2, 1),
    X=np.array([[1.0, 2.0], [3.0, -1.0]]),
    y=np.array([[5.0], [14.0]]),
    before=[np.array(a, float) for a in ([[1, -1], [-1, 1]], [1, 1], [[2], [3]], [1])],
    gradient=[np.array(a, float) for a in ([[-36, 12], [12, 24]], [-12, 12], [[-30], [8]], [-2])],
    after=[np.array(a, float) for a in ([[19, -7], [-7, -11]], [7, -5], [[17], [-1]], [2])],
)


@pytest.mark.parametrize("rows", [2, 40], ids=["builds dZ", "skips dZ"])
def test_a_step_by_hand(rows):
    model = TwoLayerNetwork(AM, 2, 2, 1, True, rows, np.float64)
    write(model, model.theta, HAND.before)
    inputs = np.hstack([HAND.X, np.ones((2, 1))])
    np.testing.assert_array_equal(model.forward(inputs), [[7.0], [11.0]])
    assert model.loss_and_gradient(inputs, HAND.y, None, 2.0 * len(HAND.y)) == 13.0
    for gradient, expected in zip(read(HAND, model, model.gradient), HAND.gradient, strict=True):
        np.testing.assert_array_equal(gradient, expected)


def test_a_step_by_hand_through_the_estimator(monkeypatch):
    W1, b1, W2, b2 = HAND.before
    monkeypatch.setattr(TwoLayerReLURegressor, "_draw", lambda *_: [np.vstack([W1, b1]), W2, b2])
    model = TwoLayerReLURegressor(
        2, solver="gd", learning_rate=0.5, max_iter=1, alpha=0, standardize=False, reduction="sum"
    ).fit(HAND.X, HAND.y)
    assert model.loss_curve_ == [13.0]
    fitted = [model.coefs_[0], model.intercepts_[0], model.coefs_[1], model.intercepts_[1]]
    for parameter, expected in zip(fitted, HAND.after, strict=True):
        np.testing.assert_array_equal(parameter, expected)


@pytest.mark.parametrize("shape", [SKIPS_DZ, THREE_OUTPUTS, LINEAR[2]], ids=str)
@pytest.mark.parametrize("intercept", [True, False])
def test_the_gradient_of_the_penalty_leaves_intercepts_alone(shape, intercept):
    problem = make_problem(shape, intercept=intercept)
    model, strength = make_model(problem), 0.7

    def penalty(parameters):
        return strength / 2.0 * sum(np.square(p).sum() for p in parameters if p.ndim == 2)

    model.gradient[...] = 1.0
    Penalty(model, fixed=strength, c=1.0, total_weight=3.0).add_gradient(model.theta)
    derivatives = five_point(penalty, problem.parameters)
    for gradient, derivative in zip(read(problem, model, model.gradient), derivatives, strict=True):
        assert_matches_derivative(gradient, 1.0 + derivative[: len(gradient)], penalty(problem.parameters))


@every_option
def test_loss_and_penalty_together(shape, reduction, weighted, intercept):
    problem = make_problem(shape, weighted=weighted, intercept=intercept, reduction=reduction, seed=3)
    if shape[2]:
        assert_away_from_kinks(problem)
    model, alpha = make_model(problem), 2.5

    def total(parameters):
        squares = sum(np.square(p).sum() for p in parameters if p.ndim == 2)
        return objective(problem, parameters) + alpha / problem.total / 2.0 * squares

    model.loss_and_gradient(problem.inputs, problem.y, problem.s, problem.c)
    Penalty(model, fixed=alpha / problem.total, c=problem.c, total_weight=problem.total).add_gradient(model.theta)
    derivatives = five_point(total, problem.parameters)
    for gradient, derivative in zip(read(problem, model, model.gradient), derivatives, strict=True):
        assert_matches_derivative(gradient, derivative[: len(gradient)], total(problem.parameters))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [SKIPS_DZ, THREE_OUTPUTS], ids=str)
def test_the_automatic_penalty_follows_a_running_mean_of_the_error(shape, reduction):
    problem = make_problem(shape, weighted=True, reduction=reduction)
    model = make_model(problem)
    penalty = Penalty(model, fixed=None, c=problem.c, total_weight=problem.total)
    mse = 0.0
    for t, error in enumerate([3.0, 0.5, 0.01, *np.linspace(0.0, 2.0, 200)], start=1):  # mean squared errors
        penalty.observe(error * problem.c / 2.0 * shape[3])  # the loss of such a batch
        mse += max(0.01, 1.0 / t) * (error - mse)
        expected = min(20.0 * min(mse, 1.0) / problem.total, 0.1) * (1.0 if reduction == "mean" else 2 * problem.total)
        # t steps, each of which rounds a few times.
        assert penalty.mse == pytest.approx(mse, rel=8 * t * EPS, abs=0.0)
        assert penalty.strength == pytest.approx(expected, rel=8 * (t + 3) * EPS, abs=0.0)


def explicit_gauss_newton(problem, model):
    """(c / n) sum_i s_i J_i^T J_i from numerical derivatives of the prediction, in the layout of `theta`."""
    n, m = problem.y.shape
    derivatives = five_point(lambda p: predict(problem.X, p), problem.parameters)
    J = np.empty((n, m, len(model.theta)))
    for i in range(n):
        for k in range(m):
            write(model, J[i, k], [derivative[..., i, k] for derivative in derivatives])
    factor = 2.0 if problem.reduction == "sum" else 1.0 / problem.total
    return factor * np.einsum("i,ika,ikb->ab", problem.raw_weights, J, J)


@every_option
def test_curvature_product(shape, reduction, weighted, intercept):
    problem = make_problem(shape, weighted=weighted, intercept=intercept, reduction=reduction)
    model = make_model(problem, rows=shape[0] + 3)
    matrix = explicit_gauss_newton(problem, model)
    rng = np.random.default_rng(5)
    for _ in range(3):
        v = rng.standard_normal(len(model.theta))
        form = model.curvature_product(problem.inputs, problem.s, problem.c, v.copy())
        assert_matches_derivative(model.gradient, matrix @ v, np.abs(matrix).sum())
        assert_matches_derivative(form, v @ matrix @ v / 2.0, np.abs(matrix).sum())


class Keep:
    """An optimizer that only keeps the gradient."""

    def step(self, theta, g, rate):
        self.gradient = g.copy()


def full_batch(problem, rows, optimizer, *, strength=0.0, rate=1.0):
    """The engine of gradient descent on a problem read `rows` rows at a time."""
    batches = make_batches(problem, rows)
    model = make_model(problem, rows=batches.rows)
    penalty = Penalty(model, fixed=strength, c=problem.c, total_weight=problem.total)
    engine = FullBatch(model, batches, optimizer, penalty, c=problem.c, epoch=0)
    engine.rate = rate
    return engine


def make_batches(problem, rows):
    d = problem.shape[1]
    return Batches(AM, problem.X, problem.y, problem.s, identity(d), ones=problem.intercept, rows=rows)


@pytest.mark.parametrize("rows", [1, 7, 22])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shape", [(23, 3, 6, 1), (23, 9, 4, 3), (23, 4, None, 2)], ids=str)
def test_blocks_of_rows_give_the_gradient_of_one_block(shape, weighted, rows):
    problem = make_problem(shape, weighted=weighted, reduction="sum")
    kept = {}
    for n_rows in (rows, 23):
        engine = full_batch(problem, n_rows, Keep(), strength=0.3)
        (loss,) = engine.advance(1)
        kept[n_rows] = loss, engine.optimizer.gradient
    n, d, h, _ = shape
    # Each entry sums n rows in another order, and the residuals in it have rounded d + h times.
    rtol = 4 * (n + d + (h or 0)) * EPS
    (loss, gradient), (loss_of_one, gradient_of_one) = kept[rows], kept[23]
    assert loss == pytest.approx(loss_of_one, rel=rtol, abs=0.0)
    np.testing.assert_allclose(gradient, gradient_of_one, rtol=0, atol=rtol * np.abs(gradient_of_one).max())


@pytest.mark.parametrize("rows", [4, 23])
@pytest.mark.parametrize("strength", [0.0, 0.8])
@pytest.mark.parametrize("shape", [(23, 2, 4, 1), (23, 3, None, 2)], ids=str)
def test_curvature_of_the_objective(shape, strength, rows):
    problem = make_problem(shape, weighted=True)
    engine = full_batch(problem, rows, Keep(), strength=strength)
    matrix = explicit_gauss_newton(problem, engine.model)
    is_weight = np.empty(len(matrix))
    write(engine.model, is_weight, [np.full(p.shape, p.ndim == 2) for p in problem.parameters])
    exact = np.linalg.eigvalsh(matrix + strength * np.diag(is_weight))[-1]
    before = engine.model.theta.copy()
    # 1e-10 asked for, and the rounding of the numerical derivative.
    assert engine.curvature(1e-10) == pytest.approx(exact, rel=1e-9, abs=0.0)
    np.testing.assert_array_equal(engine.model.theta, before)


def torch_problem(problem, strength):
    """The parameters as PyTorch's, and a function from (X, y, s, number of rows) to loss and penalty."""
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(p, requires_grad=problem.intercept or p.ndim == 2) for p in problem.parameters]

    def forward(X):
        if len(tensors) == 2:
            return X @ tensors[0] + tensors[1]
        return torch.relu(X @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]

    def loss(X, y, s):
        X, y = torch.tensor(X[:, : problem.shape[1]]), torch.tensor(y)
        weight = 1.0 if s is None else torch.tensor(s)
        return problem.c / 2.0 / len(X) * (weight * (forward(X) - y) ** 2).sum()

    def penalty():
        return strength / 2.0 * sum((p**2).sum() for p in tensors if p.ndim == 2)

    weights = [p for p in tensors if p.ndim == 2]
    biases = [p for p in tensors if p.ndim == 1 and p.requires_grad]
    groups = [{"params": weights, "weight_decay": strength}]
    if biases:
        groups.append({"params": biases, "weight_decay": 0.0})
    return torch, tensors, loss, penalty, groups


@every_option
def test_gradients_against_pytorch(shape, reduction, weighted, intercept):
    problem = make_problem(shape, weighted=weighted, intercept=intercept, reduction=reduction, seed=1)
    strength = 0.4
    _, tensors, loss, penalty, _ = torch_problem(problem, strength)
    (loss(problem.X, problem.y, problem.s) + penalty()).backward()
    model = make_model(problem)
    model.loss_and_gradient(problem.inputs, problem.y, problem.s, problem.c)
    Penalty(model, fixed=strength, c=problem.c, total_weight=problem.total).add_gradient(model.theta)
    n, d, h, m = shape
    for gradient, tensor in zip(read(problem, model, model.gradient), tensors, strict=True):
        if not tensor.requires_grad:
            assert gradient.size == 0
            continue
        expected = tensor.grad.numpy()
        # Sums of n rows, with residuals that rounded d + h times, and m outputs in dH.
        atol = 4 * (n + d + (h or 0) + m) * EPS * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_epochs_of_cosine", [None, 6], ids=["constant", "cosine"])
@pytest.mark.parametrize("shape", [(50, 4, 8, 1), (50, 10, 5, 2)], ids=str)
def test_training_with_adam_against_pytorch(shape, n_epochs_of_cosine, weighted):
    problem = make_problem(shape, weighted=weighted)
    strength, rate, seed, n_epochs = 0.05, 0.02, 12, 6
    torch, tensors, loss, _, groups = torch_problem(problem, strength)
    optimizer = torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8)
    batches = make_batches(problem, 8)
    n_steps = n_epochs_of_cosine and n_epochs_of_cosine * batches.per_epoch
    schedule = n_steps and torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    expected_losses = []
    for epoch in range(n_epochs):
        total = 0.0
        for X, y, s in batches.shuffled(seed, epoch):
            optimizer.zero_grad()
            value = loss(X, y, s)
            value.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            total += value.item() * len(X) / len(problem.X)
        expected_losses.append(total)
    model = make_model(problem, rows=8)
    penalty = Penalty(model, fixed=strength, c=problem.c, total_weight=problem.total)
    engine = Minibatches(
        model,
        make_batches(problem, 8),
        Adam(AM, model.theta),
        penalty,
        c=problem.c,
        n_steps=n_steps,
        seed=seed,
        epoch=0,
    )
    engine.rate = rate
    losses = engine.advance(n_epochs)
    # Adam divides by the root of a mean square of gradients, so rounding of small entries grows; it stays far below.
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    for parameter, tensor in zip(read(problem, model, model.theta), tensors, strict=True):
        np.testing.assert_allclose(parameter, tensor.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("shape", [(30, 3, 6, 1), (30, 4, 5, 2), (30, 5, None, 2)], ids=str)
def test_training_with_gradient_descent_against_pytorch(shape, momentum):
    problem = make_problem(shape, weighted=True)
    strength, rate, n_iter = 0.1, 0.01, 40
    torch, tensors, loss, _, groups = torch_problem(problem, strength)
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum)
    expected_losses = []
    for _ in range(n_iter):
        optimizer.zero_grad()
        value = loss(problem.X, problem.y, problem.s)
        value.backward()
        optimizer.step()
        expected_losses.append(value.item())
    engine = full_batch(problem, 30, None, strength=strength, rate=rate)
    engine.optimizer = GradientDescent(AM, engine.model.theta, momentum)
    # Rounding of 40 steps, each of which may grow the error of the one before a little.
    np.testing.assert_allclose(engine.advance(n_iter), expected_losses, rtol=1e4 * EPS)
    for parameter, tensor in zip(read(problem, engine.model, engine.model.theta), tensors, strict=True):
        np.testing.assert_allclose(parameter, tensor.detach().numpy(), rtol=0, atol=1e4 * EPS)
