"""The largest eigenvalue from products with the matrix, against LAPACK and spectra that are known."""

import numpy as np
import pytest

from problems import EPS, array_modules
from skrelu._arrays import NumpyArrayModule
from skrelu._models.spectrum import largest_eigenvalue


def largest(matrix, *, rtol=1e-9, am=None, dtype=np.float64, **options):
    """As the package calls it: the product comes in a buffer that is overwritten."""
    matrix = np.asarray(matrix, dtype=dtype)
    buffer = np.empty(len(matrix), dtype=dtype)

    def product(v):
        np.matmul(matrix, v, out=buffer)
        return buffer

    return largest_eigenvalue(am or NumpyArrayModule(), product, len(matrix), dtype, rtol=rtol, **options)


def with_spectrum(values, seed=0):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    matrix = (Q * np.asarray(values, dtype=np.float64)) @ Q.T
    return (matrix + matrix.T) / 2.0


def assert_from_below(value, expected, rtol, n):
    """From below, but for the rounding of n-term sums; as close as asked for."""
    assert expected * (1.0 - rtol - 10 * n * EPS) <= value <= expected * (1.0 + 10 * n * EPS)


@array_modules
@pytest.mark.parametrize("n", [1, 2, 3, 10, 80])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_matrices(n, seed, am):
    A = np.random.default_rng(seed).standard_normal((n, n))
    matrix = A @ A.T
    assert_from_below(largest(matrix, am=am), np.linalg.eigvalsh(matrix)[-1], 1e-9, n)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_low_rank(rank):
    A = np.random.default_rng(0).standard_normal((60, rank))
    assert_from_below(largest(A @ A.T), np.linalg.svd(A, compute_uv=False)[0] ** 2, 1e-9, 60)


@array_modules
@pytest.mark.parametrize("n", [1, 5])
def test_the_zero_matrix(n, am):
    assert largest(np.zeros((n, n)), am=am) == 0.0


@pytest.mark.parametrize("value", [1e-30, 0.3, 7.0, 1e30])
def test_one_by_one(value):
    assert largest([[value]]) == pytest.approx(value, rel=4 * EPS, abs=0.0)


@pytest.mark.parametrize("n", [2, 50])
def test_a_multiple_of_the_identity(n):
    assert largest(3.0 * np.eye(n)) == pytest.approx(3.0, rel=10 * n * EPS, abs=0.0)


@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 10 + [0.0] * 40,
        [1.0, 1.0 - 1e-6, 1.0 - 2e-6] + [0.5] * 40,
        [1.0, 0.999, *np.linspace(0.0, 0.99, 60)],
        list(1.0 - np.geomspace(1e-12, 1.0, 50)),
        list(np.geomspace(1e-12, 1.0, 50)),
        [1.0] + [1e-3] * 80,
    ],
    ids=["multiple", "cluster at the top", "linear", "accumulates at the top", "geometric", "one stands out"],
)
@pytest.mark.parametrize("rtol", [1e-2, 1e-6, 1e-10])
def test_spectra_that_are_known(values, rtol):
    assert_from_below(largest(with_spectrum(values), rtol=rtol), 1.0, rtol, len(values))


def test_an_eigenvalue_far_out_among_many():
    # 1000 of them between 0 and 1, and one at 2: the number of products is limited to fewer than that.
    values = np.append(np.linspace(0.0, 1.0, 1000), 2.0)
    calls = []

    def product(v):
        calls.append(1)
        return values * v

    value = largest_eigenvalue(NumpyArrayModule(), product, 1001, np.float64, rtol=1e-8)
    assert_from_below(value, 2.0, 1e-8, 1001)
    assert len(calls) <= 300


def test_the_limit_of_products_is_kept():
    values = np.linspace(0.0, 1.0, 1000)
    calls = []

    def product(v):
        calls.append(1)
        return values * v

    value = largest_eigenvalue(NumpyArrayModule(), product, 1000, np.float64, rtol=1e-15, max_products=20)
    assert len(calls) == 20
    assert 0.9 < value <= 1.0


@pytest.mark.parametrize("exponent", [-90, -40, 0, 40, 90])
def test_scaling_the_matrix_scales_the_eigenvalue(exponent):
    values = np.linspace(0.0, 1.0, 30) * 10.0**exponent
    assert_from_below(largest(np.diag(values)), values[-1], 1e-9, 30)


@array_modules
@pytest.mark.parametrize("exponent", [-25, -10, 0, 10, 25])
def test_float32(exponent, am):
    # The residual is computed in float32, so no more than its precision can be asked for; sums of 30 terms.
    values = np.linspace(0.0, 1.0, 30) * 10.0**exponent
    value = largest(np.diag(values), am=am, dtype=np.float32, rtol=1e-4)
    assert value == pytest.approx(values[-1], rel=1e-4 + 30 * float(np.finfo(np.float32).eps), abs=0.0)


@array_modules
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0,), (3,), (0, 1, 2, 3, 4)], ids=str)
def test_products_that_are_not_finite_give_infinity(bad, where, am):
    def product(v):
        w = np.ones(5)
        w[list(where)] = bad
        return w

    with np.errstate(invalid="ignore"):
        assert largest_eigenvalue(am, product, 5, np.float64, rtol=1e-9) == np.inf


def test_overflow_gives_infinity():
    with np.errstate(over="ignore", invalid="ignore"):
        assert largest(np.full((3, 3), 1e308)) == np.inf


def test_the_same_call_gives_the_same_value():
    matrix = with_spectrum(np.linspace(0.0, 1.0, 40))
    state = np.random.get_state()[1].copy()
    assert largest(matrix, rtol=1e-3) == largest(matrix, rtol=1e-3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # nor is the global generator used
