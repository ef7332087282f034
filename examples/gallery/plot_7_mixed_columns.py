"""
Mixed columns: categories, missing values and numbers
=====================================================

Tables have columns of several kinds. A `ColumnTransformer` encodes the categories and fills the missing values, and
the network takes its sparse output as it is. No scaler is needed. The data imitate a price list of diamonds.
"""

# %%
# The data
# --------
# This program generates the table, so it needs no download. The price grows as a power of the carat, with a factor for
# each grade of cut, color and clarity, which is larger for heavy stones. A tenth of the depths and of the table widths
# is missing.

import numpy as np

rng = np.random.default_rng(0)
n_rows = 2000
grades = {
    "cut": ["fair", "good", "very good", "premium", "ideal"],
    "color": list("JIHGFED"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
}
columns = {"carat": np.exp(rng.normal(-0.4, 0.55, n_rows)).clip(0.2, 2.5).round(2)}
log_price = 8.3 + 1.7 * np.log(columns["carat"])
for (name, levels), gain in zip(grades.items(), (0.15, 0.6, 1.0), strict=True):
    grade = rng.integers(len(levels), size=n_rows)
    columns[name] = np.array(levels, dtype=object)[grade]
    log_price += gain * (1.0 + 0.3 * (columns["carat"] > 1)) * (grade / (len(levels) - 1) - 0.5)
columns["depth"] = rng.normal(61.7, 1.4, n_rows).round(1)
columns["table"] = rng.normal(57.5, 2.2, n_rows).round(0)
log_price -= 0.05 * np.abs(columns["depth"] - 61.7)
price = np.exp(log_price + 0.08 * rng.standard_normal(n_rows)).round()
for name in ("depth", "table"):
    columns[name] = np.where(rng.random(n_rows) < 0.1, np.nan, columns[name])
X = np.column_stack([values.astype(object) for values in columns.values()])
print("  ".join(f"{name:>9}" for name in (*columns, "price")))
for row, value in zip(X[:4], price, strict=False):
    print("  ".join(f"{cell!s:>9}" for cell in (*row, value)))

# %%
# The pipeline
# ------------
# Numbers: the median for missing values, and a column that says where they were missing. Categories: one column for
# each level, as a sparse matrix. The whole result is sparse, and skrelu takes it.

from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skrelu import TwoLayerReLURegressor

names = list(columns)
numbers, categories = [names.index(name) for name in ("carat", "depth", "table")], [1, 2, 3]
fill = SimpleImputer(strategy="median", add_indicator=True)
one_hot = OneHotEncoder(handle_unknown="ignore")
encode = ColumnTransformer(
    [("numbers", fill, numbers), ("categories", one_hot, categories)],
    sparse_threshold=1.0,  # sparse, however full it is
)
encoded = encode.fit_transform(X)
print(f"{type(encoded).__name__} of shape {encoded.shape}")

model = make_pipeline(encode, TwoLayerReLURegressor(random_state=0))

# %%
# The peers
# ---------
# Each peer gets what it needs: the linear model and `MLPRegressor` scaled numbers, `MLPRegressor` scaled y, too. The
# boosted trees get the grades in their order, and handle missing values themselves. All other parameters are defaults.

from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

fill_and_scale = make_pipeline(fill, StandardScaler())
scaled = ColumnTransformer([("numbers", fill_and_scale, numbers), ("categories", one_hot, categories)])
in_order = OrdinalEncoder(categories=list(grades.values()))
ordered = ColumnTransformer([("numbers", "passthrough", numbers), ("categories", in_order, categories)])
models = {
    "RidgeCV, scaled numbers": make_pipeline(scaled, RidgeCV(np.geomspace(1e-3, 1e3, 13))),
    "MLPRegressor, scaled numbers and y": TransformedTargetRegressor(
        make_pipeline(scaled, MLPRegressor(random_state=0)), transformer=StandardScaler()
    ),
    "HistGradientBoostingRegressor": make_pipeline(ordered, HistGradientBoostingRegressor(random_state=0)),
    "skrelu": model,
}

# %%
# Predict each row from the other two thirds of the rows.

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import KFold, cross_val_predict
from threadpoolctl import threadpool_limits

predicted = {}
with threadpool_limits(1), warnings.catch_warnings():
    # MLPRegressor does not converge in its default number of iterations
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    for name, each in models.items():
        predicted[name] = cross_val_predict(each, X, price, cv=KFold(3, shuffle=True, random_state=0))
        rmse = root_mean_squared_error(price, predicted[name])
        print(f"{name:35} RMSE {rmse:5.0f}   R2 {r2_score(price, predicted[name]):.3f}")

# %%
# The price is a smooth function of the columns here, which suits networks. On real tables boosted trees are often as
# good or better: `examples/benchmarks/accuracy.py` compares both on 19 data sets.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 4.6))
axes.plot(price, predicted["skrelu"], "o", color="#1f5fa8", alpha=0.4, markersize=5, markeredgewidth=0)
axes.axline((0, 0), slope=1, color="#8a8a8a", linestyle="--", linewidth=1)
axes.set(title="Predicted and actual prices of held-out rows", xlabel="price", ylabel="predicted price")
plt.show()

# %%
# A search reaches into the pipeline by the names of its steps, as for any estimator:
# `GridSearchCV(model, {"twolayerreluregressor__learning_rate": [0.003, 0.01, 0.03]})`.
