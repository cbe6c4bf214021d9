"""Probabilistic PCA's log-likelihood against scipy's normal and scikit-learn's PCA."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae._linear.ppca import corrected_ppca, ppca_log_likelihood
from skvae.metrics import pca_scorer


@pytest.fixture
def wide(rng):
    """Fewer rows than columns: 30 x 200, of rank 3 and noise."""
    return rng.randn(30, 3) @ rng.randn(3, 200) + 0.5 * rng.randn(30, 200)


def test_is_scikit_learns_where_there_are_enough_rows(rng):
    X = rng.randn(80, 10) @ rng.randn(10, 10)
    pca = PCA(4).fit(X)
    density = ppca_log_likelihood(corrected_ppca(pca), X)
    np.testing.assert_allclose(density, pca.score_samples(X), rtol=1e-9)
    assert pca_scorer(pca, X) == pytest.approx(pca.score(X))


def test_full_rank_is_a_gaussian_of_full_covariance(rng):
    X = rng.randn(80, 5) @ rng.randn(5, 5)
    normal = multivariate_normal(X.mean(axis=0), np.cov(X.T))
    density = ppca_log_likelihood(corrected_ppca(PCA(5).fit(X)), X)
    np.testing.assert_allclose(density, normal.logpdf(X), rtol=1e-9)


def test_fewer_rows_than_columns_average_the_noise_over_all_directions(wide):
    pca = PCA(3, svd_solver="full").fit(wide)
    centred = wide - wide.mean(axis=0)
    covariance = centred.T @ centred / (len(wide) - 1)
    values, vectors = np.linalg.eigh(covariance)
    noise = values[:-3].mean()
    top = vectors[:, -3:]
    model = top @ np.diag(values[-3:] - noise) @ top.T + noise * np.eye(200)
    expected = multivariate_normal(wide.mean(axis=0), model).logpdf(wide)
    np.testing.assert_allclose(
        ppca_log_likelihood(corrected_ppca(pca), wide), expected, rtol=1e-9
    )
    # ... which is the greatest likelihood, far above scikit-learn's
    assert pca_scorer(pca, wide) > pca.score(wide) + 50


def test_sparse_rows_stay_sparse_and_score_the_same(wide, monkeypatch):
    X = np.where(np.abs(wide) > 1.5, wide, 0.0)
    pca = PCA(3).fit(X)
    rows = sparse.csr_array(X)
    for kind in (sparse.csr_array, sparse.csr_matrix):
        monkeypatch.setattr(kind, "toarray", lambda *_: pytest.fail("densified"))
    assert pca_scorer(pca, rows) == pytest.approx(pca_scorer(pca, X), rel=1e-9)


def test_goes_through_pipelines_and_searches(wide):
    pipe = make_pipeline(StandardScaler(), PCA(2))
    scores = cross_val_score(pipe, wide, cv=3, scoring=pca_scorer)
    assert np.isfinite(scores).all()
    grid = GridSearchCV(pipe, {"pca__n_components": [1, 3]}, scoring=pca_scorer, cv=3)
    grid.fit(wide)
    scaled = grid.best_estimator_[0].transform(wide)
    own = pca_scorer(grid.best_estimator_[1], scaled)
    assert pca_scorer(grid, wide) == pytest.approx(own)


def test_without_left_over_variance_there_is_no_likelihood(wide):
    with pytest.raises(ValueError, match="lower n_components"):
        pca_scorer(PCA(29).fit(wide[:29]), wide)
    with pytest.raises(TypeError, match="StandardScaler is no"):
        pca_scorer(StandardScaler().fit(wide), wide)
