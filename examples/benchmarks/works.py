"""The comparisons of `speed.py`: what is trained, and by which peers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from peers import (
    Parameters,
    Run,
    Task,
    jax_adam,
    jax_descent,
    mlp_regressor,
    numpy_adam,
    numpy_linear,
    numpy_network,
    ridge,
    sgd_regressor,
    skorch_adam,
    torch_adam,
    torch_adam_compiled,
    torch_descent,
    torch_descent_compiled,
)

from skrelu import LinearGDRegressor, TwoLayerReLURegressor

SEED = 1


class Peer(NamedTuple):
    """A peer to compare with; `target` says how many times faster skrelu should be, or is None.

    `same_result` says whether the final losses should agree.
    """

    name: str
    build: Callable[[Task], Run]
    target: float | None = None
    library: str = "numpy"
    same_result: bool = True


class Work(NamedTuple):
    """A training task and the peers to compare with."""

    title: str
    make: Callable[[], Task]
    ours: Callable[[Task], Run]
    peers: tuple[Peer, ...]
    pairs: int = 9


def tutorial_task(n: int, d: int, h: int, m: int, rate: float, dtype: type) -> Task:
    """Random inputs, outputs and weights, as in the tutorials."""
    rng = np.random.RandomState(0)
    X: np.ndarray = rng.randn(n, d).astype(dtype)
    y: np.ndarray = rng.randn(n, m).astype(dtype)
    rng = np.random.RandomState(SEED)
    return Task(X, y, (rng.randn(d, h).astype(dtype), rng.randn(h, m).astype(dtype)), rate, n_iter=500)


def linear_task(n: int, d: int, n_iter: int) -> Task:
    """A linear function with noise."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + 5 + 0.5 * rng.standard_normal(n)
    return Task(X, y, (), rate=0.01, n_iter=n_iter)


def minibatch_task(n: int, d: int, dtype: type) -> Task:
    """A nonlinear function with noise; weights as `init="he_normal"` draws them."""
    rng, h = np.random.RandomState(0), 100
    X = rng.standard_normal((n, d))
    y = np.sin(2 * X[:, 0]) + X @ rng.standard_normal(d) / np.sqrt(d) + 0.3 * rng.standard_normal(n)
    rng = np.random.RandomState(SEED)
    W1, W2 = rng.standard_normal((d, h)) * np.sqrt(2 / d), rng.standard_normal((h, 1)) * np.sqrt(2 / h)
    weights = (W1.astype(dtype), W2.astype(dtype))
    return Task(X.astype(dtype), y.astype(dtype), weights, rate=0.001, n_iter=5, batch=200)


def members_task(d: int, dtype: type) -> Task:
    """A nonlinear function with noise; every fit draws its own weights. 40 passes are 2000 steps."""
    rng, n = np.random.RandomState(0), 6400
    X = rng.standard_normal((n, d))
    y = np.sin(2 * X[:, 0]) + X @ rng.standard_normal(d) / np.sqrt(d) + 0.3 * rng.standard_normal(n)
    return Task(X.astype(dtype), y.astype(dtype), (), rate=0.01, n_iter=40, batch=128)


def tail_task() -> Task:
    """Much noise, and 20 of 26 columns with two values, one of them rare: under a penalty, most units die."""
    rng, n = np.random.RandomState(0), 6000
    X = np.column_stack([rng.standard_normal((n, 6)), rng.random_sample((n, 20)) < np.linspace(0.002, 0.3, 20)])
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + X[:, 6:] @ rng.standard_normal(20) + 3 * rng.standard_normal(n)
    return Task(X.astype(np.float32), y.astype(np.float32), (), rate=0.01, n_iter=150, batch=128)


def our_descent(task: Task) -> Run:
    """TwoLayerReLURegressor with the tutorials' parameters."""
    model = TwoLayerReLURegressor(
        task.weights[0].shape[1],
        solver="gd",
        learning_rate=task.rate,
        max_iter=task.n_iter,
        alpha=0,
        fit_intercept=False,
        init="standard_normal",
        standardize=False,
        reduction="sum",
        random_state=SEED,
    )
    return partial(fit_network, model, task)


