"""Interruptions and failures at every operation of a fit: what was completed is kept, what failed leaves no trace."""

import _thread
import contextlib
import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import types

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import skrelu._closed_form
import skrelu._network
import skrelu._plain
import skrelu._training
import skrelu._validation
from skrelu import LinearGDRegressor, TwoLayerReLURegressor
from skrelu._array_module import NumpyArrayModule

N_ITER = 6
NETWORK = TwoLayerReLURegressor(5, solver="gd", max_iter=N_ITER, random_state=0)
ADAM = clone(NETWORK).set_params(solver="adam", batch_size=7, learning_rate_schedule="constant")
MODELS = {
    "adam": ADAM,
    "adam alpha": clone(ADAM).set_params(alpha=1.0),
    "adam whole batch": clone(ADAM).set_params(batch_size=100),
    "gd": clone(NETWORK).set_params(precompute=False),
    "momentum": clone(NETWORK).set_params(precompute=False, momentum=0.9, alpha=1.0),
    "shortcut": clone(NETWORK).set_params(precompute=True),
    "momentum shortcut": clone(NETWORK).set_params(precompute=True, momentum=0.9, alpha=1.0),
    "linear": LinearGDRegressor(precompute=False, max_iter=N_ITER),
}
every_model = pytest.mark.parametrize("name", MODELS)


def problem(n=20, d=3):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    return X, np.abs(X[:, 0]) - 2 * X[:, -1] + 0.1 * rng.standard_normal(n)


class Failing:
    """NumPy, but that the call number `at` of one of its functions raises `error`."""

    def __init__(self, at, error):
        self.at, self.error, self.calls = at, error, 0

    def __getattr__(self, name):
        function = getattr(np, name)
        if isinstance(function, type) or not callable(function):
            return function

        def call(*arguments, **keywords):
            self.calls += 1
            if self.calls == self.at:
                raise self.error
            return function(*arguments, **keywords)

        call.reduce = getattr(function, "reduce", None)
        return call


def fit_failing(model, at, error, monkeypatch, method="fit"):
    """Number of calls of a fit that `error` interrupts at call number `at`, if it does that many."""
    failing = Failing(at, error)
    with monkeypatch.context() as patch:
        patch.setattr(NumpyArrayModule, "xp", failing)
        if at > 10**6:
            getattr(model, method)(*problem())
        else:
            with pytest.raises(type(error)):
                getattr(model, method)(*problem())
    return failing.calls


def positions(model, monkeypatch, number):
    """So many positions between the first and the last call of a fit, the last ones all."""
    calls = fit_failing(pickle.loads(pickle.dumps(model)), 10**9, KeyboardInterrupt(), monkeypatch)
    return sorted({*np.linspace(1, calls, number, dtype=int).tolist(), *range(calls - 15, calls + 1)})


def arrays_of(model):
    if isinstance(model, LinearGDRegressor):
        return [model.coef_, np.asarray(model.intercept_)]
    return [*model.coefs_, *model.intercepts_]


def assert_identical(a, b):
    for left, right in zip(arrays_of(a), arrays_of(b), strict=True):
        assert_array_equal(left, right)
    assert a.loss_curve_ == b.loss_curve_
    assert (a.n_iter_, a.alpha_, a.learning_rate_) == (b.n_iter_, b.alpha_, b.learning_rate_)


@pytest.fixture(params=[True, False], ids=["a copy each iteration", "iterations repeated"])
def stride(request, monkeypatch):
    """Whether each iteration starts from a copy, as with many rows, or those since the last copy are repeated."""
    if request.param:
        monkeypatch.setattr(skrelu._training, "_ROWS_BETWEEN_COPIES", 1)


@pytest.mark.usefixtures("stride")
@pytest.mark.parametrize("tol", [None, 0.0])
@every_model
def test_an_interruption_keeps_exactly_the_completed_iterations(name, tol, monkeypatch):
    model = clone(MODELS[name]).set_params(tol=tol)
    if tol is not None:
        model.set_params(max_iter=N_ITER + 1)  # never converged, and interrupted before it warns of that
    references = {k: clone(MODELS[name]).set_params(max_iter=k).fit(*problem()) for k in range(1, N_ITER + 3)}
    kept = []
    for at in positions(clone(MODELS[name]), monkeypatch, 60):
        interrupted = clone(model)
        fit_failing(interrupted, at, KeyboardInterrupt(), monkeypatch)
        kept.append(getattr(interrupted, "n_iter_", 0))
        if kept[-1] == 0:
            with pytest.raises(NotFittedError):
                interrupted.predict(problem()[0])
            continue
        assert_identical(interrupted, references[kept[-1]])
        more = N_ITER + 2 - kept[-1]
        assert_identical(
            interrupted.set_params(tol=None, warm_start=True, max_iter=more).fit(*problem()), references[8]
        )
    while kept[-1] == 0:  # after the last iteration, while the fit was put together
        kept.pop()
    assert kept == sorted(kept)
    assert set(kept) >= set(range(N_ITER))


