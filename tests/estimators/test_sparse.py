"""Sparse X: `fit`, `partial_fit` and `predict` give what they give for the same X as a dense array."""

import pickle
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skrelu._rows.batches
import skrelu._rows.sparse_batches
from problems import (
    ENGINES,
    NETWORKS,
    arrays_of,
    assert_same_fit,
    dtypes,
    every_class,
    every_engine,
    every_kind,
    every_shape,
    noisy,
    unchanged,
    weights_for,
)
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

FORMS = {
    "csr_array": sparse.csr_array,
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "csc_matrix": sparse.csc_matrix,
    "coo_array": sparse.coo_array,
    "coo_matrix": sparse.coo_matrix,
}
every_network = pytest.mark.parametrize("name", NETWORKS)
every_form = pytest.mark.parametrize("form", FORMS)
every_weighting = pytest.mark.parametrize("weighting", [None, "real", "zeros"])


def weights_of(X, weighting):
    """None, real numbers, or real numbers of which some are zero."""
    if weighting is None:
        return None
    weights = weights_for(X)
    return weights * (np.arange(len(X)) % 5 > 0) if weighting == "zeros" else weights


# Predictions and losses after a few iterations differ by rounding, which training amplifies a little. In standardized
# coordinates, both are about 1.
TOLERANCE = 1e4


def sparse_problem(shape=(30, 5), m=None, *, dtype=np.float64, seed=0):
    """X with zeros, a full column, a one-hot column, a column and a row without entries; y of the scale 1."""
    n, d = shape
    rng = np.random.RandomState(seed)
    X = np.where(rng.uniform(size=(n, d)) < 0.4, rng.normal(size=(n, d)) + 1.0, 0.0)
    X[:, 0], X[:, 1], X[:, 2] = rng.normal(size=n) + 5.0, 0.0, rng.randint(0, 2, n)
    X[3] = 0.0
    y = np.abs(X[:, 0] - 4.5) - X[:, -1] + 0.3 * rng.normal(size=n)
    y = y if m is None else np.stack([y + k * X[:, 2] for k in range(m)], axis=1)
    return X.astype(dtype), y.astype(dtype)


def assert_close(given, expected, dtype=np.float64):
    np.testing.assert_allclose(given, expected, rtol=0, atol=TOLERANCE * np.finfo(dtype).eps * np.abs(expected).max())


def assert_equal_to_rounding(ours, dense, X, dtype=np.float64):
    """Same losses and predictions, up to rounding, and what is left is of the same dtype."""
    assert_close(ours.loss_curve_, dense.loss_curve_, dtype)
    assert_close(ours.predict(sparse.csr_array(X)), dense.predict(X), dtype)
    assert_close(ours.predict(X), dense.predict(X), dtype)
    for a, b in zip(arrays_of(ours), arrays_of(dense), strict=True):
        assert a.dtype == b.dtype
        assert type(a) is np.ndarray
    assert ours.n_features_in_ == X.shape[1]


@pytest.fixture(params=["chosen", "sparse products"])
def products(request, monkeypatch):
    """Dense or sparse products as the cost decides, and sparse ones always."""
    if request.param == "sparse products":
        for name in ("_SPARSE_COST", "_ROWS_COST", "_FEW_NUMBERS"):
            monkeypatch.setattr(skrelu._rows.sparse_batches, name, 0)


# --- the same as for a dense array ------------------------------------------------------------------------------------


@pytest.mark.one_in(3)
@pytest.mark.usefixtures("products")
@every_shape
@every_weighting
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
@every_engine
def test_fit_and_predict(name, standardize, fit_intercept, weighting, shape):
    X, y = sparse_problem((30, 5) if shape[0] > shape[1] else shape)
    weights = weights_of(X, weighting)
    model = clone(ENGINES[name]).set_params(standardize=standardize, fit_intercept=fit_intercept, learning_rate=1e-3)
    dense, ours = clone(model).fit(X, y, weights), clone(model).fit(sparse.csr_array(X), y, weights)
    assert_equal_to_rounding(ours, dense, X)


