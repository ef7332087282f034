"""The script that proves the GPU's results: on a stand-in for CuPy it finds what is right, and what is wrong."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from skrelu._arrays import CupyArrayModule

PATH = Path(__file__).parents[2] / "examples" / "benchmarks" / "gpu_check.py"
SLOW = ["training", "data", "memory", "scikit_learn", "tools", "speed"]


def has_gpu_of_torch():
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def gpu_check(monkeypatch):
    monkeypatch.syspath_prepend(PATH.parent)
    spec = importlib.util.spec_from_file_location("gpu_check", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(path):
    return {row["check"]: row for row in json.loads(path.read_text())["rows"]}


@pytest.mark.parametrize(
    "name",
    [
        "functions",
        "asynchrony",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in SLOW),
    ],
)
def test_all_checks_hold_on_the_stand_in(gpu_check, cupy_double, tmp_path, capsys, name):
    if name == "scikit_learn" and has_gpu_of_torch():
        pytest.skip("scikit-learn mixes arrays of CuPy with those of PyTorch's GPU, which cannot read the stand-in's")
    status = gpu_check.main(["--dry", "--only", name, "--json", str(tmp_path / "out.json")])
    rows = rows_of(tmp_path / "out.json")
    assert rows
    assert not [row for row in rows.values() if row["holds"] is False]
    assert status == 0
    printed = capsys.readouterr().out
    assert all(f"| {check} |" in printed for check in rows)


def test_the_names_above_are_all(gpu_check):
    names = {check.__name__.removeprefix("check_") for check in gpu_check.CHECKS}
    assert names == {"functions", "training", "data", "asynchrony", "memory", "scikit_learn", "tools", "speed"}


@pytest.mark.exhaustive
def test_wrong_results_are_found(gpu_check, cupy_double, monkeypatch, tmp_path):
    import skrelu._arrays.cupy as cupy_file

    source = cupy_file.KERNELS.read_text(encoding="utf-8")
    wrong = tmp_path / "kernels.cu"
    wrong.write_text(source.replace("z * positive;", "z * positive + (T)1e-3;"), encoding="utf-8")
    assert wrong.read_text(encoding="utf-8") != source
    monkeypatch.setattr(cupy_file, "KERNELS", wrong)
    for name in ("functions", "training", "data"):
        assert gpu_check.main(["--dry", "--only", name, "--json", str(tmp_path / "out.json")]) == 1
        assert any(row["holds"] is False for row in rows_of(tmp_path / "out.json").values())


def test_an_error_is_a_row_and_a_failure(gpu_check, cupy_double, monkeypatch, tmp_path):
    monkeypatch.setattr(cupy_double, "memory_limit", 10)
    assert gpu_check.main(["--dry", "--only", "memory", "--json", str(tmp_path / "out.json")]) == 1
    assert "MemoryError" in rows_of(tmp_path / "out.json")["check_memory"]["result"]


def test_without_a_gpu_nothing_is_claimed(gpu_check, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    gpu_check.CupyArrayModule.__init__.__globals__["_cupy"].cache_clear()
    assert gpu_check.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Nothing was checked, and nothing is claimed: array_module='cupy' needs CuPy")
    assert "|" not in printed


def has_gpu():
    try:
        CupyArrayModule(None)
    except (ImportError, RuntimeError):
        return False
    return True


@pytest.mark.skipif(not has_gpu(), reason="there is no GPU, or no CuPy")
@pytest.mark.parametrize("name", ["functions", "training", "data", "memory", "scikit_learn", "tools"])
def test_all_checks_hold_on_a_gpu(gpu_check, tmp_path, name):
    status = gpu_check.main(["--only", name, "--json", str(tmp_path / "out.json")])
    assert not [row for row in rows_of(tmp_path / "out.json").values() if row["holds"] is False]
    assert status == 0
