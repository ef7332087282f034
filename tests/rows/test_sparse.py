"""Sparse X: columns are measured, batches are read and Gram matrices are found as for the same X as a dense array."""

import numpy as np
import pytest
from scipy import sparse

import skrelu._rows.batches
import skrelu._rows.sparse_batches
import skrelu._rows.sparse_columns
from problems import EPS, dtypes
from skrelu._arrays import NumpyArrayModule, ShiftedRows, SparseArrayModule, canonical
from skrelu._models.moments import measure, row_blocks
from skrelu._models.standardize import identity
from skrelu._rows.batches import Batches
from skrelu._rows.rows import Rows
from skrelu._rows.sparse import SparseRows
from skrelu._rows.sparse_batches import ProductBatches, SparseBatches
from skrelu._rows.sparse_columns import measure_columns

N = 60


def every_kind_of_column(n=N, dtype=np.float64):
    """A column of each kind, most of them with zeros."""
    rng = np.random.RandomState(0)
    some = rng.uniform(size=n) < 0.3
    normal = rng.normal(size=n)
    columns = {
        "normal": np.where(some, normal, 0.0),
        "no entries": np.zeros(n),
        "one-hot": some.astype(float),
        "minus one": np.where(some, -1.0, 0.0),
        "full": normal,
        "full, far from zero": 1e6 + normal,
        "constant": np.full(n, 0.1),
        "two values, no zero": np.where(some, 2.0, 5.0),
        "three values": rng.choice([-1.0, 0.0, 2.0], n),
        "one entry": np.where(np.arange(n) == 7, 3.0, 0.0),
        "one zero": np.where(np.arange(n) == 7, 0.0, 3.0 + 0.1 * normal),
        "large": np.where(some, normal * 1e30, 0.0),
        "small": np.where(some, normal * 1e-30, 0.0),
    }
    return np.column_stack(list(columns.values())).astype(dtype)


def some_weights(kind, n=N):
    rng = np.random.RandomState(1)
    return None if kind == "no" else rng.uniform(0.5, 2.0, n) * (rng.uniform(size=n) > (kind == "zeros") * 0.3)


def rows_of(X, weights, sparse_X):
    am = SparseArrayModule() if sparse_X else NumpyArrayModule()
    kind, X = (SparseRows, sparse.csr_array(X)) if sparse_X else (Rows, X)
    return kind(am, am, X, np.arange(float(X.shape[0])), weights, np.dtype(X.dtype))


def scalings_of(rows, *, center, two_values):
    return rows.scalings(*rows.moments(center=center, two_values=two_values), center=center)


every_weighting = pytest.mark.parametrize("weighting", ["no", "real", "zeros"])
every_centering = pytest.mark.parametrize("center", [True, False], ids=["centered", "not centered"])


@dtypes
@every_centering
@every_weighting
@pytest.mark.parametrize("entries", [1, 7, 2**16])
def test_columns_are_measured_as_those_of_a_dense_array(entries, weighting, center, dtype, monkeypatch):
    monkeypatch.setattr(skrelu._rows.sparse_columns, "_BLOCK_ENTRIES", entries)
    X, weights = every_kind_of_column(dtype=dtype), some_weights(weighting)
    dense, _ = scalings_of(rows_of(X, weights, False), center=center, two_values=True)
    ours, _ = scalings_of(rows_of(X, weights, True), center=center, two_values=True)
    np.testing.assert_array_equal(ours.constant, dense.constant)
    # A sum of N terms in another order, of numbers up to the largest of the column; then one rounding to the dtype.
    tolerance = 4 * N * EPS + (np.finfo(dtype).eps if dtype == np.float32 else 0.0)
    np.testing.assert_allclose(ours.scale, dense.scale, rtol=tolerance)
    assert (np.abs(ours.shift - dense.shift) <= tolerance * np.abs(X).max(axis=0)).all()


@every_weighting
def test_a_constant_column_is_constant_exactly(weighting):
    rows = rows_of(every_kind_of_column(), some_weights(weighting), True)
    scaling, _ = scalings_of(rows, center=True, two_values=False)
    assert scaling.constant[[1, 6]].all()
    assert scaling.shift[1] == 0.0
    assert scaling.shift[6] == 0.1


@pytest.mark.parametrize("magnitude", [1e-308, 1e-150, 1e150, 1.7e308])
@every_centering
def test_magnitudes_at_the_ends_of_the_range(magnitude, center):
    X = every_kind_of_column()[:, [0, 2, 4]] * (magnitude / 4)
    blocks = row_blocks(X, None, np.asarray)
    dense = measure(blocks, center=center, two_values=True).scaling(center=center, dtype=X.dtype)
    moments = measure_columns(canonical(sparse.csr_array(X)), None, center=center, two_values=True)
    ours = moments.scaling(center=center, dtype=X.dtype)
    np.testing.assert_allclose(ours.scale, dense.scale, rtol=4 * N * EPS)
    assert np.isfinite(ours.shift).all()


