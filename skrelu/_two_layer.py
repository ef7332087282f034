"""`TwoLayerReLURegressor`: input, one hidden layer of rectified linear units, linear output."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skrelu._arrays import Array, ArrayModule
from skrelu._coefficients import checked_layers
from skrelu._decorators import public
from skrelu._engines.recipe import Recipe
from skrelu._estimator import GradientRegressor
from skrelu._models.base import Layers
from skrelu._models.network import TwoLayerNetwork
from skrelu._predictions import evaluated
from skrelu._rows.rows import Rows
from skrelu._training.run import Outcome


class TwoLayerReLURegressor(GradientRegressor):
    r"""Neural network with one hidden layer of rectified linear units, for regression.

    With :math:`f(x) = \mathrm{relu}(x W_1 + b_1) W_2 + b_2`, sample weights :math:`s_i` with sum :math:`S`, and
    :math:`\lambda` = `alpha` / S, it minimizes

    .. math::

        L = \frac{1}{2S} \sum_i s_i |f(x_i) - y_i|^2 + \frac{\lambda}{2} (|W_1|^2 + |W_2|^2)

    or, with ``reduction="sum"``, :math:`\sum_i s_i |f(x_i) - y_i|^2 + \frac{\lambda}{2} (|W_1|^2 + |W_2|^2)`.
    Intercepts are not penalized. With `standardize` all of this happens in standardized coordinates.

    Parameters
    ----------
    hidden_layer_size : int, default=200
        Number h of hidden units, of all members together; at least 1.
    n_members : int or "auto", default="auto"
        Number M of networks of h / M units that are trained side by side on the same rows, each with its own loss and
        its own initial weights. They are published as their average, which is one network of h units. A divisor of
        `hidden_layer_size`. "auto" is 1 for gd. For adam it is 8 for fewer than 5000 rows and 4 otherwise, or the
        greatest common divisor of that and `hidden_layer_size`.
    solver : {"adam", "gd"}, default="adam"
        "adam" trains on minibatches of `batch_size` rows; "gd" is gradient descent on all rows in each iteration, with
        a constant learning rate.
    learning_rate : float or "auto", default="auto"
        The step size, in (0, inf). "auto" is 0.01 for adam. For gd it is 1/L, where L is the largest eigenvalue of the
        Gauss-Newton matrix of the objective at the initial weights; far above 2/L gradient descent diverges. In a
        stream of `partial_fit`, "auto" falls with the number of steps: for adam, if batches have fewer than 128 rows.
    learning_rate_schedule : {"auto", "cosine", "constant"}, default="auto"
        For adam: "cosine" lowers the learning rate to 0 along half a cosine, step by step, and training runs to the end
        of the schedule; "constant" keeps the rate, so that training can stop. "auto" is "constant" with
        `early_stopping` or `tol`, and "cosine" otherwise.
    momentum : float, default=0.0
        For gd: heavy-ball momentum, in [0, 1).
    batch_size : int or "auto", default=128
        For adam: rows of a minibatch, at least 1; "auto" is min(200, n_samples), as in MLPRegressor. The rows are split
        into batches of equal size, so the size is adjusted: n_samples / batch_size, rounded, is the number of batches.
    max_iter : int or "auto", default="auto"
        Number of passes over the rows, at least 1. "auto" is 500 for gd. For adam it is the number of passes that gives
        clip(150 n_samples / batch_size, 1500, 12000) steps (at least one pass).
    alpha : float or "auto", default="auto"
        Strength of the L2 penalty, in [0, inf). "auto" is 0 for gd. For adam there is no penalty for the first 40 % of
        the steps; then it follows the noise: :math:`\lambda = \min(20 \min(e, 1) / S, 0.1)`, where e is the running
        mean of the minibatches' mean squared errors (times 2 S for ``reduction="sum"``, so both reductions penalize
        alike). With a constant learning rate, the 40 % are those of the automatic number of steps, over all calls.
    fit_intercept : bool, default=True
        Whether to fit the intercepts.
    init : {"he_normal", "standard_normal"}, default="he_normal"
        Initial weights, W1 drawn before W2: independent normal with mean 0 and variance 2 / (number of inputs of a
        member's layer), or 1. Intercepts start at 0, except for adam and "he_normal" with up to three features: there
        the kinks of the hidden units are spread over the training rows. With `standardize` these are the weights of the
        standardized problem.
    standardize : bool, default=True
        Whether to center X and y by their weighted mean and scale them by their weighted standard deviation for
        training (without intercepts: scale by the root mean square, without centering). A column of X with exactly two
        values is scaled by their distance instead. The scaling is folded into the coefficients, so they apply to the
        raw X.
    scaling_layer : bool or "auto", default="auto"
        Whether to learn a factor for each standardized feature, shared by the members. The factors start at 1, are
        trained like the weights, without penalty, and are folded into W1. "auto" does so for adam with `standardize`.
    reduction : {"mean", "sum"}, default="mean"
        "mean": half the mean squared error; "sum": the sum of squared errors.
    tol : float, default=None
        If set, stop when none of the last `n_iter_no_change` losses improved on the best before by more than `tol`. In
        [0, inf), in units of the loss. With `early_stopping` it applies to the validation loss (None means 0). The
        cosine schedule, if you ask for it, runs to its end, whatever the losses.
    n_iter_no_change : int, default=10
        The patience of `tol` and `early_stopping`, in iterations; at least 1.
    early_stopping : bool, default=False
        Whether `fit` ends with the weights of the iteration with the smallest validation loss. The validation set is
        the one given to `fit`, otherwise rows held out from training. Training stops when none of the last
        `n_iter_no_change` validation losses improved on the best by more than `tol` and the loss is not above its first
        value. With ``learning_rate_schedule="cosine"`` it runs to the end of the schedule instead, which takes longer
        and gives a slightly better model.
    validation_fraction : float, default=0.1
        Share of the rows with positive weight, in (0, 1), that `early_stopping` holds out if `fit` is given no
        validation set. `random_state` chooses them. The other rows are copied.
    warm_start : bool, default=False
        Whether `fit` resumes where the last call ended. With a constant learning rate, ``fit`` of a and then of b
        iterations equals one of a + b exactly; with the cosine schedule each call has its own schedule. The scaling
        stays as it is. After `early_stopping`, `fit` resumes from the last iteration and keeps the best one for
        comparison on the same validation set. Another `solver` starts without the earlier momentum and moments, and so
        do `coefs_` and `intercepts_` that were set or written to by hand: `fit` and `partial_fit` resume from these.
    precompute : "auto" or bool, default="auto"
        For gd: whether to iterate with the Gram matrix of the rows of X instead of X, which is faster for n_samples
        less than about 2 n_features. "auto" does so if it costs less; False never does. The results agree up to
        rounding. For adam: whether `fit` trains in the space of the rows if a dense X has more columns than rows, which
        is another model, and mostly a better one. "auto" does so for 100 columns or more, and two or more for each row.
    array_module : {"auto", "cupy"}, default="auto"
        The array library that trains. "auto" is the library of X. "cupy" trains on an NVIDIA GPU through CuPy for X of
        any library. Fitted attributes and predictions use the library of X, so a model fitted on NumPy arrays works on
        machines without a GPU.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the shuffling.
    verbose : int, default=0
        Print the number and the loss of every `verbose`-th iteration; with a validation set, also its loss, as a table.

    Attributes
    ----------
    coefs_ : list of two arrays, of shapes (n_features, hidden_layer_size) and (hidden_layer_size, n_outputs)
        The weights W1 and W2 for the raw X and y, in the dtype, the library and the device of X. float64 for float32 X
        with a column that is more than 8192 standard deviations from zero: float32 would lose the digits of its effect.
    intercepts_ : list of two arrays, of shapes (hidden_layer_size,) and (n_outputs,)
        The intercepts b1 and b2; zeros without `fit_intercept`.
    loss_curve_ : list of float
        Loss without penalty of each iteration, across warm-started calls: the mean of the members' losses. For gd it is
        the loss before the update; for adam, the weighted mean over the minibatches.
    validation_loss_curve_ : list of float or None
        Loss of the average of the members on the validation set after each iteration, in the units of `loss_curve_`
        (with ``reduction="sum"``, a sum over the rows of the validation set). An entry is inf if it is not finite, and
        NaN for iterations of calls without a validation set. None if no call had one. With `early_stopping`, the
        fitted weights are those of the smallest entry of the calls on the last validation set.
    best_loss_ : float
        The smallest entry of `loss_curve_`, with and without `early_stopping`.
    n_iter_ : int
        Number of iterations done: the length of `loss_curve_`.
    learning_rate_ : float
        The learning rate used, before the schedule; that of the last call of `partial_fit`.
    alpha_ : float
        The strength of the penalty used; for adam with "auto", the last one.
    n_outputs_ : int
        Number of outputs.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    LinearGDRegressor : The model without a hidden layer.
    sklearn.neural_network.MLPRegressor : Any number of hidden layers. Its `hidden_layer_sizes` is `hidden_layer_size`
        here, its `learning_rate_init` is `learning_rate`; the page "Coming from MLPRegressor" has a table.

    Notes
    -----
    A pass over n rows of d features, with m outputs, costs about n h (4 d + 6 m) floating-point operations. Beyond X,
    memory holds y, one batch of rows (for gd: one block, of 256 rows or more) and a few copies of the parameters. Data
    of up to 16 MB are kept in standardized form.

    With the Gram matrix of `precompute`, an iteration costs n h (2 n + 6 m), and memory also holds all rows of X and
    the Gram matrix. A validation set costs its forward pass in each iteration; with the Gram matrix it costs
    n_val h (2 n + 2 m) operations and memory for n_val (n + 3 h) numbers.

    scikit-learn's callbacks (`set_callbacks`) have a task for each iteration of `fit` and, as in scikit-learn, none in
    `partial_fit`. A callback that asks for the fitted estimator gets a copy of the model after the iteration, and can
    resume training with it; no weights are built for other callbacks. A callback that asks to stop ends training after
    the iteration.

    References
    ----------
    .. [1] He, K. et al., Delving Deep into Rectifiers, ICCV 2015.
    .. [2] Kingma, D. P. and Ba, J., Adam: A Method for Stochastic Optimization, ICLR 2015.
    .. [3] Loshchilov, I. and Hutter, F., SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman2
    >>> from sklearn.model_selection import train_test_split
    >>> from skrelu import TwoLayerReLURegressor
    >>> X, y = make_friedman2(300, noise=50.0, random_state=0)  # columns from 0 to 1 and from 100 to 1800
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = TwoLayerReLURegressor(random_state=0).fit(X_train, y_train)
    >>> model.score(X_test, y_test) > 0.95
    True
    >>> y_pred, y_std = model.predict(X_test[:3], return_std=True)
    >>> y_pred.shape, y_std.shape
    ((3,), (3,))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **GradientRegressor._parameter_constraints,
        "hidden_layer_size": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "scaling_layer": ["boolean", StrOptions({"auto"})],
        "solver": [StrOptions({"adam", "gd"})],
        "learning_rate_schedule": [StrOptions({"auto", "cosine", "constant"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "precompute": ["boolean", StrOptions({"auto"})],
        "init": [StrOptions({"he_normal", "standard_normal"})],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    }
    _published_names = ("coefs_", "intercepts_")
    _coefficients = "_W1"

    coefs_: list[Array]
    intercepts_: list[Array]

    @public
    def __init__(
        self,
        hidden_layer_size: int = 200,
        *,
        n_members: int | Literal["auto"] = "auto",
        solver: Literal["adam", "gd"] = "adam",
        learning_rate: float | Literal["auto"] = "auto",
        learning_rate_schedule: Literal["auto", "cosine", "constant"] = "auto",
        momentum: float = 0.0,
        batch_size: int | Literal["auto"] = 128,
        max_iter: int | Literal["auto"] = "auto",
        alpha: float | Literal["auto"] = "auto",
        fit_intercept: bool = True,
        init: Literal["he_normal", "standard_normal"] = "he_normal",
        standardize: bool = True,
        scaling_layer: bool | Literal["auto"] = "auto",
        reduction: Literal["mean", "sum"] = "mean",
        tol: float | None = None,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        precompute: bool | Literal["auto"] = "auto",
        array_module: Literal["auto", "cupy"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_size = hidden_layer_size
        self.n_members = n_members
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.momentum = momentum
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.init = init
        self.standardize = standardize
        self.scaling_layer = scaling_layer
        self.reduction = reduction
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.precompute = precompute
        self.array_module = array_module
        self.random_state = random_state
        self.verbose = verbose

    def _recipe(self) -> Recipe:
        return Recipe(
            name=type(self).__name__,
            solver=self.solver,
            learning_rate="auto" if self.learning_rate == "auto" else float(self.learning_rate),
            learning_rate_schedule=self.learning_rate_schedule,
            momentum=float(self.momentum),
            batch_size="auto" if self.batch_size == "auto" else int(self.batch_size),
            max_iter=None if self.max_iter == "auto" else int(self.max_iter),
            alpha="auto" if self.alpha == "auto" else float(self.alpha),
            standardize=bool(self.standardize),
            reduction=self.reduction,
            tol=None if self.tol is None else float(self.tol),
            patience=int(self.n_iter_no_change),
            early_stopping=bool(self.early_stopping),
            validation_fraction=float(self.validation_fraction),
            precompute="auto" if self.precompute == "auto" else bool(self.precompute),
            verbose=int(self.verbose),
        )

    def _structure(self, rows: Rows, earlier: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "hidden_layer_size": self.hidden_layer_size,
            "n_members": self._members(rows, earlier),
            "fit_intercept": self.fit_intercept,
            "standardize": self.standardize,
        }

    def _members(self, rows: Rows, earlier: dict[str, Any] | None) -> int:
        """`n_members` as a number."""
        h = int(self.hidden_layer_size)
        if self.n_members != "auto":
            if h % self.n_members:
                raise ValueError(
                    f"n_members={self.n_members} does not divide hidden_layer_size={h}, and all members have as "
                    f"many units. Choose a divisor of {h}, or n_members='auto'."
                )
            return int(self.n_members)
        if earlier is not None:
            return earlier["n_members"]
        if self.solver == "gd":
            return 1
        return math.gcd(8 if rows.n_samples < 5000 else 4, h)

    def _model(self, rows: Rows, structure: dict[str, Any]) -> TwoLayerNetwork:
        return TwoLayerNetwork(
            rows.am,
            rows.n_features,
            int(self.hidden_layer_size),
            rows.n_outputs,
            bool(self.fit_intercept),
            rows.training_X.dtype,
            self.init,
            structure["n_members"],
            self._has_scaling_layer,
        )

    @property
    def _has_scaling_layer(self) -> bool:
        possible = self.solver == "adam" and bool(self.standardize)
        if self.scaling_layer == "auto":
            return possible
        if self.scaling_layer and not possible:
            raise ValueError(
                f"scaling_layer=True needs solver='adam' and standardize=True; got solver={self.solver!r} and "
                f"standardize={self.standardize!r}. Use scaling_layer='auto'."
            )
        return bool(self.scaling_layer)

    def _published(self, outcome: Outcome, rows: Rows) -> dict[str, Any]:
        assert outcome.member_intercepts is not None
        return {
            "coefs_": [rows.stored(W, outcome.precision) for W, _ in outcome.layers],
            "intercepts_": [rows.stored(b, outcome.precision) for _, b in outcome.layers],
            "_member_intercepts": rows.rounded(outcome.member_intercepts, outcome.precision),
        }

    @public
    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict targets, a block of rows at a time.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs, from the array library and device of those given to `fit`.
        return_std : bool, default=False
            Whether to return the standard deviation of the members' predictions, too. It shows where the members
            disagree, e.g. far from the training rows. It is not a prediction interval: it leaves out the noise of y.

        Returns
        -------
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Predictions with as many dimensions as the y of `fit`, in the wider dtype of X and the coefficients.
        y_std : array of the shape of y
            Standard deviation of the members' predictions, whose mean is y; only with `return_std`.

        Raises
        ------
        ValueError
            If a prediction is too large for that dtype; if the input is not valid; if `return_std` is asked of a
            network with one member.
        """
        if not return_std:
            return super().predict(X)
        check_is_fitted(self)
        if self._member_intercepts.shape[0] == 1:
            raise ValueError(
                "return_std=True needs at least two members, and this network has one. Fit with n_members=8, for "
                "example, and a hidden_layer_size that 8 divides."
            )
        return tuple(evaluated(self, X, type(self)._predict, type(self)._predict_std))

    def _layers(self) -> Layers:
        widths = self.n_features_in_, int(self.hidden_layer_size), self.n_outputs_
        return checked_layers(type(self).__name__, self.coefs_, self.intercepts_, widths)

    def _predict_std(self, am: ArrayModule, X: Array) -> Array:
        layers = list(zip(self.coefs_, self.intercepts_, strict=True))
        members = TwoLayerNetwork.predict_members(am, layers, self._member_intercepts, X)
        return am.xp.std(members, axis=1)

    def _predict(self, am: ArrayModule, X: Array) -> Array:
        return TwoLayerNetwork.predict(am, list(zip(self.coefs_, self.intercepts_, strict=True)), X)

    @property
    def _W1(self) -> Array:
        return self.coefs_[0]
