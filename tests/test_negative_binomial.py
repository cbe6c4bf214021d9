import itertools
import math

import numpy as np
import pytest
import torch
from _kinds import (
    DTYPES,
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    gradients_of,
    make,
    mask_for,
    raw_for,
    target_for,
)
from scipy import stats
from torch.distributions import NegativeBinomial as TorchNB

from skvae._likelihoods.negative_binomial import PACE, NegativeBinomial


def with_r(r, n_features=None, dtype=torch.float64):
    """One with these inverse dispersions."""
    r = np.broadcast_to(r, n_features or np.shape(r))
    likelihood = NegativeBinomial(len(r)).to(dtype)
    with torch.no_grad():
        likelihood.theta.copy_(torch.from_numpy(np.log(r) / PACE))
    return likelihood


R = [0.1, 0.7, 2.0, 10.0, 300.0]


def masses(r, raw, x):
    """-ln p by scipy, elementwise."""
    return -stats.nbinom(r, r / (r + np.exp(raw))).logpmf(x)


def test_the_mass_is_scipy_s_and_torch_s():
    likelihood = with_r(R)
    raw, x = raw_for(likelihood), target_for(likelihood)
    expected = masses(np.array(R), raw.numpy(), x.numpy()).sum(axis=1)
    found = likelihood.nll(raw, x).detach()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    r = torch.tensor(R).double()
    logits = raw - r.log()
    other = -TorchNB(r, logits=logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(found, other, rtol=1e-5, atol=0.0)


EXTREMES = list(
    itertools.product([1e-4, 1.0, 1e6], [-40.0, 0.0, 13.8, 40.0], [0.0, 1.0, 1e6])
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("r", "raw", "count"), EXTREMES)
def test_extremes(dtype, r, raw, count):
    """To the rounding of the log-gammas, which is all that float32 has of a million."""
    likelihood = with_r(np.array([r]), dtype=dtype)
    r = likelihood.log_r.detach().double().exp().numpy()  # as float32 has it
    raw, x = (torch.tensor([[v]], dtype=dtype) for v in (raw, count))
    found = likelihood.nll(raw, x).item()
    # By another way than scipy's, whose p would be rounded to 1.
    t = raw.double().numpy() - np.log(r)
    size = r * np.logaddexp(0.0, t) + count * np.logaddexp(0.0, -t)
    of_count = math.lgamma(r[0]) - math.lgamma(count + r[0]) + math.lgamma(count + 1.0)
    expected = (size + of_count).item()
    rounding = 4.0 * torch.finfo(dtype).eps * (abs(of_count) + size.item())
    assert abs(found - expected) <= 1e-5 * abs(expected) + rounding
    loss, gradient, (own,) = gradients_of(likelihood, raw, x)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(own).all()


def test_all_counts_have_a_probability_of_1_together():
    likelihood = with_r([0.5, 3.0])
    x = torch.tensor(list(itertools.product(range(120), repeat=2))).double()
    raw = torch.tensor([[0.0, 1.0]]).double().expand(len(x), -1)
    assert torch.exp(-likelihood.nll(raw, x)).sum().item() == pytest.approx(1.0)


def test_masks_hide():
    likelihood = with_r(R)
    with torch.no_grad():
        assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients():
    likelihood = with_r(R)
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_dispersions_have_the_gradient_of_differences():
    likelihood = with_r(R)
    raw, x = raw_for(likelihood), target_for(likelihood)
    *_, (own,) = gradients_of(likelihood, raw, x)

    def loss(theta):
        with torch.no_grad():
            likelihood.theta.copy_(theta)
        return likelihood.loss(raw, x).item()

    theta, step = likelihood.theta.detach().clone(), 1e-5
    for j in range(5):
        off = step * torch.eye(5, dtype=torch.float64)[j]
        slope = (loss(theta + off) - loss(theta - off)) / (2.0 * step)
        assert own[j].item() == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_large_inverse_dispersions_do_not_learn_from_rounding():
    """Of Poisson counts, where r hardly matters and digammas are alike."""
    exact, rounded = with_r(1e5, 3), with_r(1e5, 3, torch.float32)
    rng = np.random.RandomState(0)
    x = torch.from_numpy(rng.poisson(5.0, (400, 3)) * 1.0)
    raw = torch.full_like(x, math.log(5.0))
    *_, (expected,) = gradients_of(exact, raw, x)
    *_, (found,) = gradients_of(rounded, raw.float(), x.float())
    # A gradient of 1e-5, where digammas in float32 are off by 0.1.
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("r", [0.2, 1.0, 50.0])
def test_training_finds_the_dispersion(r):
    likelihood = with_r(3.0, 1, torch.float32)
    rng = np.random.RandomState(0)
    rates = 4.0 * rng.gamma(r, 1.0 / r, (20_000, 1))
    x = torch.from_numpy(rng.poisson(rates)).float()
    likelihood.theta.grad = torch.zeros(1)
    optimiser = torch.optim.Adam([likelihood.theta], lr=0.02)
    for rows in x.split(200):
        likelihood.loss_and_grad(torch.full_like(rows, math.log(4.0)), rows)
        optimiser.step()
    found = likelihood.log_r.exp().item()
    assert found == pytest.approx(r, rel=0.5 if r == 50.0 else 0.15)


def test_dispersions_begin_at_those_of_the_moments():
    rng = np.random.RandomState(0)
    size = rng.uniform(0.5, 2.0, 20_000)
    r = np.array([0.2, 2.0])
    rates = size[:, None] * rng.gamma(r, 1.0 / r, (20_000, 2))
    X = rng.poisson(3.0 * rates) * 1.0
    likelihood = NegativeBinomial(2)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X, size)
    # twice: a code will explain some of it
    np.testing.assert_allclose(likelihood.log_r.exp().detach(), 2.0 * r, rtol=0.1)