def test_zeros_of_little_weight():
    """The weight of the zeros is a difference of sums; the error is at most that of these sums."""
    X, weights = np.full((N, 1), 3.0), np.ones(N)
    X[7], weights[7] = 0.0, 1e-9
    dense, _ = scalings_of(rows_of(X, weights, False), center=True, two_values=False)
    ours, _ = scalings_of(rows_of(X, weights, True), center=True, two_values=False)
    np.testing.assert_allclose(ours.scale, dense.scale, rtol=N * EPS / weights[7])


@dtypes
@every_centering
@every_weighting
@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("rows", [1, 7, N])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "read again"])
def test_batches_are_those_of_a_dense_array_to_the_last_bit(kept, rows, ones, weighting, center, dtype, monkeypatch):
    if not kept:
        monkeypatch.setattr(skrelu._rows.batches, "KEPT_NUMBERS", 0)
    X, weights = every_kind_of_column(dtype=dtype), some_weights(weighting)
    dense = rows_of(X, weights, False)
    x, y = scalings_of(dense, center=center, two_values=True)
    for scaling in (x, identity(X.shape[1])):
        left, right = (
            given.batches(scaling, y, ones=ones, rows=rows, c=1.0) for given in (dense, rows_of(X, weights, True))
        )
        for read in (Batches.in_order, lambda batches: batches.shuffled(3, 1)):
            for a, b in zip(read(left), read(right), strict=True):
                np.testing.assert_array_equal(a.X, b.X)
                np.testing.assert_array_equal(a.y, b.y)
                assert a.factor == b.factor
                assert (a.s is None) == (b.s is None)
                if a.s is not None:
                    np.testing.assert_array_equal(a.s, b.s)


def gram_case(weighting, center, dtype, monkeypatch):
    """Batches of all rows, with the R of the module `closed_form` and its targets."""
    monkeypatch.setattr(skrelu._rows.sparse_batches, "_SPARSE_COST", 0)
    X, weights = every_kind_of_column(dtype=dtype)[:, :10], some_weights(weighting)
    rows = rows_of(X, weights, True)
    x, y = scalings_of(rows, center=center, two_values=True)
    batches = rows.batches(x, y, ones=True, rows=N, c=2.0)
    assert isinstance(batches, SparseBatches)
    (batch,) = batches.in_order()
    s = np.ones((len(batch.X), 1)) if batch.s is None else batch.s.astype(float)
    root = np.sqrt(2.0 / len(batch.X) * s)
    return batches, batch.X.astype(float), root


@dtypes
@every_centering
@every_weighting
def test_gram_matrix_of_the_rows(weighting, center, dtype, monkeypatch):
    batches, X, root = gram_case(weighting, center, dtype, monkeypatch)
    gram, p = batches.gram(), X.shape[1]
    # B and b are at most 2 + |x'| large, so a term is at most (2 + |x'_i|)(2 + |x'_k|); there are p of these.
    bound = 4 * p * EPS * ((2 + np.abs(X)) @ (2 + np.abs(X)).T)
    assert (np.abs(gram - X @ X.T) <= bound).all()
    weighted = batches.gram(weighted=True)
    assert (np.abs(weighted - (root * X) @ (root * X).T) <= bound * (root @ root.T)).all()


@dtypes
@every_centering
@every_weighting
def test_moments_of_the_columns(weighting, center, dtype, monkeypatch):
    batches, X, root = gram_case(weighting, center, dtype, monkeypatch)
    (batch,) = batches.in_order()
    R, A, y = root * X, root * (2 + np.abs(X)), root * batch.y
    square, moment, y_square = batches.moments()
    assert (np.abs(square - R.T @ R) <= 4 * len(X) * EPS * (A.T @ A)).all()
    assert (np.abs(moment - R.T @ y) <= 4 * len(X) * EPS * (A.T @ np.abs(y))).all()
    np.testing.assert_allclose(y_square, np.vdot(y, y), rtol=4 * len(X) * EPS)


@dtypes
@every_centering
@every_weighting
@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("rows", [7, N])
def test_products_of_sparse_batches(rows, ones, weighting, center, dtype, monkeypatch):
    for name in ("_ROWS_COST", "_FEW_NUMBERS"):
        monkeypatch.setattr(skrelu._rows.sparse_batches, name, 0)
    X, weights = every_kind_of_column(dtype=dtype)[:, :10], some_weights(weighting)
    given, am, rng = rows_of(X, weights, True), SparseArrayModule(), np.random.RandomState(0)
    x, y = scalings_of(given, center=center, two_values=True)
    dense = given.batches(x, y, ones=ones, rows=rows, c=1.0)
    ours = given.batches(x, y, ones=ones, rows=rows, c=1.0, products_only=True)
    assert isinstance(ours, ProductBatches)
    p, eps = 10 + ones, np.finfo(dtype).eps
    W, D = rng.normal(size=(p, 4)).astype(dtype), rng.normal(size=(rows, 4)).astype(dtype)
    for read in (Batches.in_order, lambda batches: batches.shuffled(3, 1)):
        for a, b in zip(read(ours), read(dense), strict=True):
            r = b.X.shape[0]
            assert isinstance(a.X, ShiftedRows)
            assert a.X.shape == b.X.shape
            np.testing.assert_array_equal(a.y, b.y)
            out, size = np.empty((r, 4), dtype), 2 + np.abs(b.X)  # B and b are up to 2 + |x'| large
            am.matmul(a.X, W, out)
            assert (np.abs(out - b.X @ W) <= 4 * p * eps * (size @ np.abs(W))).all()
            out = np.empty((p, 4), dtype)
            am.matmul_transposed(a.X, D[:r], out)
            assert (np.abs(out - b.X.T @ D[:r]) <= 4 * r * eps * (size.T @ np.abs(D[:r]))).all()
            out = np.empty((r, p), dtype)
            am.multiply(a.X, D[:r, :1], out)
            assert (np.abs(out - b.X * D[:r, :1]) <= 4 * eps * size * np.abs(D[:r, :1])).all()


