"""Messages name the reason: missing values, text, dates, and a validation set in other units."""

import datetime
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import ENGINES, every_engine, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

pd = pytest.importorskip("pandas")


def objects(y, value):
    y = y.astype(object)
    y[3] = value
    return y


@pytest.mark.parametrize("name", ["minibatches", "closed form"])
@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (lambda y: objects(y, None), ValueError, "Input y contains NaN"),
        (lambda y: objects(y, np.nan), ValueError, "Input (y )?contains NaN"),
        (lambda y: objects(y, np.inf), ValueError, "Input y contains infinity"),
        (lambda y: y.astype(str), ValueError, r"y holds text \(dtype <U.*np\.asarray\(y, dtype=float\)"),
        (lambda y: list(map(str, y)), ValueError, "y holds text"),
        (lambda y: objects(y, pd.NA), TypeError, "y holds what is not a number: .* NA is ambiguous"),
        (lambda y: objects(y, "high"), ValueError, "y holds text: could not convert string to float: 'high'"),
        (lambda y: pd.date_range("2020-01-01", periods=len(y)), TypeError, "y holds dates or times"),
        (lambda y: pd.Series(pd.date_range("2020-01-01", periods=len(y))), TypeError, "y holds dates or times"),
    ],
)
def test_what_is_wrong_with_y(name, target, kind, message):
    X, y = problem()
    with pytest.raises(kind, match=message):
        clone(ENGINES[name]).fit(X, target(y))


def test_text_in_y_beside_objects_in_X():
    X, y = problem()
    for X_objects in (X.astype(object), pd.DataFrame(X.astype(object)), X.astype(object).tolist()):
        with pytest.raises(ValueError, match=r"^y holds text"):
            LinearGDRegressor().fit(X_objects, objects(y, "high"))


@pytest.mark.parametrize("value", [datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), pd.Timestamp(0), pd.NA])
def test_dates_and_missing_values_among_objects(value):
    X, y = problem(d=3)
    bad = X.astype(object)
    bad[3, 1] = value
    what = f"what is not a number{{}}: .*{type(value).__name__}'.*days since a start.*SimpleImputer"
    with pytest.raises(TypeError, match="^X holds " + what.format("")):
        LinearGDRegressor().fit(bad, y)
    frame = pd.DataFrame(bad, columns=["a", "day", "c"])
    with pytest.raises(TypeError, match="^X holds " + what.format(" in 'day'")):
        LinearGDRegressor().fit(frame, y)
    model = LinearGDRegressor().fit(pd.DataFrame(X, columns=["a", "day", "c"]), y)
    with pytest.raises(TypeError, match="^X holds " + what.format(" in 'day'")):
        model.predict(frame)
    with pytest.raises(TypeError, match=r"^y holds what is not a number"):
        LinearGDRegressor().fit(X, objects(y, value))


def test_numbers_among_objects_are_numbers():
    X, y = problem()
    assert LinearGDRegressor().fit(X, y.astype(object)).score(X, y) == LinearGDRegressor().fit(X, y).score(X, y)


@every_engine
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_missing_values_that_no_check_has_seen(name, value, word):
    """The learning rate is not to blame."""
    X, y = problem()
    bad = X.copy()
    bad[3, 1] = value
    with (
        config_context(assume_finite=True),
        pytest.raises(ValueError, match=rf"X contains {word} in row 3, column 1\."),
    ):
        clone(ENGINES[name]).fit(bad, y)
    model = clone(ENGINES[name]).fit(X, y)
    with config_context(assume_finite=True), pytest.raises(ValueError, match=f"X contains {word} in row 3"):
        model.predict(np.vstack([bad] * 400))


def test_missing_values_in_sparse_rows_and_validation_sets():
    X, y = problem()
    bad = X.copy()
    bad[3, 1] = np.nan
    with config_context(assume_finite=True):
        with pytest.raises(ValueError, match="X contains NaN in row 3, column 1"):
            LinearGDRegressor().fit(sparse.csr_array(bad), y)
        with pytest.raises(ValueError, match="X contains NaN in row 3, column 1"):
            TwoLayerReLURegressor(5, early_stopping=True, max_iter=3).fit(X, y, X_val=bad, y_val=y)


