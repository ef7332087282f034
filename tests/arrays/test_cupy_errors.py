"""Without CuPy, a GPU, dispatch or memory, an error says what is missing; the stand-in refuses what CuPy refuses."""

import sys

import numpy as np
import pytest
import sklearn
from sklearn.base import clone

from problems import ADAM, ENGINES, every_kind, problem, weights_for
from skrelu._arrays import CupyArrayModule


def on_gpu(model, **parameters):
    return clone(model).set_params(array_module="cupy", **parameters)


@pytest.fixture
def _no_cupy(monkeypatch):
    from skrelu._arrays import cupy as _cupy

    _cupy._cupy.cache_clear()
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("_no_cupy")
@every_kind
def test_without_cupy(name):
    X, y = problem(m=2)
    with pytest.raises(ImportError, match=r"array_module='cupy' needs CuPy, .* pip install 'skrelu\[cuda12\]'"):
        on_gpu(ENGINES[name]).fit(X, y)
    fitted = clone(ENGINES[name]).fit(X, y)
    expected = fitted.predict(X)
    with pytest.raises(ImportError):
        fitted.set_params(array_module="cupy").fit(X, y)
    np.testing.assert_array_equal(fitted.predict(X), expected)


def test_a_cupy_that_cannot_be_imported(monkeypatch, tmp_path):
    from skrelu._arrays import cupy as _cupy

    _cupy._cupy.cache_clear()
    (tmp_path / "cupy.py").write_text("raise FileNotFoundError('no home directory')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    X, y = problem(m=2)
    with pytest.raises(ImportError, match="cannot be imported: no home directory"):
        on_gpu(ADAM).fit(X, y)


def test_without_a_gpu(cupy_double, monkeypatch):
    monkeypatch.setattr(cupy_double, "available", False)
    X, y = problem(m=2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"array_module='cupy' needs an NVIDIA GPU, .* nvidia-smi"):
            on_gpu(ADAM).fit(X, y)
    clone(ADAM).fit(X, y)
    monkeypatch.setattr(cupy_double, "available", True)
    on_gpu(ADAM).fit(X, y)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["X", "y", "sample_weight"])
@pytest.mark.parametrize("array_module", ["auto", "cupy"])
def test_an_array_of_cupy_without_dispatch(cupy_double, array_module, which):
    import cupy

    X, y = problem(m=2)
    given = [X, y, weights_for(X)]
    fitted = clone(ADAM).set_params(array_module=array_module).fit(*given)
    given[which] = cupy.asarray(given[which])
    for method in (fitted.fit, fitted.partial_fit):
        with pytest.raises(ValueError, match=r"SCIPY_ARRAY_API=1 .*array_api_dispatch=True.* array_module='cupy'"):
            method(*given)
    if which == 0:
        with pytest.raises(ValueError, match="array_api_dispatch=True"):
            fitted.predict(given[0])


def test_other_libraries_than_that_of_fit_are_refused(cupy_double):
    import cupy

    X, y = problem(m=2)
    with sklearn.config_context(array_api_dispatch=True):
        there = clone(ADAM).fit(cupy.asarray(X), y)
        here = on_gpu(ADAM).fit(X, y)
        with pytest.raises(ValueError, match=r"predict\(\) must use the same namespace"):
            there.predict(X)
        with pytest.raises(ValueError, match=r"predict\(\) must use the same namespace"):
            here.predict(cupy.asarray(X))
    with pytest.raises(ValueError, match="array_api_dispatch=True"):
        there.predict(X)


@every_kind
def test_too_little_memory(cupy_double, monkeypatch, name):
    X, y = problem(m=2)
    fitted = on_gpu(ENGINES[name]).fit(X, y)
    expected = fitted.predict(X)
    monkeypatch.setattr(cupy_double, "memory_limit", 100)
    with pytest.raises(MemoryError, match=r"allocating [\d,]+ bytes.* Reduce hidden_layer_size or batch_size") as error:
        fitted.fit(X, y)
    assert "1,000,000 of 80,000,000,000 bytes free" in str(error.value)
    np.testing.assert_array_equal(fitted.predict(X), expected)


def test_the_hosts_lack_of_memory_is_not_the_gpus(cupy_double):
    with pytest.raises(MemoryError, match=r"^the host's$"), CupyArrayModule(None).session():
        raise MemoryError("the host's")


def test_the_stand_in_refuses_what_cupy_refuses(cupy_double):
    import cupy

    a = cupy.asarray(np.ones((3, 2)))
    for misuse in (
        lambda: np.asarray(a),
        lambda: a + np.ones((3, 2)),
        lambda: np.ones((3, 2)) + a,
        lambda: cupy.add(a, np.ones(2)),
        lambda: cupy.multiply(a, a, out=np.ones((3, 2))),
        lambda: a[np.array([0, 1])],
        lambda: a.__setitem__(0, np.ones(2)),
    ):
        with pytest.raises(TypeError):
            misuse()
    assert cupy_double.waits == []
    assert float(cupy.sum(a)) == 6.0
    assert len(cupy_double.waits) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a[threadIdx.x + 4] = 0.0;", "wrote beyond"),  # four numbers of 8 bytes: what the border has room for
        ("if (threadIdx.x < 3) __syncthreads();", "miss a barrier"),
    ],
)
def test_the_stand_in_finds_what_a_gpu_would_hide(cupy_double, body, message):
    import cupy

    code = f'#define THREADS 8\ntypedef double T;\nextern "C" __global__ void f(T* a) {{\n{body}\n}}'
    with pytest.raises(AssertionError, match=message):
        cupy.RawModule(code=code).get_function("f")((1,), (8,), (cupy.zeros(8),))


def test_the_stand_in_finds_arguments_of_the_wrong_type(cupy_double):
    import cupy

    code = '#define THREADS 8\ntypedef float T;\nextern "C" __global__ void f(const T* a, long long n) {\n}'
    kernel = cupy.RawModule(code=code).get_function("f")
    kernel((1,), (8,), (cupy.zeros(8, np.float32), 3))
    for arguments in ((cupy.zeros(8), 3), (cupy.zeros(8, np.float32), 3.0), (cupy.zeros(8, np.float32),)):
        with pytest.raises(AssertionError):
            kernel((1,), (8,), arguments)
