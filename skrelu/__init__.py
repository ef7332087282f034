"""scikit-learn regressors trained by hand-written gradients: a two-layer ReLU network, and a linear model."""

from skrelu._linear import LinearGDRegressor
from skrelu._tools.learning_rate import LearningRateDisplay
from skrelu._tools.loss_curve import LossCurveDisplay
from skrelu._tools.onnx import register_onnx_converters, to_onnx
from skrelu._two_layer import TwoLayerReLURegressor

__version__ = "0.1.0"

__all__ = [
    "LearningRateDisplay",
    "LinearGDRegressor",
    "LossCurveDisplay",
    "TwoLayerReLURegressor",
    "__version__",
    "register_onnx_converters",
    "to_onnx",
]
