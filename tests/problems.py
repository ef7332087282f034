"""What the tests share: problems, the ways of training, comparisons of fits, and arrays of other libraries."""

import copy
import pickle
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils._array_api import move_to
from sklearn.utils.validation import check_is_fitted

from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._arrays import GenericArrayModule, NumpyArrayModule
from skrelu._engines.full_batch import FullBatch
from skrelu._engines.recipe import Recipe
from skrelu._models.base import Batch
from skrelu._models.linear import LinearModel
from skrelu._models.network import TwoLayerNetwork
from skrelu._models.penalty import Penalty
from skrelu._models.standardize import identity
from skrelu._rows.batches import Batches

EPS = np.finfo(np.float64).eps
CLASSES = [TwoLayerReLURegressor, LinearGDRegressor]
every_class = pytest.mark.parametrize("estimator_class", CLASSES)
# More rows than columns, and fewer: the shortcuts of gradient descent differ.
every_shape = pytest.mark.parametrize("shape", [(30, 3), (12, 40)], ids=["tall", "wide"])
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
array_modules = pytest.mark.parametrize(
    "am", [NumpyArrayModule(), GenericArrayModule(np, None, np.asarray)], ids=["numpy", "generic"]
)


# --- problems ---------------------------------------------------------------------------------------------------------


def problem(n=30, d=3, m=None, *, seed=0, dtype=np.float64, center=1.0, spread=1.0):
    """X, and a y with a kink, a slope and noise. The columns of `m` outputs differ by a slope."""
    rng = np.random.RandomState(seed)
    X = spread * rng.normal(size=(n, d)) + center
    y = np.abs(X[:, 0]) - 2 * X[:, -1] + 0.3 * rng.normal(size=n)
    y = y if m is None else np.stack([y + k * X[:, 0] for k in range(m)], axis=1)
    return X.astype(dtype), y.astype(dtype)


def weights_for(X, *, whole=False):
    """Sample weights: real numbers of about 1, or whole numbers from 0 to 3."""
    rng = np.random.RandomState(1)
    return rng.randint(0, 4, len(X)) if whole else rng.uniform(0.5, 2.0, len(X))


def curvature_of_the_linear_model(
    X, weights=None, *, alpha=0.0, fit_intercept=True, standardize=True, reduction="mean"
):
    """The largest eigenvalue of the Hessian, by LAPACK."""
    s = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    if standardize and fit_intercept:
        mean = np.average(X, axis=0, weights=s)
        X = (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))
    elif standardize:
        X = X / np.sqrt(np.average(X**2, axis=0, weights=s))
    A = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    hessian = (A * s[:, None]).T @ A * (1 / s.sum() if reduction == "mean" else 2.0)
    penalized = np.arange(A.shape[1]) < X.shape[1]
    return np.linalg.eigvalsh(hessian + np.diag(penalized * alpha / s.sum()))[-1]


# --- the ways of training ---------------------------------------------------------------------------------------------

N_ITER = 6
ADAM = TwoLayerReLURegressor(6, batch_size=8, learning_rate_schedule="constant", max_iter=N_ITER, random_state=0)
DESCENT = TwoLayerReLURegressor(6, solver="gd", max_iter=N_ITER, random_state=0)
LINEAR = LinearGDRegressor(max_iter=N_ITER, init="uniform", random_state=0)
# Each engine, with and without what it treats separately. The rate is constant, so that iteration t is the same in a
# fit of t iterations and in a longer one.
ENGINES = {
    "minibatches": ADAM,
    "minibatches, penalty": clone(ADAM).set_params(alpha=1.0),
    "minibatches, one batch": clone(ADAM).set_params(batch_size=100),
    "full batch": clone(DESCENT).set_params(precompute=False),
    "full batch, momentum": clone(DESCENT).set_params(precompute=False, momentum=0.9, alpha=1.0, n_members=3),
    "sample space": clone(DESCENT).set_params(precompute=True),
    "sample space, momentum": clone(DESCENT).set_params(precompute=True, momentum=0.9),
    "sample space, penalty": clone(DESCENT).set_params(precompute=True, momentum=0.5, alpha=2.0, n_members=2),
    "linear": clone(LINEAR).set_params(precompute=False),
    "closed form": clone(LINEAR).set_params(precompute=True),
    "closed form, penalty": clone(LINEAR).set_params(precompute=True, alpha=3.0),
}
NETWORKS = [name for name in ENGINES if not name.startswith(("linear", "closed"))]
# The engines that iterate: the closed form computes many iterations at once.
ITERATING = [name for name in ENGINES if not name.startswith("closed")]
# One of each kind, where penalty and momentum do not matter.
KINDS = ["minibatches", "full batch", "sample space", "linear", "closed form"]
# One of each kind, and Adam's schedule, for what is refused or fails.
TRAINED = {name: ENGINES[name] for name in [*KINDS, "full batch, momentum", "sample space, penalty"]}
TRAINED["minibatches, cosine"] = clone(ADAM).set_params(learning_rate_schedule="cosine")
every_engine = pytest.mark.parametrize("name", ENGINES)
every_iterating_engine = pytest.mark.parametrize("name", ITERATING)
every_kind = pytest.mark.parametrize("name", KINDS)
every_trained = pytest.mark.parametrize("name", TRAINED)