def our_adam(task: Task) -> Run:
    """TwoLayerReLURegressor with the defaults of MLPRegressor, on data that need no scaling."""
    model = TwoLayerReLURegressor(
        task.weights[0].shape[1],
        n_members=1,
        learning_rate=task.rate,
        learning_rate_schedule="constant",
        batch_size=task.batch,
        max_iter=task.n_iter,
        alpha=0,
        standardize=False,
        random_state=SEED,
    )
    return partial(fit_network, model, task)


def members(task: Task, *, n_members: int, scaling_layer: bool, seed: int = SEED) -> TwoLayerReLURegressor:
    """A network with members of 50 units."""
    return TwoLayerReLURegressor(
        50 * n_members,
        n_members=n_members,
        scaling_layer=scaling_layer,
        learning_rate=task.rate,
        batch_size=task.batch,
        max_iter=task.n_iter,
        alpha=0,
        random_state=seed,
    )


def four_members(task: Task, *, scaling_layer: bool) -> Run:
    """Four members of 50 units, side by side."""
    return partial(fit_network, members(task, n_members=4, scaling_layer=scaling_layer), task)


def four_fits(task: Task, *, scaling_layer: bool) -> Run:
    """Four networks of 50 units, one after the other, and their average."""

    def run() -> Parameters:
        fitted = [
            fit_network(members(task, n_members=1, scaling_layer=scaling_layer, seed=seed), task)
            for seed in range(10, 14)
        ]
        W1, b1, W2, b2 = zip(*fitted, strict=True)
        return np.hstack(W1), np.hstack(b1), np.vstack(W2) / 4, np.mean(b2, axis=0)

    return run


def last_passes(task: Task, n_passes: int = 20) -> Run:
    """The last passes of a training under a strong penalty, at a constant rate. The passes before are not timed."""
    model = penalized(task, task.n_iter - n_passes).fit(task.X, task.y)
    return lambda: fit_network(copy.deepcopy(model).set_params(max_iter=n_passes), task)


def first_passes(task: Task, n_passes: int = 20) -> Run:
    """As many passes at the start of the same training."""
    return lambda: fit_network(penalized(task, n_passes), task)


def penalized(task: Task, n_passes: int) -> TwoLayerReLURegressor:
    """The default network under a strong penalty, at a constant rate."""
    return TwoLayerReLURegressor(
        learning_rate_schedule="constant", alpha=100, max_iter=n_passes, warm_start=True, random_state=SEED
    )


def our_linear(task: Task) -> Run:
    """LinearGDRegressor from zero weights at a given rate."""
    return partial(
        fit_linear, LinearGDRegressor(learning_rate=task.rate, max_iter=task.n_iter, standardize=False), task
    )


def our_linear_defaults(task: Task) -> Run:
    """LinearGDRegressor with default parameters."""
    return partial(fit_linear, LinearGDRegressor(), task)


def fit_network(model: TwoLayerReLURegressor, task: Task) -> Parameters:
    """W1, b1, W2 and b2 after `fit`."""
    model.fit(task.X, task.y)
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    return W1, b1, W2, b2


def fit_linear(model: LinearGDRegressor, task: Task) -> Parameters:
    """W and b after `fit`."""
    model.fit(task.X, task.y)
    return model.coef_.reshape(-1, 1), np.array([model.intercept_])


def tutorial_work(dtype: type) -> Work:
    """The tutorials' network."""
    double = dtype is np.float64
    peers = (
        Peer("tutorial's loop", numpy_network, 10 if double else 8),
        Peer("PyTorch eager", torch_descent, 10 if double else None, "torch"),
        Peer("PyTorch compiled", torch_descent_compiled, None, "torch"),
        Peer("JAX jit scan", jax_descent, 6 if double else None, "jax"),
    )
    title = f"tutorial 64 x 1000 x 100 x 10, 500 iterations, {dtype.__name__}"
    return Work(title, partial(tutorial_task, 64, 1000, 100, 10, 1e-6, dtype), our_descent, peers)


