"""What watches estimators, as ``mlflow.sklearn.autolog`` does, sees the user's own."""

import functools

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils import all_estimators

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.inspection import suggest_kld_weights

FITS = ("fit", "fit_transform", "fit_predict")
WIDE = np.random.RandomState(0).randn(60, 600)


def watched(method, name, seen):
    @functools.wraps(method)
    def recorded(self, *args, **kwargs):
        seen.append(name)
        return method(self, *args, **kwargs)

    return recorded


@pytest.fixture
def seen(monkeypatch):
    """Names of the public methods of scikit-learn that fit, as they are called."""
    calls = []
    for name, kind in all_estimators():
        for method in FITS:
            if callable(getattr(kind, method, None)):
                label = f"{name}.{method}"
                replaced = watched(getattr(kind, method), label, calls)
                monkeypatch.setattr(kind, method, replaced)
    return calls


def test_the_watch_sees_what_it_is_there_for(seen, wine):
    from sklearn.mixture import GaussianMixture

    GaussianMixture(2, random_state=0).fit(wine)
    assert {"GaussianMixture.fit", "KMeans.fit"} <= set(seen)


@pytest.mark.parametrize(
    "kind", [AETransformer, RAETransformer, SAETransformer, VAETransformer]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda digits: digits[:700],  # tall: the covariance
        lambda digits: digits[:90],  # small: all of it
        lambda digits: WIDE,  # wide: randomised
        lambda digits: sparse.csr_array(digits[:90]),
    ],
)
def test_no_fit_has_a_public_fit_inside(seen, quick, digits, kind, make):
    X = make(digits)
    model = kind(**quick).fit(X)
    model.fit_transform(X)
    model.set_params(warm_start=True).fit(X)
    model.partial_fit(X)
    model.score(X)
    kind(**quick).partial_fit(X).reconstruct(X)
    if kind is RAETransformer:
        model.sample(3, random_state=0)
    suggest_kld_weights(X, 3, random_state=0)
    assert seen == []
