import numpy as np
import pytest
from scipy import sparse

from skvae._data.moments import column_moments


@pytest.fixture
def X():
    random = np.random.RandomState(0)
    return random.randn(300, 5) @ random.randn(5, 12) + 0.3 * random.randn(300, 12) + 2


def test_moments_of_dense_and_sparse(X):
    X[np.abs(X) < 1] = 0
    for source in (X, X.astype(np.float32), sparse.csr_array(X), sparse.csr_matrix(X)):
        mean, variance = column_moments(source)
        np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(variance, X.var(axis=0), rtol=1e-5)


def test_moments_of_integers_and_large_means():
    X = np.array([[250, 1], [255, 3], [251, 2]], dtype=np.uint8)
    mean, variance = column_moments(X)
    np.testing.assert_allclose(mean, X.astype(float).mean(axis=0))
    np.testing.assert_allclose(variance, X.astype(float).var(axis=0))


def test_a_column_that_is_constant_but_for_rounding_has_no_variance():
    X = np.full((1000, 3), 0.1)
    X[:, 1] += np.random.RandomState(0).choice([-1e-17, 0.0, 1e-17], 1000)
    X[0, 2] = 0.2
    for source in (X, X.astype(np.float32), sparse.csr_array(X)):
        _, variance = column_moments(source)
        assert (variance[:2] == 0.0).all()
        assert variance[2] > 0.0
