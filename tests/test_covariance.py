import numpy as np
import pytest
from scipy import sparse

from skvae._linear.components import scatter_of
from skvae._linear.covariance import Covariance


@pytest.fixture
def X(rng):
    X = 2.0 + rng.randn(60, 4) @ rng.randn(4, 7)
    X[np.abs(X) < 1.0] = 0.0
    return X


def ways(X):
    return {
        "dense": Covariance(X),
        "sparse": Covariance(sparse.csr_array(X)),
        "matrix": Covariance(sparse.csr_matrix(X)),
        "float32": Covariance(X.astype(np.float32)),
        "scatter": Covariance(X, scatter_of(X)),
    }


@pytest.mark.parametrize("way", ways(np.eye(3)))
def test_products_are_those_of_the_matrix(X, rng, way):
    covariance, scale = ways(X)[way], rng.uniform(0.5, 2.0, 7)
    expected = np.cov(X.T, bias=True)
    v = rng.randn(7, 3)
    np.testing.assert_allclose(covariance.mean, X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(covariance.variance, np.diag(expected), rtol=1e-5)
    assert covariance.n_rows == 60
    assert covariance.n_features == 7
    found = covariance.standardised(scale)(v)
    expected = expected / scale[:, None] / scale @ v
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ways(np.eye(3)))
def test_components_are_those_of_the_matrix(X, way):
    random = np.random.RandomState(0)
    values, vectors, total = ways(X)[way].components(2, random, 3.0)
    expected = np.cov(X.T, bias=True) / 9.0
    largest = np.linalg.eigvalsh(expected)[::-1]
    np.testing.assert_allclose(values, largest[:2], rtol=1e-4)
    np.testing.assert_allclose(total, np.trace(expected), rtol=1e-4)
    np.testing.assert_allclose(
        expected @ vectors.T, values * vectors.T, rtol=1e-3, atol=1e-4
    )
