"""Minibatches: the order of the rows in each pass, and batches larger than the rows."""

import numpy as np
import pytest
from sklearn.base import clone

from problems import ADAM, assert_same_fit, problem
from skrelu import TwoLayerReLURegressor


def test_the_order_of_rows_differs_between_passes():
    """Else resuming exactly would be no feat."""
    X, y = problem()
    one = clone(ADAM).set_params(max_iter=1, random_state=0).fit(X, y)
    same_order_twice = clone(ADAM).partial_fit(X, y)
    assert_same_fit(one, same_order_twice)
    reordered = X[::-1].copy(), y[::-1].copy()
    assert clone(ADAM).set_params(max_iter=1).fit(*reordered).loss_curve_ != one.loss_curve_


@pytest.mark.parametrize("batch_size", [21, 128, 10**9])
def test_batches_larger_than_the_rows_take_all_rows(batch_size):
    X, y = problem(20)  # warnings are errors in these tests: none may be raised
    larger = TwoLayerReLURegressor(8, batch_size=batch_size, max_iter=5, random_state=0).fit(X, y)
    equal = TwoLayerReLURegressor(8, batch_size=20, max_iter=5, random_state=0).fit(X, y)
    assert larger.loss_curve_ == equal.loss_curve_
    np.testing.assert_array_equal(larger.predict(X), equal.predict(X))
