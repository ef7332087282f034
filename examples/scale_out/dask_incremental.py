"""Training on Dask arrays with dask-ml's `Incremental`, block by block, on two worker processes.

`Incremental` calls `partial_fit` on one block at a time, on the worker that holds the block. With the blocks in order,
the model is bit for bit that of `partial_fit` in one process.
"""

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from dask_ml.wrappers import Incremental

from skrelu import TwoLayerReLURegressor

N_ROWS, BLOCK, N_PASSES = 20_000, 2_500, 4


def make_data():
    """Samples of a function with an interaction, plus noise."""
    rng = np.random.default_rng(0)
    X = rng.random((N_ROWS, 8))
    return X, 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 5 * X[:, 2] + rng.standard_normal(N_ROWS)


def main():
    """Train on the cluster and in this process, and compare."""
    X, y = make_data()
    serial = TwoLayerReLURegressor(learning_rate=0.003, random_state=0)
    for _ in range(N_PASSES):
        for start in range(0, N_ROWS, BLOCK):
            serial.partial_fit(X[start : start + BLOCK], y[start : start + BLOCK])

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        dask_X, dask_y = da.from_array(X, chunks=(BLOCK, -1)), da.from_array(y, chunks=BLOCK)
        model = Incremental(TwoLayerReLURegressor(learning_rate=0.003, random_state=0), shuffle_blocks=False)
        for _ in range(N_PASSES):
            model.partial_fit(dask_X, dask_y)
        predicted = model.predict(dask_X).compute()

    for distributed, reference in zip(model.estimator_.coefs_, serial.coefs_, strict=True):
        np.testing.assert_array_equal(distributed, reference)
    # Matrix products of different blocks of rows may round differently.
    np.testing.assert_allclose(predicted, serial.predict(X), rtol=0, atol=1e3 * np.finfo(np.float64).eps * np.ptp(y))
    print(f"{N_PASSES} passes over {N_ROWS} rows in blocks of {BLOCK}; weights equal those of one process")
    print(f"R2 {serial.score(X, y):.4f}")


if __name__ == "__main__":
    main()
