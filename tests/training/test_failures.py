"""A fit that fails for want of memory, disk or a process leaves the earlier model."""

import io
import os
import pickle
import struct
import subprocess
import sys

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from problems import (
    ADAM,
    DESCENT,
    ENGINES,
    N_ITER,
    assert_same_fit,
    every_iterating_engine,
    fit_failing,
    positions,
    problem,
)


@pytest.mark.one_in(3)
@every_iterating_engine
def test_running_out_of_memory_leaves_the_earlier_model(name, monkeypatch):
    X, y = problem(20)
    fitted = clone(ENGINES[name]).set_params(warm_start=True).fit(X, y)
    stored = pickle.dumps(fitted)
    for at in positions(fitted, monkeypatch, 40):
        fit_failing(fitted, at, MemoryError(), monkeypatch)
        assert pickle.dumps(fitted) == stored
    for at in positions(clone(ENGINES[name]), monkeypatch, 40):
        never = clone(ENGINES[name])
        fit_failing(never, at, MemoryError(), monkeypatch)
        assert set(vars(never)) == set(never.get_params())
    assert_same_fit(fitted.fit(X, y), clone(fitted).set_params(max_iter=2 * N_ITER).fit(X, y))


def test_an_allocation_that_really_fails_leaves_the_earlier_model():
    X, y = problem(20)
    model = clone(DESCENT).fit(X, y)
    predicted = model.predict(X)
    with pytest.raises(MemoryError):
        model.set_params(hidden_layer_size=10**13).fit(X, y)
    assert_array_equal(model.predict(X), predicted)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ["minibatches", "sample space, momentum", "linear"])
def test_a_truncated_file_is_an_error_of_the_library(name, tmp_path):
    whole = pickle.dumps(clone(ENGINES[name]).fit(*problem(20)))
    for end in np.linspace(0, len(whole) - 1, 30, dtype=int):
        with pytest.raises((EOFError, pickle.UnpicklingError)):
            pickle.loads(whole[:end])
    # Of joblib: which one depends on the byte that is the last.
    errors = (EOFError, pickle.UnpicklingError, ValueError, IndexError, struct.error)
    path = tmp_path / "model.joblib"
    joblib.dump(clone(ENGINES[name]).fit(*problem(20)), path)
    whole = path.read_bytes()
    for end in np.linspace(0, len(whole) - 1, 30, dtype=int):
        path.write_bytes(whole[:end])
        with pytest.raises(errors):
            joblib.load(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_leaves_the_model():
    model = clone(ADAM).fit(*problem(20))
    before = pickle.dumps(model)
    with pytest.raises(OSError, match="No space left"), io.FileIO("/dev/full", "w") as file:
        pickle.dump(model, file)
    assert pickle.dumps(model) == before


KILLED = """
import os, sys, warnings
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.model_selection import GridSearchCV
from skrelu import LinearGDRegressor

class Killed(LinearGDRegressor):
    def fit(self, X, y):
        if self.alpha == 2.0:
            os._exit(9)
        return super().fit(X, y)

X = np.random.RandomState(0).standard_normal((30, 3))
y = X @ [1.0, 2.0, 3.0]
warnings.simplefilter("ignore")  # joblib's own, of what the dead worker held
search = GridSearchCV(Killed(max_iter=5), {"alpha": [0.5, 1.0, 2.0]}, cv=2, n_jobs=2)
try:
    search.fit(X, y)
    sys.exit("the death of a worker was not reported")
except TerminatedWorkerError:
    pass
alive = {"alpha": [0.5, 1.0]}
parallel, serial = (search.set_params(param_grid=alive, n_jobs=k).fit(X, y).cv_results_ for k in (2, None))
assert (parallel["mean_test_score"] == serial["mean_test_score"]).all()
print("the next search is right")
"""


@pytest.mark.exhaustive
def test_a_killed_worker_is_reported_by_joblib_and_the_next_search_is_right(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        [sys.executable, tmp_path / "killed.py"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert "the next search is right" in process.stdout, process.stderr
