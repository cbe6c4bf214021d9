import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from skvae._data.moments import column_moments
from skvae._linear.components import (
    bounded_index,
    components_of,
    is_tall,
    merged,
    principal_components,
    scatter_of,
)


@pytest.fixture
def X():
    random = np.random.RandomState(0)
    return random.randn(300, 5) @ random.randn(5, 12) + 0.3 * random.randn(300, 12) + 2


def test_components_are_eigenvectors_of_the_covariance(X):
    eigenvalues, vectors, _ = principal_components(
        X.copy(), 3, np.random.RandomState(0)
    )
    covariance = np.cov(X.T, bias=True)
    np.testing.assert_allclose(
        covariance @ vectors.T, vectors.T * eigenvalues, atol=1e-8
    )


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((900, 12), np.asarray),  # by the covariance
        ((200, 150), np.asarray),  # all of them
        ((600, 700), np.asarray),  # randomised
        ((600, 30), np.asarray),  # most of them
        ((300, 40), sparse.csr_array),
        ((60, 400), sparse.csr_matrix),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_components_are_those_of_the_solvers_of_pca(shape, kind, dtype):
    random = np.random.RandomState(0)
    X = random.randn(shape[0], 5) @ random.randn(5, shape[1]) + random.randn(*shape)
    X[np.abs(X) < 1] = 0
    X = X.astype(dtype)
    k = 25 if shape[1] == 30 else 7
    found, vectors, _ = principal_components(kind(X), k, np.random.RandomState(3))
    # Dense tables of this size are decomposed in float64.
    oracle = kind(X if kind is not np.asarray else X.astype(np.float64))
    pca = PCA(k, random_state=np.random.RandomState(3)).fit(oracle)
    rtol = 1e-10 if oracle.dtype == np.float64 else 1e-5
    expected = pca.explained_variance_ * (shape[0] - 1) / shape[0]
    np.testing.assert_allclose(found, expected, rtol=rtol)
    np.testing.assert_allclose(vectors, pca.components_, atol=100 * rtol)
    again, same, _ = principal_components(kind(X), k, np.random.RandomState(3))
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(vectors, same)
    assert found.dtype == vectors.dtype == np.float64


def test_a_table_is_not_changed(X):
    for kind in (np.asarray, sparse.csr_array):
        for dtype in (np.float64, np.float32):
            table = kind(X.astype(dtype))
            before = table.copy()
            principal_components(table, 3, np.random.RandomState(0))
            assert abs(table - before).max() == 0


def test_sparse_components_are_those_of_the_dense_rows(X):
    X[np.abs(X) < 1] = 0
    dense, _, _ = principal_components(X.copy(), 4, np.random.RandomState(0))
    of_sparse, _, _ = principal_components(
        sparse.csr_array(X), 4, np.random.RandomState(0)
    )
    np.testing.assert_allclose(of_sparse, dense, rtol=1e-6)


@pytest.mark.parametrize(("shape", "k"), [((20, 1), 1), ((2, 6), 1), ((30, 4), 4)])
def test_there_are_no_more_components_than_features_or_rows(shape, k):
    X = np.random.RandomState(0).randn(*shape)
    eigenvalues, vectors, _ = principal_components(X, 10, np.random.RandomState(0))
    assert eigenvalues.shape == (k,)
    assert vectors.shape == (k, shape[1])


def test_a_large_mean_does_not_drown_the_components(X):
    expected, _, _ = principal_components(X, 3, np.random.RandomState(0))
    moved, _, _ = principal_components(X + 1e8, 3, np.random.RandomState(0))
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_large_tables_are_subsampled():
    X = np.broadcast_to(np.float32(0), (1_000_000, 1_000))
    index = bounded_index(X, np.random.RandomState(0).permutation(len(X)), 10)
    assert len(index) == 100_000
    assert (np.diff(index) > 0).all()
    small = np.zeros((30, 4))
    np.testing.assert_array_equal(bounded_index(small, np.arange(30), 2), np.arange(30))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("shape", [(300, 12), (60, 50), (600, 700)])
def test_the_total_is_the_variance_of_all_columns(kind, shape):
    X = np.random.RandomState(0).rand(*shape)
    X[X < 0.4], X[:, 2], X[:, 3] = 0.0, 0.1, 7.0
    table = kind(X)
    total = principal_components(table, 3, np.random.RandomState(0)).total
    assert total == pytest.approx(column_moments(table)[1].sum(), rel=1e-9)
    assert total == pytest.approx(X.var(axis=0).sum(), rel=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("shape", [(300, 12), (60, 50)])
def test_a_constant_table_has_no_components(kind, shape):
    X = np.tile(np.linspace(0.0, 0.7, shape[1]), (shape[0], 1))
    found = principal_components(kind(X), 3, np.random.RandomState(0))
    assert len(found.eigenvalues) == 0
    assert found.eigenvectors.shape == (0, shape[1])
    assert found.total == 0.0


def test_scatters_merge_as_their_tables_do(X):
    X[:, 3] = 5.0
    X[:100, 4], X[100:, 4] = 1.0, 2.0  # constant in each part
    whole = scatter_of(X)
    both = merged(scatter_of(X[:100]), scatter_of(X[100:]))
    assert both.n_rows == len(X)
    np.testing.assert_allclose(both.mean, whole.mean)
    np.testing.assert_allclose(both.products, whole.products, atol=1e-9)
    np.testing.assert_allclose(both.variance, X.var(axis=0), atol=1e-12)
    assert both.variance[3] == 0.0
    found, expected = components_of(both, 4), components_of(whole, 4)
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues)
    np.testing.assert_allclose(found.eigenvectors, expected.eigenvectors, atol=1e-9)
    assert is_tall(X)
    assert not is_tall(sparse.csr_array(X))
    assert not is_tall(X.T)
