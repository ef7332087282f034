"""What is equal to the last bit, and what to rounding: seeds, processes, and one BLAS thread against two."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from threadpoolctl import threadpool_info, threadpool_limits

from problems import assert_same_fit, every_class, problem
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

NETWORK = TwoLayerReLURegressor(100, solver="gd", max_iter=15, random_state=0)
MODELS = {
    "adam": clone(NETWORK).set_params(solver="adam", max_iter=3),
    "gd": clone(NETWORK).set_params(precompute=False),
    "shortcut": clone(NETWORK).set_params(precompute=True),
    "linear": LinearGDRegressor(precompute=False, max_iter=40),
    "linear shortcut": LinearGDRegressor(precompute=True),
}


def large_problem(shortcut, dtype):
    """Large enough that BLAS shares its products among threads."""
    n, d = (250, 1000) if shortcut else (1000, 250)
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    return X.astype(dtype), np.abs(X[:, 0]) - 2 * X[:, -1] + 0.3 * rng.standard_normal(n)


@pytest.mark.one_in(7)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MODELS)
def test_one_blas_thread_and_two_agree_to_rounding(name, dtype):
    X, y = large_problem(name == "shortcut", dtype)
    fits, predicted = [], []
    for n_threads in (1, 1, 2, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            if n_threads == 2 and {b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas"} != {2}:
                pytest.skip("this BLAS has one thread")
            fits.append(clone(MODELS[name]).fit(X, y))
            predicted.append(fits[-1].predict(X))
    for one, other in ((0, 1), (2, 3)):  # the same number of threads: the same bits
        assert fits[one].loss_curve_ == fits[other].loss_curve_
        assert_array_equal(predicted[one], predicted[other])
    # Sums of 1000 terms in another order, in each iteration; the automatic rate is found to 1e-10.
    iterations = min(fits[0].n_iter_, 40) * (8 if name == "adam" else 1)
    rtol = iterations * (np.sqrt(1000) * 10 * np.finfo(dtype).eps + 1e-10)
    assert_allclose(predicted[2], predicted[0], rtol=0, atol=rtol * y.std())
    assert_allclose(fits[2].loss_curve_, fits[0].loss_curve_, rtol=0, atol=rtol * fits[0].loss_curve_[0])


DIGESTS = """
import hashlib
import numpy as np
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
rng = np.random.RandomState(0)
X = rng.standard_normal((300, 20))
y = np.abs(X[:, 0]) + rng.standard_normal(300)
for model in (
    TwoLayerReLURegressor(max_iter=3, random_state=0),
    TwoLayerReLURegressor(solver="gd", max_iter=9, random_state=0),
    TwoLayerReLURegressor(solver="gd", precompute=True, max_iter=9, random_state=0),
    LinearGDRegressor(init="uniform", random_state=0),
):
    print(hashlib.sha256(model.fit(X, y).predict(X).tobytes()).hexdigest(), model.loss_curve_)
"""


@pytest.mark.exhaustive
def test_another_process_has_the_same_bits():
    """For any hash seed: nothing depends on the order of a set, or on an address."""
    printed = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        process = subprocess.run([sys.executable, "-c", DIGESTS], env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        printed.append(process.stdout)
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 4


@every_class
def test_a_seed_decides_everything(estimator_class):
    X, y = problem()
    model = estimator_class(max_iter=5)
    if estimator_class is LinearGDRegressor:
        model.set_params(init="uniform")
    else:
        model.set_params(batch_size=7)
    assert_same_fit(
        clone(model).set_params(random_state=4).fit(X, y), clone(model).set_params(random_state=4).fit(X, y)
    )
    one = clone(model).set_params(random_state=np.random.RandomState(4)).fit(X, y)
    assert_same_fit(one, clone(model).set_params(random_state=4).fit(X, y))
    assert clone(model).set_params(random_state=5).fit(X, y).loss_curve_ != one.loss_curve_
