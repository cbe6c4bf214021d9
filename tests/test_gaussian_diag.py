import math

import numpy as np
import pytest
import torch
from _kinds import (
    DTYPES,
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    mask_for,
    raw_for,
    target_for,
)
from _make import minibatch
from scipy import integrate, stats

from skvae._data.dataset import Minibatch
from skvae._evaluation.bounds import cubature
from skvae._likelihoods.base import Likelihood
from skvae._likelihoods.gaussian_diag import GaussianDiag
from skvae._likelihoods.linear_factors import LinearFactors
from skvae._linear.factor_analysis import FactorAnalysis
from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import Posterior

V = [1e-3, 0.3, 1.0, 2.0, 1e4]


def with_variance(v, dtype=torch.float64):
    likelihood = GaussianDiag(len(v)).to(dtype)
    likelihood.variance.copy_(torch.tensor(v))
    return likelihood


@pytest.fixture
def likelihood():
    return with_variance(V)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", [0.1, 1.0, 40.0])
def test_the_density_is_scipy_s(dtype, spread):
    likelihood = with_variance(V, dtype)
    raw = raw_for(likelihood, spread=spread).to(dtype)
    x = target_for(likelihood).to(dtype)
    std = likelihood.variance.double().sqrt().numpy()
    parts = stats.norm(raw.double().numpy(), std).logpdf(x.double().numpy())
    np.testing.assert_allclose(likelihood.nll(raw, x), -parts.sum(axis=1), rtol=1e-5)


def test_densities_integrate_to_1():
    likelihood, raw = with_variance([0.3]), torch.tensor([[0.5]]).double()

    def density(x):
        return math.exp(-likelihood.nll(raw, torch.tensor([[x]]).double()).item())

    assert integrate.quad(density, -8.0, 8.0)[0] == pytest.approx(1.0)


def test_masks_hide(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_the_loss_is_the_likelihood_over_the_features(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    expected = likelihood.nll(raw, x).mean() / 5
    torch.testing.assert_close(likelihood.loss(raw, x), expected)
    mask = mask_for(x)
    expected = likelihood.nll(raw, x, mask).sum() / mask.sum()
    torch.testing.assert_close(likelihood.loss(raw, x, mask), expected)


@pytest.mark.parametrize("is_masked", [False, True])
def test_training_finds_the_variances(is_masked):
    rng = np.random.RandomState(0)
    truth = np.array([0.05, 0.5, 3.0])
    likelihood = GaussianDiag(3)
    x = torch.from_numpy(rng.randn(40_000, 3) * np.sqrt(truth)).float()
    mask = torch.from_numpy(rng.uniform(size=(40_000, 3)) < 0.6)
    kept = []
    for at in range(0, len(x), 100):
        rows, seen = x[at : at + 100], mask[at : at + 100]
        raw = torch.zeros_like(rows)
        likelihood.loss_and_grad(raw, rows, seen if is_masked else None)
        likelihood.update_running_stats(torch.zeros(()))
        kept.append(likelihood.variance.clone())
    late = torch.stack(kept[200:]).mean(dim=0)
    np.testing.assert_allclose(late, truth, rtol=0.03)


def test_variances_have_a_floor_and_what_nobody_saw_keeps_its_own():
    likelihood = GaussianDiag(2)
    likelihood.floor.copy_(torch.tensor([0.25, 1e-3]))
    x, mask = torch.ones(8, 2), torch.tensor([True, False]).expand(8, 2)
    for _ in range(200):
        likelihood.loss(x, x, mask)
        likelihood.update_running_stats(torch.zeros(()))
    np.testing.assert_allclose(likelihood.variance, [0.25, 1.0])


def linear_vae(decode, n_features=5):
    """A decoder that is linear, and posteriors of no width."""
    module = VAE(n_features, 2, linear_path=True).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.decoder.linear.weight.copy_(decode)
    return module


@pytest.mark.parametrize("is_masked", [False, True])
def test_calibration_finds_the_common_factor(is_masked):
    """Variances that are all too small by 4."""
    rng = np.random.RandomState(0)
    decode = torch.from_numpy(rng.randn(5, 2)).float()
    truth = np.array([0.1, 0.3, 1.0, 2.0, 4.0])
    z = torch.from_numpy(rng.randn(4000, 2)).float()
    noise = torch.from_numpy(rng.randn(4000, 5) * np.sqrt(truth)).float()
    x = z @ decode.T + noise
    likelihood = with_variance(truth / 4.0, torch.float32)
    still = Posterior(z, torch.full_like(z, -80.0))
    mask = mask_for(x) if is_masked else None
    rows = Minibatch(x, x, mask)
    points = cubature(2).float()
    with torch.no_grad():
        likelihood.calibrate(linear_vae(decode).decoder, still, rows, points)
    np.testing.assert_allclose(likelihood.variance, truth, rtol=0.03)


def test_expectations_are_those_of_the_points():
    """In closed form but for the embedding, and by decoding every point."""
    module = VAE(5, 3, hidden_dims=(7,), linear_path=True).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
        likelihood = with_variance(V)
        x = target_for(likelihood)
        posterior = Posterior(
            torch.from_numpy(np.random.RandomState(0).randn(6, 3)),
            torch.full((6, 3), -1.0).double(),
        )
        points = cubature(3)
        by_points = Likelihood.expected_nll(likelihood, module.decoder, points)
        expected = likelihood.expected_nll(module.decoder, points)
        rows = minibatch(x)
        torch.testing.assert_close(
            expected(posterior, rows), by_points(posterior, rows)
        )
        hidden = Minibatch(x, x, mask_for(x))
        torch.testing.assert_close(
            expected(posterior, hidden), by_points(posterior, hidden)
        )


def test_samples_have_its_moments():
    likelihood = with_variance([0.25, 4.0])
    likelihood.fit_inputs(np.array([1.0, -1.0]), np.array([9.0, 1e-4]))
    raw = torch.tensor([[0.0, 2.0]]).double().expand(100_000, -1).clone()
    drawn = likelihood.sample(raw.clone(), np.random.RandomState(0)).numpy()
    mean = likelihood.mean(raw[:1].clone()).numpy()[0]
    np.testing.assert_allclose(mean, [1.0, -0.98])
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), [1.5, 0.02], rtol=0.01)


def test_the_state_starts_as_factor_analysis_leaves_it():
    noise = np.array([0.1, 0.4])
    model = LinearFactors(FactorAnalysis(np.zeros(1), np.zeros((1, 2)), noise))
    likelihood = GaussianDiag(2)
    likelihood.start_from(model)
    np.testing.assert_allclose(likelihood.variance, noise)
