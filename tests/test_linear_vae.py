import numpy as np
import pytest
from sklearn.decomposition import PCA

from skvae._linear.components import principal_components
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


def test_linear_vae_has_the_covariance_of_ppca(X):
    """W W' + s I is scikit-learn's model covariance, up to n against n - 1."""
    X -= X.mean(axis=0)
    eigenvalues, vectors, _ = principal_components(
        X.copy(), 4, np.random.RandomState(0)
    )
    noise = residual_variance(X.var(axis=0).sum(), eigenvalues, 12, 1e-9)
    start = linear_vae(eigenvalues, vectors, noise)
    covariance = start.decode @ start.decode.T + noise * np.eye(12)
    expected = PCA(4).fit(X).get_covariance() * (len(X) - 1) / len(X)
    np.testing.assert_allclose(covariance, expected, atol=1e-8)


def test_linear_vae_has_the_exact_posterior(X):
    """Bayes' rule for a linear Gaussian model, without the closed form."""
    X -= X.mean(axis=0)
    eigenvalues, vectors, _ = principal_components(
        X.copy(), 4, np.random.RandomState(0)
    )
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
