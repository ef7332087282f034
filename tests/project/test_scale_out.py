"""The examples of scaling out, on clusters of two processes on this machine: each compares itself with serial."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

"""The examples of scaling out, on clusters of two processes on this machine: each compares itself with serial."""


EXAMPLES = Path(__file__).parents[2] / "examples" / "scale_out"
NEEDS = {
    "dask_incremental": ["dask_ml", "distributed"],
    "parquet_chunks": ["pyarrow"],
    "search_on_dask": ["distributed"],
    "search_on_ray": ["ray"],
}
SAYS = {
    "dask_incremental": "4 passes over 20000 rows in blocks of 2500; weights equal those of one process",
    "parquet_chunks": "5 passes over 40000 rows in chunks of 4000; weights equal those of the rows in memory",
    "search_on_dask": "40 fits in 2 processes of the cluster; all scores equal those of one process",
    "search_on_ray": "40 fits in 2 processes of Ray; all scores equal those of one process",
}
TIMEOUT = 600  # seconds; they take 3 to 20 where nothing else runs


@pytest.fixture
def home():
    """A folder for what the clusters write. Its path is short, as Ray makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="home", ignore_cleanup_errors=True) as folder:
        # Where this file is missing, Ray asks the cloud's metadata service where it runs, even without statistics.
        Path(folder, "ray_bootstrap_config.yaml").write_text("{}\n")
        yield folder


def run(program, home):
    """Return code and output of a program. What it started is ended, too."""
    environment = os.environ | {
        "HOME": home,
        "TMPDIR": home,
        "OPENBLAS_NUM_THREADS": "1",  # so that workers and this machine round alike
        "PYTHONPATH": os.pathsep.join(filter(None, [str(EXAMPLES.parents[2]), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "error",
        "RAY_TMPDIR": home,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    output = Path(home, "output")
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, program], env=environment, cwd=home, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            return process.wait(TIMEOUT), output.read_text()
        except subprocess.TimeoutExpired:
            pytest.fail(f"not done after {TIMEOUT} s:\n{output.read_text()}")
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                process.wait()  # there is nobody left, as there should be


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NEEDS)
def test_an_example_equals_its_serial_run(name, home):
    missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: pip install --group scale")
    code, output = run(EXAMPLES / f"{name}.py", home)
    assert code == 0, output
    assert SAYS[name] in output


KILLED = """
import os, pathlib, signal
import joblib
import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from skrelu import TwoLayerReLURegressor

KILLED = pathlib.Path("killed")


def r2(model, X, y):
    if os.getpid() != int(os.environ["SEARCHES"]) and model.learning_rate == 0.01:
        try:
            KILLED.touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return model.score(X, y)


def main():
    os.environ["SEARCHES"] = str(os.getpid())
    X, y = load_diabetes(return_X_y=True)
    model = TwoLayerReLURegressor(5, max_iter=5, random_state=0)
    search = GridSearchCV(model, {"learning_rate": [0.001, 0.003, 0.01, 0.03]}, scoring=r2, cv=5)
    serial = clone(search).fit(X, y)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask", wait_for_workers_timeout=60),
    ):
        try:
            search.fit(X, y)
        except Exception as error:  # joblib's backend gives up, although Dask repeats the work
            print(type(error).__name__)
            assert not hasattr(search, "cv_results_")
        search.fit(X, y)  # on the worker that is left, and the one that Dask started in its place
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])
    print("killed:", KILLED.exists(), "and then all scores equal those of one process")


if __name__ == "__main__":
    main()
"""


@pytest.mark.exhaustive
def test_a_search_after_a_dask_worker_was_killed_is_right(home):
    pytest.importorskip("distributed", reason="needs distributed: pip install --group scale")
    program = Path(home, "killed_worker.py")
    program.write_text(KILLED)
    code, output = run(program, home)
    assert code == 0, output
    assert "killed: True and then all scores equal those of one process" in output


def test_every_example_is_run():
    assert set(NEEDS) == set(SAYS) == {path.stem for path in EXAMPLES.glob("*.py")}
