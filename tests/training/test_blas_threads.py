"""The limit of BLAS threads: where it holds, and that overlapping users take it back together."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skrelu import TwoLayerReLURegressor
from skrelu._training.blas_threads import _LONG_RUN, _SMALL_PRODUCT, blas_threads

"""The limit of BLAS threads: where it holds, and that overlapping users take it back together."""


def blas_counts():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if blas_counts() != {2}:
            pytest.skip("this BLAS has one thread")
        yield


@pytest.mark.usefixtures("two_threads")
def test_small_products_of_a_long_run_are_kept_on_one_thread():
    with blas_threads(_SMALL_PRODUCT - 1, _LONG_RUN + 1):
        assert blas_counts() == {1}
    assert blas_counts() == {2}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("work", [(_SMALL_PRODUCT, 2.0 * _LONG_RUN), (1.0, _LONG_RUN)])
def test_large_products_and_short_runs_are_left_alone(work):
    with blas_threads(*work):
        assert blas_counts() == {2}


@pytest.mark.usefixtures("two_threads")
def test_overlapping_users_end_in_any_order():
    work = _SMALL_PRODUCT - 1, _LONG_RUN + 1
    first, second = blas_threads(*work), blas_threads(*work)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_counts() == {1}
    second.__exit__(None, None, None)
    assert blas_counts() == {2}


@pytest.mark.usefixtures("two_threads")
def test_a_failing_fit_takes_the_limit_back():
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((300, 200)), rng.standard_normal(300)
    model = TwoLayerReLURegressor(solver="gd", learning_rate=1e6, precompute=False)  # 12 Gflop, if it did not diverge
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, y)
    assert blas_counts() == {2}
