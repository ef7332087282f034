"""Out-of-core training: `partial_fit` on the chunks of a Parquet file, with a few thousand rows in memory at a time.

The first call takes the centering and scaling from its rows, so these should be representative: shuffle the rows once
when you write the file. The model is bit for bit that of the same chunks held in memory.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skrelu import TwoLayerReLURegressor

N_ROWS, N_FEATURES, CHUNK, N_PASSES = 40_000, 10, 4_000, 5


def write(path):
    """Write a file, a chunk at a time: Friedman's function of five features, plus five irrelevant features."""
    schema = pa.schema([(f"x{j}", pa.float32()) for j in range(N_FEATURES)] + [("y", pa.float32())])
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema) as writer:
        for _ in range(N_ROWS // CHUNK):
            x = rng.random((CHUNK, N_FEATURES))
            y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
            y += rng.standard_normal(CHUNK)
            writer.write_table(pa.table([*x.astype(np.float32).T, y.astype(np.float32)], schema=schema))


def chunks(path):
    """Yield the chunks of the file as arrays X and y."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(CHUNK):
            yield np.column_stack(batch.columns[:-1]), batch.columns[-1].to_numpy()


def main():
    """Train from the file and from memory, and compare."""
    streamed = TwoLayerReLURegressor(learning_rate=0.003, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write(path)
        for _ in range(N_PASSES):
            for X, y in chunks(path):
                streamed.partial_fit(X, y)
        X, y = (np.concatenate(parts) for parts in zip(*chunks(path), strict=True))

    in_memory = TwoLayerReLURegressor(learning_rate=0.003, random_state=0)
    for _ in range(N_PASSES):
        for start in range(0, N_ROWS, CHUNK):
            in_memory.partial_fit(X[start : start + CHUNK], y[start : start + CHUNK])
    for from_file, reference in zip(streamed.coefs_, in_memory.coefs_, strict=True):
        np.testing.assert_array_equal(from_file, reference)
    print(f"{N_PASSES} passes over {N_ROWS} rows in chunks of {CHUNK}; weights equal those of the rows in memory")

    whole = TwoLayerReLURegressor(
        learning_rate=0.003, learning_rate_schedule="constant", max_iter=N_PASSES, random_state=0
    ).fit(X, y)
    print(f"R2 {streamed.score(X, y):.4f}; of one fit on all rows in memory {whole.score(X, y):.4f}")


if __name__ == "__main__":
    main()
