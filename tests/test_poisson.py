import itertools

import numpy as np
import pytest
import torch
from _kinds import (
    DTYPES,
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    make,
    mask_for,
    raw_for,
    target_for,
)
from scipy import stats

from skvae._likelihoods.poisson import Poisson


@pytest.fixture
def likelihood():
    return make("poisson")


def test_the_mass_is_scipy_s(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    expected = -stats.poisson(raw.exp().numpy()).logpmf(x.numpy()).sum(axis=1)
    np.testing.assert_allclose(likelihood.nll(raw, x).numpy(), expected)


EXTREMES = torch.tensor(
    list(itertools.product([-40.0, 0.0, 13.8, 40.0], [0.0, 1.0, 1e6]))
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes(dtype):
    """To the rounding of ln x!, which is all that float32 has of a million."""
    raw, x = (part[:, None].to(dtype) for part in EXTREMES.T)
    found = Poisson(1).to(dtype).nll(raw, x).double().numpy()
    raw, x = (part.double().numpy().ravel() for part in (raw, x))
    expected = -stats.poisson(np.exp(raw)).logpmf(x)
    rounding = 4.0 * torch.finfo(dtype).eps * (x * np.log(np.maximum(x, 1.0)) + 1e-30)
    assert (np.abs(found - expected) <= 1e-5 * np.abs(expected) + rounding).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rates_beyond_all_counts_overflow_nowhere(dtype):
    likelihood = Poisson(1).to(dtype)
    raw = torch.tensor([[80.0], [1e4]], dtype=dtype)
    x = torch.tensor([[0.0], [1e6]], dtype=dtype)
    loss, gradient = likelihood.loss_and_grad(raw.clone(), x)
    assert torch.isfinite(loss)
    assert (gradient == 0.0).all()  # not followed
    assert torch.isfinite(likelihood.nll(raw, x)).all()
    assert torch.isfinite(likelihood.deviance(raw.clone(), x)).all()
    assert torch.isfinite(likelihood.mean(raw.clone())).all()
    drawn = likelihood.sample(raw.clone(), np.random.RandomState(0))
    assert torch.isfinite(drawn).all()


def test_all_counts_have_a_probability_of_1_together():
    raw = torch.tensor([[0.0, 1.0]]).double()
    x = torch.tensor(list(itertools.product(range(30), repeat=2))).double()
    nll = Poisson(2).nll(raw.expand(len(x), -1), x)
    assert torch.exp(-nll).sum().item() == pytest.approx(1.0)


def test_masks_hide(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_samples_are_counts_with_its_moments():
    likelihood = Poisson(3)
    raw = torch.tensor([[-2.0, 0.0, 3.0]])
    many = raw.expand(40_000, -1).clone()
    drawn = likelihood.sample(many, np.random.RandomState(0)).numpy()
    assert (drawn == np.floor(drawn)).all()
    mean = likelihood.mean(raw.clone()).numpy()[0]
    np.testing.assert_allclose(drawn.mean(axis=0), mean, rtol=0.03)
    np.testing.assert_allclose(drawn.var(axis=0), mean, rtol=0.04)


@pytest.mark.parametrize("dtype", DTYPES)
def test_deviance_is_0_at_a_perfect_mean(dtype):
    x = torch.tensor([[1.0, 7.0, 1e6, 3e4]], dtype=dtype)
    likelihood = Poisson(4).to(dtype)
    assert likelihood.deviance(x.log(), x).max() < 1e-5
    off = likelihood.deviance(x.log() + 0.5, x)
    twice = 2.0 * (likelihood.nll(x.log() + 0.5, x) - likelihood.nll(x.log(), x))
    torch.testing.assert_close(
        off.sum(dim=1), twice, rtol=1e-4, atol=0.0, check_dtype=False
    )
    none = likelihood.deviance(x.log(), torch.zeros_like(x))
    torch.testing.assert_close(none, 2.0 * x)


def test_the_metric_is_fisher_s_information(likelihood):
    raw = raw_for(likelihood, n=1)
    many = raw.expand(40_000, -1).clone()
    x = likelihood.sample(many, np.random.RandomState(0))
    squares = (raw.exp() - x).square().mean(dim=0)
    metric = likelihood.output_metric(raw.clone())
    torch.testing.assert_close(squares[None], metric, rtol=0.05, atol=0.0)
