"""One noise a feature, against scikit-learn's factor analysis."""

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import train_test_split

from skvae import VAETransformer

K = 5


class WithFloor(FactorAnalysis):
    """scikit-learn's, whose noise has a floor for the rows that it scores."""

    def fit_with_floor(self, X, floor):
        self.fit(X)
        self.noise_variance_ = np.maximum(self.noise_variance_, floor)
        return self


def halves(X):
    """Training and other rows, without columns that are hardly ever lit."""
    train, other = train_test_split(X, test_size=0.3, random_state=0)
    kept = train.std(axis=0) > 0.05 * train.std()
    return train[:, kept], other[:, kept]


@pytest.fixture(scope="module", params=["digits", "breast_cancer"])
def tables(request):
    return halves(request.getfixturevalue(request.param))


def reference(train, other, floor):
    model = WithFloor(K, svd_method="lapack", tol=0.1, max_iter=500)
    return model.fit_with_floor(train, floor).score(other)


def floor_of(vae, train):
    """The likelihood's floor, in squared units of X."""
    return vae._likelihood_.floor.numpy() * train.var(axis=0)


def test_a_linear_network_scores_what_factor_analysis_does(tables):
    train, other = tables
    vae = VAETransformer(
        K, likelihood="gaussian_diag", hidden_dims=(), random_state=0
    ).fit(train)
    expected = reference(train, other, floor_of(vae, train))
    assert vae.score(other) == pytest.approx(expected, abs=1.0)


def test_the_default_network_is_not_below_it(tables):
    train, other = tables
    vae = VAETransformer(K, random_state=0).fit(train)
    assert vae.likelihood_ == "gaussian_diag"
    expected = reference(train, other, floor_of(vae, train))
    assert vae.score(other) > expected - 1.0
