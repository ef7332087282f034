"""The validated rows: how their weights are rounded."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skrelu._arrays import NumpyArrayModule
from skrelu._rows.rows import Rows


@pytest.mark.parametrize("n_zeros", [1, 100])
def test_zeros_do_not_change_how_weights_are_rounded(n_zeros):
    rng, am = np.random.default_rng(0), NumpyArrayModule()
    for _ in range(50):
        weights = rng.uniform(0.1, 2.0, rng.integers(4, 300))
        where = np.sort(rng.integers(0, len(weights) + 1, n_zeros))
        X = np.ones((len(weights), 1))
        alone = Rows(am, am, X, X[:, 0], weights, X.dtype)
        X, weights = np.insert(X, where, 1.0, axis=0), np.insert(weights, where, 0.0)
        between = Rows(am, am, X, X[:, 0], weights, X.dtype)
        assert between.total_weight == alone.total_weight
        assert_array_equal(between._weights[weights > 0], alone._weights)
