"""An interruption at any call of NumPy keeps exactly the iterations that were completed."""

import _thread
import contextlib
import pickle
import signal
import threading
import types

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import skrelu._engines.closed_form
import skrelu._engines.minibatches
import skrelu._models.base
import skrelu._models.network
import skrelu._training.checkpoint
import skrelu._training.early_stopping
import skrelu._training.loop
from problems import (
    ADAM,
    ENGINES,
    ITERATING,
    N_ITER,
    assert_same_fit,
    every_iterating_engine,
    fit_failing,
    positions,
    problem,
)
from skrelu import LinearGDRegressor


@pytest.fixture(params=[True, False], ids=["a copy each iteration", "iterations repeated"])
def stride(request, monkeypatch):
    """Whether each iteration starts from a copy, as with many rows, or those since the last copy are repeated."""
    if request.param:
        monkeypatch.setattr(skrelu._training.checkpoint, "_ROWS_BETWEEN_COPIES", 1)


@pytest.mark.one_in(7)
@pytest.mark.usefixtures("stride")
@pytest.mark.parametrize("tol", [None, 0.0])
@every_iterating_engine
def test_an_interruption_keeps_exactly_the_completed_iterations(name, tol, monkeypatch):
    model = clone(ENGINES[name]).set_params(tol=tol)
    if tol is not None:
        model.set_params(max_iter=N_ITER + 1)  # never converged, and interrupted before it warns of that
    references = {k: clone(ENGINES[name]).set_params(max_iter=k).fit(*problem(20)) for k in range(1, N_ITER + 3)}
    kept = []
    for at in positions(clone(ENGINES[name]), monkeypatch, 60):
        interrupted = clone(model)
        fit_failing(interrupted, at, KeyboardInterrupt(), monkeypatch)
        kept.append(getattr(interrupted, "n_iter_", 0))
        if kept[-1] == 0:
            with pytest.raises(NotFittedError):
                interrupted.predict(problem(20)[0])
            continue
        assert_same_fit(interrupted, references[kept[-1]])
        more = N_ITER + 2 - kept[-1]
        assert_same_fit(
            interrupted.set_params(tol=None, warm_start=True, max_iter=more).fit(*problem(20)), references[8]
        )
    while kept[-1] == 0:  # after the last iteration, while the fit was put together
        kept.pop()
    assert kept == sorted(kept)
    assert set(kept) >= set(range(N_ITER))


@pytest.mark.one_in(3)
@every_iterating_engine
def test_an_interrupted_fit_over_an_earlier_one(name, monkeypatch):
    X, y = problem(20)
    earlier = clone(ENGINES[name]).fit(-X, y)
    kept = set()
    for at in positions(ENGINES[name], monkeypatch, 20):
        model = pickle.loads(pickle.dumps(earlier))
        fit_failing(model, at, KeyboardInterrupt(), monkeypatch)
        anew = clone(ENGINES[name]).set_params(max_iter=model.n_iter_).fit(X, y)
        unchanged = np.array_equal(model.predict(X), earlier.predict(X))
        assert unchanged or np.array_equal(model.predict(X), anew.predict(X))
        kept.add((model.n_iter_, unchanged))
    assert len(kept) > 3


@pytest.mark.one_in(3)
@every_iterating_engine
def test_an_interrupted_warm_start(name, monkeypatch):
    X, y = problem(20)
    first = clone(ENGINES[name]).set_params(warm_start=True).fit(X, y)
    at_once = clone(first).set_params(max_iter=2 * N_ITER + 1).fit(X, y)
    for at in positions(first, monkeypatch, 25):
        model = pickle.loads(pickle.dumps(first))
        fit_failing(model, at, KeyboardInterrupt(), monkeypatch)
        assert N_ITER <= model.n_iter_ < 2 * N_ITER + 1
        assert_same_fit(model.set_params(max_iter=2 * N_ITER + 1 - model.n_iter_).fit(X, y), at_once)


def test_an_interruption_under_the_cosine_schedule(monkeypatch):
    model = clone(ADAM).set_params(learning_rate_schedule="cosine")
    full = clone(model).fit(*problem(20))
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
    monkeypatch.setattr(skrelu._training.loop, "_LOOK_AHEAD", 5)
    monkeypatch.setattr(skrelu._training.checkpoint, "MOST_AHEAD", 5)
    monkeypatch.setattr(skrelu._engines.closed_form, "_CHUNK", chunk)
    X, y = problem(20)
    for verbose in (0, 1):
        model = LinearGDRegressor(alpha=alpha, precompute=True, max_iter=100, verbose=verbose)
        losses, calls = skrelu._engines.closed_form.ClosedForm._losses_from, []

        def interrupted_losses(self, start, n_iter, losses=losses, calls=calls):
            calls.append(start)
            if len(calls) == at:
                raise KeyboardInterrupt
            return losses(self, start, n_iter)

        with monkeypatch.context() as patch:
            patch.setattr(skrelu._engines.closed_form.ClosedForm, "_losses_from", interrupted_losses)
            with pytest.raises(KeyboardInterrupt, match=f"n_iter_={kept} iterations"):
                model.fit(X, y)
        assert_same_fit(model, clone(model).set_params(max_iter=kept).fit(X, y))


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
    """The interrupted fit is the part that it says, and becomes the whole when resumed; return its iterations."""
    k = getattr(interrupted, "n_iter_", 0)
    if k:
        assert_same_fit(interrupted, parts[k])
        assert interrupted.validation_loss_curve_ == parts[k].validation_loss_curve_
    if 0 < k < whole:
        interrupted.set_params(warm_start=True, max_iter=whole - k).fit(*arguments, **keywords)
        assert_same_fit(interrupted, parts[whole])
        assert interrupted.validation_loss_curve_ == parts[whole].validation_loss_curve_
    return k


