"""The linear model that fits are judged by, beside scikit-learn's PCA."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from skvae._data.moments import column_moments
from skvae._linear.baseline import cross_fitted_likelihood, ppca_of
from skvae._linear.components import Components, principal_components
from skvae._linear.ppca import ppca_log_likelihood


@pytest.fixture
def X(rng):
    return rng.randn(200, 3) @ rng.randn(3, 12) + rng.randn(200, 12) + 5.0


def test_components_of_scaled_rows_are_pca_of_the_rows(X, rng):
    mean, variance = column_moments(X)
    scale = 2.5
    values, vectors, _ = principal_components((X - mean) / scale, 3, rng)
    components = Components(values, vectors, variance.sum() / scale**2)
    own = ppca_log_likelihood(ppca_of(components, mean, scale), X)
    # but for the divisor, n here and n - 1 there
    np.testing.assert_allclose(own, PCA(3).fit(X).score_samples(X), rtol=5e-3)


def test_rows_are_scored_by_a_model_of_others(X):
    found = cross_fitted_likelihood(X, 3)
    own = PCA(3).fit(X).score_samples(X)
    assert found.shape == (200,)
    assert own.mean() - 1.0 < found.mean() < own.mean()
    # one odd row decides its own likelihood, not that of the model it is scored by
    odd = np.vstack([X, np.full((1, 12), 50.0)])
    assert cross_fitted_likelihood(odd, 3)[-1] < found.min() - 10.0


def test_sparse_rows_give_the_same(X):
    rows = np.where(np.abs(X - 5.0) > 1.0, X, 0.0)
    dense = cross_fitted_likelihood(rows, 2)
    np.testing.assert_allclose(
        cross_fitted_likelihood(sparse.csr_array(rows), 2), dense, rtol=1e-4
    )


@pytest.mark.parametrize("X", [np.ones((50, 4)), np.eye(9)], ids=["constant", "few"])
def test_without_anything_to_fit_there_is_none(X):
    assert cross_fitted_likelihood(X, 2) is None


def test_more_units_than_the_rows_carry_are_not_fitted(rng):
    found = cross_fitted_likelihood(rng.randn(40, 30), 64)
    assert np.isfinite(found).all()
    assert found.mean() > -100.0
