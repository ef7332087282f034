"""Gradients and whole trainings against PyTorch's."""

import numpy as np
import pytest

from problems import EPS, batch_of, batches_for, every_option, full_batch_for, model_for, problem_for, read
from skrelu._engines.minibatches import Minibatches
from skrelu._engines.recipe import Recipe
from skrelu._models.penalty import Penalty


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


@pytest.mark.one_in(5)
@every_option
def test_gradients_against_pytorch(shape, reduction, weighted, intercept):
    problem = problem_for(shape, weighted=weighted, intercept=intercept, reduction=reduction, seed=1)
    strength = 0.4
    _, tensors, loss, penalty, _ = torch_problem(problem, strength)
    (loss(problem.X, problem.y, problem.s) + penalty()).backward()
    model = model_for(problem)
    model.loss_and_gradient(batch_of(problem))
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


@pytest.mark.one_in(3)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_epochs_of_cosine", [None, 6], ids=["constant", "cosine"])
@pytest.mark.parametrize("shape", [(50, 4, 8, 1), (50, 10, 5, 2)], ids=str)
def test_training_with_adam_against_pytorch(shape, n_epochs_of_cosine, weighted):
    problem = problem_for(shape, weighted=weighted)
    strength, rate, seed, n_epochs = 0.05, 0.02, 12, 6
    torch, tensors, loss, _, groups = torch_problem(problem, strength)
    optimizer = torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8)
    batches = batches_for(problem, 8)
    n_steps = n_epochs_of_cosine and n_epochs_of_cosine * batches.per_epoch
    schedule = n_steps and torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    expected_losses = []
    for epoch in range(n_epochs):
        total = 0.0
        for X, y, s, _ in batches.shuffled(seed, epoch):
            optimizer.zero_grad()
            value = loss(X, y, s)
            value.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            total += value.item() * len(X) / len(problem.X)
        expected_losses.append(total)
    model = model_for(problem, rows=8)
    penalty = Penalty(model, fixed=strength, c=problem.c, total_weight=problem.total)
    schedule = "cosine" if n_epochs_of_cosine else "constant"
    recipe = Recipe(solver="adam", learning_rate_schedule=schedule, max_iter=n_epochs)
    engine = Minibatches(model, batches_for(problem, 8), penalty, recipe, rate=rate, seed=seed)
    losses = engine.advance(n_epochs)
    # Adam divides by the root of a mean square of gradients, so rounding of small entries grows; it stays far below.
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    for parameter, tensor in zip(read(problem, model, model.theta), tensors, strict=True):
        np.testing.assert_allclose(parameter, tensor.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("shape", [(30, 3, 6, 1), (30, 4, 5, 2), (30, 5, None, 2)], ids=str)
def test_training_with_gradient_descent_against_pytorch(shape, momentum):
    problem = problem_for(shape, weighted=True)
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
    engine = full_batch_for(problem, 30, strength=strength, rate=rate, momentum=momentum)
    # Rounding of 40 steps, each of which may grow the error of the one before a little.
    np.testing.assert_allclose(engine.advance(n_iter), expected_losses, rtol=1e4 * EPS)
    for parameter, tensor in zip(read(problem, engine.model, engine.model.theta), tensors, strict=True):
        np.testing.assert_allclose(parameter, tensor.detach().numpy(), rtol=0, atol=1e4 * EPS)