@pytest.mark.parametrize("watched", [False, True])
def test_an_interruption_in_the_middle_of_what_the_closed_form_computes_at_once(watched, monkeypatch):
    monkeypatch.setattr(skrelu._training.checkpoint, "MOST_AHEAD", 16)
    monkeypatch.setattr(skrelu._engines.closed_form, "_CHUNK", 16)  # four of the iterations asked for
    X, y = problem(20)
    model = LinearGDRegressor(precompute=True, max_iter=40, learning_rate=0.05)
    held_out = {"X_val": -X, "y_val": y} if watched else {}
    parts = {k: clone(model).set_params(max_iter=k).fit(X, y, **held_out) for k in range(1, 41)}
    countdown, finite = Countdown(), np.isfinite
    numpy = types.SimpleNamespace(**vars(np) | {"isfinite": countdown(finite)})  # which looks at each part's losses

    def fit():
        with monkeypatch.context() as patch:
            patch.setattr(skrelu._engines.closed_form, "np", numpy)
            return interrupted_fit(model, X, y, **held_out)

    kept = [assert_part_of(part, parts, 40, X, y, **held_out) for part in countdown.interruptions(fit)]
    assert kept == sorted(kept)
    assert set(kept) == (set(range(41)) if watched else {0, 16, 32, 40})


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("name", "own_set"),
    [*((name, True) for name in ITERATING if name != "linear"), ("minibatches", False), ("sample space", False)],
)
def test_an_interruption_with_a_validation_set(name, own_set, monkeypatch):
    X, y = problem(20)
    held_out = {"X_val": -X, "y_val": np.abs(y)} if own_set else {}
    model = clone(ENGINES[name]).set_params(early_stopping=True, n_iter_no_change=50)
    parts = {k: clone(model).set_params(max_iter=k).fit(X, y, **held_out) for k in range(1, N_ITER + 3)}
    countdown = Countdown()
    best, network = skrelu._training.early_stopping.BestIterate, skrelu._models.network.TwoLayerNetwork

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
    X, y = problem(20)
    parts = {k: clone(ADAM).set_params(max_iter=k).fit(X, y) for k in range(1, N_ITER + 1)}
    countdown = Countdown()
    monkeypatch.setattr(skrelu._models.base, "setattr", countdown(setattr), raising=False)
    kept = [assert_part_of(part, parts, 0) for part in countdown.interruptions(lambda: interrupted_fit(ADAM, X, y))]
    assert set(kept) == set(range(N_ITER + 1))


@pytest.mark.one_in(2)
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
            model.fit(*problem(20))
    # The closed form knows all nine iterations at once.
    assert model.n_iter_ == (9 if precompute else at)
    assert_same_fit(model, clone(model).set_params(max_iter=model.n_iter_, verbose=0).fit(*problem(20)))


@pytest.mark.one_in(3)
@every_iterating_engine
def test_partial_fit_keeps_whole_passes_only(name, monkeypatch):
    X, y = problem(20)
    one, two = (clone(ENGINES[name]).partial_fit(X, y) for _ in range(2))
    two.partial_fit(X, y)
    calls = fit_failing(pickle.loads(pickle.dumps(one)), 10**9, KeyboardInterrupt(), monkeypatch, "partial_fit")
    for at in range(1, calls + 1):
        model = pickle.loads(pickle.dumps(one))
        fit_failing(model, at, KeyboardInterrupt(), monkeypatch, "partial_fit")
        assert_same_fit(model, {1: one, 2: two}[model.n_iter_])
        if model.n_iter_ == 1:
            assert_same_fit(model.partial_fit(X, y), two)


def test_a_second_interruption_gives_up_the_iterations(monkeypatch):
    def interrupted_again(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(skrelu._training.checkpoint.Checkpoint, "recover", interrupted_again)
    model = clone(ADAM).fit(*problem(20))
    predicted = model.predict(problem(20)[0])
    fit_failing(model, 300, KeyboardInterrupt(), monkeypatch)
    assert_array_equal(model.predict(problem(20)[0]), predicted)


@pytest.mark.parametrize("search", [False, True])
def test_a_signal_ends_the_fit_and_a_search(search, monkeypatch, request):
    passes, far_enough = [], threading.Event()
    original = skrelu._engines.minibatches.Minibatches._pass

    def counted(self):
        passes.append(None)
        if len(passes) == 4:
            far_enough.set()
        assert len(passes) < 100_000, "the signal did not come"
        return original(self)

    # A process that was started in the background of a shell ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(skrelu._engines.minibatches.Minibatches, "_pass", counted)

    def interrupt():
        far_enough.wait()
        _thread.interrupt_main()

    model = clone(ADAM).set_params(max_iter=10**9)
    thread = threading.Thread(target=interrupt)
    thread.start()
    if search:
        with pytest.raises(KeyboardInterrupt, match="resumes from there"):
            GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2).fit(*problem(20))
    else:
        with pytest.raises(KeyboardInterrupt, match=r"TwoLayerReLURegressor was interrupted and keeps .* n_iter_=\d+"):
            model.fit(*problem(20))
        assert_same_fit(model, clone(model).set_params(max_iter=model.n_iter_).fit(*problem(20)))
        assert model.n_iter_ >= 3
    thread.join()
