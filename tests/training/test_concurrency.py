"""Threads and processes: what they fit and predict at the same time is what they would one after the other."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from problems import ENGINES, KINDS, assert_same_fit, problem

N_THREADS = 8
MODELS = {name: clone(ENGINES[name]).set_params(max_iter=30) for name in KINDS}
every_model = pytest.mark.parametrize("name", MODELS)


def together(work, n_calls=5 * N_THREADS):
    """Results of many calls of `work` in threads that begin at the same moment and are switched often."""
    barrier = threading.Barrier(N_THREADS, timeout=60)

    def begin(k):
        if k < N_THREADS:
            barrier.wait()
        return work()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(N_THREADS) as pool:
            return list(pool.map(begin, range(n_calls)))
    finally:
        sys.setswitchinterval(interval)


@every_model
def test_threads_predict_with_one_estimator(name):
    X, y = problem(80, 4)
    model = clone(MODELS[name]).fit(X, y)
    expected = model.predict(X)
    for predicted in together(lambda: model.predict(X)):
        assert_array_equal(predicted, expected)


@pytest.mark.one_in(2)
@every_model
def test_threads_fit_and_use_one_estimator(name):
    """Each thread fits it to the same data, and so each prediction is that of this fit, whoever has made it last."""
    X, y = problem(80, 4)
    expected = clone(MODELS[name]).fit(X, y)
    predicted = expected.predict(X)
    model = clone(MODELS[name])

    def work():
        assert_array_equal(model.fit(X, y).predict(X), predicted)
        assert model.loss_curve_ == expected.loss_curve_
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), predicted)

    together(work)
    assert model.partial_fit(X, y).loss_curve_ == expected.partial_fit(X, y).loss_curve_


@pytest.mark.one_in(2)
@every_model
def test_one_thread_fits_what_others_use(name):
    """The model they see is the earlier or the later one, never a mixture."""
    X, y = problem(80, 4)
    model = clone(MODELS[name]).fit(X, y)
    earlier, later = model.predict(X), clone(model).fit(X, -y).predict(X)
    seen = []

    def work():
        predictions = model.predict(X), pickle.loads(pickle.dumps(model)).predict(X)
        seen.extend([np.array_equal(p, a) for a in (earlier, later)] for p in predictions)

    fitting = threading.Thread(target=lambda: model.fit(X, -y))
    fitting.start()
    together(work)
    fitting.join()
    assert all(any(which) for which in seen)
    assert_array_equal(model.predict(X), later)


def test_threads_fit_estimators_of_their_own():
    X, y = problem(80, 4)
    models = [clone(model).set_params(max_iter=30) for model in ENGINES.values()]
    expected = [clone(model).fit(X, y) for model in models]
    for fitted in together(lambda: [clone(model).fit(X, y) for model in models], N_THREADS):
        for a, b in zip(fitted, expected, strict=True):
            assert_same_fit(a, b)


PROCESSES = """
import multiprocessing, sys, threading, warnings
import numpy as np
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
import skrelu._training.blas_threads

warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: a process with threads was forked
X = np.random.RandomState(0).standard_normal((300, 60))
y = np.abs(X[:, 0]) - X[:, 1]
MODELS = [
    TwoLayerReLURegressor(30, max_iter=3, random_state=0),
    TwoLayerReLURegressor(100, solver="gd", precompute=False, max_iter=200, random_state=0),  # limits the BLAS threads
    LinearGDRegressor(),
]


def fit(k):
    return MODELS[k].fit(X, y).predict(X)


def main():
    expected = [fit(k) for k in range(3)]  # which starts the threads of BLAS
    fitted = MODELS[0]
    for method in sys.argv[1].split():
        stop, held = threading.Event(), threading.Event()

        def hold_the_lock():
            while not stop.is_set():
                with skrelu._training.blas_threads._lock:
                    held.set()

        thread = threading.Thread(target=hold_the_lock)
        thread.start()
        held.wait()
        with multiprocessing.get_context(method).Pool(2) as pool:
            stop.set()
            thread.join()
            fits, predicted = pool.map_async(fit, range(3)).get(120), pool.apply_async(fitted.predict, (X,)).get(120)
        assert all((a == b).all() for a, b in zip(fits, expected, strict=True)), method
        assert (predicted == expected[0]).all(), method
        print(method, "is right")


if __name__ == "__main__":
    main()
"""


@pytest.mark.exhaustive
def test_processes_forked_and_spawned(tmp_path):
    methods = ["fork", "spawn"] if hasattr(os, "fork") else ["spawn"]
    (tmp_path / "processes.py").write_text(PROCESSES)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        [sys.executable, tmp_path / "processes.py", " ".join(methods)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.stdout == "".join(f"{method} is right\n" for method in methods), process.stderr
