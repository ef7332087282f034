"""Measuring the scaling of the columns, applying it, and folding it into the coefficients."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from problems import EPS, dtypes
from skrelu._models.moments import Moments, measure, row_blocks
from skrelu._models.standardize import (
    Scaling,
    between,
    blocks_of,
    fold_inputs,
    fold_outputs,
    identity,
    standardize,
)

FLOAT64 = np.dtype(np.float64)
centers = pytest.mark.parametrize("center", [True, False], ids=["centered", "not centered"])
weights_or_none = pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])


def in_blocks(A, weights, rows):
    """The rows as `measure` takes them, `rows` at a time."""

    def blocks():
        for block in blocks_of(len(A), rows):
            yield np.asarray(A[block], dtype=np.float64), None if weights is None else weights[block]

    return blocks


def measure_all(A, weights=None, *, center=True, dtype=FLOAT64, rows=None):
    moments = measure(in_blocks(A, weights, rows or len(A)), center=center)
    return moments.scaling(center=center, dtype=np.dtype(dtype))


def reference(A, weights, *, center):
    """Shift and scale by the definition."""
    if not center:
        return np.zeros(A.shape[1]), np.sqrt(np.average(np.square(A), axis=0, weights=weights))
    mean = np.average(A, axis=0, weights=weights)
    return mean, np.sqrt(np.average(np.square(A - mean), axis=0, weights=weights))


def make_rows(n=1000, d=5):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)) * 10.0 ** np.arange(d) + [0.0, 3.0, -100.0, 1e5, 1.0][:d], rng.uniform(0, 2, n)


def assert_is(scaling, shift, scale, rtol):
    """Shift in units of the scale, and scale."""
    np.testing.assert_allclose((scaling.shift - shift) / scale, 0.0, atol=rtol)
    np.testing.assert_allclose(scaling.scale, scale, rtol=rtol)


@centers
@weights_or_none
@pytest.mark.parametrize("rows", [1, 7, 999, 1000])
def test_measure_is_the_weighted_mean_and_deviation(rows, weighted, center):
    A, weights = make_rows()
    weights = weights if weighted else None
    scaling = measure_all(A, weights, center=center, rows=rows)
    assert_is(scaling, *reference(A, weights, center=center), rtol=100 * len(A) * EPS)  # n terms; offset 100 deviations
    assert not scaling.constant.any()
    assert not scaling.is_identity


@weights_or_none
def test_measure_is_that_of_standard_scaler(weighted):
    A, weights = make_rows()
    weights = weights if weighted else None
    scaler = StandardScaler().fit(A, sample_weight=weights)
    assert_is(measure_all(A, weights), scaler.mean_, scaler.scale_, rtol=100 * len(A) * EPS)


@centers
def test_rows_without_weight_are_ignored(center):
    A, weights = make_rows()
    weights[::3] = 0.0
    expected = measure_all(A[weights > 0], weights[weights > 0], center=center)
    A[::3] = [1e300, -1e300, 0.0, 1e-300, 1e9]
    scaling = measure(row_blocks(A, weights, np.asarray), center=center).scaling(center=center, dtype=FLOAT64)
    for name in ("shift", "scale", "constant"):
        np.testing.assert_array_equal(getattr(scaling, name), getattr(expected, name))


@centers
def test_scaled_weights_change_nothing(center):
    A, weights = make_rows()
    expected = measure_all(A, weights, center=center)
    scaling = measure_all(A, weights * 2.0**100, center=center)
    np.testing.assert_array_equal(scaling.shift, expected.shift)
    np.testing.assert_array_equal(scaling.scale, expected.scale)


@centers
@pytest.mark.parametrize("unit", [1e-150, 1e-300, 1e150, 1e300])
def test_extreme_units(unit, center):
    A, weights = make_rows(d=3)
    A[:, 2] /= unit  # one column in an ordinary unit beside them
    scaling = measure_all(A * unit, weights, center=center, rows=17)
    units = np.array([unit, unit, 1.0])
    shift, scale = reference(A * [1.0, 1.0, unit], weights, center=center)
    assert_is(scaling, shift * units, scale * units, rtol=200 * len(A) * EPS)  # as above, and A * unit is rounded
    assert np.isfinite(1.0 / scaling.scale).all()


def test_large_and_small_values_in_one_column():
    A = np.array([[1e-150], [1e150], [-1e150], [3e-150]])
    scaling = measure_all(A)
    assert scaling.scale[0] == pytest.approx(1e150 / np.sqrt(2.0), rel=10 * EPS, abs=0.0)


@pytest.mark.parametrize("rows", [1, 10, 1000])
@weights_or_none
def test_an_offset_of_a_hundred_million_deviations(rows, weighted):
    rng = np.random.default_rng(1)
    A, weights = 1e8 + rng.standard_normal((1000, 2)), rng.integers(1, 4, 1000).astype(float)
    weights = weights if weighted else np.ones(1000)
    scaling = measure_all(A, weights, rows=rows)
    for k in range(2):  # exact, in fractions
        column, total = [Fraction(a) for a in A[:, k]], Fraction(weights.sum())
        mean = sum(Fraction(w) * a for w, a in zip(weights, column, strict=True)) / total
        variance = sum(Fraction(w) * (a - mean) ** 2 for w, a in zip(weights, column, strict=True)) / total
        assert scaling.scale[k] == pytest.approx(np.sqrt(float(variance)), rel=10 * len(A) * EPS, abs=0.0)  # sums of n
        assert abs(Fraction(scaling.shift[k]) - mean) <= 1e8 * 2 * EPS  # the mean itself is rounded
    assert not scaling.constant.any()


@weights_or_none
@pytest.mark.parametrize("value", [0.1, 1.0 / 3.0, -7e-200, 1e200, 123456789.123])
@pytest.mark.parametrize("rows", [1, 13, 100])
def test_a_constant_column_has_its_value_as_mean_exactly(value, rows, weighted):
    weights = np.random.default_rng(0).uniform(0.1, 3.0, 100) if weighted else None
    scaling = measure_all(np.full((100, 1), value), weights, rows=rows)
    assert scaling.shift[0] == value
    assert scaling.scale[0] == abs(value)
    assert scaling.constant[0]
    np.testing.assert_array_equal(standardize(np.full((100, 1), value), scaling, FLOAT64), 0.0)


@centers
def test_a_column_of_zeros(center):
    scaling = measure_all(np.zeros((10, 2)), center=center)
    np.testing.assert_array_equal(scaling.shift, 0.0)
    np.testing.assert_array_equal(scaling.scale, 1.0)
    assert scaling.constant.all()
    assert scaling.is_identity


@dtypes
@pytest.mark.parametrize("value", [0.1, 1.7e9, -3e-20])
def test_constant_means_that_no_value_differs(value, dtype):
    A = np.full((100, 1), value, dtype=dtype)
    assert measure_all(A, dtype=dtype).constant[0]
    A[7] = np.nextafter(A[7], dtype(np.inf))
    scaling = measure_all(A, dtype=dtype)
    assert not scaling.constant[0]
    inside = standardize(A, scaling, FLOAT64)[:, 0]
    # the mean is rounded to the dtype: to one of the two values
    assert_allclose = np.testing.assert_allclose
    assert_allclose(inside[7] - inside[0], 1.0 / np.sqrt(0.01 * 0.99), rtol=1e-3)


# --- moments of rows that come in parts -------------------------------------------------------------------------------


@centers
@weights_or_none
@pytest.mark.parametrize("parts", [[500, 500], [1, 999], [1] * 20 + [980], [333, 333, 334]])
def test_merged_moments_are_those_of_all_rows(parts, weighted, center):
    A, weights = make_rows()
    weights = weights if weighted else None
    edges = np.cumsum([0, *parts])
    moments = None
    for start, stop in pairwise(edges):
        part = measure(in_blocks(A[start:stop], None if weights is None else weights[start:stop], 100), center=center)
        moments = part if moments is None else moments.merged(part)
    whole = measure(in_blocks(A, weights, 100), center=center)
    assert_allclose = np.testing.assert_allclose
    assert_allclose(moments.total, whole.total, rtol=1000 * EPS)
    np.testing.assert_array_equal([moments.low, moments.high], [whole.low, whole.high])
    scaling, expected = (m.scaling(center=center, dtype=FLOAT64) for m in (moments, whole))
    # a mean is a sum of 1000 terms of up to its magnitude
    assert_is(scaling, expected.shift, expected.scale, rtol=1000 * EPS * np.abs(A).max() / expected.scale.min())
    assert_allclose(scaling.scale[:2], expected.scale[:2], rtol=1000 * EPS)


def test_merged_constant_columns_stay_exactly_constant():
    for value in (0.1, -7e-200, 1e300):
        moments = measure(in_blocks(np.full((7, 1), value), None, 3), center=True)
        for _ in range(50):
            moments = moments.merged(measure(in_blocks(np.full((3, 1), value), None, 3), center=True))
        scaling = moments.scaling(center=True, dtype=FLOAT64)
        assert scaling.shift[0] == value
        assert scaling.constant[0]


def test_two_values_that_come_in_different_parts():
    zeros, ones, both, third = (np.array(a)[:, None] for a in ([0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]))
    moments = [measure(in_blocks(a, None, 2), center=True, two_values=True) for a in (zeros, ones, both, third)]
    assert moments[0].merged(moments[1]).merged(moments[2]).scaling(center=True, dtype=FLOAT64).scale[0] == 1.0
    of_three = moments[2].merged(moments[3]).scaling(center=True, dtype=FLOAT64)
    assert of_three.scale[0] == pytest.approx(np.std([0.0, 1.0, 0.5, 0.5]), rel=4 * EPS)
    assert moments[3].merged(moments[2]).scaling(center=True, dtype=FLOAT64).scale[0] == of_three.scale[0]


def test_moments_as_arrays_and_back():
    moments = measure(in_blocks(make_rows()[0], None, 100), center=True, two_values=True)
    again = Moments.of(moments.arrays())
    for name, value in vars(moments).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize("magnitude", [1e-300, 1e-150, 1e150, 1e300])
def test_merged_magnitudes_at_the_ends_of_the_range(magnitude):
    A = make_rows(d=1)[0] * magnitude
    parts = [measure(in_blocks(a, None, 100), center=True) for a in (A[:10], A[10:])]
    scaling = parts[0].merged(parts[1]).scaling(center=True, dtype=FLOAT64)
    assert scaling.scale[0] == pytest.approx(np.std(A / magnitude) * magnitude, rel=1000 * EPS)


def test_between_takes_new_coordinates_to_old_ones():
    A, _ = make_rows()
    old, new = measure_all(A[:10]), measure_all(A)
    change = between(old, new)
    np.testing.assert_allclose(
        standardize(standardize(A, new, FLOAT64), change, FLOAT64), standardize(A, old, FLOAT64), rtol=1e-9, atol=1e-9
    )


def test_one_row():
    scaling = measure_all(np.array([[3.0, 0.0]]), np.array([0.5]))
    np.testing.assert_array_equal(scaling.shift, [3.0, 0.0])
    np.testing.assert_array_equal(scaling.scale, [3.0, 1.0])


def test_root_mean_square_without_centering():
    A = np.array([[3.0, 5.0], [4.0, 5.0]])
    scaling = measure_all(A, center=False)
    np.testing.assert_array_equal(scaling.shift, 0.0)
    np.testing.assert_allclose(scaling.scale, [np.sqrt(12.5), 5.0], rtol=4 * EPS)
    assert not scaling.constant.any()  # without an intercept a constant column is information


@weights_or_none
def test_float32_rows_are_measured_in_float64_and_the_result_is_representable(weighted):
    A, weights = make_rows()
    weights = weights if weighted else None
    A = A.astype(np.float32)
    scaling = measure(row_blocks(A, weights, np.asarray), center=True).scaling(center=True, dtype=np.dtype(np.float32))
    shift, scale = reference(A.astype(np.float64), weights, center=True)
    np.testing.assert_allclose(scaling.shift, shift, rtol=np.finfo(np.float32).eps, atol=1e-7 * scale.min())
    np.testing.assert_allclose(scaling.scale, scale, rtol=np.finfo(np.float32).eps)  # rounded once
    for a in (scaling.shift, scaling.scale):
        np.testing.assert_array_equal(a, a.astype(np.float32))


@pytest.mark.parametrize("d", [1, 3, 2**16 + 1, 2**17 + 1])
def test_row_blocks_cover_every_row_once(d):
    n = 9 if d > 3 else 2**17 // d + 5  # more than one block
    A = np.zeros((n, d), dtype=np.float32)
    A[:, 0] = np.arange(n)
    weights = np.arange(n, dtype=float)
    blocks = list(row_blocks(A, weights, np.asarray)())
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate([block[:, 0] for block, _ in blocks]), np.arange(1, n))  # not weight 0
    np.testing.assert_array_equal(np.concatenate([w for _, w in blocks]), np.arange(1.0, n))
    assert all(block.dtype == np.float64 for block, _ in blocks)


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (1, 5), (10, 3), (9, 3), (10, 1)])
def test_blocks_of(n, rows):
    blocks = list(blocks_of(n, rows))
    assert [i for block in blocks for i in range(n)[block]] == list(range(n))
    assert all(block.stop <= n and block.stop - block.start <= rows for block in blocks)


@dtypes
def test_standardize_and_back(dtype):
    A, _ = make_rows()
    scaling = measure_all(A, dtype=dtype)
    standardized = standardize(A, scaling, np.dtype(dtype))
    assert standardized.dtype == dtype
    eps = np.finfo(dtype).eps
    # Offsets are below 200 deviations, and shift and scale have been rounded.
    np.testing.assert_allclose(standardized.mean(axis=0, dtype=np.float64), 0.0, atol=300 * eps)
    np.testing.assert_allclose(standardized.std(axis=0, dtype=np.float64), 1.0, rtol=10 * eps)
    assert standardize(A, identity(5), FLOAT64) is A


@centers
def test_the_fold_is_exact(center):
    rng = np.random.default_rng(2)
    X, _ = make_rows()
    y = rng.standard_normal((len(X), 2)) * [1e-3, 1e4] + [5.0, -1e4]
    x_scaling, y_scaling = measure_all(X, center=center), measure_all(y, center=center)
    W, b, V, c = (rng.standard_normal(shape) for shape in [(5, 7), (7,), (7, 2), (2,)])
    inside = standardize(X, x_scaling, FLOAT64)
    expected = np.maximum(inside @ W + b, 0.0) @ V + c
    folded_W, folded_b = fold_inputs(W, b, x_scaling)
    folded_V, folded_c = fold_outputs(V, c, y_scaling)
    raw = np.maximum(X @ folded_W + folded_b, 0.0) @ folded_V + folded_c
    # x W / scale - shift W / scale cancels: offsets are below 200 deviations; sums of 5 and 7 products.
    atol = 200 * 20 * EPS * np.abs(expected).max()
    np.testing.assert_allclose((raw - y_scaling.shift) / y_scaling.scale, expected, rtol=0, atol=atol)


def test_the_fold_of_small_integers():
    x = Scaling(np.array([1.0, -2.0]), np.array([2.0, 4.0]), np.zeros(2, dtype=bool))
    y = Scaling(np.array([10.0]), np.array([8.0]), np.zeros(1, dtype=bool))
    # f' = 3 (x1 - 1) / 2 + 5 (x2 + 2) / 4 + 7 = 1.5 x1 + 1.25 x2 + 8; f = 8 f' + 10 = 12 x1 + 10 x2 + 74.
    W, b = fold_inputs(np.array([[3.0], [5.0]]), np.array([7.0]), x)
    np.testing.assert_array_equal(W, [[1.5], [1.25]])
    np.testing.assert_array_equal(b, [8.0])
    W, b = fold_outputs(W, b, y)
    np.testing.assert_array_equal(W, [[12.0], [10.0]])
    np.testing.assert_array_equal(b, [74.0])
