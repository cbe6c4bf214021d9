import numpy as np
import pytest
import torch
from _make import elbo, minibatch

from skvae._likelihoods.gaussian import NOISE_FLOOR
from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import kl_per_row, kl_to_standard_normal
from skvae._objectives.schedules import linear


@pytest.fixture
def module():
    return VAE(5, 2, hidden_dims=(8,), seed=0).eval()


@pytest.fixture
def x():
    return torch.randn(32, 5, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_loss_is_error_plus_weighted_kl():
    fixed = elbo(5, 0.25)
    assert fixed(torch.tensor([2.0, 4.0])).item() == 3.0
    fitted = elbo(5, None, 0.5)
    assert fitted.full_weight.item() == pytest.approx(2 * 0.5 / 5)


def test_noise_follows_the_error_down_to_the_floor():
    criterion = elbo(5, None)
    for _ in range(500):
        criterion.update_running_stats(torch.tensor([0.3, 1.0]))
    assert criterion.likelihood.running_noise.item() == pytest.approx(0.3, rel=1e-3)
    for _ in range(500):
        criterion.update_running_stats(torch.tensor([0.0, 1.0]))
    assert criterion.likelihood.running_noise.item() == pytest.approx(NOISE_FLOOR)


def test_terms_are_those_of_the_objective(module, x):
    error, kl = elbo(5, None).terms(module, minibatch(x), generator())
    mean, log_var = module.encode(x)
    assert kl.item() == pytest.approx(kl_per_row(mean, log_var).mean().item())
    noise = torch.empty_like(mean).normal_(generator=generator())
    z = mean + (log_var / 2).exp() * noise
    expected = (module.decode(z) - x).square().mean()
    assert error.item() == pytest.approx(expected.item(), rel=1e-5)


def test_schedule_scales_the_weight_but_not_the_full_loss():
    criterion = elbo(5, 0.5, schedule=lambda p: linear(p, 0.5))
    terms = torch.tensor([1.0, 2.0])
    assert criterion(terms).item() == 2.0
    for progress, weight in ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 0.5)):
        criterion.set_progress(progress)
        assert criterion(terms).item() == 1.0 + 2.0 * weight
        assert criterion.full_loss(terms).item() == 2.0
        assert criterion.recorded_weights() == {"kld_weight": pytest.approx(weight)}


def test_free_bits_are_paid_whether_used_or_not(module, x):
    criterion = elbo(5, 0.5, free_bits=0.2)
    names = [term.name for term in criterion.loss_terms]
    assert names == ["recon_loss", "kl_loss", "free_bits_loss"]
    error, kl, paid = criterion.terms(module, minibatch(x), generator())
    mean, log_var = module.encode(x)
    per_unit = kl_to_standard_normal(mean, log_var).mean(dim=0)
    assert kl.item() == pytest.approx(per_unit.sum().item())
    assert paid.item() == pytest.approx(per_unit.clamp(min=0.2).sum().item())
    assert paid > kl
    assert criterion(torch.stack([error, kl, paid])) == error + 0.5 * paid


def test_free_units_have_no_gradient(module, x):
    criterion = elbo(5, 0.5, free_bits=1e6)
    terms = criterion.terms(module, minibatch(x), generator())
    gradient = torch.autograd.grad(terms[2], module.encoder.mean.weight)[0]
    assert (gradient == 0).all()


def test_objective_is_minus_the_elbo_where_the_noise_is_fitted():
    terms = torch.tensor([0.2, 3.0])
    fitted = elbo(10, None)
    assert fitted.objective(terms) == pytest.approx(-fitted.elbo(terms))
    fixed = elbo(10, 0.1)
    constant = 5 * (np.log(2 * np.pi) + 1)
    assert fixed.objective(terms) == pytest.approx(5 * np.log(0.2 + 0.3) + constant)
    assert fixed.elbo(terms) == pytest.approx(fitted.elbo(terms))


def test_beta_multiplies_the_weight_that_is_fitted():
    terms = torch.tensor([0.2, 3.0])
    one, four = elbo(10, None, 0.5), elbo(10, None, 0.5, beta=4.0)
    assert four.full_weight.item() == pytest.approx(4 * one.full_weight.item())
    # in nats: the best noise for the error, and four times the KL
    assert four.objective(terms) == pytest.approx(one.objective(terms) + 3 * 3.0)
    assert four.elbo(terms) == one.elbo(terms)


def test_weights_are_recorded_in_units_of_X():
    criterion = elbo(5, 0.25)
    criterion.likelihood.fit_inputs(np.zeros(5), np.full(5, 100.0))
    assert criterion.recorded_weights() == {"kld_weight": pytest.approx(25.0)}
    assert criterion.loss_terms[0] == ("recon_loss", 2)