@pytest.mark.one_in(2)
@pytest.mark.usefixtures("products")
@dtypes
@pytest.mark.parametrize("m", [None, 1, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@every_engine
def test_outputs_dtypes_and_reductions(name, reduction, m, dtype):
    X, y = sparse_problem(m=m, dtype=dtype)
    model = clone(ENGINES[name]).set_params(reduction=reduction)
    dense, ours = clone(model).fit(X, y), clone(model).fit(sparse.csr_array(X), y)
    assert_equal_to_rounding(ours, dense, X, dtype)
    assert ours.predict(sparse.csr_array(X)).dtype == dtype


@every_form
@every_kind
def test_every_form_is_the_same_fit(name, form):
    X, y = sparse_problem()
    expected = clone(ENGINES[name]).fit(sparse.csr_array(X), y)
    ours = clone(ENGINES[name]).fit(FORMS[form](X), y)
    assert_same_fit(ours, expected)
    np.testing.assert_array_equal(ours.predict(FORMS[form](X)), expected.predict(sparse.csr_array(X)))


@pytest.mark.usefixtures("products")
@every_class
def test_partial_fit_and_resuming(estimator_class):
    X, y = sparse_problem()
    given = sparse.csr_array(X)
    for name, model in ENGINES.items():
        if type(model) is not estimator_class:
            continue
        once = clone(model).fit(given, y)
        twice = clone(model).set_params(max_iter=2).fit(given, y)
        twice = pickle.loads(pickle.dumps(twice)).set_params(warm_start=True, max_iter=4).fit(given.tocoo(), y)
        assert_same_fit(twice, once)
        parts = clone(model)
        for _ in range(once.n_iter_):
            parts.partial_fit(given, y)
        dense = clone(model)
        for _ in range(once.n_iter_):
            dense.partial_fit(X, y)
        assert_equal_to_rounding(parts, dense, X)
        assert parts.loss_curve_ != [], name


@pytest.mark.usefixtures("products")
@every_kind
def test_a_dense_fit_resumes_on_sparse_rows(name):
    X, y = sparse_problem()
    model = clone(ENGINES[name]).set_params(warm_start=True)
    dense, ours = clone(model).fit(X, y), clone(model).fit(X, y)
    assert_equal_to_rounding(ours.fit(sparse.csr_array(X), y), dense.fit(X, y), X)


@pytest.mark.usefixtures("products")
@every_kind
@pytest.mark.parametrize(("sparse_X", "sparse_X_val"), [(True, True), (True, False), (False, True)])
def test_validation_set(name, sparse_X, sparse_X_val):
    (X, y), (X_val, y_val) = sparse_problem(), sparse_problem(seed=1)
    dense = clone(ENGINES[name]).fit(X, y, X_val=X_val, y_val=y_val)
    ours = clone(ENGINES[name]).fit(
        sparse.csr_array(X) if sparse_X else X,
        y,
        X_val=sparse.csc_array(X_val) if sparse_X_val else X_val,
        y_val=y_val,
    )
    assert_equal_to_rounding(ours, dense, X)
    assert_close(ours.validation_loss_curve_, dense.validation_loss_curve_)


@pytest.mark.usefixtures("products")
@every_network
def test_early_stopping_holds_out_the_same_rows(name):
    X, y = sparse_problem((60, 5))
    model = clone(ENGINES[name]).set_params(early_stopping=True)
    dense, ours = clone(model).fit(X, y), clone(model).fit(sparse.csr_array(X), y)
    assert_equal_to_rounding(ours, dense, X)
    assert_close(ours.validation_loss_curve_, dense.validation_loss_curve_)
    assert_same_fit(ours, clone(model).fit(sparse.coo_array(X), y))


def test_the_members_disagree_as_for_a_dense_array():
    X, y = sparse_problem()
    model = noisy("minibatches", n_members=4, max_iter=5).fit(sparse.csr_array(X), y)
    for ours, dense in zip(model.predict(sparse.csr_array(X), return_std=True), model.predict(X, True), strict=True):
        assert_close(ours, dense)


# --- entries of every kind --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("products")
@every_kind
def test_duplicates_zeros_order_and_buffers_do_not_matter(name):
    X, y = sparse_problem()
    expected = clone(ENGINES[name]).fit(sparse.csr_array(X), y)
    row, column = np.nonzero(X)
    order = np.random.RandomState(0).permutation(len(row))
    row, column = row[order], column[order]
    # Each entry as two halves, and some zeros: both exact.
    rows, columns = np.concatenate([row, row, [0, 3, 29]]), np.concatenate([column, column, [1, 1, 1]])
    values = np.concatenate([X[row, column] / 2, X[row, column] / 2, np.zeros(3)])
    coo = sparse.coo_array((values, (rows, columns)), shape=X.shape)
    csr = sparse.csr_array(X)
    csr.indices, csr.indptr = csr.indices.astype(np.int64)[::1], csr.indptr.astype(np.int64)
    for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):  # unsorted
        csr.indices[start:stop], csr.data[start:stop] = csr.indices[start:stop][::-1], csr.data[start:stop][::-1]
    csr = sparse.csr_array((csr.data, csr.indices, csr.indptr), shape=X.shape)
    for a in (csr.data, csr.indices, csr.indptr, coo.data, *coo.coords):
        a.flags.writeable = False
    before = csr.data.copy()
    for given in (coo, csr):
        assert_same_fit(clone(ENGINES[name]).fit(given, y), expected)
        np.testing.assert_array_equal(expected.predict(given), expected.predict(sparse.csr_array(X)))
    np.testing.assert_array_equal(csr.data, before)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.longdouble])
def test_other_dtypes_become_float64(dtype):
    X, y = sparse_problem()
    X = (X > 0.5).astype(dtype)
    model = LinearGDRegressor(max_iter=5)
    assert_equal_to_rounding(clone(model).fit(sparse.csr_array(X), y), clone(model).fit(X.astype(float), y), X)


