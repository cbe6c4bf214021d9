import math

import numpy as np
import pytest
import torch
from _make import gaussian, minibatch
from torch.distributions import Normal

from skvae._data.dataset import Minibatch
from skvae._evaluation.bounds import cubature
from skvae._likelihoods.base import Likelihood
from skvae._likelihoods.gaussian import NOISE_FLOOR, Gaussian
from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import Posterior

D = 7


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def x():
    return torch.randn(11, D, generator=generator(), dtype=torch.float64)


@pytest.fixture
def raw():
    return torch.randn(11, D, generator=generator(1), dtype=torch.float64)


@pytest.fixture
def mask():
    return torch.rand(11, D, generator=generator(2)) < 0.7


@pytest.fixture
def network():
    module = VAE(D, 3, hidden_dims=(5,), linear_path=True).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator(3))
    return module


@pytest.mark.parametrize("noise", [1e-9, 0.3, 1.0, 1e6])
def test_nll_is_that_of_torch_distributions(x, raw, mask, noise):
    each = -Normal(raw, math.sqrt(noise)).log_prob(x)
    likelihood = gaussian(D, noise)
    torch.testing.assert_close(likelihood.nll(raw, x), each.sum(dim=1))
    observed = (each * mask).sum(dim=1)
    torch.testing.assert_close(likelihood.nll(raw, x, mask), observed)


def test_a_mask_of_none_and_one_of_all_are_the_same(x, raw):
    likelihood, every = gaussian(D, 0.4), torch.ones(11, D, dtype=torch.bool)
    for name in ("nll", "loss"):
        measure = getattr(likelihood, name)
        torch.testing.assert_close(measure(raw, x, every), measure(raw, x))
    plain = likelihood.loss_and_grad(raw.clone(), x)
    torch.testing.assert_close(likelihood.loss_and_grad(raw.clone(), x, every), plain)


@pytest.mark.parametrize("masked", [False, True])
def test_its_gradient_is_that_of_the_leaf(x, raw, mask, masked):
    """The closed form against the default of every likelihood, which is autograd."""
    likelihood, mask = gaussian(D, 0.4), mask if masked else None
    found = likelihood.loss_and_grad(raw.clone(), x, mask)
    expected = Likelihood.loss_and_grad(likelihood, raw, x, mask)
    torch.testing.assert_close(found, expected)


def test_its_expectation_is_the_mean_over_points(network, x):
    """The quadratic shortcut against decoding every point."""
    likelihood, points = gaussian(D, 0.4), cubature(3)
    with torch.no_grad():
        posterior = network.encode(x)
        found = likelihood.expected_nll(network.decoder, points)(
            posterior, minibatch(x)
        )
        plain = Likelihood.expected_nll(likelihood, network.decoder, points)
        torch.testing.assert_close(found, plain(posterior, minibatch(x)))


def test_a_mask_goes_through_the_points(network, x, mask):
    likelihood, points = gaussian(D, 0.4), cubature(3)
    with torch.no_grad():
        posterior = network.encode(x)
        expected = likelihood.expected_nll(network.decoder, points)
        every = expected(posterior, Minibatch(x, x, torch.ones_like(mask)))
        torch.testing.assert_close(every, expected(posterior, minibatch(x)))
        assert (expected(posterior, Minibatch(x, x, mask)) != every).any()


@pytest.mark.parametrize("in_turns", [False, True])
def test_calibration_is_maximum_likelihood(network, x, in_turns):
    likelihood, points = gaussian(D, 1.0), cubature(3)
    if in_turns:  # a pair a row
        points = points[None, : len(x)]
    with torch.no_grad():
        posterior = network.encode(x)
        likelihood.calibrate(network.decoder, posterior, minibatch(x), points)
        best = likelihood.noise_variance

        def nll(noise):
            if not in_turns:
                other = gaussian(D, noise)
                return other.expected_nll(network.decoder, points)(
                    posterior, minibatch(x)
                ).mean()
            spread = (0.5 * posterior.log_var).exp() * points[0]
            codes = [posterior.mean + spread, posterior.mean - spread]
            found = [gaussian(D, noise).nll(network.decode(z), x) for z in codes]
            return torch.stack(found).mean()

        assert nll(best) < nll(0.99 * best)
        assert nll(best) < nll(1.01 * best)


