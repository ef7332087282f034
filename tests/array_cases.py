"""Calls of every array function, as the tests and `examples/benchmarks/gpu_check.py` make them."""

from types import SimpleNamespace

import numpy as np

SHAPES = [(1, 1), (1, 5), (7, 1), (7, 5), (33, 17), (33, 1000), (20000, 2)]  # the last: more than is worked on at once
NAN = float("nan")


class Case(SimpleNamespace):
    """A call: `inputs` must stay as they are, `outputs` are compared, `scratch` may be anything afterwards.

    `numbers` are scalars of the module, `scalars` Python's.
    """


def cases(n, d, rng):
    """Every function on an (n, d) problem: name -> calls. Buffers that are only written to hold NaN."""

    def a(*shape):
        return rng.standard_normal(shape)

    def nan(*shape):
        return np.full(shape, NAN)

    def case(outputs, inputs=None, scratch=None, numbers=None, **scalars):
        return Case(outputs=outputs, inputs=inputs or {}, scratch=scratch or {}, numbers=numbers or {}, scalars=scalars)

    h, m = 6, 3
    zeros = a(n, d)
    zeros[::2] = 0.0
    index, part = rng.permutation(n)[: (n + 1) // 2], slice(n // 3, n)
    takes = []
    for rows in (index, part):
        r = len(range(n)[rows]) if isinstance(rows, slice) else len(rows)
        for shift in (None, a(d)):
            for inverse_scale in (None, a(d)):
                scaling = {"shift": shift, "inverse_scale": inverse_scale}
                takes.append(case({"out": nan(r, d)}, {"X": a(n, d), "rows": rows} | scaling, {"stage": nan(r, d)}))
    return {
        "take_rows": takes,
        "matmul": [
            case({"out": nan(n, h)}, {"A": a(n, d), "B": a(d, h)}),
            case({"out": nan(n, 1)}, {"A": a(n, d), "B": a(d, 1)}),
        ],
        "matmul_transposed": [
            case({"out": nan(d, h)}, {"A": a(n, d), "B": a(n, h)}),
            case({"out": nan(d, 1)}, {"A": a(n, d), "B": a(n, 1)}),
        ],
        "add": [case({"A": a(n, d)}, {"B": b}) for b in (a(n, d), a(d), a(1, d))],
        "sum_rows": [case({"out": nan(d)}, {"A": a(n, d)})],
        "relu": [case({"out": nan(n, d), "mask": nan(n, d)}, {"Z": z}) for z in (a(n, d), zeros, -np.abs(zeros))],
        "rectify": [case({"Z": z}) for z in (a(n, d), zeros)],
        "residual": [case({"out": nan(n, d)}, {"F": a(n, d), "y": a(n, d)})],
        "weigh": [
            case({"out": nan(n, d)}, {"E": a(n, d), "weight": weight}, factor=1.7) for weight in (None, a(n, 1) ** 2)
        ],
        "dot": [
            case({}, {"A": a(n, d), "B": a(n, d)}, {"stage": nan(n, d)}, factor=1.0),
            case({}, {"A": a(n), "B": a(n)}, {"stage": nan(n)}, factor=-1.3),
        ],
        "squared_loss": [
            case({"F": a(n, d), "out": nan(n, d)}, {"y": a(n, d), "weight": weight}, {"stage": nan(n, d)}, factor=1.7)
            for weight in (None, a(n, 1) ** 2)
        ],
        "mask_backward": [
            case({"out": nan(n, h)}, {"E": a(n, k), "W": a(h, k), "mask": (a(n, h) > 0) * 1.0}) for k in (1, m)
        ],
        "multiply": [case({"out": nan(n, d)}, {"A": a(n, d), "B": b}) for b in (a(n, d), a(n, 1), a(d), 0.3)],
        "add_scaled": [
            case({"out": a(*shape)}, {"x": a(*shape)}, {"stage": nan(*shape)}, numbers, **factor)
            for shape in [(n, d), (n,)]
            for numbers, factor in [({}, {"factor": -0.7}), ({"factor": 0.3}, {})]
        ],
        "descend": [
            case({"theta": a(n)}, {"velocity": None}, {"g": a(n)}, rate=0.3, momentum=0.0),
            case({"theta": a(n), "velocity": a(n)}, {}, {"g": a(n)}, rate=0.3, momentum=0.9),
        ],
        "adam": [
            case(
                {"theta": a(n), "m": a(n), "v": a(n) ** 2},
                {},
                {"g": a(n)},
                beta1=0.9,
                beta2=0.999,
                rate=0.3,
                epsilon=1e-8,
            )
        ],
        "add_product": [case({}, numbers={"a": 2.0, "b": 3.0}, factor=0.7)],
        "running_mean": [
            case({}, numbers={"mean": 2.0, "value": value}, factor=0.7, weight=0.3, slope=1.1, limit=2.5)
            for value in (3.0, 30.0, np.inf, NAN)
        ],
        "is_finite": [case({}, {"a": x}) for x in (a(n, d), a(n, d) * NAN, np.where(a(n, d) > 0, np.inf, 1.0))],
    }


SUMS = {"dot", "mask_backward", "matmul", "matmul_transposed", "squared_loss", "sum_rows"}
NAMES = sorted(cases(3, 2, np.random.default_rng(0)))


def run(am, name, case, dtype):
    """Call the function of `am`; return its value and the outputs, after checks of what must not change."""

    def make(group, floating):
        return {
            key: am.from_numpy(value, None if value.dtype.kind == "i" else floating)
            if isinstance(value, np.ndarray)
            else value
            for key, value in group.items()
        }

    floating = getattr(am.xp, np.dtype(dtype).name)
    inputs, outputs = make(case.inputs, floating), make(case.outputs, floating)
    scratch = make(case.scratch, am.accumulator if name in ("dot", "squared_loss") else floating)
    numbers = {key: am.scalar(value) for key, value in case.numbers.items()}
    before = {key: np.array(am.to_numpy(value)) for key, value in inputs.items() if hasattr(value, "shape")}
    value = getattr(am, name)(**inputs, **outputs, **scratch, **numbers, **case.scalars)
    if value is not None and not isinstance(value, bool):
        value = am.to_floats(list(value) if isinstance(value, tuple) else [value])
        assert all(type(v) is float for v in value)
    for key, array in before.items():
        np.testing.assert_array_equal(am.to_numpy(inputs[key]), array, err_msg=f"{name} wrote to its input {key}")
    results = {key: np.array(am.to_numpy(array)) for key, array in outputs.items()}
    for key, result in results.items():
        assert result.dtype == dtype, (name, key)
    return value, results
