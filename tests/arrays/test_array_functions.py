"""The array functions: one set of signatures, and NumPy's results against the generic reference."""

import inspect

import array_api_strict
import numpy as np
import pytest
import sklearn

from array_cases import NAMES, NAN, SHAPES, SUMS, cases, run
from problems import dtypes
from skrelu._arrays import ArrayModule, CupyArrayModule, GenericArrayModule, NumpyArrayModule, SparseArrayModule
from skrelu._arrays.select import select
from skrelu._models.network import TwoLayerNetwork

MODULES = {
    "numpy": NumpyArrayModule(),
    "generic on numpy": GenericArrayModule(np, None, np.asarray),
    "generic on strict": GenericArrayModule(array_api_strict, None, np.asarray),
}
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
modules = pytest.mark.parametrize("am", MODULES.values(), ids=MODULES)


def public_methods(module):
    return {name: f for name, f in inspect.getmembers(module, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("module", [GenericArrayModule, NumpyArrayModule, CupyArrayModule, SparseArrayModule])
def test_names_and_signatures_are_those_of_the_protocol(module):
    described, ours = public_methods(ArrayModule), public_methods(module)
    assert described.keys() == ours.keys()
    for name, function in described.items():
        expected, signature = inspect.signature(function), inspect.signature(ours[name])
        if name == "session":  # a context manager may be written as a generator
            expected, signature = expected.parameters, signature.parameters
        assert signature == expected, name
    attributes = {*ArrayModule.__annotations__, *(name for name in dir(ArrayModule) if not name.startswith("_"))}
    of_an_instance = {"xp"}
    assert attributes - of_an_instance <= {name for name in dir(module) if not name.startswith("_")}


def test_the_protocol_says_what_every_function_computes():
    assert ArrayModule.accumulator.__doc__
    for name, function in public_methods(ArrayModule).items():
        assert function.__doc__, name


# Making and moving arrays and scalars: tests of their own.
ELSEWHERE = {"empty", "zeros", "copy", "from_numpy", "to_numpy", "to_float64", "reshape", "scalar", "to_floats"}
ELSEWHERE |= {"session"}


def test_every_function_has_cases():
    assert {*NAMES, *ELSEWHERE} == public_methods(ArrayModule).keys()


@pytest.mark.one_in(7)
@pytest.mark.parametrize("name", NAMES)
@shapes
@dtypes
def test_against_the_generic_reference(name, shape, dtype):
    eps = float(np.finfo(dtype).eps)
    for case in cases(*shape, np.random.default_rng(0))[name]:
        value, outputs = run(MODULES["numpy"], name, case, dtype)
        for other in ("generic on numpy", "generic on strict"):
            expected_value, expected = run(MODULES[other], name, case, dtype)
            # A sum has n or d (or 6) terms of a size of 20 at most, in any order; the rest rounds up to 7 times.
            atol = 8 * eps * 20 * (max(shape) if name in SUMS else 1)
            if value is None:
                assert expected_value is None
            else:
                assert value == pytest.approx(expected_value, rel=8 * eps, abs=atol, nan_ok=True)
            for key, array in outputs.items():
                np.testing.assert_allclose(array, expected[key], rtol=8 * eps, atol=atol, err_msg=f"{name} {key}")


@pytest.mark.one_in(11)
@pytest.mark.parametrize("name", NAMES)
@shapes
@dtypes
def test_the_cuda_source_against_numpy(name, shape, dtype, cupy_double):
    """The CUDA source, compiled for the CPU, and the calls of CuPy: kernels round as NumPy does, in any shape."""
    for case in cases(*shape, np.random.default_rng(0))[name]:
        value, outputs = run(CupyArrayModule(None), name, case, dtype)
        expected_value, expected = run(MODULES["numpy"], name, case, dtype)
        # Sums of terms of a size of 20 at most, in another order than NumPy's.
        sums = name in ("dot_columns", "dot_rows") or name.endswith("_blocks")
        atol = 20 * max(shape) * np.finfo(dtype).eps if sums else 0.0
        for key, array in outputs.items():
            np.testing.assert_allclose(array, expected[key], rtol=0, atol=atol, err_msg=f"{name} {key}")
        if name in ("dot", "squared_loss"):  # the same in float64, of terms of a size of 400 at most
            n_terms = case.scratch["stage"].size
            assert value == pytest.approx(expected_value, rel=0, abs=400 * n_terms * np.finfo(np.float64).eps)
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
    am.relu(array([0.0, -1.0], [2.0, -0.0]), mask=None, out=out)
    check(out, [0, 0], [2, 0])
    am.subtract(A, B, out=out)
    check(out, [1, 1], [1, 5])
    am.subtract(A, array(1.0, 3.0), out=out)
    check(out, [0, -1], [2, 1])
    am.weigh(A, array([1.0], [3.0]), 0.5, out=out)
    check(out, [0.5, 1], [4.5, 6])
    am.mask_backward(array([1.0], [2.0]), array([3.0], [5.0]), array([1.0, 0.0], [0.0, 1.0]), out=out)
    check(out, [3, 0], [0, 10])
    assert am.dot(A, B, 0.5, stage=am.zeros((2, 2), am.accumulator)) == 0.5 * (2.0 + 6.0 - 4.0)
    F = array([1.0, 2.0], [3.0, 4.0])
    loss = am.squared_loss(F, B, array([1.0], [3.0]), 0.5, 0.25, stage=am.zeros((2, 2), am.accumulator), out=out)
    check(F, [1, 1], [1, 5])
    check(out, [0.5, 0.5], [1.5, 7.5])
    assert loss == 0.25 * (0.5 + 0.5 + 1.5 + 37.5)
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
def test_the_definitions_of_what_members_need(am, dtype):
    """Two members, on numbers that floating point represents."""

    def array(*values):
        return am.from_numpy(np.array(values), getattr(am.xp, np.dtype(dtype).name))

    def check(a, *expected):
        np.testing.assert_array_equal(am.to_numpy(a), expected)

    F, y = array([1.0, 2.0, 3.0, 4.0]), array([1.0, 5.0])
    out, stage = array([NAN] * 4), am.zeros((1, 4), am.accumulator)
    loss = am.squared_loss(F, y, array([2.0]), 0.5, 0.25, stage=stage, out=out)
    check(F, [0, -3, 2, -1])
    check(out, [0, -3, 2, -1])
    assert loss == 0.25 * (9 + 4 + 1)
    A, D = array([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]), array([2.0, 3.0], [0.0, -1.0])
    out = array([NAN] * 4, [NAN] * 4)
    am.multiply_blocks(A, D, out)
    check(out, [2, 4, 9, 12], [0, 0, -7, -8])
    W, B = array([1.0], [2.0], [3.0], [4.0]), array([0.0, 9.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    am.place_blocks(W, B)
    check(B, [1, 9], [2, 0], [0, 3], [0, 4])
    am.take_blocks(array([5.0, NAN], [6.0, NAN], [NAN, 7.0], [NAN, 8.0]), W)
    check(W, [5], [6], [7], [8])
    W, B = array([1.0, 2.0], [3.0, 4.0]), array([NAN] * 4, [NAN] * 4)
    am.place_blocks(W, B)
    check(B, [1, 2, NAN, NAN], [NAN, NAN, 3, 4])
    am.multiply(B, 2.0, out=B)
    am.take_blocks(B, W)
    check(W, [2, 4], [6, 8])
    A, stage = array([1.0, 2.0], [3.0, 4.0]), am.zeros((2, 4), A.dtype)  # two blocks of one column
    W, out = array([1.0, -1.0], [2.0, 5.0]), array([NAN] * 4, [NAN] * 4)
    am.matmul_blocks(A, W, stage, out)
    check(out, [1, -1, 4, 10], [3, -3, 8, 20])
    am.matmul_transposed_blocks(A, out, stage, W)
    check(W, [1 + 9, -1 - 9], [8 + 32, 20 + 80])
    W, out, stage = array([1.0, -1.0], [2.0, 5.0]), array([NAN] * 2, [NAN] * 2), am.zeros((2, 4), A.dtype)
    E = array([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 1.0, 0.0])
    am.mask_backward_blocks(E, W, stage, array([1.0, 1.0], [0.0, 1.0]), out)
    check(out, [1 - 2, 6 + 20], [0, 2])
    A, B = array([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), array([1.0, 0.0, 2.0], [0.5, 1.0, -1.0])
    columns, rows = array(NAN, NAN, NAN), array(NAN, NAN)
    am.dot_columns(A, B, columns)
    check(columns, 3, 5, 0)
    am.dot_rows(A, B, 0.5, rows)
    check(rows, 3.5, 0.5)
    a = array(0.25, -0.25, 0.125, -0.125, 0.0, np.inf, NAN)
    am.flush(a, 0.25, stage=am.copy(a))
    check(a, 0.25, -0.25, 0, 0, 0, np.inf, NAN)


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
    check(A - B, lambda a: am.subtract(a, other(B), out=a))
    check(np.maximum(A, 0), lambda a: am.relu(a, mask=other(B), out=a))
    check(np.maximum(A, 0), lambda a: am.relu(a, mask=None, out=a))
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
@dtypes
def test_a_prediction_from_a_hidden_unit_that_overflows_is_not_finite(am, dtype):
    large = float(np.finfo(dtype).max)
    X, W1, b1 = [[large, -large]], [[4.0], [4.0]], [0.0]  # inf - inf is not a number
    X, W1, b1, W2, b2 = (am.from_numpy(np.array(a, dtype=dtype), None) for a in (X, W1, b1, [[1.0]], [3.0]))
    with np.errstate(all="ignore"):
        assert not am.is_finite(TwoLayerNetwork.predict(am, [(W1, b1), (W2, b2)], X))


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
    check(E - y.copy(), lambda out: am.subtract(E, y, out=out), (n, h))
    check(E * s.copy() * dtype(0.3), lambda out: am.weigh(E, s, 0.3, out=out), (n, h))
    check(X.copy() * s.copy(), lambda out: am.multiply(X, s, out=out), (n, d))
    members = np.tile(E, 4)
    expected = members - np.tile(y.copy(), 4)
    stage = np.empty(members.shape)
    check(expected * s.copy(), lambda out: am.squared_loss(members, y, s, 1.0, 0.5, stage, out), members.shape)
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
        copied = am.copy(flat)
        assert copied.dtype == dtype_of_am
        np.testing.assert_array_equal(am.to_numpy(copied), am.to_numpy(flat))
        copied[0, ...] = NAN
        assert np.isfinite(am.to_numpy(flat)).all()  # a copy
    assert am.from_numpy(np.arange(3, dtype=np.int32), None).dtype == xp.int32


@pytest.mark.one_in(5)
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
    monkeypatch.setattr("skrelu._arrays.numpy._CACHE_NUMBERS", 64)  # 15 pieces and a shorter one
    for a, b in zip(results(), whole, strict=True):
        np.testing.assert_array_equal(a, b)