def minibatch_work(n: int, d: int, dtype: type, over_mlp: float, over_torch: float) -> Work:
    """Five passes of Adam."""
    peers = (
        Peer("MLPRegressor", mlp_regressor, over_mlp),
        Peer("PyTorch eager", torch_adam, over_torch, "torch"),
        Peer("PyTorch compiled", torch_adam_compiled, None, "torch"),
        Peer("JAX jit scan", jax_adam, None, "jax"),
        Peer("skorch", skorch_adam, None, "skorch"),
        *([Peer("bare NumPy loop", numpy_adam)] if d <= 100 else []),
    )
    title = f"adam, n={n}, d={d}, h=100, batch 200, 5 passes, {dtype.__name__}"
    return Work(title, partial(minibatch_task, n, d, dtype), our_adam, peers, pairs=9 if d < 1000 else 5)


def members_work(d: int, dtype: type, scaling_layer: bool) -> Work:
    """Four members side by side against four fits."""
    build = partial(four_fits, scaling_layer=scaling_layer)
    peers = [Peer("four fits of 50 units", build, same_result=False)]
    if scaling_layer:
        peers.append(Peer("no scaling layer", partial(four_members, scaling_layer=False), same_result=False))
    layer = "scaling layer" if scaling_layer else "no scaling layer"
    title = f"2000 steps of 4 members of 50 units, batch 128, d={d}, {layer}, {dtype.__name__}"
    ours = partial(four_members, scaling_layer=scaling_layer)
    return Work(title, partial(members_task, d, dtype), ours, tuple(peers))


def works() -> dict[str, Work]:
    """All comparisons by name."""
    all_works = {
        "tutorial64": tutorial_work(np.float64),
        "tutorial32": tutorial_work(np.float32),
        "wide": Work(
            "wide 200 x 5000 x 100 x 1, 500 iterations, float64",
            partial(tutorial_task, 200, 5000, 100, 1, 1e-7, np.float64),
            our_descent,
            (Peer("plain loop", numpy_network, 20),),
            pairs=3,
        ),
        "linear_tall": Work(
            "linear 100000 x 50, 1000 iterations",
            partial(linear_task, 100_000, 50, 1000),
            our_linear,
            (Peer("plain loop", numpy_linear, 30),),
            pairs=3,
        ),
        "linear_small": Work(
            "linear 1000 x 2, 10000 iterations",
            partial(linear_task, 1000, 2, 10_000),
            our_linear,
            (Peer("plain loop", numpy_linear, 100), Peer("Ridge", ridge)),
        ),
        "linear_defaults": Work(
            "linear 100000 x 50, default parameters",
            partial(linear_task, 100_000, 50, 1000),
            our_linear_defaults,
            (Peer("SGDRegressor", sgd_regressor),),
        ),
    }
    for n, d, over_mlp, over_torch in ((20_000, 10, 5, 5), (20_000, 100, 3, 2.5), (10_000, 1000, 1.3, 1.1)):
        for dtype in (np.float64, np.float32):
            all_works[f"adam_d{d}_{dtype.__name__}"] = minibatch_work(n, d, dtype, over_mlp, over_torch)
    for d in (10, 20, 60):
        for dtype in (np.float64, np.float32):
            for layer in (False, True):
                name = f"members_d{d}_{dtype.__name__}" + "_scaling" * layer
                all_works[name] = members_work(d, dtype, layer)
    all_works["tail"] = Work(
        "last 20 of 150 passes, 6000 x 26, strong penalty, float32",
        tail_task,
        last_passes,
        (Peer("its first 20 passes", first_passes, same_result=False),),
    )
    return all_works