@pytest.mark.usefixtures("products")
@every_kind
def test_one_row_and_no_entries(name):
    X, y = sparse_problem()
    fitted = clone(ENGINES[name]).fit(sparse.csr_array(X), y)
    for rows in ([0], [3], [5, 3, 7]):
        assert_close(fitted.predict(sparse.csr_array(X[rows])), fitted.predict(X[rows]))
    for n in (1, 4):
        empty = sparse.csr_array((n, 5))
        constant = clone(ENGINES[name]).fit(empty, np.arange(float(n)))
        assert_close(
            constant.predict(empty), clone(ENGINES[name]).fit(empty.toarray(), np.arange(n)).predict(X[[3] * n])
        )


@every_kind
def test_sparse_y_is_refused(name):
    X, y = sparse_problem()
    fitted = clone(ENGINES[name]).fit(sparse.csr_array(X), y)
    with unchanged(fitted, X), pytest.raises((TypeError, ValueError), match=r"[Ss]parse"):
        fitted.fit(sparse.csr_array(X), sparse.csr_array(y[:, None]))


def test_a_prediction_beyond_the_range_names_the_row():
    X, y = sparse_problem()
    fitted = LinearGDRegressor(max_iter=5).fit(X, 1e10 * y)
    given = X.copy()
    given[2] = 1.7e308
    with pytest.raises(ValueError, match=r"The prediction for row 2 .* row of X is 1\.7e\+308"):
        fitted.predict(sparse.csr_array(given))


def test_in_a_pipeline_and_a_search():
    rng = np.random.RandomState(0)
    levels, y = rng.randint(0, 5, size=(60, 2)), rng.normal(size=60)
    columns = make_column_transformer((OneHotEncoder(sparse_output=True), [0]), sparse_threshold=1.0)
    pipeline = make_pipeline(columns, TwoLayerReLURegressor(4, max_iter=3, random_state=0))
    search = GridSearchCV(pipeline, {"twolayerreluregressor__alpha": [0.0, 1.0]}, cv=2)
    assert search.fit(levels, y).predict(levels).shape == (60,)


# --- memory -----------------------------------------------------------------------------------------------------------


def one_hot(n, levels, dtype=np.float64):
    rng = np.random.RandomState(0)
    X = sparse.csr_array((np.ones(n, dtype), (np.arange(n), rng.randint(0, levels, n))), shape=(n, levels))
    return sparse.csr_array(sparse.hstack([rng.normal(size=(n, 2)).astype(dtype), X])), rng.normal(size=n)


def peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_a_batch():
    """X has 40000 x 3002 numbers, 960 MB; the network is small, so its 7 arrays of parameters are, too."""
    X, y = one_hot(40_000, 3000)
    model = TwoLayerReLURegressor(8, batch_size=100, max_iter=1, learning_rate_schedule="constant", random_state=0)
    batch, parameters, data = 100 * 3003 * 8, 8 * 3004 * 8, X.nnz * 8 + 2 * y.nbytes
    clone(model).fit(*one_hot(50, 4))  # what is made once
    assert peak(lambda: clone(model).fit(X, y)) < 2 * batch + 16 * parameters + 4 * data
    fitted = clone(model).fit(X, y)
    assert peak(lambda: fitted.partial_fit(X, y)) < 2 * batch + 16 * parameters + 4 * data
    # Predictions never see dense rows: the hidden layer of a block, and the entries of the block.
    assert peak(lambda: fitted.predict(X)) < 4 * 2**17 * 8 + 4 * data


def test_memory_of_a_very_wide_X():
    n, d = 500, 100_000
    rng = np.random.default_rng(0)
    nnz = n * d // 10_000
    X = sparse.csr_array((rng.random(nnz), (rng.integers(0, n, nnz), rng.integers(0, d, nnz))), shape=(n, d))
    y = np.random.RandomState(0).normal(size=n)
    model = TwoLayerReLURegressor(4, batch_size=16, learning_rate=1e-5, max_iter=1, random_state=0)
    batch, parameters = 17 * d * 8, 4 * d * 8
    assert peak(lambda: clone(model).fit(X, y)) < 2 * batch + 24 * parameters
    fitted = clone(model).fit(X, y)
    assert peak(lambda: fitted.predict(X)) < 0.01 * n * d * 8


def test_large_data_are_read_again(monkeypatch):
    """Small data are standardized once and kept; the result is the same to the last bit if they are not."""
    X, y = sparse_problem()
    for name in ("minibatches", "minibatches, penalty"):
        kept = clone(ENGINES[name]).fit(sparse.csr_array(X), y)
        with monkeypatch.context() as patch:
            patch.setattr(skrelu._rows.batches, "KEPT_NUMBERS", 0)
            assert_same_fit(clone(ENGINES[name]).fit(sparse.csr_array(X), y), kept)
