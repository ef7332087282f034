"""Export of fitted models to ONNX: alone, or inside a model that skl2onnx converts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrelu._arrays.select import to_numpy
from skrelu._linear import LinearGDRegressor
from skrelu._two_layer import TwoLayerReLURegressor

# The first versions with every operator used here. Every runtime since the end of 2020 reads them.
_OPSET, _IR_VERSION = 13, 7

_ESTIMATORS = (LinearGDRegressor, TwoLayerReLURegressor)

Layers = list[tuple[np.ndarray, np.ndarray]]
Node = tuple[str, list[str], str, dict[str, Any]]  # operator, inputs, output, attributes


def to_onnx(estimator: Any) -> Any:
    """Convert a fitted regressor of skrelu to an ONNX model.

    The graph is Gemm, Relu, Gemm for the network and Gemm for the linear model. It computes in the dtype of the
    coefficients, which is the dtype of X in `fit`: a model fitted on float64 takes and returns double. The coefficients
    are not rounded to float32. If X or y lie far from zero, rounding would lose the digits that the intercept has to
    cancel. For a graph that takes float32, fit on float32 or see `register_onnx_converters`.

    Parameters
    ----------
    estimator : LinearGDRegressor or TwoLayerReLURegressor
        A fitted estimator.

    Returns
    -------
    onnx.ModelProto
        The model. Its input "X" has shape (n_samples, n_features), with any number of rows. Its output "variable" has
        shape (n_samples, n_outputs), i.e. (n_samples, 1) if y was 1-D in `fit`. Names and shapes are the same as in
        skl2onnx.

    Raises
    ------
    ImportError
        If onnx is not installed: ``pip install "skrelu[onnx]"``.
    TypeError
        If `estimator` is not a regressor of skrelu.
    NotFittedError
        If `estimator` is not fitted.

    See Also
    --------
    register_onnx_converters : For pipelines and other models that contain a regressor of skrelu.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu import LinearGDRegressor, to_onnx
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> model = to_onnx(LinearGDRegressor().fit(X, [1.0, 3.0, 5.0]))
    >>> [node.op_type for node in model.graph.node]
    ['Gemm']
    >>> len(model.SerializeToString()) < 300  # bytes in a file
    True
    """
    onnx = _require("onnx", "to_onnx", '"skrelu[onnx]"')
    if not isinstance(estimator, _ESTIMATORS):
        raise TypeError(
            f"to_onnx takes a LinearGDRegressor or TwoLayerReLURegressor; got {type(estimator).__name__}. "
            "For a search, pass its best_estimator_. For a Pipeline that contains one of the two, call "
            "skrelu.register_onnx_converters() and then skl2onnx.to_onnx."
        )
    check_is_fitted(estimator)
    layers = _layers(estimator)
    dtype = layers[0][0].dtype
    nodes, constants = _build(layers, "X", dtype, "variable", dtype, unique=lambda name: name)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, inputs, [output], **more) for operator, inputs, output, more in nodes],
        type(estimator).__name__,
        [_value("X", dtype, estimator.n_features_in_)],
        [_value("variable", dtype, estimator.n_outputs_)],
        [onnx.numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    opset = onnx.helper.make_opsetid("", _OPSET)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="skrelu")


def register_onnx_converters() -> None:
    """Register skrelu's estimators with skl2onnx.

    After this call, ``skl2onnx.to_onnx`` and ``skl2onnx.convert_sklearn`` convert models that contain fitted regressors
    of skrelu: pipelines, searches, ensembles. Like `predict`, a converted regressor computes in the wider dtype of its
    input and its coefficients. It returns double if its input is double, otherwise float32. A second call changes
    nothing.

    Raises
    ------
    ImportError
        If skl2onnx is not installed: ``pip install skl2onnx``.

    See Also
    --------
    to_onnx : Converts a regressor alone, without skl2onnx.

    Examples
    --------
    >>> import numpy as np
    >>> import skl2onnx
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skrelu import LinearGDRegressor, register_onnx_converters
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> pipeline = make_pipeline(StandardScaler(), LinearGDRegressor()).fit(X, [1.0, 3.0, 5.0])
    >>> register_onnx_converters()
    >>> model = skl2onnx.to_onnx(pipeline, X)
    >>> model.graph.output[0].name
    'variable'
    """
    skl2onnx = _require("skl2onnx", "register_onnx_converters", "skl2onnx")
    for estimator in _ESTIMATORS:
        alias = f"Skrelu{estimator.__name__}"
        skl2onnx.update_registered_converter(estimator, alias, _infer_output, _convert, overwrite=True)


def _require(library: str, caller: str, to_install: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"{caller} requires {library}. To install it: pip install {to_install}") from error


def _layers(estimator: Any) -> Layers:
    """Weights of shape (inputs, outputs) and biases of each layer, as NumPy arrays of one dtype."""
    if isinstance(estimator, TwoLayerReLURegressor):
        pairs = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
        return [(to_numpy(W), to_numpy(b)) for W, b in pairs]
    W, b = to_numpy(estimator.coef_).reshape(estimator.n_outputs_, -1), estimator.intercept_
    b = np.full(1, b, W.dtype) if isinstance(b, float) else to_numpy(b)
    return [(np.ascontiguousarray(W.T), b)]


def _build(
    layers: Layers, source: str, given: np.dtype, target: str, wanted: np.dtype, unique: Callable[[str], str]
) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Nodes that lead from `source` (dtype `given`) to `target` (dtype `wanted`), and their constants by name."""
    dtype = np.result_type(layers[0][0], given if given.kind == "f" else np.float64)
    constants: dict[str, np.ndarray] = {}
    steps: list[tuple[str, list[str], np.dtype | None]] = []  # operator, further inputs, dtype of a cast
    if given != dtype:
        steps.append(("Cast", [], dtype))
    for k, (W, b) in enumerate(layers, start=1):
        if k > 1:
            steps.append(("Relu", [], None))
        names = [unique(f"W{k}"), unique(f"b{k}")]
        constants |= zip(names, (W.astype(dtype), b.astype(dtype)), strict=True)
        steps.append(("Gemm", names, None))
    if wanted != dtype:
        steps.append(("Cast", [], wanted))
    outputs = [unique(operator) for operator, *_ in steps[:-1]] + [target]
    nodes = [
        (operator, [before, *names], after, {} if cast is None else {"to": _element_type(cast)})
        for (operator, names, cast), before, after in zip(steps, [source, *outputs], outputs, strict=False)
    ]
    return nodes, constants