def test_the_loss_and_its_nats_at_the_best_noise():
    """Oracle: at the optimum a row has D/2 (ln(2 pi MSE) + 1) nats."""
    likelihood = gaussian(10)
    best = likelihood.nats_of_loss(0.2)
    assert best == pytest.approx(5.0 * (math.log(2 * math.pi * 0.2) + 1.0))
    for noise in (0.19, 0.21):
        other = gaussian(10, noise)
        zeros, ones = torch.zeros(1, 10), torch.full((1, 10), math.sqrt(0.2))
        nll = other.nll(zeros, ones).item()
        assert nll > best
        assert other.loss_of_nats(nll) == pytest.approx(0.2, rel=1e-6)
    assert likelihood.nats_of_loss(0.0) > -math.inf


def test_the_running_noise_follows_the_loss_down_to_the_floor():
    likelihood = gaussian(D)
    for target in (0.3, 0.0):
        for _ in range(500):
            likelihood.update_running_stats(torch.tensor(target))
        expected = max(target, NOISE_FLOOR)
        assert likelihood.running_noise.item() == pytest.approx(expected, rel=1e-3)
    assert likelihood.unit_weight().item() == pytest.approx(2 * NOISE_FLOOR / D)
    likelihood.keep_running_stats()
    assert likelihood.noise_variance == pytest.approx(NOISE_FLOOR)


def test_units_go_there_and_back():
    X = 3.0 + 5.0 * np.random.RandomState(0).randn(2000, D)
    likelihood = Gaussian(D)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0))
    rows = torch.from_numpy(X)
    target = likelihood.encode_target(rows)
    assert target.mean().abs() < 1e-12
    assert target.square().mean().item() == pytest.approx(1.0)
    assert torch.equal(rows, torch.from_numpy(X))
    torch.testing.assert_close(likelihood.mean(target.clone()), rows)
    assert likelihood.encode_inputs(target) is target
    # A density of X is one of targets over the volume of a unit.
    likelihood.set_noise(0.5)
    raw = torch.zeros_like(target)
    std = likelihood.scale * math.sqrt(0.5)
    centre = torch.from_numpy(X.mean(axis=0))
    expected = Normal(centre, std).log_prob(rows).sum(dim=1)
    found = -likelihood.nll(raw, target) + likelihood.log_det()
    torch.testing.assert_close(found, expected)
    assert likelihood.noise_in_units_of_X() == pytest.approx(std**2)
    assert likelihood.calibrated_weight() == pytest.approx(2 * std**2 / D)
    assert likelihood.diverged_loss() == pytest.approx(4.0 * X.var(axis=0).mean())
    moved = likelihood.diverged_loss(X.mean(axis=0) + 4.0, X.var(axis=0))
    assert moved == pytest.approx(4.0 * (X.var(axis=0).mean() + 16.0))


def test_samples_have_its_moments():
    likelihood = Gaussian(2)
    likelihood.fit_inputs(np.array([1.0, -1.0]), np.full(2, 9.0))
    likelihood.set_noise(0.25)
    raw = torch.zeros(100_000, 2, dtype=torch.float64)
    drawn = likelihood.sample(raw, np.random.RandomState(0)).numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, -1.0], atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), 1.5, rtol=0.01)


def test_units_stay_on_the_host_and_follow_a_state():
    one, other = gaussian(D, 0.5), gaussian(D)
    one.fit_inputs(np.arange(D), np.full(D, 4.0))
    x = torch.ones(2, D, dtype=torch.float64)
    assert torch.equal(other.encode_target(x), x)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.encode_target(x), one.encode_target(x))
    assert other.noise_variance == 0.5
    moved = one.to("meta")
    assert moved.running_noise.device.type == "meta"
    assert moved.scale == 2.0
    assert one.half().units.array("mean").dtype == np.float64


def test_posteriors_of_no_width_are_points(network, x):
    """The expectation is then the likelihood at the mean."""
    likelihood = gaussian(D, 0.4)
    with torch.no_grad():
        mean = network.encode(x).mean
        still = Posterior(mean, torch.full_like(mean, -80.0))
        found = likelihood.expected_nll(network.decoder, cubature(3))(
            still, minibatch(x)
        )
        torch.testing.assert_close(found, likelihood.nll(network.decode(mean), x))