def test_products_of_few_or_dense_rows_take_dense_batches():
    given = rows_of(every_kind_of_column(), None, True)
    x, y = scalings_of(given, center=True, two_values=True)
    assert isinstance(given.batches(x, y, ones=True, rows=N, c=1.0, products_only=True), SparseBatches)


def test_a_far_column_with_some_zeros_has_no_sparse_product(monkeypatch):
    monkeypatch.setattr(skrelu._rows.sparse_batches, "_SPARSE_COST", 0)
    rows = rows_of(every_kind_of_column()[:, [0, 10]], None, True)  # "one zero" in 60 rows
    x, y = scalings_of(rows, center=True, two_values=True)
    assert abs(x.shift[1]) > 2 * x.scale[1]
    batches = rows.batches(x, y, ones=True, rows=N, c=1.0)
    assert batches.gram() is None
    assert batches.moments() is None
    for name in ("_ROWS_COST", "_FEW_NUMBERS"):
        monkeypatch.setattr(skrelu._rows.sparse_batches, name, 0)
    assert isinstance(rows.batches(x, y, ones=True, rows=N, c=1.0, products_only=True), SparseBatches)


def test_dense_data_has_no_sparse_product():
    rows = rows_of(every_kind_of_column()[:, 4:6], None, True)
    batches = rows.batches(*scalings_of(rows, center=True, two_values=True), ones=True, rows=N, c=1.0)
    assert batches.gram() is None
    assert batches.moments() is None


def test_products_beyond_the_range_are_left_to_dense_rows(monkeypatch):
    monkeypatch.setattr(skrelu._rows.sparse_batches, "_SPARSE_COST", 0)
    rows = rows_of(every_kind_of_column()[:, [0, 11]] * 1e150, None, True)
    batches = rows.batches(*rows.unscaled(), ones=True, rows=N, c=1.0)
    assert batches.gram() is None
    assert batches.moments() is None


def test_canonical_leaves_what_is_given_as_it_is():
    entries = np.array([1.0, 0.0, 2.0, 3.0, 4.0])
    indices, indptr = np.array([2, 0, 2, 1, 0]), np.array([0, 3, 3, 5])  # unsorted, a duplicate, a zero, an empty row
    given = sparse.csr_matrix((entries.copy(), indices.copy(), indptr), shape=(3, 4))
    for a in (given.data, given.indices, given.indptr):
        a.flags.writeable = False
    expected = np.array([[0, 0, 3.0, 0], [0, 0, 0, 0], [4.0, 3.0, 0, 0]])
    for X in (given, sparse.csr_array(given), given.tocsc(), given.tocoo(), sparse.coo_array(given)):
        ours = canonical(X)
        assert ours.format == "csr"
        assert ours.has_canonical_format
        assert ours.nnz == 3
        np.testing.assert_array_equal(ours.toarray(), expected)
    np.testing.assert_array_equal(given.data, entries)
    np.testing.assert_array_equal(given.indices, indices)
    X = np.ones((2, 2))
    assert canonical(X) is X
    clean = sparse.csr_array(expected)
    assert canonical(clean) is clean


def test_hashes_name_the_matrix_and_not_its_form():
    X = every_kind_of_column()
    wide = sparse.csr_array(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    am, y = SparseArrayModule(), np.arange(float(N))
    forms = [wide, sparse.csc_matrix(X), sparse.coo_array(X), sparse.csr_matrix(X)]
    rows = [SparseRows(am, am, canonical(form), y, None, X.dtype) for form in forms]
    assert len({r.fingerprint for r in rows}) == len({r.signature for r in rows}) == 1
    other = X.copy()
    other[0, 0] += 1.0
    changed = SparseRows(am, am, canonical(sparse.csr_array(other)), y, None, X.dtype)
    assert changed.fingerprint != rows[0].fingerprint
    assert changed.signature != rows[0].signature
    moved = SparseRows(am, am, canonical(sparse.csr_array(X[:, ::-1].copy())), y, None, X.dtype)
    assert moved.fingerprint != rows[0].fingerprint
