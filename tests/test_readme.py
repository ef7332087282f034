"""The README's programs run as they stand."""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs(program, capsys, monkeypatch, tmp_path):
    for library in re.findall(r"^(?:from|import) (\w+)", program, flags=re.MULTILINE):
        pytest.importorskip(library, reason=f"needs {library}")
    monkeypatch.chdir(tmp_path)  # where it may write files
    exec(compile(program, str(README), "exec"), {})


def test_there_are_programs_and_commands():
    assert len(PROGRAMS) >= 3
    commands = re.findall(r"^```sh\n(.*?)\n```", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
