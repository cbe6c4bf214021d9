import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from skvae._objectives.elbo import (
    RowTerms,
    calibrated_elbo,
    draw_posterior,
    gaussian_log_likelihood,
    kl_per_row,
    kl_to_standard_normal,
    mixed,
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


def row_terms(distortion, *kl):
    kl = torch.stack([torch.as_tensor(part, dtype=torch.float64) for part in kl], dim=1)
    distortion = torch.as_tensor(distortion, dtype=torch.float64)
    return RowTerms(distortion, kl, torch.zeros_like(distortion))


def test_mixture_is_the_log_of_the_mixed_densities():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(6, 9, generator=generator, dtype=torch.float64) * 20
    terms, others = row_terms(*draws[:3]), row_terms(*draws[3:])
    expected = torch.logaddexp(
        math.log(0.99) + terms.elbo, math.log(0.01) + others.elbo
    )
    torch.testing.assert_close(mixed(terms, others, 0.01).elbo, expected)


def test_mixture_follows_the_better_model():
    terms = row_terms([5.0, 1.0, 1e7], [1.5, 1.5, 1.5], [0.5, 0.5, 0.5])
    others = row_terms([1e7, 1.0, 5.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0])
    found = mixed(terms, others, 0.01)
    best = terms.distortion.minimum(others.distortion)
    torch.testing.assert_close(found.distortion, best)
    torch.testing.assert_close(found.kl[[0, 2]].sum(dim=1), best.new_tensor([2.0, 1.0]))
    # 0 nats where the choice is the prior's, -ln of it if sure
    expected = [-math.log(0.99), 0.0, -math.log(0.01)]
    torch.testing.assert_close(found.choice, best.new_tensor(expected))
