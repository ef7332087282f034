"""scikit-learn's callbacks: one task per iteration, the iterate of each, stopping, failing, searches and pipelines."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._array_api import move_to

from problems import ENGINES, KINDS, LINEAR, N_ITER, assert_same_fit, problem

WATCHED = {name: clone(ENGINES[name]).set_params(warm_start=True) for name in [*KINDS, "sample space, penalty"]}
WATCHED["early stopping"] = clone(WATCHED["minibatches"]).set_params(early_stopping=True, validation_fraction=0.3)
GD = WATCHED["full batch"]
every_way = pytest.mark.parametrize("name", WATCHED)


class Recorder:
    """Writes down what is called; `stop_at` and `fail_in` say when to stop or to raise."""

    def __init__(self, stop_at=None, fail_in=None):
        self.stop_at, self.fail_in, self.calls = stop_at, fail_in, []

    def _record(self, hook, context):
        self.calls.append((hook, context.task_name, context.task_id))
        if self.fail_in == (hook, context.task_name):
            raise RuntimeError("callback failed")

    def setup(self, estimator, context):
        self._record("setup", context)

    def teardown(self, estimator, context):
        self._record("teardown", context)

    def on_fit_task_begin(self, estimator, context):
        self._record("begin", context)

    def on_fit_task_end(self, estimator, context):
        self._record("end", context)
        return context.task_name == "iteration" and context.task_id + 1 == self.stop_at


class Keeper(Recorder):
    """Keeps the fitted estimators that the hooks are given."""

    def __init__(self):
        super().__init__()
        self.begun, self.ended, self.final = [], [], None

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.begun.append(fitted_estimator)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "iteration":
            self.ended.append(fitted_estimator)
        else:
            self.final = fitted_estimator


def fit_with(callback, estimator, X, y, **weights):
    return clone(estimator).set_callbacks(callback).fit(X, y, **weights)


@every_way
def test_there_is_one_task_for_each_iteration(name):
    recorder = Recorder()
    fit_with(recorder, WATCHED[name], *problem())
    tasks = [(hook, "iteration", t) for t in range(N_ITER) for hook in ("begin", "end")]
    around = [("setup", "fit", 0), ("begin", "fit", 0)], [("end", "fit", 0), ("teardown", "fit", 0)]
    assert recorder.calls == [*around[0], *tasks, *around[1]]


@every_way
def test_callbacks_change_nothing(name):
    X, y = problem()
    callback = Keeper()
    watched, alone = fit_with(callback, WATCHED[name], X, y), clone(WATCHED[name]).fit(X, y)
    assert_same_fit(watched, alone)
    watched.set_callbacks().set_params(max_iter=2).fit(X, y)
    assert_same_fit(watched, alone.set_params(max_iter=2).fit(X, y))


@pytest.mark.one_in(3)
@every_way
@pytest.mark.parametrize("m", [None, 2])
def test_iteration_t_has_the_iterate_of_a_fit_of_t_iterations(name, m):
    X, y = problem(m=m)
    keeper = Keeper()
    fitted = fit_with(keeper, WATCHED[name], X, y)
    assert len(keeper.ended) == N_ITER
    for t, seen in enumerate(keeper.ended, start=1):
        if name == "early stopping":  # whose fits of t iterations end with the best one
            assert seen.validation_loss_curve_ == fitted.validation_loss_curve_[:t]
            continue
        expected = clone(WATCHED[name]).set_params(max_iter=t).fit(X, y)
        assert_same_fit(seen, expected)
        assert_array_equal(seen.predict(X), expected.predict(X))
    # The task of fit begins before there is an iterate; each iteration begins where the one before ended.
    assert keeper.begun[0] is None
    for before, begun in zip(keeper.ended, keeper.begun[2:], strict=False):
        assert_same_fit(before, begun)
    assert keeper.begun[1].loss_curve_ == []
    assert_same_fit(keeper.final, fitted)


def test_early_stopping_shows_the_current_iterate_and_ends_with_the_best():
    X, y = problem()
    keeper = Keeper()
    fitted = fit_with(keeper, WATCHED["early stopping"], X, y)
    best = int(np.argmin(fitted.validation_loss_curve_))
    assert_array_equal(keeper.ended[best].coefs_[0], fitted.coefs_[0])
    assert_array_equal(keeper.final.coefs_[0], fitted.coefs_[0])
    for seen, other in zip(keeper.ended, keeper.ended[1:], strict=False):
        assert not np.array_equal(seen.coefs_[0], other.coefs_[0])


@every_way
def test_what_a_callback_does_to_its_estimator_does_not_reach_training(name):
    class Vandal(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "fit":  # is given the estimator itself
                return
            arrays = [*fitted_estimator._state["parameters"], *fitted_estimator._state["engine"]["moments"]]
            for attribute in ("coef_", "coefs_", "intercepts_"):
                value = getattr(fitted_estimator, attribute, [])
                arrays += value if isinstance(value, list) else [value]
            for a in arrays:
                a[...] = np.nan
            fitted_estimator.loss_curve_.clear()

    X, y = problem()
    assert_same_fit(fit_with(Vandal(), WATCHED[name], X, y), clone(WATCHED[name]).fit(X, y))


@every_way
def test_the_estimator_of_an_iteration_is_a_checkpoint(name):
    X, y = problem()
    keeper = Keeper()
    whole = fit_with(keeper, WATCHED[name], X, y)
    continued = keeper.ended[1].set_callbacks().set_params(max_iter=N_ITER - 2).fit(X, y)
    assert_same_fit(continued, whole)


@pytest.mark.parametrize("name", ["sample space", "closed form", "minibatches"])
def test_weights_are_built_only_when_a_callback_asks(name, monkeypatch):
    built = []
    model = type(WATCHED[name])
    published = model._published
    monkeypatch.setattr(model, "_published", lambda *args: built.append(1) or published(*args))
    fit_with(Recorder(), WATCHED[name], *problem())
    assert len(built) == 1
    fit_with(Keeper(), WATCHED[name], *problem())
    assert len(built) == 2 + 2 * N_ITER


@every_way
@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_callback_that_asks_to_stop_ends_training(name, stop_at):
    X, y = problem()
    stopped = fit_with(Recorder(stop_at), WATCHED[name], X, y)
    assert stopped.n_iter_ == stop_at
    assert_same_fit(stopped, clone(WATCHED[name]).set_params(max_iter=stop_at).fit(X, y))
    stopped.set_callbacks().set_params(max_iter=N_ITER - stop_at).fit(X, y)
    assert_same_fit(stopped, clone(WATCHED[name]).fit(X, y))


def test_stopping_under_a_schedule_leaves_a_fitted_estimator():
    X, y = problem()
    model = clone(WATCHED["minibatches"]).set_params(learning_rate_schedule="cosine", max_iter=20)
    keeper, stopper = Keeper(), Recorder(stop_at=4)
    stopped = clone(model).set_callbacks(keeper, stopper).fit(X, y)
    assert stopped.n_iter_ == 4
    assert stopped.loss_curve_ == clone(model).fit(X, y).loss_curve_[:4]
    assert_same_fit(stopped, keeper.ended[-1])
    assert ("end", "fit", 0) in stopper.calls


def test_a_stop_is_no_failure_to_converge():
    model = clone(GD).set_params(tol=0.0)
    assert fit_with(Recorder(stop_at=2), model, *problem()).n_iter_ == 2  # a warning is an error here


HOOKS = [("setup", "fit"), ("begin", "fit"), ("begin", "iteration"), ("end", "iteration"), ("end", "fit")]


@pytest.mark.one_in(5)
@pytest.mark.filterwarnings("ignore:.* training went wrong:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("fail_in", [*HOOKS, ("teardown", "fit")], ids=" of ".join)
@every_way
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(name, fail_in):
    X, y = problem()
    model = clone(WATCHED[name]).set_callbacks(Recorder(fail_in=fail_in))
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="callback failed"):
        model.fit(X, y)
    assert vars(model) == before
    assert model._skl_callbacks[0].calls[-1] == ("teardown", "fit", 0)
    model.set_callbacks().fit(X, y)
    before = copy.deepcopy(vars(model))
    model.set_callbacks(Recorder(fail_in=fail_in))
    with pytest.raises(RuntimeError, match="callback failed"):
        model.fit(X + 1, y)
    np.testing.assert_equal(vars(model.set_callbacks()), before)


def test_training_that_diverges_ends_its_callbacks():
    recorder = Recorder()
    with pytest.raises(ValueError, match="diverged"):
        fit_with(recorder, clone(GD).set_params(learning_rate=1e3, max_iter=1000), *problem())
    assert recorder.calls[-1] == ("teardown", "fit", 0)


def test_input_that_is_not_valid_begins_no_callback():
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        fit_with(recorder, GD, np.full((4, 2), np.nan), np.ones(4))
    assert recorder.calls == []


def test_partial_fit_has_no_callbacks():  # as scikit-learn's estimators
    recorder = Recorder()
    clone(WATCHED["minibatches"]).set_callbacks(recorder).partial_fit(*problem())
    assert recorder.calls == []


def test_nothing_stays_behind():
    plain = clone(GD).fit(*problem())
    watched = fit_with(Recorder(), GD, *problem())
    assert vars(watched).keys() - vars(plain).keys() == {"_skl_callbacks"}
    assert not any("callback" in name for name in vars(plain))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("weighted", [False, True])
@every_way
def test_scoring_monitor(name, weighted):
    X, y = problem()
    weights = {"sample_weight": np.random.RandomState(1).randint(0, 3, len(X))} if weighted else {}
    monitor = ScoringMonitor(scoring="r2")
    fit_with(monitor, WATCHED[name], X, y, **weights)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert [row["task_id"] for row in rows] == list(range(N_ITER))
    if name == "early stopping":
        assert all(math.isfinite(row["r2"]) for row in rows)
        return
    for t, row in enumerate(rows, start=1):
        model = clone(WATCHED[name]).set_params(max_iter=t).fit(X, y, **weights)
        assert row["r2"] == r2_score(y, model.predict(X), **weights)


def test_scoring_monitor_sees_the_names_of_the_columns():
    X, y = problem()
    frame = pd.DataFrame(X, columns=list("abc"))
    monitor = ScoringMonitor(scoring="r2")
    model = clone(LINEAR).set_callbacks(monitor).fit(frame, pd.Series(y))  # a warning about names is an error here
    assert monitor.get_logs().data[-1]["r2"] == model.score(frame, y)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
@pytest.mark.parametrize("name", ["minibatches", "sample space", "closed form"])
def test_scoring_monitor_on_other_arrays(name, library):
    xp = pytest.importorskip(library)
    X, y = problem()
    monitor = ScoringMonitor(scoring="r2")
    with config_context(array_api_dispatch=True):
        model = fit_with(monitor, WATCHED[name], xp.asarray(X), xp.asarray(y))
        prediction = move_to(model.predict(xp.asarray(X)), xp=np, device="cpu")
    np.testing.assert_allclose(monitor.get_logs().data[-1]["r2"], r2_score(y, prediction), rtol=1e-12)


def test_scoring_monitor_in_a_pipeline():
    X, y = problem()
    monitor = ScoringMonitor(scoring="r2")
    make_pipeline(StandardScaler(), clone(GD).set_callbacks(monitor)).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    scaled = StandardScaler().fit_transform(X)
    expected = [clone(GD).set_params(max_iter=t).fit(scaled, y).score(scaled, y) for t in range(1, N_ITER + 1)]
    assert [row["r2"] for row in rows] == expected


@pytest.mark.one_in(2)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_monitor_in_a_search(n_jobs):
    X, y = problem()
    monitor = ScoringMonitor(scoring="r2")
    rates, folds = [0.01, 0.1], KFold(2)
    search = GridSearchCV(clone(GD).set_callbacks(monitor), {"learning_rate": rates}, cv=folds, n_jobs=n_jobs)
    search.fit(X, y)
    last = [row["r2"] for log in monitor.get_logs(select="all") for row in log.data if row["task_id"] == N_ITER - 1]
    expected = [
        clone(GD).set_params(learning_rate=rate).fit(X[train], y[train]).score(X[train], y[train])
        for rate in rates
        for train, _ in folds.split(X)
    ] + [search.best_estimator_.score(X, y)]
    np.testing.assert_allclose(sorted(last), sorted(expected), rtol=1e-12)


COMPOSITIONS = [("alone", 1), ("pipeline", 1)] + [
    (f"search{of}", n_jobs) for of in ("", "_of_pipelines") for n_jobs in (1, 2)
]


@pytest.mark.one_in(7)
@pytest.mark.parametrize(("place", "n_jobs"), COMPOSITIONS)
@pytest.mark.parametrize("name", ["minibatches", "sample space", "closed form"])
def test_progress_bar(name, place, n_jobs, capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "200")  # or the percentage is cut off
    X, y = problem()
    model = clone(WATCHED[name])
    inner = make_pipeline(StandardScaler(), model) if "pipeline" in place else model
    prefix = type(model).__name__.lower() + "__" if "pipeline" in place else ""
    grid = {f"{prefix}max_iter": [2, 3]}
    outer = GridSearchCV(inner, grid, cv=2, n_jobs=n_jobs) if place.startswith("search") else inner
    watched = clone(outer).set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert_array_equal(watched.predict(X), clone(outer).fit(X, y).predict(X))
    shown = capsys.readouterr().out
    assert type(model).__name__ in shown
    assert "100%" in shown
