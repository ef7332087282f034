"""Parameters: the values that are refused, by name, and that none is changed."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline

from problems import CLASSES, EPS, assert_same_fit, every_class, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

BAD_FOR_BOTH = {
    "learning_rate": [0, 0.0, -1, -0.5, np.nan, np.inf, "fast", None, "1e-3"],
    "max_iter": [0, -1, 1.5, np.nan, None, "many"],
    "alpha": [-1, -0.1, np.nan, np.inf, None, "strong"],
    "fit_intercept": [2, "yes", None],
    "standardize": ["no", None, 1.0],
    "init": ["ones", None, 0],
    "reduction": ["average", None, 0],
    "tol": [-1e-3, np.nan, np.inf, "auto"],
    "warm_start": ["yes", None],
    "precompute": ["yes", None, 2],
    "random_state": ["seed", -1, 1.5],
    "verbose": [-1, 0.5, "loud", None],
}
BAD_FOR_THE_NETWORK = {
    "hidden_layer_size": [0, -1, 2.5, None, (100,), "auto"],
    "solver": ["sgd", "lbfgs", None, ""],
    "learning_rate_schedule": ["adaptive", None],
    "momentum": [-0.1, 1, 1.0, 2, np.nan, "nesterov"],
    "batch_size": [0, -1, 1.5, "all", None],
    "n_iter_no_change": [0, -1, 1.5, None],
    "early_stopping": ["auto", None, 2],
    "validation_fraction": [0, 0.0, 1, 1.0, -0.1, 2, np.nan, None, "auto"],
}
WHAT_IS_ALLOWED = {
    "learning_rate": r"\(0\.0, inf\) or a str among \{'auto'\}",
    "max_iter": r"an int in the range \[1, inf\)",
    "alpha": r"\[0\.0, inf\)",
    "fit_intercept": "'bool'",
    "standardize": "'bool'",
    "init": r"'standard_normal'",
    "reduction": r"\{'(mean|sum)', '(mean|sum)'\}",
    "tol": r"None or a float in the range \[0\.0, inf\)",
    "warm_start": "'bool'",
    "precompute": "'bool'.*'auto'",
    "random_state": "RandomState",
    "verbose": r"an int in the range \[0, inf\)",
    "hidden_layer_size": r"an int in the range \[1, inf\)",
    "solver": r"\{'(adam|gd)', '(adam|gd)'\}",
    "learning_rate_schedule": r"\{('(auto|cosine|constant)'(, )?){3}\}",
    "momentum": r"\[0\.0, 1\.0\)",
    "batch_size": r"an int in the range \[1, inf\) or a str among \{'auto'\}",
    "n_iter_no_change": r"an int in the range \[1, inf\)",
    "early_stopping": "'bool'",
    "validation_fraction": r"\(0\.0, 1\.0\)",
}


def _bad_parameters():
    for parameter, values in (BAD_FOR_BOTH | BAD_FOR_THE_NETWORK).items():
        for estimator_class in CLASSES if parameter in BAD_FOR_BOTH else CLASSES[:1]:
            for value in values:
                yield estimator_class, parameter, value


@pytest.mark.one_in(5)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("estimator_class", "parameter", "value"), list(_bad_parameters()))
def test_bad_parameter(estimator_class, parameter, value, method):
    estimator = estimator_class().set_params(**{parameter: value})  # only fit looks at it
    allowed = WHAT_IS_ALLOWED[parameter]
    with pytest.raises(ValueError, match=rf"'{parameter}' parameter of {estimator_class.__name__} must be .*{allowed}"):
        getattr(estimator, method)(*problem())


@every_class
def test_the_bad_value_is_named(estimator_class):
    with pytest.raises(ValueError, match=r"Got -3 instead"):
        estimator_class(learning_rate=-3).fit(*problem())


@every_class
def test_an_unknown_parameter_is_refused(estimator_class):
    with pytest.raises(TypeError, match="learning_rates"):
        estimator_class(learning_rates=0.1)
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rates'"):
        estimator_class().set_params(learning_rates=0.1)


# What MLPRegressor's users write, and the words of the error that say what to write.
OF_MLP_REGRESSOR = {
    "hidden_layer_sizes": ((100,), "Use hidden_layer_size, one number"),
    "learning_rate_init": (0.001, "Use learning_rate"),
    "activation": ("relu", "the hidden units are rectified linear units"),
    "nesterovs_momentum": (True, "heavy-ball"),
}


@pytest.mark.parametrize("name", OF_MLP_REGRESSOR)
def test_a_parameter_of_mlp_regressor_meets_ours(name):
    value, hint = OF_MLP_REGRESSOR[name]
    with pytest.raises(TypeError, match=rf"TwoLayerReLURegressor.*{name}.*{hint}"):
        TwoLayerReLURegressor(**{name: value})
    pipeline = make_pipeline(TwoLayerReLURegressor())  # as in a search
    with pytest.raises(ValueError, match=rf"Invalid parameter '{name}' for TwoLayerReLURegressor.*{hint}"):
        pipeline.set_params(**{f"twolayerreluregressor__{name}": value})


def test_the_page_about_mlp_regressor_has_its_parameters():
    page = (Path(__file__).parents[2] / "docs" / "mlp.md").read_text(encoding="utf-8")
    for name in MLPRegressor().get_params():
        assert f"`{name}" in page, name


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("solver", "sgd", "Use 'adam', which trains on minibatches"),
        ("solver", "lbfgs", "Use 'adam'"),
        ("learning_rate", "adaptive", "the schedule is learning_rate_schedule"),
        ("hidden_layer_size", (100,), "pass its size as a number"),
    ],
)
def test_a_value_of_mlp_regressor_meets_ours(name, value, hint):
    model = TwoLayerReLURegressor(**{name: value})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of TwoLayerReLURegressor must be .*{hint}"):
        model.fit(*problem())


def test_a_hint_is_about_the_parameter_that_is_refused():
    model = TwoLayerReLURegressor(solver="sgd", batch_size=0)
    with pytest.raises(ValueError, match=r"'(batch_size|solver)' parameter") as caught:
        model.fit(*problem())
    assert ("Use 'adam'" in str(caught.value)) == ("'solver' parameter" in str(caught.value))

    class WithOne(TwoLayerReLURegressor):
        def __init__(self, activation="relu"):
            super().__init__(hidden_layer_size=3)
            self.activation = activation

    assert WithOne().set_params(activation="tanh").activation == "tanh"
    with pytest.raises(TypeError, match=r"WithOne.*'loss'"):
        WithOne(loss="squared_error")


@every_class
def test_a_validation_set_by_another_name_meets_ours(estimator_class):
    X, y = problem()
    for name in ("eval_set", "validation_data"):
        with pytest.raises(TypeError, match=rf"{estimator_class.__name__}.fit\(\).*'{name}'.*X_val and y_val"):
            estimator_class().fit(X, y, **{name: [(X, y)]})
    hint = "" if estimator_class is LinearGDRegressor else ".*hidden_layer_size"  # the linear model has no such thing
    with pytest.raises(TypeError, match=f"hidden_layer_sizes'.{hint}"):
        estimator_class(hidden_layer_sizes=3)


@every_class
def test_errors_name_the_class_of_the_estimator(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=2).fit(X, y)
    calls = [
        (model.fit, (X,)),
        (model.partial_fit, (X,)),
        (model.fit, ()),
        (model.predict, ()),
        (model.predict, (X,) * 5),
    ]
    for method, arguments in calls:
        with pytest.raises(TypeError, match=rf"^{estimator_class.__name__}\.{method.__name__}\(\) ") as caught:
            method(*arguments)
        assert "GradientRegressor" not in str(caught.value)


@every_class
def test_a_type_error_from_within_a_method_is_passed_on(estimator_class):
    X, y = problem()
    with pytest.raises(TypeError, match=r"^Sparse data was passed|^Sparse y"):
        estimator_class().fit(X, csr_array(y[:, None]))


@pytest.mark.parametrize("n_samples", [30, 150, 250, 900])
def test_an_automatic_batch_size_is_that_of_mlp_regressor(n_samples):
    X, y = problem(n_samples)
    model = TwoLayerReLURegressor(5, batch_size="auto", random_state=0)
    fixed = clone(model).set_params(batch_size=min(200, n_samples))
    assert_same_fit(clone(model).partial_fit(X, y), clone(fixed).partial_fit(X, y))
    assert_same_fit(model.set_params(max_iter=3).fit(X, y), fixed.set_params(max_iter=3).fit(X, y))
    steps = clone(model).set_params(max_iter="auto", hidden_layer_size=1, n_members=1).fit(X, y).n_iter_
    assert steps == clone(fixed).set_params(max_iter="auto", hidden_layer_size=1, n_members=1).fit(X, y).n_iter_


class Renamed(LinearGDRegressor):
    """A subclass with other parameters."""

    def __init__(self, factor=1.0, *, tol=None):
        super().__init__(tol=tol)
        self.factor = factor


def test_names_of_parameters_are_those_of_the_class():
    expected = sorted(inspect.signature(LinearGDRegressor).parameters)
    names = LinearGDRegressor._get_param_names()
    assert names == expected
    names.remove("tol")  # a caller may do with the list what it likes
    assert sorted(LinearGDRegressor().get_params()) == expected
    assert clone(LinearGDRegressor(tol=1e-3)).tol == 1e-3
    assert sorted(Renamed().get_params()) == ["factor", "tol"]
    assert clone(Renamed(3.0, tol=1.0)).get_params() == {"factor": 3.0, "tol": 1.0}
    assert sorted(TwoLayerReLURegressor().get_params()) == sorted(inspect.signature(TwoLayerReLURegressor).parameters)


def test_parameters_may_be_numpy_scalars():
    X, y = problem()
    numbers = {"hidden_layer_size": np.int8(100), "max_iter": np.int16(3), "batch_size": np.uint8(16)}
    flags = {"fit_intercept": np.True_, "standardize": np.True_}
    plain = {"hidden_layer_size": 100, "max_iter": 3, "batch_size": 16}
    for solver in ("adam", "gd"):
        ours = TwoLayerReLURegressor(**numbers, **flags, solver=solver, random_state=0, precompute=np.False_).fit(X, y)
        other = TwoLayerReLURegressor(**plain, solver=solver, random_state=0, precompute=False).fit(X, y)
        assert_array_equal(ours.coefs_[0], other.coefs_[0])
    for precompute in (np.False_, np.True_):
        ours = LinearGDRegressor(**flags, precompute=precompute, max_iter=np.int8(3)).fit(X, y)
        other = LinearGDRegressor(precompute=bool(precompute), max_iter=3).fit(X, y)
        assert ours._state["engine"].keys() == other._state["engine"].keys()
        assert ("shortcut" in ours._state["engine"]) == precompute
        assert_array_equal(ours.coef_, other.coef_)


def test_alpha_is_reported_as_it_was_given():
    X, y = problem(49, 6)
    assert LinearGDRegressor(alpha=1.0).fit(X, y).alpha_ == 1.0
    assert TwoLayerReLURegressor(5, max_iter=2, alpha=0.1).fit(X, y).alpha_ == 0.1
    assert TwoLayerReLURegressor(5, max_iter=2, solver="gd").fit(X, y).alpha_ == 0.0
    assert TwoLayerReLURegressor(5, max_iter=2).fit(X, y).alpha_ > 0.0


@every_class
def test_parameters_are_stored_untouched(estimator_class):
    X, y = problem()
    parameters = {"random_state": np.random.RandomState(0), "max_iter": np.int64(3), "learning_rate": np.float32(1e-3)}
    model = estimator_class(**parameters)
    before = dict(vars(model))
    model.fit(X, y).partial_fit(X, y)
    for key, value in before.items():
        assert getattr(model, key) is value
    assert model.get_params() == {**clone(model).get_params(), "random_state": parameters["random_state"]}
    assert type(model.learning_rate_) is float


@every_class
def test_clones_are_unfitted_and_fit_alike(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=5, alpha=0.5, random_state=0).fit(X, y)
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert not hasattr(copied, "loss_curve_")
    assert_same_fit(copied.fit(X, y), model)
    assert copied.set_params(alpha=2.0) is copied
    assert copied.get_params()["alpha"] == 2.0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("solver", ["adam", "gd"])
def test_a_given_alpha_is_alpha(solver, reduction):
    model = TwoLayerReLURegressor(3, solver=solver, reduction=reduction, alpha=0.7, max_iter=2, random_state=0)
    weights = np.random.RandomState(0).uniform(size=30)
    assert model.fit(*problem(), weights).alpha_ == pytest.approx(0.7, rel=4 * EPS)
