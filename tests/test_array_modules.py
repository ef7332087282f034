"""The array functions: one set of signatures, NumPy's results against the generic reference, and no allocation."""

import inspect
import tracemalloc
from types import SimpleNamespace

import array_api_strict
import numpy as np
import pytest
import sklearn

from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._array_module import CupyArrayModule, GenericArrayModule, NumpyArrayModule
from skrelu._batches import Batches
from skrelu._namespaces import select
from skrelu._network import LinearModel, TwoLayerNetwork
from skrelu._optimizers import Adam, GradientDescent
from skrelu._plain import FullBatch, Minibatches, Penalty
from skrelu._standardize import Scaling, identity

MODULES = {
    "numpy": NumpyArrayModule(),
    "generic on numpy": GenericArrayModule(np, None, np.asarray),
    "generic on strict": GenericArrayModule(array_api_strict, None, np.asarray),
}
SHAPES = [(1, 1), (1, 5), (7, 1), (7, 5), (33, 17), (33, 1000), (20000, 2)]  # the last: more than is worked on at once
NAN = float("nan")

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
modules = pytest.mark.parametrize("am", MODULES.values(), ids=MODULES)


def public_methods(module):
    return {name: f for name, f in inspect.getmembers(module, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("module", [NumpyArrayModule, CupyArrayModule])
def test_names_and_signatures_are_the_same(module):
    generic, fast = public_methods(GenericArrayModule), public_methods(module)
    assert generic.keys() == fast.keys()
    for name, function in generic.items():
        assert inspect.signature(function) == inspect.signature(fast[name]), name
    attributes = {name for name in dir(GenericArrayModule) if not name.startswith("_")}
    assert attributes <= {name for name in dir(module) if not name.startswith("_")}


def test_every_function_of_the_reference_says_what_it_computes():
    creators = {"empty", "zeros"}  # as in the Array API standard
    for name, function in public_methods(GenericArrayModule).items():
        assert function.__doc__ or name in creators, name


class Case(SimpleNamespace):
    """A call: `inputs` must stay as they are, `outputs` are compared, `scratch` may be anything afterwards.

    `numbers` are scalars of the module, `scalars` Python's.
    """


def cases(n, d, rng):
    """Every function on an (n, d) problem: name -> calls. Buffers that are only written to hold NaN."""

    def a(*shape):
        return rng.standard_normal(shape)

    def nan(*shape):
        return np.full(shape, NAN)

    def case(outputs, inputs=None, scratch=None, numbers=None, **scalars):
        return Case(outputs=outputs, inputs=inputs or {}, scratch=scratch or {}, numbers=numbers or {}, scalars=scalars)

    h, m = 6, 3
    zeros = a(n, d)
    zeros[::2] = 0.0
    index, part = rng.permutation(n)[: (n + 1) // 2], slice(n // 3, n)
    takes = []
    for rows in (index, part):
        r = len(range(n)[rows]) if isinstance(rows, slice) else len(rows)
        for shift in (None, a(d)):
            for inverse_scale in (None, a(d)):
                scaling = {"shift": shift, "inverse_scale": inverse_scale}
                takes.append(case({"out": nan(r, d)}, {"X": a(n, d), "rows": rows} | scaling, {"stage": nan(r, d)}))
    return {
        "take_rows": takes,
        "matmul": [
            case({"out": nan(n, h)}, {"A": a(n, d), "B": a(d, h)}),
            case({"out": nan(n, 1)}, {"A": a(n, d), "B": a(d, 1)}),
        ],
        "matmul_transposed": [
            case({"out": nan(d, h)}, {"A": a(n, d), "B": a(n, h)}),
            case({"out": nan(d, 1)}, {"A": a(n, d), "B": a(n, 1)}),
        ],
        "add": [case({"A": a(n, d)}, {"B": b}) for b in (a(n, d), a(d), a(1, d))],
        "sum_rows": [case({"out": nan(d)}, {"A": a(n, d)})],
        "relu": [case({"out": nan(n, d), "mask": nan(n, d)}, {"Z": z}) for z in (a(n, d), zeros, -np.abs(zeros))],
        "rectify": [case({"Z": z}) for z in (a(n, d), zeros)],
        "residual": [case({"out": nan(n, d)}, {"F": a(n, d), "y": a(n, d)})],
        "weigh": [
            case({"out": nan(n, d)}, {"E": a(n, d), "weight": weight}, factor=1.7) for weight in (None, a(n, 1) ** 2)
        ],
        "dot": [
            case({}, {"A": a(n, d), "B": a(n, d)}, {"stage": nan(n, d)}, factor=1.0),
            case({}, {"A": a(n), "B": a(n)}, {"stage": nan(n)}, factor=-1.3),
        ],
        "squared_loss": [
            case({"F": a(n, d), "out": nan(n, d)}, {"y": a(n, d), "weight": weight}, {"stage": nan(n, d)}, factor=1.7)
            for weight in (None, a(n, 1) ** 2)
        ],
        "mask_backward": [
            case({"out": nan(n, h)}, {"E": a(n, k), "W": a(h, k), "mask": (a(n, h) > 0) * 1.0}) for k in (1, m)
        ],
        "multiply": [case({"out": nan(n, d)}, {"A": a(n, d), "B": b}) for b in (a(n, d), a(n, 1), a(d), 0.3)],
        "add_scaled": [
            case({"out": a(*shape)}, {"x": a(*shape)}, {"stage": nan(*shape)}, numbers, **factor)
            for shape in [(n, d), (n,)]
            for numbers, factor in [({}, {"factor": -0.7}), ({"factor": 0.3}, {})]
        ],
        "descend": [
            case({"theta": a(n)}, {"velocity": None}, {"g": a(n)}, rate=0.3, momentum=0.0),
            case({"theta": a(n), "velocity": a(n)}, {}, {"g": a(n)}, rate=0.3, momentum=0.9),
        ],
        "adam": [
            case(
                {"theta": a(n), "m": a(n), "v": a(n) ** 2},
                {},
                {"g": a(n)},
                beta1=0.9,
                beta2=0.999,
                rate=0.3,
                epsilon=1e-8,
            )
        ],
        "add_product": [case({}, numbers={"a": 2.0, "b": 3.0}, factor=0.7)],
        "running_mean": [
            case({}, numbers={"mean": 2.0, "value": value}, factor=0.7, weight=0.3, slope=1.1, limit=2.5)
            for value in (3.0, 30.0, np.inf, NAN)
        ],
        "is_finite": [case({}, {"a": x}) for x in (a(n, d), a(n, d) * NAN, np.where(a(n, d) > 0, np.inf, 1.0))],
    }


SUMS = {"dot", "mask_backward", "matmul", "matmul_transposed", "squared_loss", "sum_rows"}
# Making and moving arrays and scalars: tests of their own.
ELSEWHERE = {"empty", "zeros", "from_numpy", "to_numpy", "to_float64", "reshape", "scalar", "to_floats", "session"}
NAMES = sorted(cases(3, 2, np.random.default_rng(0)))


def test_every_function_has_cases():
    assert {*NAMES, *ELSEWHERE} == public_methods(GenericArrayModule).keys()


def run(am, name, case, dtype):
    """Call the function of `am`; return its value and the outputs, after checks of what must not change."""

    def make(group, floating):
        return {
            key: am.from_numpy(value, None if value.dtype.kind == "i" else floating)
            if isinstance(value, np.ndarray)
            else value
            for key, value in group.items()
        }

    floating = getattr(am.xp, np.dtype(dtype).name)
    inputs, outputs = make(case.inputs, floating), make(case.outputs, floating)
    scratch = make(case.scratch, am.accumulator if name in ("dot", "squared_loss") else floating)
    numbers = {key: am.scalar(value) for key, value in case.numbers.items()}
    before = {key: np.array(am.to_numpy(value)) for key, value in inputs.items() if hasattr(value, "shape")}
    value = getattr(am, name)(**inputs, **outputs, **scratch, **numbers, **case.scalars)
    if value is not None and not isinstance(value, bool):
        value = am.to_floats(list(value) if isinstance(value, tuple) else [value])
        assert all(type(v) is float for v in value)
    for key, array in before.items():
        np.testing.assert_array_equal(am.to_numpy(inputs[key]), array, err_msg=f"{name} wrote to its input {key}")
    results = {key: np.array(am.to_numpy(array)) for key, array in outputs.items()}
    for key, result in results.items():
        assert result.dtype == dtype, (name, key)
    return value, results


@pytest.mark.parametrize("name", NAMES)
@shapes
@dtypes
def test_against_the_generic_reference(name, shape, dtype):
    eps = float(np.finfo(dtype).eps)
    for case in cases(*shape, np.random.default_rng(0))[name]:
        value, outputs = run(MODULES["numpy"], name, case, dtype)
        for other in ("generic on numpy", "generic on strict"):
            expected_value, expected = run(MODULES[other], name, case, dtype)
            # A sum has n or d terms of a size of 20 at most, in any order; all else rounds less often than 8 times.
            atol = 8 * eps * 20 * (max(shape) if name in SUMS else 1)
            if value is None:
                assert expected_value is None
            else:
                assert value == pytest.approx(expected_value, rel=8 * eps, abs=atol, nan_ok=True)
            for key, array in outputs.items():
                np.testing.assert_allclose(array, expected[key], rtol=8 * eps, atol=atol, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", NAMES)
@shapes
@dtypes
def test_the_cuda_source_against_numpy(name, shape, dtype, cupy_double):
    """The CUDA source, compiled for the CPU, and the calls of CuPy: kernels round as NumPy does, in any shape."""
    for case in cases(*shape, np.random.default_rng(0))[name]:
        value, outputs = run(CupyArrayModule(None), name, case, dtype)
        expected_value, expected = run(MODULES["numpy"], name, case, dtype)
        for key, array in outputs.items():
            np.testing.assert_array_equal(array, expected[key], err_msg=f"{name} {key}")
        if name in ("dot", "squared_loss"):  # sums in another order, in float64, of terms of a size of 400 at most
            assert value == pytest.approx(expected_value, rel=0, abs=400 * np.prod(shape) * np.finfo(np.float64).eps)
        else:
            np.testing.assert_equal(value, expected_value)


@modules
@dtypes
def test_the_definitions(am, dtype):
    """The reference itself, on numbers that floating point represents."""

    def array(*values):
        return am.from_numpy(np.array(values), getattr(am.xp, np.dtype(dtype).name))

    def check(a, *expected):
        np.testing.assert_array_equal(am.to_numpy(a), expected)

    A, B, row = array([1.0, 2.0], [3.0, 4.0]), array([0.0, 1.0], [2.0, -1.0]), array(10.0, 20.0)
    out, stage = array([NAN, NAN], [NAN, NAN]), array([NAN, NAN], [NAN, NAN])
    am.matmul(A, B, out=out)
    check(out, [4, -1], [8, -1])
    am.matmul_transposed(A, B, out=out)
    check(out, [6, -2], [8, -2])
    am.sum_rows(A, out=row)
    check(row, 4, 6)
    am.relu(array([0.0, -1.0], [2.0, -0.0]), mask=stage, out=out)
    check(out, [0, 0], [2, 0])
    check(stage, [0, 0], [1, 0])
    am.residual(A, B, out=out)
    check(out, [1, 1], [1, 5])
    am.weigh(A, array([1.0], [3.0]), 0.5, out=out)
    check(out, [0.5, 1], [4.5, 6])
    am.mask_backward(array([1.0], [2.0]), array([3.0], [5.0]), array([1.0, 0.0], [0.0, 1.0]), out=out)
    check(out, [3, 0], [0, 10])
    assert am.dot(A, B, 0.5, stage=am.zeros((2, 2), am.accumulator)) == 0.5 * (2.0 + 6.0 - 4.0)
    F = array([1.0, 2.0], [3.0, 4.0])
    loss = am.squared_loss(F, B, array([1.0], [3.0]), 0.5, stage=am.zeros((2, 2), am.accumulator), out=out)
    check(F, [1, 1], [1, 5])
    check(out, [0.5, 0.5], [1.5, 7.5])
    assert loss == 0.5 * (0.5 + 0.5 + 1.5 + 37.5)
    am.add_scaled(A, 2.0, stage=stage, out=B)
    check(B, [2, 5], [8, 7])
    am.take_rows(A, slice(1, 2), array(1.0, 2.0), array(0.5, 4.0), stage=stage[:1, ...], out=out[:1, ...])
    check(out[:1, ...], [1, 8])
    theta, g, velocity = array(1.0, 2.0), array(4.0, 8.0), array(2.0, 0.0)
    am.descend(theta, g, velocity, 0.25, 0.5)
    check(velocity, 5, 8)
    check(theta, -0.25, 0)
    theta, g, m, v = array(1.0, 2.0), array(3.0, 4.0), array(2.0, 0.0), array(32.0, 0.0)
    am.adam(theta, g, m, v, 0.5, 0.5, 0.25, 3.0)
    check(m, 4, 4)
    check(v, 25, 16)
    check(theta, 1 - 0.25 * 4 / 8, 2 - 0.25 * 4 / 7 if dtype is np.float64 else np.float32(2 - 0.25 * 4 / 7))


@modules
@dtypes
@pytest.mark.parametrize("ones", [0, 1])
@pytest.mark.parametrize("rows", [slice(2, 5), np.array([4, 0, 4])], ids=["slice", "indices"])
def test_taking_rows_into_the_first_columns_of_a_buffer(am, dtype, ones, rows):
    dtype_of_am = getattr(am.xp, np.dtype(dtype).name)
    X = np.arange(15.0).reshape(5, 3)
    shift, inverse_scale = np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, 4.0])
    buffer = am.from_numpy(np.full((4, 3 + ones), 7.0), dtype_of_am)
    stage = am.from_numpy(np.full((4, 3), NAN), dtype_of_am)
    for scaled in (False, True):
        am.take_rows(
            am.from_numpy(X, dtype_of_am),
            rows if isinstance(rows, slice) else am.from_numpy(rows, None),
            am.from_numpy(shift, dtype_of_am) if scaled else None,
            am.from_numpy(inverse_scale, dtype_of_am) if scaled else None,
            stage=stage[:3, ...],
            out=buffer[:3, :3],
        )
        expected = np.full((4, 3 + ones), 7.0)
        expected[:3, :3] = (X[rows] - shift) * inverse_scale if scaled else X[rows]
        np.testing.assert_array_equal(am.to_numpy(buffer), expected)


@modules
@dtypes
def test_results_may_overwrite_an_operand_where_the_package_does_it(am, dtype):
    dtype_of_am = getattr(am.xp, np.dtype(dtype).name)
    rng = np.random.default_rng(0)
    A, B, row = (rng.standard_normal(shape).astype(dtype) for shape in [(7, 4), (7, 4), (4,)])

    def check(expected, function):
        a = am.from_numpy(A, dtype_of_am)
        function(a)
        # One product or sum, rounded once or twice.
        np.testing.assert_allclose(am.to_numpy(a), expected, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)

    def other(value):
        return am.from_numpy(value, dtype_of_am)

    check(A * row, lambda a: am.multiply(a, other(row), out=a))
    check(A * B, lambda a: am.multiply(a, other(B), out=a))
    check(A - B, lambda a: am.residual(a, other(B), out=a))
    check(np.maximum(A, 0), lambda a: am.relu(a, mask=other(B), out=a))
    total = other(B)
    am.add_scaled(x := other(A), 0.3, stage=x, out=total)
    check(B + dtype(0.3) * A, lambda a: am.multiply(total, 1.0, out=a))
    expected = float(np.square(A.astype(np.float64)).sum())
    assert am.dot(other(A), other(A), 1.0, stage=am.zeros((7, 4), am.accumulator)) == pytest.approx(
        expected, rel=30 * float(np.finfo(dtype).eps), abs=0.0
    )


@modules
@dtypes
def test_not_a_number_and_infinity_are_seen(am, dtype):
    dtype_of_am = getattr(am.xp, np.dtype(dtype).name)
    for bad in (NAN, np.inf, -np.inf):
        a = np.zeros((3, 2))
        assert am.is_finite(am.from_numpy(a, dtype_of_am))
        a[2, 1] = bad
        assert not am.is_finite(am.from_numpy(a, dtype_of_am))
        A, B = am.from_numpy(a, dtype_of_am), am.from_numpy(a + 1, dtype_of_am)
        assert not np.isfinite(am.dot(A, B, 1.0, stage=am.zeros((3, 2), am.accumulator)))


@modules
def test_a_sum_of_products_in_float32_is_accumulated_in_float64(am):
    n, value = 2**20 + 1, 1.0 + 2.0**-11  # whose square float32 represents; most sums of it only float64 does
    a = am.from_numpy(np.full(n, value), am.xp.float32)
    assert am.dot(a, a, 1.0, stage=am.zeros((n,), am.accumulator)) == n * value**2


@dtypes
def test_operands_may_be_columns_of_a_wider_matrix(dtype):
    am, rng = MODULES["numpy"], np.random.default_rng(0)
    n, d, h = 33, 7, 5
    wide = rng.standard_normal((n, d + 1 + h + 1)).astype(dtype)  # as the batches: X, y and weights side by side
    X, y, s = wide[:, :d], wide[:, d + 1 : d + 1 + h], wide[:, -1:]
    E, W = rng.standard_normal((n, h)).astype(dtype), rng.standard_normal((d, h)).astype(dtype)
    before = wide.copy()

    def check(expected, function, shape):
        out = np.full(shape, NAN, dtype=dtype)
        function(out)
        # Sums of 33 products at most; a product or two otherwise.
        atol = 4 * n * np.finfo(dtype).eps * np.abs(expected).max()
        np.testing.assert_allclose(out, expected, rtol=0, atol=atol)

    check(X.copy() @ W, lambda out: am.matmul(X, W, out=out), (n, h))
    check(X.copy().T @ E, lambda out: am.matmul_transposed(X, E, out=out), (d, h))
    check(y.copy().T @ E, lambda out: am.matmul_transposed(y, E, out=out), (h, h))
    check(E - y.copy(), lambda out: am.residual(E, y, out=out), (n, h))
    check(E * s.copy() * dtype(0.3), lambda out: am.weigh(E, s, 0.3, out=out), (n, h))
    check(X.copy() * s.copy(), lambda out: am.multiply(X, s, out=out), (n, d))
    check(X.copy()[[4, 0]], lambda out: am.take_rows(X, np.array([4, 0]), None, None, stage=out, out=out), (2, d))
    np.testing.assert_array_equal(wide, before)


@modules
@dtypes
def test_making_and_moving_arrays(am, dtype):
    xp, dtype_of_am = am.xp, getattr(am.xp, np.dtype(dtype).name)
    assert am.empty((3, 2), dtype_of_am).shape == (3, 2)
    np.testing.assert_array_equal(am.to_numpy(am.zeros((3, 2), dtype_of_am)), np.zeros((3, 2)))
    for source in (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.arange(12.0).reshape(3, 4)[:, ::2]):
        made = am.from_numpy(source, dtype_of_am)
        np.testing.assert_array_equal(am.to_numpy(made), source)
        assert made.dtype == dtype_of_am
        made[0, ...] = NAN
        assert np.isfinite(source).all()  # a copy
        flat = am.from_numpy(source, dtype_of_am)
        view = am.reshape(flat, (6,))
        view[1] = 100.0
        assert float(am.reshape(flat, (6,))[1]) == 100.0  # a view
    assert am.from_numpy(np.arange(3, dtype=np.int32), None).dtype == xp.int32


@pytest.mark.parametrize("name", NAMES)
@dtypes
def test_on_a_device_that_is_not_the_default(name, dtype):
    device = array_api_strict.Device("device1")
    with sklearn.config_context(array_api_dispatch=True):
        am = select(array_api_strict.zeros((2, 2), device=device))
    assert isinstance(am, GenericArrayModule)
    assert am.device == device
    for array in (am.empty((2,), am.xp.float64), am.zeros((2,), am.xp.float64), am.from_numpy(np.zeros(2), None)):
        assert array.device == device
    with sklearn.config_context(array_api_dispatch=True):  # moving to NumPy's device asks for it
        for case in cases(7, 5, np.random.default_rng(0))[name]:
            value, outputs = run(am, name, case, dtype)
            expected_value, expected = run(MODULES["generic on strict"], name, case, dtype)
            np.testing.assert_equal(value, expected_value)  # NaN equals NaN
            for key, array in outputs.items():
                np.testing.assert_array_equal(array, expected[key])


def test_selection_follows_the_input():
    assert isinstance(select(np.zeros((2, 2))), NumpyArrayModule)
    with sklearn.config_context(array_api_dispatch=True):
        assert isinstance(select(np.zeros((2, 2))), NumpyArrayModule)
        assert select(array_api_strict.zeros((2, 2))).xp.__name__.endswith("array_api_strict")


@pytest.mark.parametrize(
    "model",
    [
        LinearGDRegressor(max_iter=20, precompute=False),
        LinearGDRegressor(max_iter=20, precompute=True),
        TwoLayerReLURegressor(5, solver="gd", max_iter=5, precompute=False, learning_rate=0.05, random_state=0),
        TwoLayerReLURegressor(5, solver="gd", max_iter=5, precompute=True, learning_rate=0.05, random_state=0),
        TwoLayerReLURegressor(5, batch_size=8, max_iter=2, random_state=0),
    ],
    ids=["linear", "closed form", "gd", "sample space", "adam"],
)
@dtypes
def test_training_on_a_device_that_is_not_the_default(model, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)).astype(dtype), rng.standard_normal((20, 2)).astype(dtype)
    expected = sklearn.clone(model).fit(X, y).predict(X)
    device = array_api_strict.Device("device1")
    with sklearn.config_context(array_api_dispatch=True):
        there = [array_api_strict.asarray(a, device=device) for a in (X, y)]
        predictions = sklearn.clone(model).fit(*there).predict(there[0])
        assert predictions.device == device
        assert predictions.dtype == getattr(array_api_strict, np.dtype(dtype).name)
        predictions = np.asarray(predictions.to_device(array_api_strict.Device("CPU_DEVICE")))
    # A few steps round a few times. Adam divides by no less than epsilon = 1e-8, so a small gradient that is off by eps
    # moves a weight by up to rate eps / epsilon in each of its six steps, and never by more than the rate.
    eps = np.finfo(dtype).eps
    adam = isinstance(model, TwoLayerReLURegressor) and model.solver == "adam"
    atol = 1e3 * eps + adam * 6 * 0.01 * min(1.0, 10 * eps / 1e-8)
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "model", [LinearGDRegressor(max_iter=5), TwoLayerReLURegressor(5, solver="gd", max_iter=5, random_state=0)]
)
def test_predictions_near_the_end_of_the_range_are_checked_without_the_rows_of_weight_zero(model):
    rng = np.random.default_rng(0)
    X, y, weights = rng.standard_normal((20, 3)), 1e100 * rng.standard_normal(20), np.arange(20.0) % 3
    expected = sklearn.clone(model).fit(X, y, weights).predict(X)
    with sklearn.config_context(array_api_dispatch=True):
        there = [array_api_strict.asarray(a) for a in (X, y, weights)]
        predictions = np.asarray(sklearn.clone(model).fit(*there).predict(there[0]))
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=1e3 * np.finfo(float).eps * np.abs(y).max())


