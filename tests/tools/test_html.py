"""The HTML of an estimator shows its parameters, and links to the documentation once it has an address."""

import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from problems import ADAM, LINEAR, problem


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("estimator", [ADAM, LINEAR], ids=["network", "linear"])
def test_html_shows_the_estimator_and_links_nowhere(estimator, fitted):
    model = clone(estimator).fit(*problem()) if fitted else clone(estimator)
    html = model._repr_html_()
    assert type(model).__name__ in html
    assert all(parameter in html for parameter in model.get_params())
    assert "href" not in html  # there is no public documentation yet, and scikit-learn's does not have this class
    assert model._get_doc_link() == ""


@pytest.mark.parametrize("estimator", [ADAM, LINEAR], ids=["network", "linear"])
def test_html_links_to_the_documentation_once_it_has_an_address(estimator, monkeypatch):
    cls = type(estimator)
    monkeypatch.setattr(cls, "_doc_link_template", "https://docs.invalid/{estimator_module}.{estimator_name}.html")
    link = f"https://docs.invalid/skrelu.{cls.__name__}.html"
    assert clone(estimator)._get_doc_link() == link
    for html in (clone(estimator)._repr_html_(), make_pipeline(StandardScaler(), clone(estimator))._repr_html_()):
        assert f'href="{link}"' in html
        assert f'href="{link}#:~:text=learning_rate' in html
        assert "Whether to fit the intercept" in html  # what a parameter means, from the docstring