# A network that learns the noise of few rows, so that its validation loss rises.
NOISY = {
    "minibatches": {"learning_rate": 0.03},
    "full batch": {"learning_rate": 0.3},
    "sample space": {"learning_rate": 0.3},
    "sample space, momentum": {"learning_rate": 0.1},
    "sample space, penalty": {"learning_rate": 0.1, "alpha": 0.01},
}
every_noisy = pytest.mark.parametrize("name", NOISY)


def noisy(name, **parameters):
    return clone(ENGINES[name]).set_params(**{"hidden_layer_size": 20, "max_iter": 200} | NOISY[name] | parameters)


def noisy_problem(n=20, d=8):
    rng = np.random.RandomState(0)
    X, X_val = rng.normal(size=(n, d)), rng.normal(size=(60, d))
    return X, X[:, 0] + rng.normal(size=n), X_val, X_val[:, 0] + rng.normal(size=60)


# --- comparisons ------------------------------------------------------------------------------------------------------


def arrays_of(model):
    """The fitted coefficients and intercepts. An intercept that is a number becomes an array without dimensions."""
    if isinstance(model, TwoLayerReLURegressor):
        return [*model.coefs_, *model.intercepts_]
    number = isinstance(model.intercept_, float)
    return [model.coef_, np.asarray(model.intercept_) if number else model.intercept_]


def coefficients_of(model):
    """The arrays of a fitted model that live where X lives."""
    return [a for a in arrays_of(model) if a.ndim]


def attributes_of(estimator):
    """What a fit leaves, without the state that it continues from."""
    return {name: value for name, value in sorted(vars(estimator).items()) if name[0] != "_" and name[-1] == "_"}


def assert_same(a, b, where="vars"):
    """Same keys, types and values; arrays to the last bit, and those of a file are arrays."""
    a, b = (np.asarray(value) if isinstance(value, np.memmap) else value for value in (a, b))
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{where}[{k}]")
    elif hasattr(a, "dtype") and hasattr(a, "shape"):
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b), err_msg=where)
    elif isinstance(a, np.random.RandomState):
        assert_same(a.get_state(), b.get_state(), where)
    else:
        assert a == b or (a != a and b != b), where


def assert_same_fit(a, b, but=()):
    """The same fit to the last bit: each fitted attribute, except those named in `but`."""
    left, right = attributes_of(a), attributes_of(b)
    for name in but:
        left.pop(name, None)
        right.pop(name, None)
    assert_same(left, right)


def spoiled(a, value):
    a = a.copy()
    a.flat[5] = value
    return a


@contextmanager
def unchanged(estimator, X):
    """A block after which `estimator` is as it was before: attributes, their order, values, and predictions."""
    before = copy.deepcopy(vars(estimator))
    objects = dict(vars(estimator))
    predictions = estimator.predict(X)
    yield
    assert_same(vars(estimator), before)
    assert all(vars(estimator)[key] is value for key, value in objects.items())
    np.testing.assert_array_equal(estimator.predict(X), predictions)


def assert_unfitted(estimator):
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    assert set(vars(estimator)) == set(estimator.get_params())


# --- faults -----------------------------------------------------------------------------------------------------------


class Failing:
    """NumPy, except that call number `at` of one of its functions raises `error`."""

    def __init__(self, at, error):
        self.at, self.error, self.calls = at, error, 0

    def __getattr__(self, name):
        function = getattr(np, name)
        if isinstance(function, type) or not callable(function):
            return function

        def call(*arguments, **keywords):
            self.calls += 1
            if self.calls == self.at:
                raise self.error
            return function(*arguments, **keywords)

        call.reduce = getattr(function, "reduce", None)
        return call


