import math

import numpy as np
import pytest
import torch
from _make import gaussian, minibatch

from skvae._evaluation import bounds as module_under_test
from skvae._evaluation.bounds import (
    MAX_PAIRS,
    MIN_PAIRS,
    cubature,
    decoder_gain,
)
from skvae._evaluation.evaluator import Density
from skvae._evaluation.importance import importance_weighted_bound
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
        assert_moments_of_few(points, second)


@pytest.mark.parametrize("design", [0, 1])
@pytest.mark.parametrize("n_pairs", [1, 2, 3, 6])
def test_cubature_of_few_pairs_keeps_the_terms_of_single_units(n_pairs, design):
    points = cubature(7, n_pairs, design)
    assert points.shape == (n_pairs, 7)
    assert not torch.equal(points, cubature(7, n_pairs, design + 1))
    assert_moments_of_few(points, points.T @ points / n_pairs)


def assert_moments_of_few(points, second):
    """Variances of 1; no correlation but of units that share a column, which is 1."""
    n_pairs, latent_dim = points.shape
    turns = torch.arange(latent_dim) % n_pairs
    shared = (turns[:, None] == turns).to(second)
    torch.testing.assert_close(second.abs(), shared)


def test_elbo_of_a_linear_model_is_its_likelihood(linear):
    module, _, x, exact = linear
    density = Density(module, gaussian(6, 0.3))
    found = density.evaluation(density.evaluate()(minibatch(x)).numpy())
    np.testing.assert_allclose(found.elbo, exact, atol=1e-9, rtol=0)


def test_importance_weighted_bound_of_a_linear_model_is_its_likelihood(linear):
    module, _, x, exact = linear
    noise = torch.randn(5, 20, 3, dtype=torch.float64)
    bound = importance_weighted_bound(module, gaussian(6, 0.3), minibatch(x), [noise])
    torch.testing.assert_close(bound, exact, atol=1e-9, rtol=0)


def test_importance_weighted_bound_tightens(linear):
    """With a posterior that is wrong, the more samples the closer to the likelihood."""
    module, _, x, exact = linear
    with torch.no_grad():
        module.encoder.linear_log_var += 1.0
    generator = torch.Generator().manual_seed(1)
    gaps = []
    for n_samples in (1, 8, 512):
        noise = torch.randn(n_samples, 20, 3, generator=generator, dtype=torch.float64)
        bound = importance_weighted_bound(
            module, gaussian(6, 0.3), minibatch(x), [noise]
        )
        gaps.append((exact - bound).mean().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0.0, abs=0.05)


def test_gain_of_a_linear_decoder_is_the_length_of_its_columns(linear):
    module, W, x, _ = linear
    gain = decoder_gain(module, gaussian(6), module.encode(x).mean)
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
        gain = decoder_gain(module, gaussian(30), mean)
        torch.testing.assert_close(gain, torch.stack(expected).detach())


def test_gain_in_a_metric_of_the_outputs():
    """Weights of outputs are those of squared changes, row by row."""
    module = VAE(8, 2, hidden_dims=(7,), seed=1).double().eval()
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 2, generator=generator, dtype=torch.float64)

    class Weighted(type(gaussian(8))):
        def output_metric(self, raw):
            return torch.ones_like(raw) * self.weights

    likelihood = Weighted(8)
    likelihood.weights = torch.ones(5, 8, dtype=torch.float64)
    plain = decoder_gain(module, gaussian(8), mean)
    torch.testing.assert_close(decoder_gain(module, likelihood, mean), plain)
    likelihood.weights[1:] = 0.0
    alone = decoder_gain(module, gaussian(8), mean[:1]) / math.sqrt(5)
    torch.testing.assert_close(decoder_gain(module, likelihood, mean), alone)
