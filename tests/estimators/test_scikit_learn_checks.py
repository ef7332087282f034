"""scikit-learn's own checks, generated and importable, on every kind of configuration."""

import importlib
import importlib.util
import re
from collections import Counter

import pytest
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_param_validation,
    estimator_checks_generator,
    parametrize_with_checks,
)

from problems import ENGINES, every_kind
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

# The default trains for 1500 steps; fewer keep the default run short.
MAIN = [TwoLayerReLURegressor(max_iter=150), LinearGDRegressor(), TwoLayerReLURegressor(solver="gd")]
OTHERS = [
    TwoLayerReLURegressor(),
    TwoLayerReLURegressor(solver="gd", momentum=0.9),
    TwoLayerReLURegressor(max_iter=150, standardize=False),
    TwoLayerReLURegressor(max_iter=150, fit_intercept=False),
    LinearGDRegressor(fit_intercept=False),
    TwoLayerReLURegressor(max_iter=150, reduction="sum"),
    TwoLayerReLURegressor(max_iter=150, n_members=1),
    TwoLayerReLURegressor(max_iter=150, n_members=4),
    TwoLayerReLURegressor(solver="gd", n_members=4),
    LinearGDRegressor(reduction="sum"),
    LinearGDRegressor(standardize=False),
]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
every_instance = pytest.mark.parametrize("estimator", [*MAIN, *OTHERS], ids=str)


@parametrize_with_checks(MAIN, xfail_strict=True)
def test_generated_check(estimator, check):
    check(estimator)


@pytest.mark.exhaustive
@parametrize_with_checks(OTHERS, xfail_strict=True)
def test_generated_check_of_other_configurations(estimator, check):
    check(estimator)


@every_instance
def test_no_check_is_lost(estimator):
    # weights, partial_fit, array_api_support and sparse input: scikit-learn 1.9 makes 81 checks of these tags
    assert len(list(estimator_checks_generator(estimator))) == 81


def _importable(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


# Which checks can run depends on the class and its tags alone, so the instances that train fastest are enough.
@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    "estimator", [TwoLayerReLURegressor(solver="gd", max_iter=100), LinearGDRegressor(max_iter=100)], ids=str
)
def test_only_absent_libraries_and_devices_are_skipped(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] not in ("passed", "skipped")] == []
    reasons = [str(r["exception"]) for r in results if r["status"] == "skipped"]
    for reason in reasons:
        assert re.search(r"\b(cupy|dpnp|torch|cuda|CUDA|XPU|MPS|SYCL)\b", reason), reason
        assert re.search(
            r"not installed|not available|no \w+ devices?\b|PYTORCH_ENABLE_MPS_FALLBACK is not set", reason
        )
    assert len(results) == 81
    if (
        importlib.util.find_spec("cupy") is None
        and importlib.util.find_spec("dpnp") is None
        and not _torch_has_accelerator()
    ):
        assert len(reasons) == (14 if importlib.util.find_spec("torch") is not None else 17), Counter(reasons)


def _torch_has_accelerator():
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.backends.cuda.is_built() or torch.xpu.is_available() or torch.backends.mps.is_built()


@every_instance
def test_parameters_are_validated(estimator):
    check_param_validation(type(estimator).__name__, estimator)


@every_kind
def test_column_names_are_consistent(name):
    check_dataframe_column_names_consistency(type(ENGINES[name]).__name__, ENGINES[name])


@pytest.mark.parametrize("estimator_class", [TwoLayerReLURegressor, LinearGDRegressor])
def test_tags(estimator_class):
    tags = get_tags(estimator_class())
    assert tags.estimator_type == "regressor"
    assert tags.target_tags.multi_output
    assert tags.target_tags.single_output
    assert tags.target_tags.required
    assert tags.array_api_support
    assert tags.input_tags.sparse
    assert not tags.input_tags.allow_nan
    assert not tags.non_deterministic
    assert not tags.regressor_tags.poor_score
    assert not tags.no_validation


# scikit-learn's convention is that partial_fit refuses early_stopping, and no random choice of rows sees a row that is
# repeated as one row of twice the weight.
REFUSED = {
    "check_fit_score_takes_y": "partial_fit does not support early_stopping=True",
    "check_n_features_in_after_fitting": "partial_fit does not support early_stopping=True",
    "check_estimators_partial_fit_n_features": "partial_fit does not support early_stopping=True",
    "check_sample_weight_equivalence_on_dense_data": "is not equivalent",
    "check_sample_weight_equivalence_on_sparse_data": "is not equivalent",
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    "params", [{"max_iter": 100}, {"solver": "gd", "hidden_layer_size": 100, "max_iter": 100}], ids=str
)
def test_estimator_checks_with_early_stopping(params):
    results = check_estimator(TwoLayerReLURegressor(early_stopping=True, **params), on_skip=None, on_fail=None)
    assert len(results) == 81
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert failed.keys() == REFUSED.keys()
    for check, reason in REFUSED.items():
        assert reason in failed[check]
