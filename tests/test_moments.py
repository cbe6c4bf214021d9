import numpy as np
import pytest
from scipy import sparse, stats

from skvae._data.moments import column_kurtosis, column_moments


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


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kurtosis_is_scipy_s(X, kind, dtype):
    X[np.abs(X) < 1] = 0
    X[:, 3], X[:, 4] = 0.0, 5.0  # constant columns have none: 1
    X[:, 5] = np.arange(len(X)) % 2  # as light as tails can be
    found = column_kurtosis(kind(X.astype(dtype)), X.mean(axis=0), X.var(axis=0))
    varies = np.ptp(X, axis=0) > 0
    expected = np.ones(12)
    expected[varies] = stats.kurtosis(X[:, varies], axis=0, fisher=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[5] == pytest.approx(1.0)
    assert (found >= 1.0).all()


def test_kurtosis_of_one_row_among_many_is_their_number():
    X = np.zeros((100_000, 1))
    X[7] = 1e30
    found = column_kurtosis(X, X.mean(axis=0), X.var(axis=0))
    assert found[0] == pytest.approx(100_000, rel=1e-3)
