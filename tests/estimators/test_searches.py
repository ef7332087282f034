"""Pipelines and searches of scikit-learn: weights are routed, and a validation set is."""

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import DESCENT, N_ITER, assert_same_fit, every_class, problem


@every_class
def test_routed_weights_arrive_in_a_search_over_a_pipeline(estimator_class):
    X, y = problem(60)
    weights = np.random.RandomState(1).uniform(0, 2, len(X))
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = estimator_class(max_iter=20, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        name = estimator_class.__name__.lower()
        search = GridSearchCV(make_pipeline(scaler, model), {f"{name}__alpha": [0.1, 10.0]}, cv=3)
        search.fit(X, y, sample_weight=weights)
    scaled = StandardScaler().fit_transform(X)
    direct = clone(model).set_params(alpha=search.best_params_[f"{name}__alpha"]).fit(scaled, y, weights)
    assert_same_fit(search.best_estimator_[-1], direct)
    unweighted = clone(direct).fit(scaled, y)
    assert unweighted.loss_curve_ != direct.loss_curve_


def test_a_pipeline_transforms_the_validation_set():
    (X, y), (X_val, y_val) = problem(), problem(20, seed=1)
    scaler = StandardScaler().fit(X)
    expected = clone(DESCENT).fit(scaler.transform(X), y, X_val=scaler.transform(X_val), y_val=y_val)
    with config_context(enable_metadata_routing=True):
        model = clone(DESCENT).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scaler", StandardScaler()), ("model", model)], transform_input=["X_val"])
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
        assert_same_fit(pipeline["model"], expected)
        search = GridSearchCV(pipeline, {"model__learning_rate": [0.01, 0.1]}, cv=2)
        search.fit(X, y, X_val=X_val, y_val=y_val)
        assert len(search.best_estimator_["model"].validation_loss_curve_) == N_ITER
