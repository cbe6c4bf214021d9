import itertools

import numpy as np
import pytest
import torch
from _kinds import (
    DTYPES,
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    gradients_of,
    mask_for,
    raw_for,
    target_for,
)
from scipy import stats

from skvae._likelihoods.negative_binomial import PACE
from skvae._likelihoods.zinb import ZeroInflatedNegativeBinomial

R = np.array([0.3, 1.0, 2.0, 10.0, 100.0])


def with_r(r, dtype=torch.float64):
    likelihood = ZeroInflatedNegativeBinomial(len(r)).to(dtype)
    with torch.no_grad():
        likelihood.theta.copy_(torch.from_numpy(np.log(r) / PACE))
    return likelihood


@pytest.fixture
def likelihood():
    return with_r(R)


def test_the_mass_is_a_mixture_of_scipy_s(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood).numpy()
    log_mean, logit = raw.numpy()[:, :5], raw.numpy()[:, 5:]
    inflation = 1.0 / (1.0 + np.exp(-logit))
    mass = stats.nbinom(R, R / (R + np.exp(log_mean))).pmf(x)
    mass = inflation * (x == 0) + (1.0 - inflation) * mass
    found = likelihood.nll(raw, torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, -np.log(mass).sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("r", [1e-4, 1.0, 1e6])
def test_extremes(dtype, r):
    levels = [-40.0, 0.0, 40.0]
    cases = list(itertools.product(levels, levels, [0.0, 1.0, 1e6]))
    log_mean, logit, x = np.array(cases).T
    likelihood = with_r(np.array([r]), dtype)
    r = likelihood.log_r.detach().double().exp().numpy()
    raw = torch.tensor(np.stack([log_mean, logit], axis=1), dtype=dtype)
    target = torch.tensor(x[:, None], dtype=dtype)
    t = log_mean - np.log(r)
    at_zero = r * np.logaddexp(0.0, t)
    constant = likelihood.nll_constant(target).detach().double().numpy()
    counted = at_zero + x * np.logaddexp(0.0, -t)
    zero = np.logaddexp(0.0, logit) - np.logaddexp(logit, -at_zero)
    some = np.logaddexp(0.0, logit) + counted + constant
    expected = np.where(x > 0, some, zero)
    size = np.where(x > 0, np.abs(counted) + np.abs(constant), 0.0) + 40.0
    found = likelihood.nll(raw, target).detach().double().numpy()
    rounding = 4.0 * torch.finfo(dtype).eps * size
    assert (np.abs(found - expected) <= 1e-5 * np.abs(expected) + rounding).all()
    loss, gradient, (own,) = gradients_of(likelihood, raw, target)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(own).all()


def test_all_counts_have_a_probability_of_1_together():
    likelihood = with_r(np.array([0.5]))
    x = torch.arange(400).double()[:, None]
    raw = torch.tensor([[1.0, -0.5]]).double().expand(400, -1)
    assert torch.exp(-likelihood.nll(raw, x)).sum().item() == pytest.approx(1.0)


def test_masks_hide(likelihood):
    with torch.no_grad():
        assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


@pytest.mark.parametrize("n_rows", [1, 50_000])
def test_samples_are_counts_with_the_mean(likelihood, n_rows):
    """Of one row, too, whose halves are views of what may be overwritten."""
    raw = raw_for(likelihood, n=1)
    raw[:, :5] += 1.0
    expected = likelihood.mean(raw.clone()).detach().numpy()[0]
    counts = np.exp(raw.numpy()[0, :5])
    inflation = 1.0 / (1.0 + np.exp(-raw.numpy()[0, 5:]))
    np.testing.assert_allclose(expected, (1.0 - inflation) * counts)
    many = raw.repeat(n_rows, 1)
    drawn = likelihood.sample(many, np.random.RandomState(0)).numpy()
    assert drawn.shape == (n_rows, 5)
    assert (drawn == np.floor(drawn)).all()
    if n_rows > 1:
        np.testing.assert_allclose(drawn.mean(axis=0), expected, rtol=0.05)
        zeros = inflation + (1.0 - inflation) * (R / (R + counts)) ** R
        np.testing.assert_allclose((drawn == 0.0).mean(axis=0), zeros, atol=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
def test_deviance_is_0_at_a_perfect_mean_without_inflation(dtype):
    x = torch.tensor([[1.0, 7.0, 1e6, 3e4, 2.0]], dtype=dtype)
    likelihood = with_r(R, dtype)
    raw = torch.cat([x.log(), torch.full_like(x, -40.0)], dim=1)
    assert likelihood.deviance(raw, x).max() < 1e-5
    raw[:, 5:] = 1.0
    found = likelihood.deviance(raw, x)
    torch.testing.assert_close(found, torch.full_like(x, 2.0 * np.log1p(np.e)))
    assert (likelihood.deviance(raw, torch.zeros_like(x)) >= 0.0).all()


def test_the_metric_is_the_information_where_it_is_known_which_are_inflated(likelihood):
    raw = raw_for(likelihood, n=1)
    n, rng = 100_000, np.random.RandomState(0)
    log_mean, logit = raw.numpy()[:, :5], raw.numpy()[:, 5:]
    inflation = 1.0 / (1.0 + np.exp(-logit))
    is_inflated = rng.uniform(size=(n, 5)) < inflation
    x = rng.poisson(rng.gamma(R, np.exp(log_mean) / R, (n, 5)))
    share = np.exp(log_mean) / (R + np.exp(log_mean))
    of_mean = ~is_inflated * (share * (R + x) - x)
    of_logit = is_inflated - inflation
    squares = np.square(np.concatenate([of_mean, of_logit], axis=1)).mean(axis=0)
    metric = likelihood.output_metric(raw).numpy()[0]
    np.testing.assert_allclose(squares, metric, rtol=0.08)


def test_it_begins_at_the_rates_with_little_inflation():
    X = np.random.RandomState(0).poisson(2.0, (500, 3)) * 1.0
    likelihood = ZeroInflatedNegativeBinomial(3)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    bias = torch.from_numpy(likelihood.init_output_bias(X.mean(axis=0)))[None]
    mean = likelihood.mean(bias)[0]
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=0.06)
