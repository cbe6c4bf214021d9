import numpy as np
import pytest
import torch

from skvae._nn.autoencoder import VAE, Autoencoder
from skvae._objectives.criteria import NOISE_FLOOR, PenalisedError, WeightedELBO
from skvae._objectives.elbo import kl_per_row, kl_to_standard_normal
from skvae._objectives.penalties import DECODER_PENALTIES
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
    fixed = WeightedELBO(0.25, 5)
    assert fixed(torch.tensor([2.0, 4.0])).item() == 3.0
    fitted = WeightedELBO(None, 5, 0.5)
    assert fitted.full_weight.item() == pytest.approx(2 * 0.5 / 5)


def test_noise_follows_the_error_down_to_the_floor():
    criterion = WeightedELBO(None, 5)
    for _ in range(500):
        criterion.update_running_stats(torch.tensor([0.3, 1.0]))
    assert criterion.noise_variance.item() == pytest.approx(0.3, rel=1e-3)
    for _ in range(500):
        criterion.update_running_stats(torch.tensor([0.0, 1.0]))
    assert criterion.noise_variance.item() == pytest.approx(NOISE_FLOOR)


def test_terms_are_those_of_the_objective(module, x):
    error, kl = WeightedELBO(None, 5).terms(module, x, generator())
    mean, log_var = module.encode(x)
    assert kl.item() == pytest.approx(kl_per_row(mean, log_var).mean().item())
    noise = torch.empty_like(mean).normal_(generator=generator())
    z = mean + (log_var / 2).exp() * noise
    expected = (module.decode(z) - x).square().mean()
    assert error.item() == pytest.approx(expected.item(), rel=1e-5)


def test_schedule_scales_the_weight_but_not_the_full_loss():
    criterion = WeightedELBO(0.5, 5, schedule=lambda p: linear(p, 0.5))
    terms = torch.tensor([1.0, 2.0])
    assert criterion(terms).item() == 2.0
    for progress, weight in ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 0.5)):
        criterion.set_progress(progress)
        assert criterion(terms).item() == 1.0 + 2.0 * weight
        assert criterion.full_loss(terms).item() == 2.0
        assert criterion.recorded(10.0) == {"kld_weight": pytest.approx(100 * weight)}


def test_free_bits_are_paid_whether_used_or_not(module, x):
    criterion = WeightedELBO(0.5, 5, free_bits=0.2)
    assert list(criterion.powers) == ["recon_loss", "kl_loss", "free_bits_loss"]
    error, kl, paid = criterion.terms(module, x, generator())
    mean, log_var = module.encode(x)
    per_unit = kl_to_standard_normal(mean, log_var).mean(dim=0)
    assert kl.item() == pytest.approx(per_unit.sum().item())
    assert paid.item() == pytest.approx(per_unit.clamp(min=0.2).sum().item())
    assert paid > kl
    assert criterion(torch.stack([error, kl, paid])) == error + 0.5 * paid


def test_free_units_have_no_gradient(module, x):
    criterion = WeightedELBO(0.5, 5, free_bits=1e6)
    terms = criterion.terms(module, x, generator())
    gradient = torch.autograd.grad(terms[2], module.encoder.mean.weight)[0]
    assert (gradient == 0).all()


def test_objective_is_minus_the_elbo_where_the_noise_is_fitted():
    terms = torch.tensor([0.2, 3.0])
    fitted = WeightedELBO(None, 10)
    assert fitted.objective(terms) == pytest.approx(-fitted.elbo(terms))
    fixed = WeightedELBO(0.1, 10)
    assert fixed.objective(terms) == pytest.approx(5 * np.log(0.2 + 0.3))
    assert fixed.elbo(terms) == pytest.approx(fitted.elbo(terms))


@pytest.mark.parametrize("code_penalty", [None, "l1", "l2"])
@pytest.mark.parametrize("decoder_penalty", [None, *DECODER_PENALTIES])
def test_penalised_error(x, code_penalty, decoder_penalty):
    module = Autoencoder(5, 2, hidden_dims=(8,), seed=0).eval()
    criterion = PenalisedError(5, code_penalty, 0.5, decoder_penalty, 0.25)
    terms = criterion.terms(module, x, generator())
    assert len(terms) == len(criterion.powers)
    by_name = dict(zip(criterion.powers, terms, strict=True))
    expected = (module(x) - x).square().mean()
    torch.testing.assert_close(by_name["recon_loss"], expected)
    z = module.code(x)
    if code_penalty:
        length = z.abs() if code_penalty == "l1" else z.square()
        penalty = length.sum(dim=1).mean()
        torch.testing.assert_close(by_name["reg_loss"], penalty)
        expected = expected + 0.5 * penalty
    if decoder_penalty:
        expected = expected + 0.25 * by_name["decoder_loss"]
    torch.testing.assert_close(criterion(terms), expected)
    assert criterion.elbo(terms) is None
    assert criterion.objective(terms) == pytest.approx(2.5 * np.log(expected.item()))
