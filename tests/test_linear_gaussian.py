import numpy as np
import pytest
import torch
from _make import gaussian, minibatch
from sklearn.decomposition import PCA

from skvae._evaluation.evaluator import Density
from skvae._likelihoods.linear_model import Affine
from skvae._linear.components import Components
from skvae._linear.linear_vae import noise_of_beta, prediction_error
from skvae._nn.autoencoder import VAE

D, K = 6, 3


@pytest.fixture
def X():
    generator = np.random.RandomState(0)
    X = generator.randn(4000, K) @ generator.randn(K, D) + generator.randn(4000, D)
    return X - X.mean(axis=0)


def components_of(X, k=K):
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    order = np.argsort(-values)[:k]
    return Components(values[order], vectors[:, order].T, float(values.sum()))


def network_of(model):
    network = VAE(D, K, linear_path=True).double().eval()
    encode, log_var, decode = model.maps(torch.float64)
    network.set_linear_path(encode, decode)
    network.set_posterior_variance(log_var)
    return network


def test_its_closed_form_is_the_cubature_of_its_network(X):
    model = gaussian(D).linear_model_of(components_of(X), None)
    x = torch.from_numpy(X[:50])
    density = Density(network_of(model), gaussian(D, model.noise_variance))
    found = density.evaluation(density.evaluate()(minibatch(x)).numpy())
    nll, kl = model.expected_nll_and_kl(x)
    np.testing.assert_allclose(found.distortion, nll, rtol=1e-6)
    np.testing.assert_allclose(found.kl, kl, atol=1e-6)


def test_it_is_probabilistic_pca(X):
    model = gaussian(D).linear_model_of(components_of(X), None)
    nll, kl = model.expected_nll_and_kl(torch.from_numpy(X))
    elbo = -(nll + kl.sum(dim=1)).numpy()
    mean = np.linspace(-1.0, 1.0, D)
    likelihood = model.log_likelihood(X + mean, Affine(mean, 1.0))
    np.testing.assert_allclose(elbo, likelihood, rtol=1e-6)
    assert elbo.mean() == pytest.approx(PCA(K).fit(X).score(X), abs=1e-3)
    assert model.n_units == model.n_active == K


def test_rows_that_are_all_the_same_have_no_density():
    model = gaussian(D).linear_model_of(components_of(np.ones((9, D)), 0), None)
    assert np.isnan(
        model.log_likelihood(np.ones((4, D)), Affine(np.ones(D), 1.0))
    ).all()


def test_its_samples_have_its_covariance(X):
    model = gaussian(D).linear_model_of(components_of(X), None)
    drawn = model.sample(200_000, np.random.RandomState(0)).numpy()
    expected = PCA(K).fit(X).get_covariance()
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.1)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.05)


def test_a_weight_leaves_its_noise_to_the_rows(X):
    """The maps are the optimum of the weight, the noise what they leave."""
    likelihood = gaussian(D)
    model = likelihood.linear_model_of(components_of(X), 1.2)
    assert model.init_noise == pytest.approx(1.2 * D / 2)
    model.calibrate(torch.from_numpy(X), len(X))
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    s = model.init_noise
    active = eigenvalues > s
    left = active.sum() * s + eigenvalues[~active].sum()
    expected = left / D * prediction_error(model.n_active, len(X))
    assert model.noise_variance == pytest.approx(expected, rel=1e-5)
    assert model.n_active == active.sum()


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0, 1.5, 4.0, 50.0])
def test_the_noise_of_a_beta_is_a_fixed_point(X, beta):
    """Oracle: a draw leaves s of every active unit, and the other eigenvalues."""
    components = components_of(X)
    s = noise_of_beta(components, D, beta, 1e-9)
    active = components.eigenvalues > s
    left = active.sum() * s + components.total - components.eigenvalues[active].sum()
    assert s == pytest.approx(beta * left / D)
    likelihood = gaussian(D)
    model = likelihood.linear_model_of(components, None, beta)
    likelihood.start_from(model)
    assert likelihood.running_noise.item() == pytest.approx(s / beta)
    model.calibrate(torch.from_numpy(X), len(X))
    expected = left / D * prediction_error(active.sum(), len(X))
    assert model.noise_variance == pytest.approx(expected, rel=1e-5)


def test_a_state_of_its_size_can_be_loaded(X):
    likelihood = gaussian(D)
    model = likelihood.linear_model_of(components_of(X), 0.3)
    other = likelihood.empty_linear_model(model.n_units)
    other.load_state_dict(model.state_dict())
    x = torch.from_numpy(X[:5])
    torch.testing.assert_close(
        other.expected_nll_and_kl(x), model.expected_nll_and_kl(x)
    )
