"""The rules of the house: imports go one way, functions fit a screen, public docstrings are numpydoc."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import skrelu

PACKAGE = Path(skrelu.__file__).parent


FILES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


# Each module imports only from lower ones: from folders above its line, and in its folder from names left of its "|".
# `__init__.py` of a folder, unless it is named, imports nothing.
ORDER = """
_arrays: base | generic numpy | sparse | cupy | __init__ | select
_models: optimizers spectrum standardize | base moments | linear network penalty
_rows: batches fingerprint sparse_columns | rows sparse_batches | row_space sparse
_engines: powers recipe | base | closed_form full_batch minibatches sample_space | choose
_training: blas_threads checkpoint curve | state | loop stream wide | diagnosis early_stopping | run | callbacks
: _coefficients _inputs _other_names | _decorators _predictions | _estimator | _linear _two_layer
_tools: loss_curve onnx | learning_rate
: __init__
_tools: demo
: __main__
"""


def layers_of(order):
    """A set of modules for each layer, lowest first."""
    layers = []
    for line in order.strip().splitlines():
        folder, names = line.split(":")
        prefix = f"{folder}." if folder else ""
        layers += [{prefix + name for name in layer.split()} for layer in names.split("|")]
        if folder and not any(f"{folder}.__init__" in layer for layer in layers):
            layers.insert(0, {f"{folder}.__init__"})
    return layers


LAYER_OF = {name: number for number, layer in enumerate(layers_of(ORDER)) for name in layer}


MAY_IMPORT_SKLEARN = {"_arrays.select", "_decorators", "_estimator", "_inputs", "_linear", "_predictions", "_two_layer"}
MAY_IMPORT_SKLEARN |= {name for name in FILES if name.startswith("_tools.")}


HEAVY = {"cupy", "cupyx", "jax", "matplotlib", "onnx", "pandas", "polars", "pyarrow", "skl2onnx", "torch"}


MAX_LINES = 60  # of a function


MAX_LINES_OF_A_FILE = 400  # most of an estimator is docstring; other files look for a second duty at 300


modules = pytest.mark.parametrize("name", FILES)


def imported(node):
    """Absolute names of the modules that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def statements_at_import(tree):
    """The statements that run when a module is imported: all but those in functions."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)


def imports_of(name):
    """All that a module imports anywhere, functions included."""
    return {module for node in ast.walk(TREES[name]) for module in imported(node)}


def siblings_of(name):
    """The modules of the package that a module imports."""
    siblings = set()
    for module in imports_of(name):
        if module == "skrelu" or module.startswith("skrelu."):
            path = module.removeprefix("skrelu").removeprefix(".")
            siblings |= {path, f"{path}.__init__".removeprefix(".")} & FILES.keys()
    return siblings


@modules
def test_a_module_has_a_place_and_imports_from_lower_ones_only(name):
    assert name in LAYER_OF, f"put {name} into ORDER"
    above = {sibling for sibling in siblings_of(name) if LAYER_OF[sibling] >= LAYER_OF[name]}
    assert not above, f"{name} imports {above} from its own layer or above"


def test_the_rule_of_the_layers_sees_imports():
    assert siblings_of("_estimator") >= {"_coefficients", "_inputs", "_training.run"}
    assert siblings_of("_training.run") >= {"_engines.choose", "_training.state"}
    assert siblings_of("_arrays.select") == {"_arrays.__init__"}
    assert siblings_of("__init__") >= {"_linear", "_two_layer"}


def test_the_order_names_the_files_that_exist():
    assert LAYER_OF.keys() == FILES.keys()
    rising = ["_arrays.select", "_models.base", "_rows.rows", "_engines.base", "_training.state", "_inputs", "__init__"]
    assert rising == sorted(rising, key=LAYER_OF.__getitem__)
    assert LAYER_OF["_engines.recipe"] < LAYER_OF["_engines.base"] < LAYER_OF["_engines.choose"]


@modules
def test_only_estimator_files_import_scikit_learn(name):
    roots = {module.split(".")[0] for module in imports_of(name)}
    assert "sklearn" not in roots or name in MAY_IMPORT_SKLEARN


def test_the_rule_of_scikit_learn_sees_imports():
    for name in ("_arrays.select", "_inputs", "_tools.loss_curve", "_two_layer"):
        assert any(module.startswith("sklearn.") for module in imports_of(name)), name


@modules
def test_nothing_heavy_is_imported_with_a_module(name):
    roots = {module.split(".")[0] for node in statements_at_import(TREES[name]) for module in imported(node)}
    assert not roots & HEAVY


@modules
def test_only_the_cupy_file_knows_cupy(name):
    roots = {module.split(".")[0] for module in imports_of(name)}
    assert not roots & {"cupy", "cupyx"} or name == "_arrays.cupy"
    assert not roots & {"torch", "jax"}


@modules
def test_a_file_says_its_duty_in_the_first_line(name):
    docstring = ast.get_docstring(TREES[name])
    assert docstring
    assert TREES[name].body[0].lineno == 1


@modules
def test_a_file_has_one_duty(name):
    n_lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES_OF_A_FILE, f"{n_lines} lines: which second duty moved in?"


def functions_of(name):
    return [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@modules
def test_a_function_fits_on_a_screen(name):
    for function in functions_of(name):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        n_lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert n_lines <= MAX_LINES, f"{function.name} has {n_lines} lines"


@modules
def test_nothing_is_swallowed(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            assert not all(isinstance(statement, ast.Pass) for statement in node.body), f"line {node.lineno}"


@modules
def test_there_is_no_global_state(name):
    if name == "_training.blas_threads":  # the number of BLAS threads is one of the process
        return
    for node in ast.walk(TREES[name]):
        assert not isinstance(node, ast.Global), f"line {node.lineno}"


# Checks that do not apply here: a method's first line may be all there is (ES01), its examples and cross-references are
# those of the class (EX01, SA01), and a returned value has a name, as scikit-learn writes it (RT02).
EXEMPT = {"ES01", "EX01", "RT02", "SA01"}


METHODS = ("fit", "partial_fit", "predict", "plot", "from_estimator", "from_search")


PUBLIC = [name for name in skrelu.__all__ if callable(getattr(skrelu, name))]


TARGETS = PUBLIC + [
    f"{name}.{method}" for name in PUBLIC for method in METHODS if hasattr(getattr(skrelu, name), method)
]


@pytest.mark.parametrize("target", TARGETS)
def test_public_docstrings_are_numpydoc(target):
    exempt = EXEMPT if "." in target else set()
    errors = [error for error in validate(f"skrelu.{target}")["errors"] if error[0] not in exempt]
    assert not errors


@pytest.mark.parametrize("name", ["LinearGDRegressor", "TwoLayerReLURegressor"])
def test_the_docstring_says_the_defaults_of_the_constructor(name):
    documented = validate(f"skrelu.{name}")["docstring"]
    for parameter, value in getattr(skrelu, name)().get_params().items():
        text = f'default="{value}"' if isinstance(value, str) else f"default={value}"
        assert text in documented, f"{parameter}: {text}"


def test_public_names():
    assert set(skrelu.__all__) >= {"LinearGDRegressor", "TwoLayerReLURegressor", "__version__"}
    for name in skrelu.__all__:
        assert hasattr(skrelu, name)


def test_importing_the_package_imports_nothing_heavy():
    heavy = HEAVY - {"pandas", "pyarrow"}  # scikit-learn imports the one, and that the other, where they are installed
    code = f"import sys, skrelu; sys.exit(' '.join(sorted(set(sys.modules) & {heavy!r})) or 0)"
    environment = {key: value for key, value in os.environ.items() if key != "SCIPY_ARRAY_API"}
    environment["PYTHONPATH"] = str(PACKAGE.parent)
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
