"""The lowest versions that are declared are those that CI installs."""

import tomllib
from pathlib import Path

import pytest

"""The lowest versions that are declared are those that CI installs."""


ROOT = Path(__file__).parents[2]
OLDEST = ROOT / ".ci" / "oldest.txt"


@pytest.mark.skipif(not OLDEST.exists(), reason="not in a source distribution")
def test_the_lowest_versions_are_those_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = dict(
        requirement.split(">=")
        for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]
        if ">=" in requirement
    )
    lines = [line for line in OLDEST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    tested = dict(line.split("==") for line in lines)
    for name, version in declared.items():
        assert tested[name].split(".")[: version.count(".") + 1] == version.split("."), name
        assert not any(int(part) for part in tested[name].split(".")[version.count(".") + 1 :]), name
