"""Links to scikit-learn's pages. Sphinx's own way reads an index from the network; this site is built without."""

import importlib
from typing import Any

from docutils import nodes

SITE = "https://scikit-learn.org/stable/"
_BASE = f"{SITE}modules/generated/sklearn.base.BaseEstimator.html#sklearn.base.BaseEstimator."
_ROUTING = f"{SITE}metadata_routing.html"

# The public methods that the estimators inherit: the page that documents each, and what it does.
INHERITED = {
    "score": (
        f"{SITE}modules/generated/sklearn.base.RegressorMixin.html#sklearn.base.RegressorMixin.score",
        "R2 of the predictions on test data.",
    ),
    "get_params": (f"{_BASE}get_params", "The parameters of the constructor."),
    "set_params": (f"{_BASE}set_params", "Set parameters. For a name of `MLPRegressor`, the error says ours."),
    "set_callbacks": (
        f"{SITE}modules/generated/sklearn.callback.CallbackSupportMixin.html",
        "Set callbacks of training, e.g. a progress bar or a score for each iteration.",
    ),
    "get_metadata_routing": (f"{_BASE}get_metadata_routing", "The metadata that the methods ask for."),
    "set_fit_request": (_ROUTING, "The metadata, e.g. a validation set, that a pipeline or search passes to `fit`."),
    "set_partial_fit_request": (_ROUTING, "The same for `partial_fit`."),
    "set_predict_request": (_ROUTING, "The same for `predict`."),
    "set_score_request": (_ROUTING, "The same for `score`."),
}


def page_of(name: str) -> str:
    """The address of the page of a public class or function, or of a method of a class."""
    module, _, last = name.rpartition(".")
    owner = module if module.rpartition(".")[2][:1].isupper() else name
    names = owner.split(".")
    if not hasattr(importlib.import_module(".".join(names[:-1])), names[-1]):
        raise LookupError(f"scikit-learn has no {owner}")
    anchor = f"#{owner}.{last}" if owner != name else ""
    return f"{SITE}modules/generated/{owner}.html{anchor}"


def link(app: Any, env: Any, node: nodes.Element, text: nodes.TextElement) -> nodes.reference | None:
    """A link for a cross-reference to scikit-learn, which Sphinx has not found here."""
    target = node.get("reftarget", "")
    if not target.startswith("sklearn."):
        return None
    return nodes.reference("", "", text, internal=False, refuri=page_of(target))
