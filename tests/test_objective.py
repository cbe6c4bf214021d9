import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from skvae._objective import (
    calibrated_elbo,
    draw_posterior,
    gaussian_log_likelihood,
    kl_per_row,
    kl_to_standard_normal,
    mix_terms,
    noise_of_weight,
    weight_of_noise,
)


@pytest.fixture
def posterior():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return mean, torch.randn(5, 3, generator=generator, dtype=torch.float64)


def test_kl_is_that_of_torch_distributions(posterior):
    mean, log_var = posterior
    expected = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_var), expected)
    torch.testing.assert_close(kl_per_row(mean, log_var), expected.sum(dim=1))


def test_draws_have_the_posterior_s_moments(posterior):
    mean, log_var = posterior[0][0], posterior[1][0]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    z = draw_posterior(mean, log_var, noise)
    torch.testing.assert_close(z.mean(dim=0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(dim=0).log(), log_var, atol=0.02, rtol=0)


def test_log_likelihood_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    error = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    expected = Normal(0.0, math.sqrt(0.3)).log_prob(error).sum(dim=1)
    value = gaussian_log_likelihood(error.square().sum(dim=1), 0.3, 7)
    torch.testing.assert_close(value, expected)


def test_calibrated_variance_is_optimal():
    """Oracle: at the optimum the distortion is D/2 (ln(2 pi MSE) + 1)."""
    best = calibrated_elbo(0.2, 3.0, 10, floor=1e-9)
    assert best == pytest.approx(-5.0 * (math.log(2 * math.pi * 0.2) + 1.0) - 3.0)
    for variance in (0.19, 0.21):
        squared_error = torch.tensor(10 * 0.2)
        other = gaussian_log_likelihood(squared_error, variance, 10).item() - 3.0
        assert other < best
    assert calibrated_elbo(0.2, 3.0, 10, floor=0.5) < best


def test_weight_and_noise_are_inverse():
    assert noise_of_weight(weight_of_noise(0.37, 28), 28) == pytest.approx(0.37)


def test_mixture_is_the_log_of_the_mixed_densities():
    generator = torch.Generator().manual_seed(0)
    terms = torch.randn(2, 9, generator=generator, dtype=torch.float64) * 20
    others = torch.randn(2, 9, generator=generator, dtype=torch.float64) * 20
    distortion, rate = mix_terms(tuple(terms), tuple(others), 0.01)
    expected = torch.logaddexp(
        math.log(0.99) - terms.sum(dim=0), math.log(0.01) - others.sum(dim=0)
    )
    torch.testing.assert_close(-distortion - rate, expected)


def test_mixture_follows_the_better_model():
    terms = torch.tensor([[5.0, 1.0, 1e7], [2.0, 2.0, 2.0]], dtype=torch.float64)
    others = torch.tensor([[1e7, 1.0, 5.0], [3.0, 2.0, 1.0]], dtype=torch.float64)
    distortion, rate = mix_terms(tuple(terms), tuple(others), 0.01)
    torch.testing.assert_close(distortion, terms[0].minimum(others[0]))
    # The rate has the choice in it: 0 nats where it is the prior's, -ln of it if sure.
    expected = [2.0 - math.log(0.99), 2.0, 1.0 - math.log(0.01)]
    torch.testing.assert_close(rate, rate.new_tensor(expected))
