"""Memory stays flat over many fits, and over a stream of rows many times larger than what is held."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from problems import ENGINES, problem

MODELS = {
    name: clone(ENGINES[name]).set_params(max_iter=2)
    for name in ("minibatches", "full batch, momentum", "sample space, momentum", "linear", "closed form")
}
KB = 1024
STATUS = Path("/proc/self/status")


def anonymous_memory():
    """Bytes of the process that are in memory and that no file backs."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return KB * int(line.split()[1])


def grown(work, n_calls):
    """Bytes of Python's and NumPy's allocators held after `n_calls` calls, beyond those after a few."""
    for _ in range(5):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(n_calls):
            work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.one_in(6)
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_repeated_fits_hold_no_memory(name, refit):
    X, y = problem(50, 200)
    model = clone(MODELS[name]).fit(X, y)

    def work():
        (model if refit else clone(model)).fit(X, y).predict(X)

    assert grown(work, 20) < X.nbytes / 2  # one forgotten array of this size in each call would be 40 times as much


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", MODELS)
def test_failed_fits_hold_no_memory(name):
    X, y = problem(50, 200)
    model = clone(MODELS[name]).set_params(learning_rate=1e300, max_iter=9).set_params(standardize=False)

    def work():
        with pytest.raises(ValueError, match="diverged"):
            model.fit(X, y)

    assert grown(work, 10) < X.nbytes / 2


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ["minibatches", "full batch, momentum", "linear"])
def test_a_stream_of_rows_is_not_kept(name):
    rng = np.random.RandomState(0)
    model = clone(MODELS[name])

    def work():
        X = rng.standard_normal((300, 10))
        model.partial_fit(X, X[:, 0])

    # Each call appends a float to the loss curve: 32 bytes, and 8 in the list.
    assert grown(work, 30) < 30 * 200 + 24 * KB  # an X each would be 0.7 MB


@pytest.mark.exhaustive
@pytest.mark.skipif(not STATUS.exists(), reason="reads what Linux says of a process")
def test_the_process_does_not_grow():
    """What BLAS, or another library outside of Python's allocators, would keep."""
    X, y = problem(50, 20)
    models = [clone(model) for model in MODELS.values()]
    for _ in range(30):
        for model in models:
            model.fit(X, y).predict(X)
    before = anonymous_memory()
    for _ in range(250):
        for model in models:
            model.fit(X, y).predict(X)
    assert anonymous_memory() - before < 2 * KB * KB  # of 1000 fits; an X each would be 8 MB
