import itertools

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
from torch.distributions import Multinomial as TorchMultinomial

from skvae._data.covariates import Covariates
from skvae._likelihoods.multinomial import Multinomial


@pytest.fixture
def likelihood():
    return make("multinomial")


def test_the_mass_is_scipy_s_and_torch_s(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    found = likelihood.nll(raw, x)
    total = x.sum(dim=1).numpy().astype(int)
    p = torch.softmax(raw, dim=1).numpy()
    expected = -stats.multinomial(total, p).logpmf(x.numpy())
    np.testing.assert_allclose(found.numpy(), expected)
    other = -TorchMultinomial(1, logits=raw, validate_args=False).log_prob(x)
    torch.testing.assert_close(found, other)


def test_a_size_changes_nothing(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    torch.testing.assert_close(likelihood.nll(raw + 7.0, x), likelihood.nll(raw, x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes(dtype):
    """Two columns are a binomial, to the rounding of a million's logarithms."""
    cases = itertools.product([-40.0, 0.0, 13.8, 40.0], [0.0, 1.0, 1e6], [0.0, 3.0])
    level, first, second = np.array(list(cases)).T
    raw = torch.tensor(np.stack([level, 0.0 * level], axis=1), dtype=dtype)
    x = torch.tensor(np.stack([first, second], axis=1), dtype=dtype)
    level = raw[:, 0].double().numpy()
    log_p, log_q = -np.logaddexp(0.0, -level), -np.logaddexp(0.0, level)
    choices = stats.binom(first + second, 0.5).logpmf(first)
    choices += (first + second) * np.log(2.0)
    expected = -(choices + first * log_p + second * log_q)
    found = Multinomial(2).to(dtype).nll(raw, x).double().numpy()
    size = first * np.maximum(-log_p, 1.0) + second * np.maximum(-log_q, 1.0)
    rounding = 4.0 * torch.finfo(dtype).eps * size
    assert (np.abs(found - expected) <= 1e-5 * np.abs(expected) + rounding).all()
    loss, gradient, _ = gradients_of(Multinomial(2).to(dtype), raw, x)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_tables_of_a_total_have_a_probability_of_1_together(likelihood):
    total, raw = 4, raw_for(Multinomial(3), n=1)
    every = itertools.product(range(total + 1), repeat=3)
    x = torch.tensor([row for row in every if sum(row) == total]).double()
    nll = Multinomial(3).nll(raw.expand(len(x), -1), x)
    assert torch.exp(-nll).sum().item() == pytest.approx(1.0)


def test_masks_hide(likelihood):
    """Those that were seen are a multinomial of their own."""
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_masks_hide(likelihood, raw, x)
    some = torch.tensor([True, True, False, True, False])
    found = likelihood.nll(raw, x, some.expand(6, -1))
    expected = Multinomial(3).nll(raw[:, some], x[:, some])
    torch.testing.assert_close(found, expected)


def test_gradients(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_samples_are_counts_of_the_total_with_the_mean(likelihood):
    raw = raw_for(likelihood, n=1)
    totals = torch.tensor([[0.0], [1.0], [12.0]]).double().repeat(10_000, 1)
    given = Covariates(None, totals.clamp(min=1e-8).log())
    many = raw.expand(30_000, -1).clone()
    drawn = likelihood.sample(many, np.random.RandomState(0), given)
    assert torch.equal(drawn.sum(dim=1, keepdim=True), totals)
    mean = likelihood.mean(raw.expand(30_000, -1).clone(), given)
    torch.testing.assert_close(
        drawn[2::3].mean(dim=0), mean[2], rtol=0.05, atol=0.0, check_dtype=False
    )
    torch.testing.assert_close(mean.sum(dim=1, keepdim=True), totals, atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_deviance_is_0_at_perfect_shares(dtype):
    likelihood = Multinomial(4).to(dtype)
    x = torch.tensor([[1.0, 7.0, 1e6, 3e4], [0.0, 0.0, 0.0, 0.0]], dtype=dtype)
    raw = x.clamp(min=1.0).log()
    assert likelihood.deviance(raw, x).max() < 1e-5
    off = raw + torch.tensor([0.5, 0.0, -0.5, 1.0], dtype=dtype)
    found = likelihood.deviance(off, x).double()
    assert (found >= 0.0).all()
    exact = Multinomial(4).double()
    above = exact.nll(off.double(), x.double()) - exact.nll(raw.double(), x.double())
    torch.testing.assert_close(found.sum(dim=1), 2.0 * above, rtol=1e-4, atol=1e-6)


def test_the_metric_is_fisher_s_information_but_for_the_common_change(likelihood):
    X = np.full((11, 5), 4.0)  # a usual total of 20
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X, X.sum(axis=1))
    raw = raw_for(likelihood, n=1)
    metric = likelihood.output_metric(raw)[0]
    p = torch.softmax(raw, dim=1)[0]
    given = Covariates(None, torch.full((40_000, 1), np.log(20.0)).double())
    many = raw.expand(40_000, -1).clone()
    x = likelihood.sample(many, np.random.RandomState(0), given)
    score = x - 20.0 * p
    squares = score.square().mean(dim=0)
    torch.testing.assert_close(squares, metric * (1.0 - p), rtol=0.05, atol=0.0)
