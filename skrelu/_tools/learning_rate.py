"""`LearningRateDisplay`: a plot of a search over the learning rate, in the style of scikit-learn's displays."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from skrelu._tools.loss_curve import new_axes, with_full_names

# matplotlib needs room for margins and ticks below the largest float, 1.8e308.
_LARGEST_SCORE, _LARGEST_RATE = 1e301, 1e200
_LEVEL: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2}


class LearningRateDisplay:
    """Scores of the candidates of a search over the learning rate, and which candidates diverged.

    Create it with `from_search`. A line shows the mean score over the splits, with a band of one standard deviation. A
    cross at the foot of the plot marks a candidate without a finite score in some split, e.g. because training
    diverged, or with a mean score beyond 1e301. A candidate with ``learning_rate="auto"`` has no place on the axis; a
    dashed horizontal line shows its mean score. Rates outside the range from 1e-200 to 1e200 are drawn at its ends.

    Scores far below the best one leave the plot at its lower edge, because they would make all other scores look alike.
    A score is far below if its distance from the best one exceeds 100 times the median distance and 100 times the
    median standard deviation.

    Parameters
    ----------
    learning_rates : list of float or str, of length n_candidates
        The learning rates. A string, such as "auto", is drawn as a horizontal line.
    scores : array-like of shape (n_candidates, n_splits)
        The scores; NaN for a fit that failed.
    names : list of str, of length n_candidates, default=None
        Candidates with the same name form one line, in the order of their rates. None draws all candidates as one line.
    score_name : str, default="Score"
        Label of the score.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure with the axes.
    lines_ : list of matplotlib Line2D
        Mean scores, one line per name.
    levels_ : list of matplotlib Line2D
        Horizontal lines at the mean scores of the candidates whose learning rate is not a number.
    diverged_ : list of matplotlib Line2D
        Crosses at the learning rates that diverged, one Line2D for each name with such a rate.

    See Also
    --------
    LossCurveDisplay : Loss over the iterations.
    sklearn.model_selection.ValidationCurveDisplay : Score over a parameter; it fits the models itself.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrelu import LearningRateDisplay, LinearGDRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> rates = ["auto", 0.001, 0.01, 0.1]
    >>> search = GridSearchCV(LinearGDRegressor(max_iter=100), {"learning_rate": rates}).fit(X, y)
    >>> display = LearningRateDisplay.from_search(search)
    >>> display.figure_.savefig("search.png")  # doctest: +SKIP
    """

    def __init__(self, *, learning_rates: Any, scores: Any, names: Any = None, score_name: str = "Score"):
        self.learning_rates = learning_rates
        self.scores = scores
        self.names = names
        self.score_name = score_name

    def plot(self, ax: Any = None, *, line_kwargs: dict[str, Any] | None = None) -> LearningRateDisplay:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for the lines of the mean scores.

        Returns
        -------
        self : LearningRateDisplay
            The display, with its attributes set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.set_xscale("log")
        self.lines_: list[Any] = []
        self.levels_: list[Any] = []
        scores = _Scores(self.scores)
        names = np.asarray([""] * len(scores.mean) if self.names is None else self.names)
        is_rate = np.array([not isinstance(rate, str) for rate in self.learning_rates], dtype=bool)
        crosses = []
        for name in dict.fromkeys(names.tolist()):
            mine = names == name
            color = self._draw_line(
                np.flatnonzero(mine & is_rate & scores.valid), scores, name, with_full_names(line_kwargs)
            )
            for k in np.flatnonzero(mine & ~is_rate & scores.valid):
                self.levels_.append(self.ax_.axhline(scores.mean[k], **_LEVEL, color=color))
            crosses.append((color, self._rates(np.flatnonzero(mine & is_rate & ~scores.valid))))
        self._name_levels(names, ~is_rate, scores.valid)
        if not np.array_equal(scores.comparable, scores.valid):
            low, high = scores.low[scores.comparable].min(), scores.high[scores.comparable].max()
            self.ax_.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        self._draw_foot([(color, rates) for color, rates in crosses if len(rates)])
        self.ax_.set(xlabel="Learning rate", ylabel=self.score_name)
        if self.ax_.get_legend_handles_labels()[0]:
            self.ax_.legend()
        return self

    def _rates(self, rows: np.ndarray) -> np.ndarray:
        rates = np.array([self.learning_rates[k] for k in rows], dtype=float)
        return np.where(rates > 0.0, np.clip(rates, 1.0 / _LARGEST_RATE, _LARGEST_RATE), rates)

    def _draw_line(self, rows: np.ndarray, scores: _Scores, name: str, style: dict[str, Any]) -> Any:
        """Draw mean and standard deviation of the candidates of one name, possibly none; return the color."""
        rows = rows[np.argsort(self._rates(rows), kind="stable")]
        label = name if name and len(rows) else None
        (line,) = self.ax_.plot(self._rates(rows), scores.mean[rows], **{"marker": "o", "label": label, **style})
        self.lines_.append(line)
        rows = rows[scores.comparable[rows]]
        band = {"color": line.get_color(), "alpha": 0.15, "linewidth": 0}
        self.ax_.fill_between(self._rates(rows), scores.low[rows], scores.high[rows], **band)
        return line.get_color()

    def _name_levels(self, names: np.ndarray, is_level: np.ndarray, valid: np.ndarray) -> None:
        """Add the rates that are words, such as "auto", to the legend, with the names for which they diverged."""
        words = np.array([str(rate) for rate in self.learning_rates])
        for word in dict.fromkeys(words[is_level].tolist()):
            label, diverged = repr(word), dict.fromkeys(names[is_level & (words == word) & ~valid].tolist())
            if diverged:
                label += f": {' and '.join(diverged)} diverged".replace("  ", " ")  # if there are no names
            self.ax_.plot([], [], **_LEVEL, color="gray", label=label)

    def _draw_foot(self, crosses: list[tuple[Any, np.ndarray]]) -> None:
        """Draw the rates that diverged in a strip below the scores, with one row of crosses for each name."""
        self.diverged_: list[Any] = []
        if not crosses:
            return
        from matplotlib.patches import Rectangle

        height, ax = 0.05 + 0.05 * len(crosses), self.ax_
        low, high = ax.get_ylim()
        ax.set(yticks=[tick for tick in ax.get_yticks() if low <= tick <= high])
        ax.set_ylim(low - (high - low) * height / (1.0 - height), high)
        ax.add_patch(Rectangle((0, 0), 1, height, transform=ax.transAxes, color="red", alpha=0.07, linewidth=0))
        ax.text(0.02, height / 2, "diverged", color="firebrick", verticalalignment="center", transform=ax.transAxes)
        for row, (color, rates) in enumerate(crosses):
            y = np.full(len(rates), height - 0.05 * (row + 1))
            where = ax.get_xaxis_transform()  # x is a learning rate, y a fraction of the height
            style = {"color": color, "marker": "X", "markersize": 8, "linestyle": "none", "markeredgecolor": "none"}
            self.diverged_ += ax.plot(rates, y, transform=where, **style)

    @classmethod
    def from_search(
        cls,
        search: Any,
        *,
        ax: Any = None,
        param_name: str | None = None,
        metric: str | None = None,
        score_name: str | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> LearningRateDisplay:
        """Draw the candidates of a fitted search.

        If candidates also differ in other parameters, each combination of those is one line. If a candidate occurs
        several times, as in a halving search, its last occurrence is drawn.

        Parameters
        ----------
        search : GridSearchCV or another search of scikit-learn
            A fitted search. With the default `error_score`, NaN, a candidate that diverges has no score.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        param_name : str, default=None
            Name of the learning rate among the parameters of the search. None takes the parameter that is called
            "learning_rate" or ends in "__learning_rate".
        metric : str, default=None
            The metric to draw if the search has several; None takes the one that `refit` names.
        score_name : str, default=None
            Label of the score; None takes it from `metric` or `search.scoring`.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for the lines of the mean scores.

        Returns
        -------
        display : LearningRateDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If `search` is not fitted.
        TypeError
            If `search` is not a search.
        ValueError
            If `param_name` is not given and the search does not have exactly one learning-rate parameter, or if
            `metric` is not given, the search has several metrics and `refit` does not name one. If `param_name` or
            `metric` is not in the search.
        """
        check_matplotlib_support(f"{cls.__name__}.from_search")
        if not hasattr(search, "refit"):
            raise TypeError(f"from_search takes a fitted search such as GridSearchCV; got {type(search).__name__}.")
        check_is_fitted(search, "cv_results_")
        metric = _metric(search, metric)
        table = search.cv_results_
        candidates = _candidates(table["params"], _learning_rate_name(table["params"], param_name), search.estimator)
        splits = [table[f"split{k}_test_{metric}"] for k in range(search.n_splits_)]
        if score_name is None:
            known = metric if metric != "score" else search.scoring
            score_name = known.replace("_", " ") if isinstance(known, str) else "Score"
        display = cls(
            learning_rates=[rate for _, rate in candidates],
            scores=np.stack(splits, axis=1)[list(candidates.values())],
            names=[name for name, _ in candidates],
            score_name=f"{score_name} over {search.n_splits_} splits",
        )
        return display.plot(ax, line_kwargs=line_kwargs)


class _Scores:
    """The mean score of each candidate, with one standard deviation; which scores are finite, and which comparable."""

    def __init__(self, scores: Any):
        scores = np.asarray(scores, dtype=float)
        with np.errstate(over="ignore", invalid="ignore"):
            unit = np.maximum(np.abs(scores).max(axis=1, keepdims=True), 1.0)  # squares of 1e200 overflow
            self.mean, deviation = scores.mean(axis=1), unit[:, 0] * (scores / unit).std(axis=1)
            self.low, self.high = self.mean - deviation, self.mean + deviation
            self.valid = np.maximum(np.abs(self.low), np.abs(self.high)) < _LARGEST_SCORE  # which NaN is not
        # Close enough to the best score to be seen on the same axis. A fit that nearly diverged may score -1e200.
        self.comparable = self.valid.copy()
        if self.valid.any():
            distance = self.mean[self.valid].max() - self.mean
            step = max(np.median(distance[self.valid]), np.median(deviation[self.valid]))
            self.comparable[self.valid] = (step == 0.0) | (distance[self.valid] <= 100.0 * step)


def _metric(search: Any, metric: str | None) -> str:
    """The metric's name in `cv_results_`."""
    if not search.multimetric_:
        return "score"
    if metric is None and isinstance(search.refit, str):
        return search.refit
    if metric is None or metric not in search.scorer_:
        raise ValueError(f"metric must be one of the metrics of the search, {sorted(search.scorer_)}; got {metric!r}")
    return metric


