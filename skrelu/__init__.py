"""scikit-learn regressors trained by hand-written gradients: a two-layer ReLU network, and a linear model."""

from skrelu._linear import LinearGDRegressor
from skrelu._two_layer import TwoLayerReLURegressor

__version__ = "0.1.0"

__all__ = ["LinearGDRegressor", "TwoLayerReLURegressor", "__version__"]
