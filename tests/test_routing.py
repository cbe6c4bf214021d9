"""Conditions, taken to the end of pipelines and searches."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import VAETransformer
from skvae._utils import routing
from skvae.metrics import (
    elbo_scorer,
    log_likelihood_scorer,
    rate_distortion_scorer,
    reconstruction_scorer,
)

X, LETTERS = np.arange(12.0).reshape(6, 2), list("ababab")


class Notes(BaseEstimator):
    """Notes what it is called with."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y=None, conditions=None):
        self.fitted_ = conditions
        self.asked_ = []
        return self

    def transform(self, X, conditions=None):
        self.asked_.append((X, conditions))
        return X

    def score(self, X, y=None, conditions=None):
        return self.shift


class Coder(TransformerMixin, Notes):
    pass


def double():
    return FunctionTransformer(lambda X: 2.0 * X)


def search_over(model, name="shift"):
    return GridSearchCV(model, {name: [0.0, 1.0]}, cv=2)


def test_the_last_step_is_found_in_whatever_holds_it():
    notes = Notes()
    for model in (
        notes,
        make_pipeline(double(), notes),
        search_over(notes),
        make_pipeline(double(), search_over(make_pipeline(double(), notes))),
    ):
        assert routing.last_step(model) is notes
        assert routing.takes_conditions(model)
    fitted = search_over(notes).fit(X)
    assert routing.last_step(fitted) is fitted.best_estimator_


def test_a_search_is_known_by_what_it_has():
    assert routing.is_search(search_over(Notes()))
    assert not routing.is_search(make_pipeline(Notes()))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_conditions_arrive_behind_other_steps(depth):
    notes = model = Notes()
    for _ in range(depth):
        model = make_pipeline(double(), model)
    assert routing.fit(model, X, LETTERS) is model
    assert notes.fitted_ == LETTERS
    routing.call(model, "transform", X, LETTERS)
    ((rows, conditions),) = notes.asked_
    assert conditions == LETTERS
    np.testing.assert_array_equal(rows, 2.0**depth * X)


def test_without_conditions_none_are_named():
    pipeline = make_pipeline(StandardScaler(), PCA(1))
    codes = routing.fit_codes(pipeline, X)
    np.testing.assert_allclose(routing.call(pipeline, "transform", X), codes)


def test_codes_of_a_fit_with_and_without_fit_transform():
    with_it, without = Coder(), Notes()
    for model in (with_it, without):
        np.testing.assert_array_equal(routing.fit_codes(model, X, LETTERS), X)
        assert model.fitted_ == LETTERS
    assert without.asked_[0][1] == LETTERS


def test_what_would_lose_conditions_is_refused():
    routing.refuse_conditions(make_pipeline(double(), Notes()))
    with pytest.raises(TypeError, match="PCA takes no conditions"):
        routing.refuse_conditions(make_pipeline(Notes(), PCA()))
    search = search_over(Notes())
    with pytest.raises(ValueError, match=r"GridSearchCV scores its .* set_fit_request"):
        routing.refuse_conditions(search)
    with sklearn.config_context(enable_metadata_routing=True):
        routing.refuse_conditions(search)


def test_searches_pass_conditions_on_where_they_are_requested():
    with sklearn.config_context(enable_metadata_routing=True):
        notes = Notes().set_fit_request(conditions=True)
        search = search_over(notes.set_score_request(conditions=True))
        routing.fit(search, X, np.array(LETTERS))
    assert list(search.best_estimator_.fitted_) == LETTERS
    routing.call(search, "transform", X, LETTERS)
    assert search.best_estimator_.asked_ == [(X, LETTERS)]


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize(
    "scorer", [elbo_scorer, log_likelihood_scorer, reconstruction_scorer]
)
def test_scorers_get_what_is_known_of_the_rows_they_score(scorer, rng):
    """In a search over a pipeline, whose own score would not take it."""
    batch = np.tile(["a", "b", "c"], 40)
    counts = rng.poisson(3.0, size=(120, 6)) * np.where(batch == "a", 1, 4)[:, None]
    vae = VAETransformer(2, likelihood="poisson", size_factor=None, max_epochs=2)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline("passthrough", vae.set_fit_request(conditions=True))
        options = {"cv": 2, "scoring": scorer, "error_score": "raise"}
        search = GridSearchCV(model, {"vaetransformer__beta": [1.0]}, **options)
        search.fit(counts, conditions=batch)
        assert np.isfinite(search.best_score_)
        plain = GridSearchCV(model, {"vaetransformer__beta": [1.0]}, **options)
        assert np.isfinite(plain.fit(counts).best_score_)
    with pytest.raises(ValueError, match="fitted with conditions"):
        scorer(search, counts)
    assert np.isfinite(scorer(search, counts, conditions=batch))


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_a_scorer_of_several_measures_gets_it_too(rng):
    batch, counts = np.tile(["a", "b"], 40), rng.poisson(3.0, size=(80, 6))
    vae = VAETransformer(2, likelihood="poisson", max_epochs=2, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            vae.set_fit_request(conditions=True),
            {"beta": [1.0]},
            scoring=rate_distortion_scorer,
            refit="elbo",
            cv=2,
            error_score="raise",
        ).fit(counts, conditions=batch)
    found = search.cv_results_
    expected = -(found["mean_test_rate"] + found["mean_test_distortion"])
    np.testing.assert_allclose(found["mean_test_elbo"], expected)
    with pytest.raises(ValueError, match="fitted with conditions"):
        rate_distortion_scorer(search, counts)