def _learning_rate_name(params: list[dict[str, Any]], name: str | None) -> str:
    known = list(dict.fromkeys(key for candidate in params for key in candidate))
    rates = [key for key in known if (key.split("__")[-1] == "learning_rate" if name is None else key == name)]
    if len(rates) != 1:
        found = f"none that is called {name or 'learning_rate'}" if not rates else f"several, {rates}"
        raise ValueError(
            f"Expected exactly one learning-rate parameter, found {found}. The parameters of the search are {known}; "
            f"param_name must name one of them; got param_name={name!r}"
        )
    return rates[0]


def _candidates(params: list[dict[str, Any]], rate_name: str, estimator: Any) -> dict[tuple[str, Any], int]:
    """Name and learning rate of each candidate, mapped to its last row in the table.

    The name lists the other parameters in which candidates differ. A candidate that does not set the learning rate has
    the learning rate of the searched estimator.
    """
    others = dict.fromkeys(key for candidate in params for key in candidate if key != rate_name)
    varied = [key for key in others if len({repr(candidate.get(key)) for candidate in params}) > 1]
    default = estimator.get_params().get(rate_name)
    rows = {}
    for row, candidate in enumerate(params):
        name = ", ".join(f"{key.split('__')[-1]}={candidate[key]}" for key in varied if key in candidate)
        rate = candidate.get(rate_name, default)
        rows[name, float(rate) if isinstance(rate, (int, float, np.number)) else str(rate)] = row
    return rows
