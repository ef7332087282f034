"""Frames of pandas, polars and pyarrow: what `fit` and `predict` take, and what they refuse with the remedy."""

import itertools
from warnings import catch_warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from problems import assert_same_fit
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

RNG = np.random.RandomState(0)
X = RNG.normal(size=(30, 3))
Y = np.abs(X[:, 0]) + X[:, 1]
WEIGHTS = RNG.uniform(0.5, 2.0, size=30)
NAMES = ["a", "b", "c"]
NAMED = ["feature_names_in_"]  # which arrays have not
LIBRARIES = ["pandas", "polars", "pyarrow"]
ESTIMATORS = {
    "adam": TwoLayerReLURegressor(4, max_iter=3, learning_rate_schedule="constant", random_state=0),
    "gd": TwoLayerReLURegressor(4, solver="gd", max_iter=3, random_state=0),
    "linear": LinearGDRegressor(max_iter=3),
}
every_library = pytest.mark.parametrize("library", LIBRARIES)
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def frame(library, a, names=NAMES):
    """The columns of `a` as a frame."""
    module = pytest.importorskip(library, reason=f"needs {library}")
    columns = {name: np.ascontiguousarray(a[:, k]) for k, name in enumerate(names)}
    return module.table(columns) if library == "pyarrow" else module.DataFrame(columns)


def column(library, a):
    """`a` as a series."""
    module = pytest.importorskip(library, reason=f"needs {library}")
    return module.chunked_array([a[:7], a[7:]]) if library == "pyarrow" else module.Series(a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_library
@every_estimator
def test_a_frame_is_its_array(name, library, dtype):
    A, given = X.astype(dtype), frame(library, X.astype(dtype))
    expected = clone(ESTIMATORS[name]).fit(A, Y, WEIGHTS)
    model = clone(ESTIMATORS[name]).fit(given, column(library, Y), column(library, WEIGHTS))
    assert_same_fit(model, expected, NAMED)
    assert model.feature_names_in_.tolist() == NAMES
    predicted = model.predict(given)
    assert predicted.dtype == dtype
    # A frame's columns are contiguous, not its rows, so the 3 and 4 terms of a sum may be rounded in another order.
    np.testing.assert_allclose(predicted, expected.predict(A), rtol=0, atol=50 * np.finfo(dtype).eps)
    assert_same_fit(model.partial_fit(given, column(library, Y)), expected.partial_fit(A, Y), NAMED)
    assert isinstance(model.score(given, column(library, Y)), float)


@every_library
@every_estimator
def test_targets_in_a_frame(name, library):
    two = np.stack([Y, -Y], axis=1)
    model = clone(ESTIMATORS[name]).fit(frame(library, X), frame(library, two, ["u", "v"]))
    assert_same_fit(model, clone(ESTIMATORS[name]).fit(X, two), NAMED)
    one = clone(ESTIMATORS[name]).fit(frame(library, X), frame(library, Y[:, None], ["u"]))
    assert one.predict(frame(library, X)).shape == (30, 1)


@every_library
@every_estimator
def test_feature_names_are_checked(name, library):
    model = clone(ESTIMATORS[name]).fit(frame(library, X), Y)
    assert list(model.feature_names_in_) == NAMES
    assert not hasattr(clone(model).fit(X, Y), "feature_names_in_")
    swapped, other = frame(library, X, ["b", "a", "c"]), frame(library, X, ["a", "b", "d"])
    for refused, message in ((swapped, "must be in the same order"), (other, r"unseen at fit time:\n- d")):
        with pytest.raises(ValueError, match=message):
            model.predict(refused)
        with pytest.raises(ValueError, match=message):
            model.partial_fit(refused, Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    with pytest.warns(UserWarning, match="X has feature names, but"):
        clone(model).fit(X, Y).predict(frame(library, X))


@pytest.mark.parametrize("upstream", ["default", "pandas", "polars"])
@every_library
def test_in_a_pipeline_whose_steps_hand_on_frames(library, upstream):
    if upstream != "default":
        pytest.importorskip(upstream, reason=f"needs {upstream}")
    pipeline = make_pipeline(StandardScaler(), LinearGDRegressor()).set_output(transform=upstream)
    pipeline.fit(frame(library, X), column(library, Y))
    expected = make_pipeline(StandardScaler(), LinearGDRegressor()).fit(X, Y)
    # The scaler takes the mean of columns that lie otherwise in memory, so its sums are rounded in another order.
    np.testing.assert_allclose(pipeline[-1].coef_, expected[-1].coef_, rtol=0, atol=1e-14)
    assert hasattr(pipeline[-1], "feature_names_in_") == (upstream != "default")
    np.testing.assert_allclose(pipeline.predict(frame(library, X)), expected.predict(X), rtol=0, atol=1e-14)


@every_library
def test_in_a_search(library):
    search = GridSearchCV(LinearGDRegressor(max_iter=20), {"learning_rate": [0.1, 0.3]}, cv=3)
    given = clone(search).fit(frame(library, X), column(library, Y))
    expected = clone(search).fit(X, Y)
    np.testing.assert_allclose(
        given.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=0, atol=1e-14
    )


@every_estimator
def test_a_lazy_frame_is_refused_with_the_remedy(name):
    pytest.importorskip("polars", reason="needs polars")
    eager, lazy = frame("polars", X), frame("polars", X).lazy()
    lazy_y = frame("polars", Y[:, None], ["y"]).lazy()
    model = clone(ESTIMATORS[name])
    fitted = clone(model).fit(eager, Y)
    for call, argument in (
        (lambda: model.fit(lazy, Y), "X"),
        (lambda: model.partial_fit(lazy, Y), "X"),
        (lambda: fitted.predict(lazy), "X"),
        (lambda: fitted.score(lazy, Y), "X"),
        (lambda: fitted.partial_fit(lazy, Y), "X"),
        (lambda: model.fit(eager, lazy_y), "y"),
        (lambda: model.fit(eager, Y, sample_weight=lazy_y), "sample_weight"),
    ):
        with pytest.raises(TypeError, match=rf"{argument} is a polars LazyFrame.* pass {argument}\.collect\(\)"):
            call()
    assert not hasattr(model, "loss_curve_")
    np.testing.assert_array_equal(fitted.predict(lazy.collect()), fitted.predict(eager))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("Float64", np.float64), ("Float32", np.float32), ("Int64", np.float64), ("float32", np.float32)],
)
@every_estimator
def test_nullable_columns_of_pandas(name, dtype, expected):
    pd = pytest.importorskip("pandas", reason="needs pandas")
    A = np.round(10 * X).astype(expected)
    model = clone(ESTIMATORS[name]).fit(pd.DataFrame(A, columns=NAMES).astype(dtype), pd.Series(Y).astype("Float64"))
    assert_same_fit(model, clone(ESTIMATORS[name]).fit(A, Y), NAMED)


