import pytest
import torch
from torch.distributions import Normal, kl_divergence

from skvae._nn.posterior import draw_posterior, kl_per_row, kl_to_standard_normal


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
