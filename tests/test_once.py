"""What one call does once: passes over the rows, validation, moments."""

import numpy as np
import pytest

from skvae import (
    AETransformer,
    RAETransformer,
    SAETransformer,
    VAETransformer,
)
from skvae._data import dataset, moments
from skvae._likelihoods.standardised import Standardised
from skvae._training import begin
from skvae.cli.search import ReportScorer
from skvae.inspection import _weights, diagnose, suggest_kld_weights

ESTIMATORS = [VAETransformer, AETransformer, RAETransformer, SAETransformer]


@pytest.fixture
def passes(monkeypatch):
    """Numbers of rows of the passes over whole tables."""
    seen, batches = [], dataset.TableDataset.batches

    def watched(rows):
        seen.append(len(rows))
        return batches(rows)

    monkeypatch.setattr(dataset.TableDataset, "batches", watched)
    return seen


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fit_transform_codes_the_rows_once(Estimator, dtype, small, quick, passes):
    X = small.astype(dtype)
    model = Estimator(**quick)
    codes = model.fit_transform(X)
    # The others are looks at the nine rows that are held out.
    assert passes.count(len(X)) == 1
    np.testing.assert_array_equal(codes, model.transform(X))
    assert codes.dtype == dtype


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_fit_transform_is_fit_and_transform(Estimator, small, quick):
    codes = Estimator(**quick).fit_transform(small)
    np.testing.assert_array_equal(codes, Estimator(**quick).fit(small).transform(small))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_fit_transform_validates_once(Estimator, small, quick, monkeypatch):
    calls, validated = [], Estimator._validated

    def watched(self, X, **options):
        calls.append(options)
        return validated(self, X, **options)

    monkeypatch.setattr(Estimator, "_validated", watched)
    Estimator(**quick).fit_transform(small)
    assert calls == [{"reset": True, "min_rows": 2}]


def test_a_fit_takes_the_moments_of_the_columns_once(digits, quick, monkeypatch):
    calls = []

    def watched(X):
        calls.append(X.shape)
        return moments.column_moments(X)

    monkeypatch.setattr(begin, "column_moments", watched)
    monkeypatch.setattr("skvae._linear.components.column_moments", watched)
    VAETransformer(**quick, likelihood="gaussian").fit(digits)
    assert calls == [digits.shape]


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "student_t"])
def test_weights_take_one_decomposition(small, likelihood, monkeypatch):
    calls = []

    def watched(name, function):
        def call(*args, **kwargs):
            calls.append(name)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(_weights, "spectrum", watched("eigenvalues", _weights.spectrum))
    factors = Standardised.factors
    monkeypatch.setattr(Standardised, "factors", watched("factors", factors))
    suggest_kld_weights(small, 3, likelihood=likelihood)
    assert calls == ["eigenvalues" if likelihood == "gaussian" else "factors"]


def test_a_search_s_scorer_goes_through_the_rows_once(small, quick, passes):
    model = VAETransformer(**quick, likelihood="gaussian").fit(small)
    passes.clear()
    scores = ReportScorer()(model, small)
    assert passes == [90]
    assert scores["elbo"] == model.score(small)


def test_a_diagnosis_goes_through_the_rows_once(small, quick, passes):
    model = VAETransformer(**quick, likelihood="gaussian").fit(small)
    passes.clear()
    diagnose(model, small)
    assert passes == [90]


def test_a_diagnosis_validates_once(small, quick, monkeypatch):
    model = VAETransformer(**quick, likelihood="gaussian").fit(small)
    calls, validated = [], VAETransformer._validated

    def watched(self, X, **options):
        calls.append(options)
        return validated(self, X, **options)

    monkeypatch.setattr(VAETransformer, "_validated", watched)
    diagnose(model, small)
    assert calls == [{"reset": False, "min_rows": 2}]