@pytest.mark.parametrize("library", ["pandas", "polars", "numpy"])
@pytest.mark.parametrize("mixed", [False, True])
def test_dates_are_no_numbers(library, mixed):
    days = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]").astype("datetime64[ns]")
    y = np.arange(31.0)
    if library == "numpy":
        X, names = days[:, None], ""
        if mixed:
            pytest.skip("an array has one dtype")
    else:
        frame = pytest.importorskip(library).DataFrame
        X, names = frame({"day": days, "number": y} if mixed else {"day": days}), " in 'day'"
    with pytest.raises(TypeError, match=f"X holds dates or times{names}"):
        LinearGDRegressor().fit(X, y)
    if library != "numpy":
        model = LinearGDRegressor().fit(frame({"day": y, "number": y} if mixed else {"day": y}), y)
        with pytest.raises(TypeError, match="X holds dates or times"):
            model.predict(X)


# --- a validation set in other units ----------------------------------------------------------------------------------

X_F, Y_F = make_friedman1(400, noise=1.0, random_state=0)
FIT, VAL = slice(0, 250), slice(250, 400)


def network(**parameters):
    return TwoLayerReLURegressor(20, max_iter=20, random_state=0, **parameters)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_pipeline_that_does_not_transform_the_validation_set(early_stopping):
    raw = 100.0 * X_F + 50.0
    pipeline = make_pipeline(StandardScaler(), network(early_stopping=early_stopping))
    given = {"twolayerreluregressor__X_val": raw[VAL], "twolayerreluregressor__y_val": Y_F[VAL]}
    with pytest.warns(UserWarning, match=r"in other units than X and y.*transform_input=\['X_val'\]"):
        pipeline.fit(raw[FIT], Y_F[FIT], **given)


@pytest.mark.parametrize("options", [{}, {"precompute": False}, {"max_iter": 2}, {"standardize": False}])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_linear_model_finds_it_after_an_iteration(options, reduction):
    """Before, its weights are zero, and the loss does not depend on X."""
    raw = 100.0 * X_F + 5000.0
    pipeline = make_pipeline(StandardScaler(), LinearGDRegressor(reduction=reduction, **options))
    given = {"lineargdregressor__X_val": raw[VAL], "lineargdregressor__y_val": Y_F[VAL]}
    with pytest.warns(UserWarning, match=r"^After an iteration, .* in other units than X and y"):
        pipeline.fit(raw[FIT], Y_F[FIT] - Y_F.mean(), **given)


def test_a_rate_that_is_too_high_is_no_sign():
    X, y = problem(60)
    model = LinearGDRegressor(learning_rate=30.0, max_iter=5)
    with pytest.warns(ConvergenceWarning, match="learning_rate=30") as caught:
        model.fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert model.validation_loss_curve_[0] > 20 * model.loss_curve_[0]
    assert len(caught) == 1


def test_a_transformed_target_whose_validation_targets_are_not():
    prices = np.expm1(Y_F / 4)
    model = TransformedTargetRegressor(network(), func=np.log1p, inverse_func=np.expm1)
    with pytest.warns(UserWarning, match="TransformedTargetRegressor does not transform y_val"):
        model.fit(X_F[FIT], prices[FIT], X_val=X_F[VAL], y_val=100 * prices[VAL])


@every_engine
@pytest.mark.parametrize("options", [{}, {"standardize": False, "learning_rate": 1e-3}, {"reduction": "sum"}])
def test_a_sound_validation_set_is_not_warned_of(name, options):
    X, y = problem(60, m=2)
    if options.get("standardize") is False and "sum" in name:
        pytest.skip("diverges")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        clone(ENGINES[name]).set_params(**options).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])


def test_large_losses_before_training_are_no_sign():
    """Raw targets far from zero: the loss of the first weights is large on all rows alike."""
    X, y = problem(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TwoLayerReLURegressor(
            10, standardize=False, learning_rate=0.05, max_iter=300, learning_rate_schedule="constant", random_state=0
        )
        model.fit(X[:40], y[:40] + 50.0, X_val=X[40:], y_val=y[40:] + 50.0)
    assert model.validation_loss_curve_[0] > 20 * model.validation_loss_curve_[-1]