# One (ROWS, HIDDEN) buffer is 1 MB in float64 and 0.5 in float32, the parameters are 0.4 and 0.2 MB.
ROWS, FEATURES, HIDDEN, LIMIT = 512, 200, 256, 200_000


def make_engine(kind, n_outputs, dtype, weighted, strength):
    rng = np.random.default_rng(0)
    am, n = NumpyArrayModule(), 4 * ROWS - 100
    X, y = rng.standard_normal((n, FEATURES)).astype(dtype), rng.standard_normal((n, n_outputs)).astype(dtype)
    weights = rng.uniform(0.5, 1.5, (n, 1)).astype(dtype) if weighted else None
    constant = np.zeros(FEATURES, dtype=bool)
    scaling = Scaling(np.full(FEATURES, 0.5), np.full(FEATURES, 2.0), constant) if weighted else identity(FEATURES)
    batches = Batches(am, X, y, weights, scaling, ones=True, rows=ROWS)
    if kind == "linear":
        model = LinearModel(am, FEATURES, n_outputs, True, ROWS, dtype)
    else:
        model = TwoLayerNetwork(am, FEATURES, HIDDEN, n_outputs, True, ROWS, dtype)
    model.theta[...] = 0.1 * rng.standard_normal(len(model.theta))
    penalty = Penalty(model, fixed=strength, c=1.0, total_weight=float(n))
    if kind == "adam":
        engine = Minibatches(model, batches, Adam(am, model.theta), penalty, c=1.0, n_steps=10**6, seed=0, epoch=0)
    else:
        engine = FullBatch(model, batches, GradientDescent(am, model.theta, 0.9), penalty, c=1.0, epoch=0)
    engine.rate = 1e-3
    return engine