@every_model
def test_an_interrupted_fit_over_an_earlier_one(name, monkeypatch):
    X, y = problem()
    earlier = clone(MODELS[name]).fit(-X, y)
    kept = set()
    for at in positions(MODELS[name], monkeypatch, 20):
        model = pickle.loads(pickle.dumps(earlier))
        fit_failing(model, at, KeyboardInterrupt(), monkeypatch)
        anew = clone(MODELS[name]).set_params(max_iter=model.n_iter_).fit(X, y)
        unchanged = np.array_equal(model.predict(X), earlier.predict(X))
        assert unchanged or np.array_equal(model.predict(X), anew.predict(X))
        kept.add((model.n_iter_, unchanged))
    assert len(kept) > 3


@every_model
def test_an_interrupted_warm_start(name, monkeypatch):
    X, y = problem()
    first = clone(MODELS[name]).set_params(warm_start=True).fit(X, y)
    at_once = clone(first).set_params(max_iter=2 * N_ITER + 1).fit(X, y)
    for at in positions(first, monkeypatch, 25):
        model = pickle.loads(pickle.dumps(first))
        fit_failing(model, at, KeyboardInterrupt(), monkeypatch)
        assert N_ITER <= model.n_iter_ < 2 * N_ITER + 1
        assert_identical(model.set_params(max_iter=2 * N_ITER + 1 - model.n_iter_).fit(X, y), at_once)


def test_an_interruption_under_the_cosine_schedule(monkeypatch):
    model = clone(ADAM).set_params(learning_rate_schedule="cosine")
    full = clone(model).fit(*problem())
    weights = {}
    for at in positions(model, monkeypatch, 60):
        interrupted = clone(model)
        fit_failing(interrupted, at, KeyboardInterrupt(), monkeypatch)
        k = getattr(interrupted, "n_iter_", 0)
        if k:
            assert interrupted.loss_curve_ == full.loss_curve_[:k]
            assert_array_equal(weights.setdefault(k, interrupted.coefs_[0]), interrupted.coefs_[0])
    assert len(weights) >= N_ITER - 1
    assert len({w.tobytes() for w in weights.values()}) == len(weights)


@pytest.mark.parametrize(
    ("alpha", "chunk", "at", "kept"),
    [(0.0, 2**16, 4, 15), (1.0, 2**16, 4, 15), (1.0, 1, 13, 10)],
    ids=["blocks", "at once", "in pieces"],
)
def test_an_interruption_of_the_closed_form(alpha, chunk, at, kept, monkeypatch):
    monkeypatch.setattr(skrelu._training, "_LOOK_AHEAD", 5)
    monkeypatch.setattr(skrelu._training, "_MOST_AHEAD", 5)
    monkeypatch.setattr(skrelu._closed_form, "_CHUNK", chunk)
    X, y = problem()
    for verbose in (0, 1):
        model = LinearGDRegressor(alpha=alpha, precompute=True, max_iter=100, verbose=verbose)
        losses, calls = skrelu._closed_form.ClosedForm._losses_from, []

        def interrupted_losses(self, start, n_iter, losses=losses, calls=calls):
            calls.append(start)
            if len(calls) == at:
                raise KeyboardInterrupt
            return losses(self, start, n_iter)

        with monkeypatch.context() as patch:
            patch.setattr(skrelu._closed_form.ClosedForm, "_losses_from", interrupted_losses)
            with pytest.raises(KeyboardInterrupt, match=f"n_iter_={kept} iterations"):
                model.fit(X, y)
        assert_identical(model, clone(model).set_params(max_iter=kept).fit(X, y))


class Countdown:
    """Functions of which the call number `at`, of all of them together, is interrupted."""

    def __init__(self):
        self.at = self.calls = 0

    def __call__(self, function):
        def counted(*arguments):
            self.calls += 1
            if self.calls == self.at:
                raise KeyboardInterrupt
            return function(*arguments)

        return counted

    def interruptions(self, fit):
        """What `fit` returns, interrupted at each call in turn."""
        while self.calls >= self.at:
            self.at, self.calls = self.at + 1, 0
            yield fit()


