import pytest
import torch
from _make import elbo, gaussian, minibatch, penalised

from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import Posterior
from skvae._objectives.criterion import Criterion, antithetic_loss


def test_an_antithetic_pair_is_the_mean_of_two_draws():
    network = VAE(5, 2, hidden_dims=(8,), seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(6, k, generator=generator) for k in (5, 2))
    with torch.no_grad():
        mean, log_var = network.encode(x)
        likelihood = gaussian(5)
        found = antithetic_loss(
            likelihood, network, minibatch(x), Posterior(mean, log_var), noise
        )
        spread = (0.5 * log_var).exp() * noise
        both = [(network.decode(mean + s * spread) - x).square() for s in (1, -1)]
    torch.testing.assert_close(found, torch.stack(both).mean())


@pytest.mark.parametrize("criterion", [elbo(5), elbo(5, 0.1), penalised(5, "l1", 0.1)])
def test_the_first_term_is_the_likelihood_s_loss(criterion):
    name, exponent = criterion.loss_terms[0]
    assert name == "recon_loss"
    assert exponent == criterion.likelihood.loss_exponent == 2
    assert criterion.recorded_weights().keys() <= {"kld_weight"}


def test_a_criterion_of_no_terms_is_none():
    bare = Criterion(gaussian(5))
    for what in (lambda: bare.loss_terms, lambda: bare(torch.ones(1))):
        with pytest.raises(NotImplementedError):
            what()
    assert bare.elbo(torch.ones(2)) is None
    assert bare.single_pass
