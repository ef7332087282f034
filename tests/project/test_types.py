"""What type checkers see of the estimators: a user's program, checked by mypy and pyright where they are installed."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skrelu

ROOT = Path(skrelu.__file__).parents[1]

PROGRAM = """\
import numpy as np
from skrelu import LinearGDRegressor, TwoLayerReLURegressor

X, y = np.ones((9, 2)), np.ones(9)
network, linear = TwoLayerReLURegressor(50, learning_rate=0.1), LinearGDRegressor(learning_rate="auto")
reveal_type(network.fit(X, y))  # TwoLayerReLURegressor
reveal_type(network.partial_fit(X, y))  # TwoLayerReLURegressor
reveal_type(network.set_params(alpha=1.0))  # TwoLayerReLURegressor
reveal_type(linear.fit(X, y, sample_weight=y, X_val=X, y_val=y))  # LinearGDRegressor
reveal_type(linear.partial_fit(X, y))  # LinearGDRegressor
reveal_type(network.learning_rate)  # float | Literal['auto']
reveal_type(network.random_state)  # int | RandomState | None
reveal_type(network.validation_loss_curve_)  # list[float] | None
reveal_type(linear.learning_rate_)  # float
TwoLayerReLURegressor(learning_rate="fast")  # error
TwoLayerReLURegressor(hidden_layer_size=(100,))  # error
TwoLayerReLURegressor(hidden_layer_sizes=100)  # error
TwoLayerReLURegressor(batch_size="auto", learning_rate_schedule="auto")
LinearGDRegressor(reduction="average")  # error
network.fit(X)  # error
linear.fit(X, y, eval_set=(X, y))  # error
network.partial_fit(X, y, X_val=X)  # error
"""

LINES = PROGRAM.splitlines()
EXPECTED = {number: line.split("# ")[1] for number, line in enumerate(LINES, start=1) if "# " in line}


def checked(command, tmp_path):
    """The output of a type checker for the program; it exits with 1, as the program has errors."""
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 1, process.stdout + process.stderr
    return process.stdout


def assert_as_expected(found):
    """`found` has pairs of line number and the revealed type, without names of modules, or "error"."""
    assert dict(found) == EXPECTED


@pytest.mark.exhaustive
def test_mypy_sees_signatures_and_types(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    output = checked([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "program.py"], tmp_path)
    found = []
    for number, kind, message in re.findall(r"program\.py:(\d+): (error|note): (.*)", output):
        if revealed := re.match(r'Revealed type is "(.*)"', message):
            found.append((int(number), re.sub(r"[\w.]+\.(\w+)", r"\1", revealed[1])))
        elif kind == "error":
            found.append((int(number), "error"))
    assert_as_expected(found)


def test_pyright_sees_signatures_and_types(tmp_path):
    pyright = shutil.which("pyright", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if pyright is None:
        pytest.skip("needs pyright")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    settings = {"include": ["program.py"], "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    output = checked([pyright, "--outputjson", "--pythonpath", sys.executable], tmp_path)
    found = []
    for message in json.loads(output)["generalDiagnostics"]:
        number = message["range"]["start"]["line"] + 1
        revealed = re.match(r'Type of ".*" is "(.*)"', message["message"])
        found.append((number, revealed[1] if revealed else message["severity"]))
    assert_as_expected(found)
