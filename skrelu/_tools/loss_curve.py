"""`LossCurveDisplay`: a plot of the loss over the iterations, in the style of scikit-learn's displays."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """Loss of a fitted estimator over the iterations.

    Create it with `from_estimator`. To compare several estimators, draw each on the axes of the first with
    ``ax=display.ax_``.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Training loss of each iteration.
    validation_loss_curve : array-like of shape (n_iter,), default=None
        Validation loss of each iteration, if any.
    kept_iteration : int, default=None
        The iteration that early stopping kept, which a star marks on the validation loss.
    name : str, default=None
        Name of the estimator in the legend. Without a name and without a validation loss, the plot has no legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure with the axes.
    line_ : matplotlib Line2D
        The training loss.
    validation_line_ : matplotlib Line2D or None
        The validation loss, dashed and in the color of the training loss, with a star at the iteration that early
        stopping kept.

    See Also
    --------
    LearningRateDisplay : Score over the learning rate.
    sklearn.metrics.PredictionErrorDisplay : Predicted against actual values.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skrelu import LinearGDRegressor, LossCurveDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> automatic = LinearGDRegressor().fit(X, y)
    >>> slow = LinearGDRegressor(learning_rate=0.01).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(automatic, name="1/L")
    >>> display = LossCurveDisplay.from_estimator(slow, name="0.01", ax=display.ax_)
    >>> display.figure_.savefig("loss.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        loss_curve: Any,
        validation_loss_curve: Any = None,
        kept_iteration: int | None = None,
        name: str | None = None,
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.kept_iteration = kept_iteration
        self.name = name

    def plot(
        self,
        ax: Any = None,
        *,
        scale: str = "log",
        name: str | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        scale : {"log", "linear"}, default="log"
            Scale of the loss axis. A loss of zero lies below a logarithmic axis. If no loss is above zero, the axis
            keeps its scale, which is linear for new axes.
        name : str, default=None
            Name in the legend; None uses `self.name`.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for both lines.

        Returns
        -------
        self : LossCurveDisplay
            The display, with its attributes set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `scale` is not "log" or "linear".
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if scale not in ("log", "linear"):
            raise ValueError(f"scale must be 'log' or 'linear'; got {scale!r}")
        name = self.name if name is None else name
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        has_validation = self.validation_loss_curve is not None
        prefix = f"{name}, " if name else ""
        label = f"{prefix}training" if has_validation else name
        style = with_full_names(line_kwargs)
        self.line_ = self._draw(self.loss_curve, {"label": label, **style})
        self.validation_line_ = None
        if has_validation:
            style |= {"color": self.line_.get_color(), "linestyle": "--", "label": f"{prefix}validation"}
            if self.kept_iteration is not None:
                style |= {"marker": "*", "markersize": 12, "markevery": [self.kept_iteration]}
            self.validation_line_ = self._draw(self.validation_loss_curve, style)
        lines = [line for line in (self.line_, self.validation_line_) if line is not None]
        if scale == "linear" or any(np.any(line.get_ydata() > 0) for line in lines):
            self.ax_.set_yscale(scale)
        self.ax_.set(xlabel="Iteration", ylabel="Loss")
        if label:
            self.ax_.legend()
        return self

    def _draw(self, losses: Any, style: dict[str, Any]) -> Any:
        losses = np.asarray(losses, dtype=float)
        if len(losses) == 1:  # a line of one point is invisible without a marker
            style = {"marker": "o", **style}
        return self.ax_.plot(np.arange(len(losses)), losses, **style)[0]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        scale: str = "log",
        name: str | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> LossCurveDisplay:
        """Draw the loss of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator with the attribute `loss_curve_` and, optionally, `validation_loss_curve_`, e.g. an
            estimator of skrelu or an `MLPRegressor`. A Pipeline that ends in such an estimator, a search that found
            one, and a TransformedTargetRegressor of one work as well.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        scale : {"log", "linear"}, default="log"
            Scale of the loss, see `plot`.
        name : str, default=None
            Name in the legend; None uses the name of the class.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for both lines.

        Returns
        -------
        display : LossCurveDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If `estimator` has no `loss_curve_`, or if `scale` is not "log" or "linear".
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        model = _with_loss_curve(estimator)
        display = cls(
            loss_curve=model.loss_curve_,
            validation_loss_curve=getattr(model, "validation_loss_curve_", None),
            kept_iteration=getattr(model, "_kept_iteration", None),
            name=type(model).__name__ if name is None else name,
        )
        return display.plot(ax, scale=scale, line_kwargs=line_kwargs)


def with_full_names(line_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """Keyword arguments of a line by their full names, such as "color" for "c": a style may set only one of the two."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return dict(normalize_kwargs(line_kwargs or {}, Line2D))


def new_axes() -> Any:
    """Axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _with_loss_curve(estimator: Any) -> Any:
    """The trained estimator, taken out of a search, a pipeline or a TransformedTargetRegressor."""
    check_is_fitted(estimator)
    if hasattr(estimator, "loss_curve_"):
        return estimator
    for attribute in ("best_estimator_", "regressor_"):
        if hasattr(estimator, attribute):
            return _with_loss_curve(getattr(estimator, attribute))
    if hasattr(estimator, "steps"):
        return _with_loss_curve(estimator.steps[-1][1])
    raise ValueError(
        f"{type(estimator).__name__} has no loss_curve_. LossCurveDisplay takes a fitted estimator of skrelu, or "
        "another estimator with this attribute."
    )