@pytest.mark.parametrize("dtype", ["float[pyarrow]", "double[pyarrow]"])
def test_arrow_columns_of_pandas(dtype):
    pd = pytest.importorskip("pandas", reason="needs pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    A = X.astype(np.float32 if dtype.startswith("float") else np.float64)
    model = LinearGDRegressor(max_iter=3).fit(pd.DataFrame(A, columns=NAMES).astype(dtype), Y)
    assert_same_fit(model, LinearGDRegressor(max_iter=3).fit(A, Y), NAMED)


def test_columns_of_several_dtypes_become_float64():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    mixed = pd.DataFrame({"a": X[:, 0].astype(np.float32), "b": X[:, 1], "c": np.arange(30) % 2 == 0})
    model = LinearGDRegressor(max_iter=3).fit(mixed, Y)
    assert_same_fit(model, LinearGDRegressor(max_iter=3).fit(mixed.to_numpy(dtype=np.float64), Y), NAMED)


def missing(library):
    module = pytest.importorskip(library, reason=f"needs {library}")
    columns = {"a": X[:, 0], "b": X[:, 1], "c": [None, *X[1:, 2].tolist()]}
    if library == "pandas":
        return module.DataFrame(columns).astype({"c": "Float64"})
    return module.table(columns) if library == "pyarrow" else module.DataFrame(columns)


def words(library, kind):
    module = pytest.importorskip(library, reason=f"needs {library}")
    columns = {"a": X[:, 0], "b": X[:, 1], "c": ["u", "v", "w"] * 10}
    if library == "pyarrow":
        table = module.table(columns)
        return table.set_column(2, "c", table["c"].dictionary_encode()) if kind == "category" else table
    if library == "polars":
        given = module.DataFrame(columns)
        return given.with_columns(module.col("c").cast(module.Categorical)) if kind == "category" else given
    return module.DataFrame(columns).astype({"c": kind})


@every_library
@every_estimator
def test_missing_values_are_refused(name, library):
    model = clone(ESTIMATORS[name])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(missing(library), Y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(frame(library, X), Y).predict(missing(library))


@pytest.mark.parametrize(
    ("library", "kind"), [(library, kind) for library in LIBRARIES for kind in ("object", "category")]
)
@every_estimator
def test_words_are_refused(name, library, kind):
    model = clone(ESTIMATORS[name])
    with pytest.raises(ValueError, match="could not convert string to float: 'u'"):
        model.fit(words(library, kind), Y)
    assert not hasattr(model, "loss_curve_")


def test_words_after_an_encoder():
    given = words("pandas", "category")
    encoder = OneHotEncoder(sparse_output=False)
    columns = make_column_transformer((encoder, ["c"]), (StandardScaler(), ["a", "b"]))
    for upstream in ("default", "pandas"):
        pipeline = make_pipeline(columns.set_output(transform=upstream), LinearGDRegressor()).fit(given, Y)
        assert pipeline.predict(given).shape == (30,)


@every_estimator
def test_a_frame_of_sparse_columns_is_a_sparse_matrix(name):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    matrix = sparse.csr_array(np.where(X > 0, X, 0.0))
    given = pandas.DataFrame.sparse.from_spmatrix(matrix, columns=NAMES)
    ours, expected = clone(ESTIMATORS[name]).fit(given, Y), clone(ESTIMATORS[name]).fit(matrix, Y)
    assert_same_fit(ours, expected, but=NAMED)
    np.testing.assert_array_equal(ours.predict(given), expected.predict(matrix))
    assert ours.feature_names_in_.tolist() == NAMES


@every_estimator
def test_a_sparse_matrix_of_an_encoder(name):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    words = pandas.DataFrame({"c": list("uvw") * 10, "a": X[:, 0]})
    columns = make_column_transformer((OneHotEncoder(), ["c"]), (StandardScaler(), ["a"]), sparse_threshold=1.0)
    assert sparse.issparse(columns.fit_transform(words))
    assert make_pipeline(columns, clone(ESTIMATORS[name])).fit(words, Y).predict(words).shape == (30,)


def text_table(library, kind):
    city, size = ["Bonn", "Oslo", "Bonn", "Rome"] * 3, list(np.arange(12.0))
    if library == "pandas":
        pd = pytest.importorskip("pandas")
        return pd.DataFrame({"city": pd.Series(city, dtype={"text": object}.get(kind, "category")), "size": size})
    if library == "polars":
        pl = pytest.importorskip("polars")
        dtype = {"text": pl.String, "categories": pl.Categorical, "enum": pl.Enum(["Bonn", "Oslo", "Rome"])}[kind]
        return pl.DataFrame({"city": pl.Series(city, dtype=dtype), "size": size})
    pa = pytest.importorskip("pyarrow")
    array = pa.array(city)
    return pa.table({"city": array if kind == "text" else array.dictionary_encode(), "size": size})


@pytest.mark.parametrize(
    ("library", "kind"), [*itertools.product(LIBRARIES, ["text", "categories"]), ("polars", "enum")]
)
def test_text_is_refused_with_a_remedy_that_works(library, kind):
    table, y = text_table(library, kind), np.arange(12.0)
    model = LinearGDRegressor(max_iter=3)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(
            ValueError, match=r"X holds text or categories in 'city': .*'Bonn'.*OneHotEncoder"
        ) as caught:
            call(table, y)
    if library != "pyarrow":  # ColumnTransformer does not take it
        message = str(caught.value)
        remedy = eval(message[message.index("make_column_transformer") : message.index(", or Ordinal")])
        assert np.isfinite(make_pipeline(remedy, model).fit(table, y).predict(table)).all()
    fitted = LinearGDRegressor(max_iter=3).fit(np.ones((3, 2)), np.arange(3.0))
    with pytest.raises(ValueError, match="X holds text or categories in 'city'"), catch_warnings(action="ignore"):
        fitted.predict(table)  # the warning is of feature names


def test_text_in_a_validation_set_is_refused_too():
    table, y = text_table("pandas", "text"), np.arange(12.0)
    with pytest.raises(ValueError, match=r"The validation set .* X holds text or categories in 'city'"):
        LinearGDRegressor().fit(table.assign(city=y), y, X_val=table, y_val=y)


def test_text_in_an_array_or_in_y_is_refused_too():
    numbers = np.arange(8.0).reshape(4, 2)
    model = LinearGDRegressor(max_iter=3)
    for X in ([["Bonn", 1.0]] * 4, np.array([["Bonn", 1.0]] * 4, dtype=object)):
        with pytest.raises(ValueError, match=r"X holds text or categories: .*'Bonn'"):
            model.fit(X, np.arange(4.0))
    with pytest.raises(ValueError, match=r"^y holds text"):
        model.fit(numbers, ["Bonn"] * 4)
    assert_same_fit(
        model.fit(numbers.astype(str).astype(object), np.arange(4.0)), clone(model).fit(numbers, np.arange(4.0))
    )
