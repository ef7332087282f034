"""A search for the learning rate on Ray: two worker processes on this machine.

The search is scikit-learn's own. joblib sends its fits to Ray, and the scores are those of the same search in one
process.
"""

import os

import joblib
import numpy as np
import ray
from ray.util.joblib import register_ray
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV

from skrelu import TwoLayerReLURegressor


def r2_and_process(model, X, y):
    """R2, and the id of the process that computed it."""
    return {"r2": model.score(X, y), "process": os.getpid()}


def main():
    """Search on Ray and in this process, and compare."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    grid = {"learning_rate": [0.001, 0.003, 0.01, 0.03], "hidden_layer_size": [20, 50]}
    model = TwoLayerReLURegressor(max_iter=20, random_state=0)
    search = GridSearchCV(model, grid, scoring=r2_and_process, refit="r2", cv=5)
    serial = clone(search).fit(X, y)

    # For a remote cluster, change only this: ray.init(address="auto"), on one of its machines. Ray replaces 127.0.0.1
    # by the address of the network card; 127.0.0.2 stays within this machine.
    ray.init(address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.2")
    try:
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=-1):
            search.fit(X, y)
    finally:
        ray.shutdown()

    np.testing.assert_array_equal(search.cv_results_["mean_test_r2"], serial.cv_results_["mean_test_r2"])
    processes = {int(search.cv_results_[f"split{k}_test_process"][i]) for k in range(5) for i in range(8)}
    print(f"40 fits in {len(processes - {os.getpid()})} processes of Ray; all scores equal those of one process")
    print(f"best: {search.best_params_}, mean R2 {search.best_score_:.3f}")


if __name__ == "__main__":
    main()
