"""scikit-learn regressors trained by hand-written gradients: a two-layer ReLU network, and a linear model.

    TwoLayerReLURegressor                     the network: fit(X, y) on raw columns, predict(X), score(X, y)
    LinearGDRegressor                         linear regression by gradient descent
    LossCurveDisplay, LearningRateDisplay     plots of a fit, and of a search over the learning rate
    to_onnx, register_onnx_converters         export to ONNX, of a model and of a pipeline

`help(skrelu.TwoLayerReLURegressor)` documents each parameter, `python -m skrelu` shows it at work, and the guide is in
docs/ of the source: start.md for the tutorial, mlp.md for MLPRegressor, user_guide.md, robustness.md, mathematics.md.
"""

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
