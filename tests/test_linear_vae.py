import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from skvae._data.moments import column_moments
from skvae._linear.components import bounded_index, principal_components
from skvae._linear.linear_vae import (
    estimation_loss,
    linear_vae,
    prediction_error,
    residual_variance,
)


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


def test_components_are_eigenvectors_of_the_covariance(X):
    eigenvalues, vectors = principal_components(X.copy(), 3, np.random.RandomState(0))
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
    found, vectors = principal_components(kind(X), k, np.random.RandomState(3))
    # Dense tables of this size are decomposed in float64.
    oracle = kind(X if kind is not np.asarray else X.astype(np.float64))
    pca = PCA(k, random_state=np.random.RandomState(3)).fit(oracle)
    rtol = 1e-10 if oracle.dtype == np.float64 else 1e-5
    expected = pca.explained_variance_ * (shape[0] - 1) / shape[0]
    np.testing.assert_allclose(found, expected, rtol=rtol)
    np.testing.assert_allclose(vectors, pca.components_, atol=100 * rtol)
    again, same = principal_components(kind(X), k, np.random.RandomState(3))
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
    dense, _ = principal_components(X.copy(), 4, np.random.RandomState(0))
    of_sparse, _ = principal_components(
        sparse.csr_array(X), 4, np.random.RandomState(0)
    )
    np.testing.assert_allclose(of_sparse, dense, rtol=1e-6)


@pytest.mark.parametrize(("shape", "k"), [((20, 1), 1), ((2, 6), 1), ((30, 4), 4)])
def test_there_are_no_more_components_than_features_or_rows(shape, k):
    X = np.random.RandomState(0).randn(*shape)
    eigenvalues, vectors = principal_components(X, 10, np.random.RandomState(0))
    assert eigenvalues.shape == (k,)
    assert vectors.shape == (k, shape[1])


def test_linear_vae_has_the_covariance_of_ppca(X):
    """W W' + s I is scikit-learn's model covariance, up to n against n - 1."""
    X -= X.mean(axis=0)
    eigenvalues, vectors = principal_components(X.copy(), 4, np.random.RandomState(0))
    noise = residual_variance(X.var(axis=0).sum(), eigenvalues, 12, 1e-9)
    start = linear_vae(eigenvalues, vectors, noise)
    covariance = start.decode @ start.decode.T + noise * np.eye(12)
    expected = PCA(4).fit(X).get_covariance() * (len(X) - 1) / len(X)
    np.testing.assert_allclose(covariance, expected, atol=1e-8)


def test_linear_vae_has_the_exact_posterior(X):
    """Bayes' rule for a linear Gaussian model, without the closed form."""
    X -= X.mean(axis=0)
    eigenvalues, vectors = principal_components(X.copy(), 4, np.random.RandomState(0))
    noise = 0.7
    start = linear_vae(eigenvalues, vectors, noise)
    W = start.decode
    precision = np.eye(4) + W.T @ W / noise
    np.testing.assert_allclose(
        np.linalg.inv(precision), np.diag(np.exp(start.log_var)), atol=1e-10
    )
    expected = np.linalg.solve(precision, W.T / noise)
    np.testing.assert_allclose(start.encode, expected, atol=1e-10)


def test_units_below_the_noise_are_idle():
    start = linear_vae(np.array([4.0, 1.0, 0.5]), np.eye(3, 6), 1.0)
    np.testing.assert_array_equal(start.log_var[1:], 0.0)
    assert not start.encode[1:].any()
    assert not start.decode[:, 1:].any()


def test_a_large_mean_does_not_drown_the_components(X):
    expected, _ = principal_components(X, 3, np.random.RandomState(0))
    moved, _ = principal_components(X + 1e8, 3, np.random.RandomState(0))
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_with_all_components_every_unit_is_active():
    eigenvalues = np.array([3.0, 2.0, 1.0])
    noise = residual_variance(6.0, eigenvalues, 3, 1e-9)
    assert noise == 0.5
    start = linear_vae(eigenvalues, np.eye(3), noise)
    assert (start.log_var < 0).all()
    covariance = start.decode @ start.decode.T + noise * np.eye(3)
    np.testing.assert_allclose(covariance, np.diag(eigenvalues))


def test_residual_variance_has_a_floor():
    assert residual_variance(3.0, np.array([3.0]), 5, 1e-6) == 1e-6


def test_large_tables_are_subsampled():
    X = np.broadcast_to(np.float32(0), (1_000_000, 1_000))
    index = bounded_index(X, np.random.RandomState(0).permutation(len(X)), 10)
    assert len(index) == 100_000
    assert (np.diff(index) > 0).all()
    small = np.zeros((30, 4))
    np.testing.assert_array_equal(bounded_index(small, np.arange(30), 2), np.arange(30))


def test_estimation_loss_shrinks_with_rows_and_grows_with_components():
    assert estimation_loss(4, 20, 100) == pytest.approx(2 * estimation_loss(4, 20, 200))
    assert estimation_loss(5, 20, 100) > estimation_loss(4, 20, 100)


def test_prediction_error_is_what_new_rows_show():
    """Residuals of 4 components on the rows they come from, and on new ones."""
    random = np.random.RandomState(0)
    spread = np.r_[5.0, 4.0, 3.0, 2.0, np.full(16, 0.3)]
    ratios = []
    for _ in range(60):
        train, new = (random.randn(n, 20) * spread for n in (100, 2000))
        pca = PCA(4).fit(train)
        inside, outside = (
            np.square(X - pca.inverse_transform(pca.transform(X))).mean()
            for X in (train, new)
        )
        ratios.append(outside / inside)
    assert np.mean(ratios) == pytest.approx(prediction_error(4, 100), abs=0.02)
    assert prediction_error(10, 30) == 1.0
