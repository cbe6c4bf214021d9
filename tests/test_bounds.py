import math

import pytest
import torch

from skvae._evaluation import bounds as module_under_test
from skvae._evaluation.bounds import (
    MAX_PAIRS,
    MIN_PAIRS,
    Cubature,
    cubature,
    decoder_gain,
    importance_weighted_bound,
    in_nats,
    linear_error_and_kl,
)
from skvae._linear.linear_vae import LinearVAE
from skvae._nn.autoencoder import VAE


@pytest.fixture
def linear():
    """x = W z + noise, with its exact posterior: the bound must be the likelihood."""
    generator = torch.Generator().manual_seed(0)
    W = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))[0]
    W = W * torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    module = VAE(6, 3, linear_path=True).double().eval()
    variance = 1 / (1 + W.square().sum(dim=0) / 0.3)
    module.set_linear_path(variance[:, None] * W.T / 0.3, W)
    module.set_posterior_variance(variance.log())
    x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    covariance = W @ W.T + 0.3 * torch.eye(6, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(6, dtype=torch.float64), covariance
    )
    return module, W, x, exact.log_prob(x)


@pytest.mark.parametrize("latent_dim", [1, 3, 16, 20, 32, 64, 65, 300])
def test_cubature_has_the_moments_of_a_standard_normal(latent_dim):
    points = cubature(latent_dim)
    assert MIN_PAIRS <= len(points) <= MAX_PAIRS
    assert torch.equal(points, cubature(latent_dim))
    second = points.T @ points / len(points)
    if latent_dim <= len(points):
        identity = torch.eye(latent_dim, dtype=points.dtype)
        torch.testing.assert_close(second, identity)
    else:
        norms = points.square().sum(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, latent_dim))


def test_elbo_of_a_linear_model_is_its_likelihood(linear):
    module, _, x, exact = linear
    terms = in_nats(*Cubature(module).error_and_kl(x), 0.3, 6)
    torch.testing.assert_close(terms.elbo, exact, atol=1e-9, rtol=0)


@pytest.mark.parametrize("linear_path", [False, True])
def test_distortion_is_the_mean_over_decoded_points(linear_path):
    module = VAE(30, 3, hidden_dims=(7,), linear_path=linear_path).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    x = torch.randn(5, 30, dtype=torch.float64)
    points = cubature(3)
    error, _ = Cubature(module).error_and_kl(x)
    mean, log_var = module.encode(x)
    scale = (0.5 * log_var).exp()
    decoded = [
        (module.decode(mean + s * p * scale) - x).square().sum(dim=1)
        for p in points
        for s in (1, -1)
    ]
    torch.testing.assert_close(error, torch.stack(decoded).mean(dim=0))


def test_importance_weighted_bound_of_a_linear_model_is_its_likelihood(linear):
    module, _, x, exact = linear
    noise = torch.randn(5, 20, 3, dtype=torch.float64)
    bound = importance_weighted_bound(module, x, 0.3, noise)
    torch.testing.assert_close(bound, exact, atol=1e-9, rtol=0)


def test_closed_form_of_a_linear_model_is_its_cubature(linear):
    module, W, x, _ = linear
    encode, log_var = module.encoder.linear.weight.T, module.encode(x).log_var[0]
    parts = (encode.detach().numpy(), log_var.detach().numpy(), W.numpy())
    closed = linear_error_and_kl(LinearVAE(*parts, 0.3), x)
    torch.testing.assert_close(closed, Cubature(module).error_and_kl(x))


def test_importance_weighted_bound_tightens(linear):
    """With a posterior that is wrong, the more samples the closer to the likelihood."""
    module, _, x, exact = linear
    with torch.no_grad():
        module.encoder.linear_log_var += 1.0
    generator = torch.Generator().manual_seed(1)
    gaps = []
    for n_samples in (1, 8, 512):
        noise = torch.randn(n_samples, 20, 3, generator=generator, dtype=torch.float64)
        bound = importance_weighted_bound(module, x, 0.3, noise)
        gaps.append((exact - bound).mean().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0.0, abs=0.05)


def test_gain_of_a_linear_decoder_is_the_length_of_its_columns(linear):
    module, W, x, _ = linear
    gain = decoder_gain(module, module.encode(x).mean)
    expected = W.square().sum(dim=0).sqrt()
    torch.testing.assert_close(gain, expected)
    assert math.isclose(gain[0].item(), 2.0, rel_tol=1e-6)


def test_gain_is_the_mean_over_all_rows_whatever_is_taken_at_once(monkeypatch):
    """Against a decoder's changes, unit by unit, row by row and entry by entry."""
    module = VAE(30, 5, hidden_dims=(7,), linear_path=False, seed=1).double().eval()
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    step = module_under_test.GAIN_STEP
    expected = []
    for unit in torch.eye(5, dtype=torch.float64):
        change = module.decode(mean + step * unit) - module.decode(mean - step * unit)
        expected.append((change / (2 * step)).square().sum(dim=1).mean().sqrt())
    for n_rows in (1, 8, 2048):
        monkeypatch.setattr(module_under_test, "EMBEDDED_ROWS", n_rows)
        gain = decoder_gain(module, mean)
        torch.testing.assert_close(gain, torch.stack(expected).detach())


@pytest.mark.parametrize("block", [1, 3, 7, 256])
def test_gram_is_the_whole_product(monkeypatch, block):
    monkeypatch.setattr(module_under_test, "GRAM_BLOCK", block)
    a = torch.randn(30, 7, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(module_under_test._gram(a), a.T @ a)
