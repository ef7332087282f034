"""Calls of every array function, as the tests and `examples/benchmarks/gpu_check.py` make them."""

from types import SimpleNamespace

import numpy as np

SHAPES = [(1, 1), (1, 5), (7, 1), (7, 5), (33, 17), (33, 1000), (20000, 2)]  # the last: more than is worked on at once
NAN = float("nan")


class Case(SimpleNamespace):
    """A call: `inputs` must stay as they are, `outputs` are compared, `scratch` may be anything afterwards.

    `numbers` are scalars of the module, `scalars` Python's. `same` names arguments that are the array of an output, and
    `wide` names matrices that are columns of a wider one, whose other columns must stay as they are.
    """


def cases(n, d, rng):
    """Every function on an (n, d) problem: name -> calls. Buffers that are only written to hold NaN."""

    def a(*shape):
        return rng.standard_normal(shape)

    def nan(*shape):
        return np.full(shape, NAN)

    def case(outputs, inputs=None, scratch=None, numbers=None, same=None, wide=(), **scalars):
        groups = {"inputs": inputs or {}, "scratch": scratch or {}, "numbers": numbers or {}, "same": same or {}}
        return Case(outputs=outputs, wide=wide, scalars=scalars, **groups)

    h, m = 6, 3
    zeros = a(n, d)
    zeros[::2] = 0.0
    extreme = a(n, d)
    extreme.flat[::3], extreme.flat[1::3] = NAN, np.inf
    tiny = a(n, d) * 2.0 ** rng.integers(-45, -35, (n, d))
    edges = np.array([2.0**-40, -(2.0**-40), 2.0**-41, -(2.0**-41), 0.0, NAN, np.inf, -np.inf])
    index, part = rng.permutation(n)[: (n + 1) // 2], slice(n // 3, n)
    takes = []
    for rows in (index, part):
        r = len(range(n)[rows]) if isinstance(rows, slice) else len(rows)
        for shift in (None, a(d)):
            for inverse_scale in (None, a(d)):
                inputs = {"X": a(n, d), "rows": rows, "shift": shift, "inverse_scale": inverse_scale}
                takes.append(case({"out": nan(r, d)}, inputs, {"stage": nan(r, d)}))
                # Into a batch, with room for fewer rows at a time.
                few = {"stage": nan((r + 1) // 2, d)}
                takes.append(case({"out": nan(r, d)}, inputs, few, wide=("X", "out", "stage")))
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
        "relu": [
            call
            for z in (a(n, d), zeros, -np.abs(zeros), extreme)
            for call in (
                case({"out": nan(n, d), "mask": nan(n, d)}, {"Z": z}),
                case({"out": z, "mask": nan(n, d)}, same={"Z": "out"}),
                case({"out": nan(n, d)}, {"Z": z, "mask": None}),
                case({"out": z}, {"mask": None}, same={"Z": "out"}),
            )
        ],
        "subtract": [
            *(case({"out": nan(n, d)}, {"A": a(n, d), "B": b}) for b in (a(n, d), a(d), a(1, d))),
            *(case({"out": a(n, d)}, {"B": b}, same={"A": "out"}) for b in (a(n, d), a(d))),
        ],
        "weigh": [
            case({"out": nan(n, d)}, {"E": a(n, d), "weight": weight}, factor=1.7, wide=wide)
            for weight, wide in ((None, ()), (a(n, 1) ** 2, ()), (a(n, 1) ** 2, ("weight",)))
        ],
        "dot": [
            case({}, {"A": a(n, d), "B": a(n, d)}, {"stage": nan(n, d)}, factor=1.0),
            case({}, {"A": a(n), "B": a(n)}, {"stage": nan(n)}, factor=-1.3),
        ],
        "squared_loss": [
            case(
                {"F": a(n, M * k), "out": nan(n, M * k)},
                {"y": a(n, k), "weight": weight},
                {"stage": nan(n, M * k)},
                factor=1.7,
                share=0.5 / M,
                wide=wide,
            )
            for M, k in ((1, d), (1, 1), (4, 1), (4, m))
            for weight, wide in ((None, ()), (a(n, 1) ** 2, ()), (None, ("y",)), (a(n, 1) ** 2, ("y", "weight")))
        ],
        "mask_backward": [
            case({"out": nan(n, h)}, {"E": a(n, k), "W": a(h, k), "mask": (a(n, h) > 0) * 1.0}) for k in (1, m)
        ],
        "multiply_blocks": [case({"out": nan(n, M * d)}, {"A": a(n, M * d), "D": a(n, M)}) for M in (1, 2, 4)],
        "matmul_blocks": [
            case({"out": nan(n, M * k)}, {"A": a(n, M * d), "W": a(M * d, k)}, {"stage": np.zeros((M * d, M * k))})
            for M in (2, 4)
            for k in (1, m)
        ],
        "matmul_transposed_blocks": [
            case({"out": nan(M * d, k)}, {"A": a(n, M * d), "D": a(n, M * k)}, {"stage": nan(M * d, M * k)})
            for M in (2, 4)
            for k in (1, m)
        ],
        "mask_backward_blocks": [
            case(
                {"out": nan(n, M * d)},
                {"E": a(n, M * k), "W": a(M * d, k), "mask": (a(n, M * d) > 0) * 1.0},
                {"stage": np.zeros((M * d, M * k))},
            )
            for M in (2, 4)
            for k in (1, m)
        ],
        "place_blocks": [case({"out": a(M * d, M * k)}, {"W": a(M * d, k)}) for M in (1, 2, 4) for k in (1, m)],
        "take_blocks": [case({"out": nan(M * d, k)}, {"A": a(M * d, M * k)}) for M in (1, 2, 4) for k in (1, m)],
        "dot_columns": [case({"out": nan(d)}, {"A": a(n, d), "B": a(n, d)})],
        "dot_rows": [case({"out": nan(n)}, {"A": a(n, d), "B": a(n, d)}, factor=f) for f in (1.0, 0.25)],
        "flush": [case({"a": x}, {}, {"stage": nan(*x.shape)}, threshold=2.0**-40) for x in (tiny, tiny[:, 0], edges)],
        "multiply": [
            *(case({"out": nan(n, d)}, {"A": a(n, d), "B": b}) for b in (a(n, d), a(n, 1), a(d), 0.3)),
            *(case({"out": a(n, d)}, {"B": b}, same={"A": "out"}) for b in (a(n, d), a(d), 0.3)),
        ],
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


SUMS = {"dot", "dot_columns", "dot_rows", "mask_backward", "matmul", "matmul_transposed", "squared_loss", "sum_rows"}
SUMS |= {"mask_backward_blocks", "matmul_blocks", "matmul_transposed_blocks"}
NAMES = sorted(cases(3, 2, np.random.default_rng(0)))


def run(am, name, case, dtype):
    """Call the function of `am`; return its value and the outputs, after checks of what must not change."""
    floating = getattr(am.xp, np.dtype(dtype).name)
    wider = {}

    def made(key, value, floating):
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind == "i":
            return am.from_numpy(value, None)
        if key not in case.wide:
            return am.from_numpy(value, floating)
        wider[key] = am.from_numpy(np.pad(value, ((0, 0), (1, 2)), constant_values=7.0), floating)
        return wider[key][:, 1:-2]

    def make(group, floating):
        return {key: made(key, value, floating) for key, value in group.items()}

    inputs, outputs = make(case.inputs, floating), make(case.outputs, floating)
    scratch = make(case.scratch, am.accumulator if name in ("dot", "squared_loss") else floating)
    numbers = {key: am.scalar(value) for key, value in case.numbers.items()}
    same = {key: outputs[output] for key, output in case.same.items()}
    before = {key: np.array(am.to_numpy(value)) for key, value in inputs.items() if hasattr(value, "shape")}
    value = getattr(am, name)(**inputs, **outputs, **scratch, **numbers, **same, **case.scalars)
    if value is not None and not isinstance(value, bool):
        value = am.to_floats(list(value) if isinstance(value, tuple) else [value])
        assert all(type(v) is float for v in value)
    for key, array in before.items():
        np.testing.assert_array_equal(am.to_numpy(inputs[key]), array, err_msg=f"{name} wrote to its input {key}")
    for key, array in wider.items():
        others = np.delete(am.to_numpy(array), slice(1, -2), axis=1)
        assert (others == 7.0).all(), f"{name} wrote beside the columns of {key}"
    results = {key: np.array(am.to_numpy(array)) for key, array in outputs.items()}
    for key, result in results.items():
        assert result.dtype == dtype, (name, key)
    return value, results