def test_samples_are_counts_with_its_moments():
    r = np.array([0.5, 2.0, 100.0])
    likelihood = with_r(r)
    raw = torch.tensor([[0.0, 1.0, 3.0]]).double()
    many = raw.expand(100_000, -1).clone()
    drawn = likelihood.sample(many, np.random.RandomState(0)).numpy()
    assert (drawn == np.floor(drawn)).all()
    mean = likelihood.mean(raw.clone()).numpy()[0]
    np.testing.assert_allclose(drawn.mean(axis=0), mean, rtol=0.03)
    np.testing.assert_allclose(drawn.var(axis=0), mean + mean**2 / r, rtol=0.05)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("r", [1e-4, 1.0, 1e6])
def test_deviance_is_0_at_a_perfect_mean(dtype, r):
    x = torch.tensor([[1.0, 7.0, 1e6, 3e4]], dtype=dtype)
    likelihood = with_r(r, 4, dtype)
    assert likelihood.deviance(x.log(), x).max() < 1e-5
    off = likelihood.deviance(x.log() + 0.5, x)
    assert (off > 0.0).all()
    none = likelihood.deviance(x.log(), torch.zeros_like(x)).double().numpy()
    r = likelihood.log_r.detach().double().exp().numpy()
    expected = 2.0 * r * np.log1p(x.double().numpy() / r)
    np.testing.assert_allclose(none, expected, rtol=1e-5)


def test_the_metric_is_fisher_s_information():
    likelihood = with_r(R)
    raw = raw_for(likelihood, n=1)
    many = raw.expand(100_000, -1).clone()
    x = likelihood.sample(many, np.random.RandomState(0))
    share = torch.sigmoid(raw - likelihood.log_r.detach())
    score = share * (likelihood.log_r.detach().exp() + x) - x
    metric = likelihood.output_metric(raw)
    squares = score.square().mean(dim=0)
    torch.testing.assert_close(squares[None], metric, rtol=0.05, atol=0.0)


def test_it_is_poisson_s_where_the_inverse_dispersion_is_large():
    likelihood, poisson = with_r(1e6, 5), make("poisson")
    raw, x = raw_for(poisson), target_for(poisson)
    found = likelihood.nll(raw, x).detach()
    torch.testing.assert_close(found, poisson.nll(raw, x), rtol=1e-4, atol=0.0)