def interrupted_fit(model, *arguments, **keywords):
    """A fitted clone; of the same parameters and not fitted where nothing was completed."""
    model = clone(model)
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(*arguments, **keywords)
    return model


def assert_part_of(interrupted, parts, whole, *arguments, **keywords):
    """The interrupted fit is one of so many iterations, and goes on to be the whole; number of its iterations."""
    k = getattr(interrupted, "n_iter_", 0)
    if k:
        assert_identical(interrupted, parts[k])
        assert interrupted.validation_loss_curve_ == parts[k].validation_loss_curve_
    if 0 < k < whole:
        interrupted.set_params(warm_start=True, max_iter=whole - k).fit(*arguments, **keywords)
        assert_identical(interrupted, parts[whole])
        assert interrupted.validation_loss_curve_ == parts[whole].validation_loss_curve_
    return k


@pytest.mark.parametrize("watched", [False, True])
def test_an_interruption_in_the_middle_of_what_the_closed_form_computes_at_once(watched, monkeypatch):
    monkeypatch.setattr(skrelu._training, "_MOST_AHEAD", 16)
    monkeypatch.setattr(skrelu._closed_form, "_CHUNK", 16)  # four of the iterations asked for
    X, y = problem()
    model = LinearGDRegressor(precompute=True, max_iter=40, learning_rate=0.05)
    held_out = {"X_val": -X, "y_val": y} if watched else {}
    parts = {k: clone(model).set_params(max_iter=k).fit(X, y, **held_out) for k in range(1, 41)}
    countdown, finite = Countdown(), np.isfinite
    numpy = types.SimpleNamespace(**vars(np) | {"isfinite": countdown(finite)})  # which looks at each part's losses

    def fit():
        with monkeypatch.context() as patch:
            patch.setattr(skrelu._closed_form, "np", numpy)
            return interrupted_fit(model, X, y, **held_out)

    kept = [assert_part_of(part, parts, 40, X, y, **held_out) for part in countdown.interruptions(fit)]
    assert kept == sorted(kept)
    assert set(kept) == (set(range(41)) if watched else {0, 16, 32, 40})


@pytest.mark.parametrize(
    ("name", "own_set"), [*((name, True) for name in MODELS if name != "linear"), ("adam", False), ("shortcut", False)]
)
def test_an_interruption_with_a_validation_set(name, own_set, monkeypatch):
    X, y = problem()
    held_out = {"X_val": -X, "y_val": np.abs(y)} if own_set else {}
    model = clone(MODELS[name]).set_params(early_stopping=True, n_iter_no_change=50)
    parts = {k: clone(model).set_params(max_iter=k).fit(X, y, **held_out) for k in range(1, N_ITER + 3)}
    countdown = Countdown()
    best, network = skrelu._validation.BestIterate, skrelu._network.TwoLayerNetwork

    def fit():
        with monkeypatch.context() as patch:
            patch.setattr(best, "observe", countdown(best.observe))
            patch.setattr(network, "loss", countdown(network.loss))
            return interrupted_fit(model, X, y, **held_out)

    kept = [assert_part_of(part, parts, N_ITER + 2, X, y, **held_out) for part in countdown.interruptions(fit)]
    assert kept == sorted(kept)
    assert set(kept) == set(range(N_ITER + 1))


def test_an_interruption_between_the_buffers_of_a_batch(monkeypatch):
    # The last batch is a smaller one: buffers of two sizes must not be left beside each other.
    X, y = problem()
    parts = {k: clone(ADAM).set_params(max_iter=k).fit(X, y) for k in range(1, N_ITER + 1)}
    countdown = Countdown()
    monkeypatch.setattr(skrelu._network, "setattr", countdown(setattr), raising=False)
    kept = [assert_part_of(part, parts, 0) for part in countdown.interruptions(lambda: interrupted_fit(ADAM, X, y))]
    assert set(kept) == set(range(N_ITER + 1))


@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_an_interruption_of_what_is_printed(at, precompute, monkeypatch):
    printed = []

    def interrupted_print(*words):
        printed.append(words)
        if len(printed) == at:
            raise KeyboardInterrupt

    model = LinearGDRegressor(precompute=precompute, max_iter=9, verbose=1)
    with monkeypatch.context() as patch:
        patch.setattr("builtins.print", interrupted_print)
        with pytest.raises(KeyboardInterrupt):
            model.fit(*problem())
    # The closed form knows all nine iterations at once.
    assert model.n_iter_ == (9 if precompute else at)
    assert_identical(model, clone(model).set_params(max_iter=model.n_iter_, verbose=0).fit(*problem()))


