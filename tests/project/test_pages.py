"""What README and pages show is true: programs run, sessions give what is shown, the table of parameters is whole."""

import doctest
import pathlib
import re

import pytest
from sklearn.neural_network import MLPRegressor

import skrelu
from skrelu import TwoLayerReLURegressor

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(python|pycon|sh)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def blocks(path, *languages):
    """Programs and sessions of a page, with the line each begins in."""
    text = path.read_text(encoding="utf-8")
    return [(text.count("\n", 0, b.start()), b[1], b[2]) for b in BLOCK.finditer(text) if b[1] in languages]


PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if blocks(path, "python", "pycon")]
PROGRAMS = [program for _, _, program in blocks(README, "python")]


def skip_without_what_it_needs(program):
    for library in re.findall(r"^(?:from|import) (\w+)", program, flags=re.MULTILINE):
        pytest.importorskip(library, reason=f"needs {library}")
    if 'array_module="cupy"' in program:
        cupy = pytest.importorskip("cupy", reason="needs CuPy and a GPU", exc_type=ImportError)
        if not cupy.is_available():
            pytest.skip("needs a GPU")


# Searches, and scikit-learn's checks, are run by other tests, too.
SLOW = [program for program in PROGRAMS if "check_estimator" in program or "GridSearchCV" in program]


@pytest.mark.parametrize(
    "program",
    [pytest.param(p, marks=[pytest.mark.exhaustive] if p in SLOW else []) for p in PROGRAMS],
    ids=range(len(PROGRAMS)),
)
def test_a_program_of_the_readme_runs_by_itself(program, monkeypatch, tmp_path):
    skip_without_what_it_needs(program)
    monkeypatch.chdir(tmp_path)  # where it may write files
    exec(compile(program, str(README), "exec"), {})


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.exhaustive] if p.stem == "user_guide" else []) for p in PAGES],
    ids=lambda page: page.stem,
)
def test_a_page_runs_from_top_to_bottom(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for line, language, text in blocks(page, "python", "pycon"):
        if language == "python":
            skip_without_what_it_needs(text)
            exec(compile("\n" * line + text, str(page), "exec"), names)
            continue
        session = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line)
        failures = []
        runner.run(session, out=failures.append, clear_globs=False)
        names = session.globs
        assert not failures, "".join(failures)


def test_there_are_programs_and_commands():
    assert len(PROGRAMS) >= 3
    assert {"index", "mlp", "start", "user_guide"} <= {page.stem for page in PAGES}
    commands = [command for _, _, command in blocks(README, "sh")]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)


def test_a_page_that_is_wrong_is_found(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n```pycon\n>>> a\n1\n>>> a + 1\n3\n```\n")
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        test_a_page_runs_from_top_to_bottom(page, monkeypatch, tmp_path)


@pytest.mark.parametrize(("column", "estimator"), [(0, MLPRegressor), (1, TwoLayerReLURegressor)])
def test_the_table_of_parameters_is_whole(column, estimator):
    """`docs/mlp.md` names all parameters of both estimators, each in its column, and no others."""
    lines = (ROOT / "docs" / "mlp.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    cells = [row[0] if row[1] == "the same" else row[column] for row in rows[2:]]
    named = {code.split("=")[0] for cell in cells for code in re.findall(r"`([^`]*)`", cell)}
    assert named == set(estimator().get_params())


def test_the_page_of_the_api_has_every_public_name():
    listed = re.findall(r"^   (\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(set(skrelu.__all__) - {"__version__"})