def fit_failing(model, at, error, monkeypatch, method="fit"):
    """Fit to `problem(20)`, and raise `error` at call number `at` of NumPy; return the number of calls."""
    failing = Failing(at, error)
    with monkeypatch.context() as patch:
        patch.setattr(NumpyArrayModule, "xp", failing)
        if at > 10**6:
            getattr(model, method)(*problem(20))
        else:
            with pytest.raises(type(error)):
                getattr(model, method)(*problem(20))
    return failing.calls


def positions(model, monkeypatch, number):
    """The numbers of `number` calls of NumPy between the first and the last of a fit, and of the last 15."""
    calls = fit_failing(pickle.loads(pickle.dumps(model)), 10**9, KeyboardInterrupt(), monkeypatch)
    return sorted({*np.linspace(1, calls, number, dtype=int).tolist(), *range(calls - 15, calls + 1)})


# --- other array libraries --------------------------------------------------------------------------------------------

# Where the dtypes are those that a library and device support. A test skips torch where it is not installed.
PLACES = [("array_api_strict", "CPU_DEVICE"), ("array_api_strict", "device1"), ("torch", "cpu")]
every_place = pytest.mark.parametrize(("library", "device"), PLACES)
every_library = pytest.mark.parametrize("library", ["array_api_strict", "torch"])


def library_and_device(name, device):
    xp = pytest.importorskip(name, reason=f"needs {name}")
    return xp, xp.Device(device) if name == "array_api_strict" else device


def to_numpy(a):
    if isinstance(a, np.ndarray | np.generic):
        return a
    with config_context(array_api_dispatch=True):
        return move_to(a, xp=np, device="cpu")


# --- the models on arrays, and their definitions ----------------------------------------------------------------------

# (n, d, h, m). With one output and few inputs the backward pass skips dZ; with many it builds it.
SKIPS_DZ = (11, 2, 7, 1)
BUILDS_DZ = (5, 9, 4, 1)
THREE_OUTPUTS = (9, 4, 5, 3)
LINEAR_SHAPES = [(11, 3, None, 1), (5, 9, None, 1), (9, 4, None, 3)]
STEP = 2.0**-13


def every_option(test):
    """Each branch of the models, each reduction, with and without weights and intercepts."""
    for option in (
        pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"]),
        pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"]),
        pytest.mark.parametrize("reduction", ["mean", "sum"]),
        pytest.mark.parametrize("shape", [SKIPS_DZ, BUILDS_DZ, THREE_OUTPUTS, *LINEAR_SHAPES], ids=str),
    ):
        test = option(test)
    return test


def problem_for(shape, *, weighted=False, intercept=True, reduction="mean", seed=0):
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


def model_for(problem, rows=None):
    n, d, h, m = problem.shape
    am = NumpyArrayModule()
    if h is None:
        model = LinearModel(am, d, m, problem.intercept, np.float64)
    else:
        model = TwoLayerNetwork(am, d, h, m, problem.intercept, np.float64)
    write(model, model.theta, problem.parameters)
    model.allocate(rows or n)
    return model


def batch_of(problem):
    """All rows as one batch."""
    return Batch(problem.inputs, problem.y, problem.s, problem.c / len(problem.y))


def batches_for(problem, rows):
    scaling = identity(problem.shape[1])
    am, c = NumpyArrayModule(), problem.c
    return Batches(am, problem.X, problem.y, problem.s, scaling, ones=problem.intercept, rows=rows, c=c)


def full_batch_for(problem, rows, *, strength=0.0, rate=1.0, momentum=0.0):
    """The engine of gradient descent on a problem that is read `rows` rows at a time."""
    batches = batches_for(problem, rows)
    model = model_for(problem, rows=batches.rows)
    penalty = Penalty(model, fixed=strength, c=problem.c, total_weight=problem.total)
    return FullBatch(model, batches, penalty, Recipe(momentum=momentum), rate=rate)


def write(model, flat, parameters):
    """Put the parameters, in the order W1, b1, W2, b2 (W, b), into a flat vector of the model."""
    first, bias, *last = parameters
    views = model.views(flat)
    views[0][: len(first)] = first
    views[0][len(first) :] = bias
    for view, value in zip(views[1:], last, strict=False):  # a network may have a scaling layer
        view[...] = value[: len(view)]


def read(problem, model, flat):
    """The parameters in a flat vector of the model; intercepts are empty where there are none."""
    first, *last = (view.copy() for view in model.views(flat))
    d = problem.shape[1]
    return [first[:d], first[d:].ravel(), *last[:2]]


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
