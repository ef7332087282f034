"""Batches of rows: each row once with the right values, in an order that seed and epoch decide."""

import numpy as np
import pytest

import skrelu._rows.batches
from problems import EPS, array_modules, dtypes, problem, weights_for
from skrelu._arrays import NumpyArrayModule
from skrelu._models.moments import measure, row_blocks
from skrelu._models.standardize import Scaling, blocks_of, identity, standardize
from skrelu._rows.batches import Batches

weights_or_none = pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])


@pytest.fixture(params=[True, False], ids=["kept", "read again"])
def keeps(request, monkeypatch):
    """Whether the standardized rows are kept or read again for every batch, which is for larger data."""
    if not request.param:
        monkeypatch.setattr(skrelu._rows.batches, "KEPT_NUMBERS", 0)
    return request.param


def make_batches(am, n, rows, *, ones=True, weighted=True, scaled=True, dtype=np.float64):
    """Rows that carry their number in X, y and weights."""
    number = np.arange(n, dtype=dtype)
    X = np.column_stack([number, 100 + 2 * number, np.ones(n, dtype=dtype)])
    y, weights = (number + 0.5)[:, None], (number + 1.0)[:, None] if weighted else None
    scaling = identity(3)
    if scaled:
        scaling = Scaling(np.array([1.0, 100.0, 0.0]), np.array([2.0, 4.0, 0.5]), np.zeros(3, dtype=bool))
    arrays = [X, y.astype(dtype), None if weights is None else weights.astype(dtype)]
    for a in arrays:
        if a is not None:
            a.flags.writeable = False
    return Batches(am, *arrays, scaling, ones=ones, rows=rows), arrays, scaling


def collected(iterator):
    """Copies of the batches, as a batch is valid until the next one only."""
    return [tuple(None if a is None else np.array(a) for a in (X, y, s)) for X, y, s, _ in iterator]


def numbers(batches):
    """Which rows these are, by their targets."""
    return np.concatenate([y[:, 0] - 0.5 for _, y, _ in batches]).astype(int)


@pytest.mark.one_in(17)
@array_modules
@dtypes
@pytest.mark.parametrize("ones", [True, False])
@weights_or_none
@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "identity"])
@pytest.mark.parametrize(("n", "rows"), [(1, 1), (1, 4), (10, 1), (10, 4), (10, 5), (10, 9), (10, 10), (10, 999)])
@pytest.mark.usefixtures("keeps")
def test_batches_hold_every_row_once_with_the_right_values(n, rows, scaled, weighted, ones, dtype, am):
    batches, (X, y, weights), scaling = make_batches(
        am, n, rows, ones=ones, weighted=weighted, scaled=scaled, dtype=dtype
    )
    originals = [a.copy() for a in (X, y)]
    for epoch in (0, 1):
        in_order, shuffled = collected(batches.in_order()), collected(batches.shuffled(3, epoch))
        assert [len(batch[0]) for batch in in_order] == [len(range(n)[block]) for block in blocks_of(n, rows)]
        sizes = [len(batch[0]) for batch in shuffled]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1
        for read in (in_order, shuffled):
            order = numbers(read)
            np.testing.assert_array_equal(np.sort(order), np.arange(n))
            assert len(read) == batches.per_epoch
            inputs = np.concatenate([batch[0] for batch in read])
            # All numbers are dyadic fractions, so the arithmetic is exact.
            np.testing.assert_array_equal(inputs[:, :3], (X[order] - scaling.shift) / scaling.scale)
            np.testing.assert_array_equal(inputs[:, 3:], np.ones((n, int(ones))))
            assert inputs.dtype == dtype
            for _, targets, s in read:
                rows_of_batch = (targets[:, 0] - 0.5).astype(int)
                np.testing.assert_array_equal(targets, y[rows_of_batch])
                assert (s is None) == (weights is None)
                if s is not None:
                    np.testing.assert_array_equal(s, weights[rows_of_batch])
    for a, original in zip((X, y), originals, strict=True):
        np.testing.assert_array_equal(a, original)


@array_modules
@pytest.mark.usefixtures("keeps")
def test_in_order_is_in_order(am):
    batches, _, _ = make_batches(am, 11, 4)
    np.testing.assert_array_equal(numbers(collected(batches.in_order())), np.arange(11))


@array_modules
@pytest.mark.usefixtures("keeps")
def test_the_order_depends_on_seed_and_epoch_alone(am):
    batches, _, _ = make_batches(am, 50, 8)
    again, _, _ = make_batches(NumpyArrayModule(), 50, 8, ones=False, weighted=False, dtype=np.float32)
    orders = {(seed, epoch): numbers(collected(batches.shuffled(seed, epoch))) for seed in (1, 2) for epoch in (0, 1)}
    for (seed, epoch), order in reversed(orders.items()):
        np.testing.assert_array_equal(numbers(collected(batches.shuffled(seed, epoch))), order)
        np.testing.assert_array_equal(numbers(collected(again.shuffled(seed, epoch))), order)
    assert len({tuple(order) for order in orders.values()}) == 4
    assert tuple(np.arange(50)) not in {tuple(order) for order in orders.values()}


def test_the_order_does_not_depend_on_the_batch_size():
    orders = [numbers(collected(make_batches(NumpyArrayModule(), 50, rows)[0].shuffled(1, 0))) for rows in (7, 8, 49)]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


def test_the_whole_batch_is_read_once():
    for rows in (10, 11):
        batches, arrays, _ = make_batches(NumpyArrayModule(), 10, rows)
        read = collected(batches.in_order())
        for a in arrays:  # nobody looks at these again
            a.flags.writeable = True
            a[...] = np.nan
        for epoch in range(3):
            for again in (collected(batches.in_order()), collected(batches.shuffled(0, epoch))):
                assert len(again) == 1
                for a, b in zip(again[0], read[0], strict=True):
                    np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("keeps")
def test_standardized_values_agree_with_standardize():
    X, _ = problem(100, 5)
    moments = measure(row_blocks(X, weights_for(X), np.asarray), center=True)
    scaling = moments.scaling(center=True, dtype=np.dtype(np.float64))
    batches = Batches(NumpyArrayModule(), X, np.zeros((100, 1)), None, scaling, ones=False, rows=30)
    inputs = np.concatenate([batch[0] for batch in collected(batches.in_order())])
    # A product with the reciprocal instead of a quotient: one more rounding.
    np.testing.assert_allclose(inputs, standardize(X, scaling, np.dtype(np.float64)), rtol=4 * EPS)
