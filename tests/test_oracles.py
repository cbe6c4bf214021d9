"""External truths, reached by training a linear VAE from random weights.

A linear VAE is probabilistic PCA. With covariance eigenvalues l_1 >= l_2 >= ... and
``s = kld_weight * D / 2``, unit i is active exactly when l_i > s, with a KL of
``ln(l_i / s) / 2`` nats; with the noise variance fitted, the ELBO is PCA's likelihood.
"""

import math

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skvae import VAETransformer
from skvae.metrics import active_units, distortion, kl_per_unit, rate


def trained_linear_vae(X, latent_dim, **params):
    """Full-batch training long enough for the units to find the eigenvectors."""
    return VAETransformer(
        latent_dim,
        hidden_dims=(),
        linear_path=None,
        early_stopping=False,
        batch_size=len(X),
        max_epochs=3000,
        lr=0.05,
        gradient_clip_val=None,
        random_state=0,
        **params,
        likelihood="gaussian",
    ).fit(X)


def sampled_error(vae, X):
    """Squared error of a posterior draw, summed over features, from the distortion."""
    s2, n_features = vae.noise_variance_, X.shape[1]
    constant = n_features / 2 * math.log(2 * math.pi * s2)
    return 2 * s2 * (distortion(vae, X).mean() - constant)


@pytest.mark.parametrize(
    ("data", "latent_dim"),
    [
        ("breast_cancer", 8),
        ("wine", 4),
        pytest.param("digits", 16, marks=pytest.mark.slow),
    ],
)
def test_fitted_noise_reaches_ppca(request, data, latent_dim):
    """Oracles 1 and 3."""
    X = request.getfixturevalue(data)
    n_rows, n_features = X.shape
    vae = trained_linear_vae(X, latent_dim)
    pca = PCA(latent_dim).fit(X)
    assert vae.score(X) == pytest.approx(pca.score(X), abs=0.1)
    noise = pca.noise_variance_ * (n_rows - 1) / n_rows
    assert vae.noise_variance_ == pytest.approx(noise, rel=0.02)
    assert vae.beta_ == pytest.approx(1.0)
    # At the optimum of the variance, distortion is D/2 (ln(2 pi MSE) + 1) per row.
    error = sampled_error(vae, X)
    nats = (math.log(2 * math.pi * error / n_features) + 1) * n_features / 2
    # Squared errors in float32, over a noise that is small beside the rows.
    assert vae.score(X) == pytest.approx(-nats - rate(vae, X).mean(), abs=1e-3)


# s between eigenvalues that are far apart, so that "exactly" is a fair question
@pytest.mark.parametrize(
    ("data", "latent_dim", "s", "n_active"),
    [
        ("breast_cancer", 8, 0.9, 6),
        ("wine", 6, 1.1, 3),
        pytest.param("digits", 6, 0.33, 4, marks=pytest.mark.slow),
    ],
)
def test_fixed_weight_activates_the_predicted_units(
    request, data, latent_dim, s, n_active
):
    """Oracle 2."""
    X = request.getfixturevalue(data)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    assert (eigenvalues[:latent_dim] > s).sum() == n_active
    vae = trained_linear_vae(X, latent_dim, kld_weight=2 * s / X.shape[1])
    assert active_units(vae, X) == n_active
    kl = np.sort(kl_per_unit(vae, X))[::-1]
    expected = np.log(eigenvalues[:n_active] / s) / 2
    np.testing.assert_allclose(kl[:n_active], expected, rtol=0.03)
    assert (kl[n_active:] < 0.01).all()
    left = s**2 / eigenvalues[:n_active]
    error = left.sum() + eigenvalues[n_active:].sum()
    assert vae.reconstruction_error(X).sum() / len(X) * X.shape[1] == pytest.approx(
        error, rel=0.01
    )
    sampled = s * n_active + eigenvalues[n_active:].sum()
    assert sampled_error(vae, X) == pytest.approx(sampled, rel=0.01)


@pytest.mark.parametrize("kld_weight", ["auto", 0.05])
def test_the_start_is_the_optimum_of_the_linear_model(breast_cancer, kld_weight):
    """One step at no learning rate to speak of: what scores is the closed form."""
    X = breast_cancer
    vae = VAETransformer(
        8,
        kld_weight=kld_weight,
        lr=1e-12,
        max_epochs=1,
        early_stopping=False,
        random_state=0,
        likelihood="gaussian",
    ).fit(X)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    if kld_weight == "auto":
        assert vae.score(X) == pytest.approx(PCA(8).fit(X).score(X), abs=0.02)
        s = eigenvalues[8:].mean()
    else:
        s = kld_weight * X.shape[1] / 2
    expected = np.log(np.maximum(eigenvalues[:8] / s, 1.0)) / 2
    np.testing.assert_allclose(kl_per_unit(vae, X), expected, atol=1e-3)