@every_model
def test_partial_fit_keeps_whole_passes_only(name, monkeypatch):
    X, y = problem()
    one, two = (clone(MODELS[name]).partial_fit(X, y) for _ in range(2))
    two.partial_fit(X, y)
    calls = fit_failing(pickle.loads(pickle.dumps(one)), 10**9, KeyboardInterrupt(), monkeypatch, "partial_fit")
    for at in range(1, calls + 1):
        model = pickle.loads(pickle.dumps(one))
        fit_failing(model, at, KeyboardInterrupt(), monkeypatch, "partial_fit")
        assert_identical(model, {1: one, 2: two}[model.n_iter_])
        if model.n_iter_ == 1:
            assert_identical(model.partial_fit(X, y), two)


def test_a_second_interruption_gives_up_the_iterations(monkeypatch):
    def interrupted_again(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(skrelu._training.Checkpoint, "recover", interrupted_again)
    model = clone(ADAM).fit(*problem())
    predicted = model.predict(problem()[0])
    fit_failing(model, 300, KeyboardInterrupt(), monkeypatch)
    assert_array_equal(model.predict(problem()[0]), predicted)


@pytest.mark.parametrize("search", [False, True])
def test_a_signal_ends_the_fit_and_a_search(search, monkeypatch, request):
    passes, far_enough = [], threading.Event()
    original = skrelu._plain.Minibatches._pass

    def counted(self):
        passes.append(None)
        if len(passes) == 4:
            far_enough.set()
        assert len(passes) < 100_000, "the signal did not come"
        return original(self)

    # A process that was started in the background of a shell ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(skrelu._plain.Minibatches, "_pass", counted)

    def interrupt():
        far_enough.wait()
        _thread.interrupt_main()

    model = clone(ADAM).set_params(max_iter=10**9)
    thread = threading.Thread(target=interrupt)
    thread.start()
    if search:
        with pytest.raises(KeyboardInterrupt, match="goes on from there"):
            GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2).fit(*problem())
    else:
        with pytest.raises(KeyboardInterrupt, match=r"TwoLayerReLURegressor was interrupted and keeps .* n_iter_=\d+"):
            model.fit(*problem())
        assert_identical(model, clone(model).set_params(max_iter=model.n_iter_).fit(*problem()))
        assert model.n_iter_ >= 3
    thread.join()


# --- failures ---------------------------------------------------------------------------------------------------------


@every_model
def test_running_out_of_memory_leaves_the_earlier_model(name, monkeypatch):
    X, y = problem()
    fitted = clone(MODELS[name]).set_params(warm_start=True).fit(X, y)
    stored = pickle.dumps(fitted)
    for at in positions(fitted, monkeypatch, 40):
        fit_failing(fitted, at, MemoryError(), monkeypatch)
        assert pickle.dumps(fitted) == stored
    for at in positions(clone(MODELS[name]), monkeypatch, 40):
        never = clone(MODELS[name])
        fit_failing(never, at, MemoryError(), monkeypatch)
        assert set(vars(never)) == set(never.get_params())
    assert_identical(fitted.fit(X, y), clone(fitted).set_params(max_iter=2 * N_ITER).fit(X, y))


def test_an_allocation_that_really_fails_leaves_the_earlier_model():
    X, y = problem()
    model = clone(NETWORK).fit(X, y)
    predicted = model.predict(X)
    with pytest.raises(MemoryError):
        model.set_params(hidden_layer_size=10**13).fit(X, y)
    assert_array_equal(model.predict(X), predicted)


@pytest.mark.parametrize("name", ["adam", "momentum shortcut", "linear"])
def test_a_truncated_file_is_an_error_of_the_library(name, tmp_path):
    whole = pickle.dumps(clone(MODELS[name]).fit(*problem()))
    for end in np.linspace(0, len(whole) - 1, 30, dtype=int):
        with pytest.raises((EOFError, pickle.UnpicklingError)):
            pickle.loads(whole[:end])
    # Of joblib: which one depends on the byte that is the last.
    errors = (EOFError, pickle.UnpicklingError, ValueError, IndexError, struct.error)
    path = tmp_path / "model.joblib"
    joblib.dump(clone(MODELS[name]).fit(*problem()), path)
    whole = path.read_bytes()
    for end in np.linspace(0, len(whole) - 1, 30, dtype=int):
        path.write_bytes(whole[:end])
        with pytest.raises(errors):
            joblib.load(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_leaves_the_model():
    model = clone(ADAM).fit(*problem())
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


def test_a_killed_worker_is_reported_by_joblib_and_the_next_search_is_right(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        [sys.executable, tmp_path / "killed.py"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert "the next search is right" in process.stdout, process.stderr
