"""The loss curve, its summaries, and what `verbose` prints of it."""

import pytest
from sklearn.base import clone

from problems import ENGINES, assert_same_fit, problem

MODELS = {name: clone(ENGINES[name]).set_params(max_iter=5) for name in ENGINES}
MODELS |= {f"{name}, sum": clone(MODELS[name]).set_params(reduction="sum") for name in ("minibatches", "linear")}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_loss_curve_and_its_summaries(name):
    model = clone(MODELS[name]).set_params(max_iter=7).fit(*problem())
    assert isinstance(model.loss_curve_, list)
    assert all(type(loss) is float for loss in model.loss_curve_)
    assert model.n_iter_ == len(model.loss_curve_) == 7
    assert model.best_loss_ == min(model.loss_curve_)
    assert type(model.learning_rate_) is float
    assert type(model.alpha_) is float


@pytest.mark.parametrize("k", [1, 2, 3, 7, True])
@pytest.mark.parametrize("name", ["minibatches", "full batch, momentum", "linear", "closed form"])
def test_verbose_prints_every_kth_iteration(name, k, capsys):
    X, y = problem()
    model = clone(MODELS[name]).set_params(verbose=k, warm_start=True).fit(X, y).fit(X, y)
    expected = "".join(f"{t} {loss}\n" for t, loss in enumerate(model.loss_curve_) if t % int(k) == 0)
    assert capsys.readouterr().out == expected
    quiet = clone(model).set_params(max_iter=10, verbose=0, warm_start=False).fit(X, y)
    assert capsys.readouterr().out == ""
    assert_same_fit(quiet, model)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", ["minibatches", "full batch, momentum", "sample space", "linear", "closed form"])
def test_verbose_prints_the_validation_loss_under_a_heading(name, k, capsys):
    X, y = problem()
    model = clone(MODELS[name]).set_params(verbose=k, warm_start=True)
    model.fit(X, y, X_val=X[:9], y_val=y[:9]).fit(X, y, X_val=X[:9], y_val=y[:9])
    first, *lines = capsys.readouterr().out.splitlines()
    heading = ["iteration", "loss", "validation", "loss"]
    assert first.split() == lines.pop(len(range(0, 5, k))).split() == heading  # one for each fit
    table = [line.split() for line in lines]
    assert [int(t) for t, _, _ in table] == list(range(0, 10, k))
    for t, loss, validation_loss in table:
        assert float(loss) == pytest.approx(model.loss_curve_[int(t)], rel=1e-5)  # six digits
        assert float(validation_loss) == pytest.approx(model.validation_loss_curve_[int(t)], rel=1e-5)
    assert {len(line) for line in [first, *lines]} == {len(first)}


def test_early_stopping_prints_the_loss_of_the_rows_held_out(capsys):
    X, y = problem()
    model = clone(MODELS["minibatches"]).set_params(verbose=1, early_stopping=True).fit(X, y)
    printed = [float(line.split()[2]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert printed == pytest.approx(model.validation_loss_curve_, rel=1e-5)