def _value(name: str, dtype: np.dtype, n_columns: int) -> Any:
    """Description of an input or output with any number of rows."""
    import onnx

    return onnx.helper.make_tensor_value_info(name, _element_type(dtype), [None, n_columns])


def _element_type(dtype: np.dtype) -> int:
    import onnx

    return onnx.helper.np_dtype_to_tensor_dtype(dtype)


def _infer_output(operator: Any) -> None:
    """Tell skl2onnx the type and shape of the output."""
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes

    calculate_linear_regressor_output_shapes(operator)
    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type.shape = [rows, operator.raw_operator.n_outputs_]


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a regressor to the graph that skl2onnx builds."""
    import onnx
    from skl2onnx.common.data_types import guess_proto_type

    (source,), (target,) = operator.inputs, operator.outputs
    given, wanted = (onnx.helper.tensor_dtype_to_np_dtype(guess_proto_type(end.type)) for end in (source, target))
    nodes, constants = _build(
        _layers(operator.raw_operator),
        source.full_name,
        given,
        target.full_name,
        wanted,
        unique=scope.get_unique_variable_name,
    )
    for name, a in constants.items():
        container.add_initializer(name, _element_type(a.dtype), a.shape, onnx.numpy_helper.from_array(a, name))
    for node, inputs, output, more in nodes:
        container.add_node(node, inputs, output, name=scope.get_unique_operator_name(node), **more)