def peak_of(function):
    """Bytes that were traced at once, beyond those before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_the_measure_of_memory_sees_a_temporary_array():
    a = np.ones((ROWS, HIDDEN), dtype=np.float32)
    assert peak_of(lambda: a + a) > 2 * LIMIT


@pytest.mark.parametrize("kind", ["adam", "gd", "linear"])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted and scaled", "plain"])
@dtypes
def test_training_steps_allocate_nothing_of_the_size_of_a_buffer(kind, n_outputs, weighted, dtype):
    engine = make_engine(kind, n_outputs, dtype, weighted, strength=None if kind == "adam" and weighted else 0.01)
    engine.advance(1)
    n_epochs = 12  # of 4 batches
    losses = []
    peak = peak_of(lambda: losses.extend(engine.advance(n_epochs)))
    assert peak < LIMIT
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_work_in_pieces_is_the_same_work(monkeypatch, dtype):
    """The passes over many parameters go piece by piece; entry by entry nothing changes."""

    def results():
        rng = np.random.default_rng(0)
        theta, g, m, v, x, out = (rng.random(1000).astype(dtype) for _ in range(6))
        module = NumpyArrayModule()
        module.adam(theta, g, m, v, 0.9, 0.999, 0.01, 1e-8)
        module.add_scaled(x, 0.5, stage=np.empty_like(x), out=out)
        return theta, m, v, out

    whole = results()
    monkeypatch.setattr("skrelu._array_module._numpy._CACHE_NUMBERS", 64)  # 15 pieces and a shorter one
    for a, b in zip(results(), whole, strict=True):
        np.testing.assert_array_equal(a, b)
