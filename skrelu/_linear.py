"""`LinearGDRegressor`: linear regression by gradient descent, the network of zero depth."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skrelu._arrays import Array, ArrayModule
from skrelu._coefficients import check_shapes
from skrelu._decorators import public
from skrelu._engines.recipe import Recipe
from skrelu._estimator import GradientRegressor
from skrelu._models.base import Layers
from skrelu._models.linear import LinearModel
from skrelu._rows.rows import Rows
from skrelu._training.run import Outcome


class LinearGDRegressor(GradientRegressor):
    r"""Linear regression trained by full-batch gradient descent.

    The model is :math:`f(x) = x W + b`. With sample weights :math:`s_i` of sum :math:`S` and :math:`\lambda` =
    `alpha` / S, training minimizes

    .. math::

        L = \frac{1}{2S} \sum_i s_i |f(x_i) - y_i|^2 + \frac{\lambda}{2} |W|^2

    or, with ``reduction="sum"``, :math:`\sum_i s_i |f(x_i) - y_i|^2 + \frac{\lambda}{2} |W|^2`, by
    :math:`\theta \leftarrow \theta - \eta \nabla L`. The intercept is not penalized. With `standardize`, the data and
    the weights in these formulas are those of the standardized problem.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The step size :math:`\eta`, in (0, inf). "auto" is 1/L, with L the largest eigenvalue of the Hessian of the
        objective. The objective then never rises. Above 2/L gradient descent diverges. In a stream of `partial_fit`,
        "auto" is stable on each chunk, smaller for small chunks, and falls with the number of steps.
    max_iter : int, default=1000
        Number of iterations, at least 1.
    alpha : float, default=0.0
        Strength of the L2 penalty, in [0, inf), relative to the sum of the sample weights as in
        :class:`~sklearn.linear_model.Ridge`: :math:`\lambda` = `alpha` / S.
    fit_intercept : bool, default=True
        Whether to fit the intercept b.
    init : {"zeros", "uniform", "standard_normal"}, default="zeros"
        Initial weights and intercept: zero; uniform in (-0.1, 0.1); or independent N(0, 1). The intercept, if any, is
        drawn after the weights. With `standardize`, these are the parameters of the standardized problem.
    standardize : bool, default=True
        Whether to center X and y by their weighted mean and scale them by their weighted standard deviation for
        training (without intercept: scale by the root mean square, without centering). The scaling is folded into the
        coefficients, so they apply to the raw X.
    reduction : {"mean", "sum"}, default="mean"
        "mean": half the mean squared error; "sum": the sum of squared errors.
    tol : float, default=None
        If set, stop when an iteration does not lower the loss by more than `tol`. In [0, inf), in units of the loss.
    warm_start : bool, default=False
        Whether `fit` resumes where the last call ended. A `fit` of a and then of b iterations equals one `fit` of a + b
        iterations. The scaling stays as it is. If `coef_` or `intercept_` were set or written to by hand, `fit` and
        `partial_fit` resume from these.
    precompute : "auto" or bool, default="auto"
        Whether to compute all iterates at once from an eigendecomposition instead of iterating. "auto" does so if it
        costs less; True always does; False always iterates. The results agree up to rounding.
    array_module : {"auto", "cupy"}, default="auto"
        The array library that trains. "auto" is the library of X. "cupy" trains on an NVIDIA GPU through CuPy for X of
        any library. Fitted attributes and predictions use the library of X, so a model fitted on NumPy arrays works on
        machines without a GPU.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights.
    verbose : int, default=0
        Print the number and the loss of every `verbose`-th iteration; with a validation set, also its loss, as a table.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_outputs, n_features)
        Coefficients for the raw X, with the same dtype and device as X; 1-D if y was 1-D. float64 for float32 X with a
        column that is more than 8192 standard deviations from zero: float32 would lose the digits of its effect.
    intercept_ : float or array of shape (n_outputs,)
        Intercept; a float if y was 1-D.
    loss_curve_ : list of float
        Loss without penalty before the update of each iteration, across warm-started calls and `partial_fit`.
    validation_loss_curve_ : list of float or None
        Loss of the validation set after the update of each iteration: entry k is the loss of the weights that a fit of
        k + 1 iterations returns. In the units of `loss_curve_`; with ``reduction="sum"``, a sum over the rows of the
        validation set. inf if it is not finite; NaN for iterations of calls without a validation set. None if no call
        had one.
    best_loss_ : float
        The smallest value in `loss_curve_`.
    n_iter_ : int
        Length of `loss_curve_`.
    learning_rate_ : float
        The learning rate used; that of the last call of `partial_fit`.
    alpha_ : float
        The penalty strength used.
    n_outputs_ : int
        Number of outputs.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features. Defined only if X has feature names that are all strings.

    See Also
    --------
    TwoLayerReLURegressor : The network with one hidden layer.
    sklearn.linear_model.SGDRegressor : Linear model trained by stochastic gradient descent.

    Notes
    -----
    An iteration costs about 4 n d m floating-point operations for n rows, d features and m outputs. Besides X, memory
    holds one block of rows, y and the parameters.

    With `precompute`, all iterations together cost about 2 n p q + 25 q^3 operations, with p = d + 1 and q = min(n, p).
    Memory holds a few matrices of side q and, for n < p, two copies of X in float64. The loss of a validation set of
    n_val rows costs about 2 n_val (p + m)^2 operations once and 2 p q m in each iteration.

    Callbacks of scikit-learn (`set_callbacks`) get one task for each iteration of `fit`. They get none in
    `partial_fit`, as in scikit-learn. If `precompute` knows all iterates, each task still gets the loss of its
    iteration. If a callback asks for the fitted estimator, the formula gives the weights of that iteration. A callback
    that asks to stop ends training after the current iteration.

    References
    ----------
    .. [1] Nesterov, Y., Lectures on Convex Optimization, 2nd ed., Springer, 2018, section 2.1.5.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu import LinearGDRegressor
    >>> rng = np.random.RandomState(0)
    >>> X = rng.uniform(-10, 10, size=(1000, 2))
    >>> y = 2 * X[:, 0] - 3 * X[:, 1] + 5
    >>> model = LinearGDRegressor().fit(X, y)
    >>> model.coef_.round(6), round(model.intercept_, 6)
    (array([ 2., -3.]), 5.0)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **GradientRegressor._parameter_constraints,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "precompute": ["boolean", StrOptions({"auto"})],
        "init": [StrOptions({"zeros", "uniform", "standard_normal"})],
    }
    _published_names = ("coef_", "intercept_")
    _coefficients = "coef_"

    coef_: Array
    intercept_: Any  # a float or an array

    @public
    def __init__(
        self,
        *,
        learning_rate: float | Literal["auto"] = "auto",
        max_iter: int = 1000,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        init: Literal["zeros", "uniform", "standard_normal"] = "zeros",
        standardize: bool = True,
        reduction: Literal["mean", "sum"] = "mean",
        tol: float | None = None,
        warm_start: bool = False,
        precompute: bool | Literal["auto"] = "auto",
        array_module: Literal["auto", "cupy"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.init = init
        self.standardize = standardize
        self.reduction = reduction
        self.tol = tol
        self.warm_start = warm_start
        self.precompute = precompute
        self.array_module = array_module
        self.random_state = random_state
        self.verbose = verbose

    def _recipe(self) -> Recipe:
        return Recipe(
            name=type(self).__name__,
            learning_rate="auto" if self.learning_rate == "auto" else float(self.learning_rate),
            max_iter=int(self.max_iter),
            alpha=float(self.alpha),
            standardize=bool(self.standardize),
            reduction=self.reduction,
            tol=None if self.tol is None else float(self.tol),
            precompute="auto" if self.precompute == "auto" else bool(self.precompute),
            verbose=int(self.verbose),
        )

    def _structure(self, rows: Rows, earlier: dict[str, Any] | None) -> dict[str, Any]:
        return {"fit_intercept": self.fit_intercept, "standardize": self.standardize}

    def _model(self, rows: Rows, structure: dict[str, Any]) -> LinearModel:
        shape = rows.n_features, rows.n_outputs
        return LinearModel(rows.am, *shape, bool(self.fit_intercept), rows.training_X.dtype, self.init)

    def _published(self, outcome: Outcome, rows: Rows) -> dict[str, Any]:
        ((W, b),), dtype = outcome.layers, outcome.precision
        intercept = rows.stored(b, dtype)
        if rows.y_ndim == 1:
            return {"coef_": rows.stored(W[:, 0], dtype), "intercept_": float(b[0])}
        return {"coef_": rows.stored(W.T, dtype), "intercept_": intercept}

    def _layers(self) -> Layers:
        d, m = self.n_features_in_, self.n_outputs_
        intercept, is_1d = self.intercept_, self._y_ndim == 1
        if is_1d:  # a number, or an array of one, as SGDRegressor has it
            intercept = np.atleast_1d(np.asarray(intercept))
        shapes = {"coef_": (self.coef_, (d,) if is_1d else (m, d)), "intercept_": (intercept, (m,))}
        check_shapes(type(self).__name__, shapes)
        return [(self.coef_[:, None] if is_1d else self.coef_.T, intercept)]

    def _predict(self, am: ArrayModule, X: Array) -> Array:
        W = am.reshape(self.coef_, (self.n_outputs_, -1)).T
        return LinearModel.predict(am, [(W, self.intercept_)], X)
