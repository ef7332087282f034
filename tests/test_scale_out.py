"""The examples of scaling out, on clusters of two processes on this machine: each compares itself with serial."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples" / "scale_out"
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
    """Return code and output of a program; whatever it started is ended, too."""
    environment = os.environ | {
        "HOME": home,
        "TMPDIR": home,
        "OPENBLAS_NUM_THREADS": "1",  # so that workers and this machine round alike
        "PYTHONPATH": os.pathsep.join(filter(None, [str(EXAMPLES.parents[1]), os.environ.get("PYTHONPATH")])),
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


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_equals_its_serial_run(name, home):
    missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: pip install 'skrelu[scale]'")
    code, output = run(EXAMPLES / f"{name}.py", home)
    assert code == 0, output
    assert SAYS[name] in output


def test_every_example_is_run():
    assert set(NEEDS) == set(SAYS) == {path.stem for path in EXAMPLES.glob("*.py")}
