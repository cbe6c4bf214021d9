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
from scipy import integrate, stats

from skvae._data.dataset import Minibatch
from skvae._evaluation.bounds import cubature
from skvae._likelihoods.linear_factors import LinearFactors
from skvae._likelihoods.student_t import LEAST, MOST, StudentT
from skvae._linear.factor_analysis import FactorAnalysis
from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import Posterior

DOF = [2.1, 3.0, 8.0, 100.0, 1000.0]
SCALE = [0.05, 0.3, 1.0, 2.0, 50.0]


def student(dof, scale, dtype=torch.float64):
    likelihood = StudentT(len(dof)).to(dtype)
    likelihood.log_dof.copy_(torch.tensor(dof).double().log())
    likelihood.log_scale.copy_(torch.tensor(scale).double().log())
    return likelihood


@pytest.fixture
def likelihood():
    return student(DOF, SCALE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", [0.1, 1.0, 40.0, 1e12])
def test_the_density_is_scipy_s(dtype, spread):
    likelihood = student(DOF, SCALE, dtype)
    raw = raw_for(likelihood, spread=spread).to(dtype)
    x = target_for(likelihood).to(dtype)
    parts = stats.t(DOF, raw.double().numpy(), SCALE).logpdf(x.double().numpy())
    # float32 has the logarithms of the parameters to seven digits
    np.testing.assert_allclose(
        likelihood.nll(raw, x), -parts.sum(axis=1), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dof", [2.1, 1000.0])
def test_densities_integrate_to_1(dof):
    likelihood, raw = student([dof], [0.3]), torch.tensor([[0.5]]).double()

    def density(x):
        return math.exp(-likelihood.nll(raw, torch.tensor([[x]]).double()).item())

    found = integrate.quad(density, -math.inf, math.inf, limit=200)[0]
    assert found == pytest.approx(1.0, abs=1e-6)


def test_masks_hide(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_the_loss_is_the_likelihood_over_the_features(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    torch.testing.assert_close(
        likelihood.loss(raw, x), likelihood.nll(raw, x).mean() / 5
    )
    mask = mask_for(x)
    expected = likelihood.nll(raw, x, mask).sum() / mask.sum()
    torch.testing.assert_close(likelihood.loss(raw, x, mask), expected)


@pytest.mark.parametrize("is_masked", [False, True])
def test_natural_gradient_steps_find_scales_and_tails(is_masked):
    rng = np.random.RandomState(0)
    dof, scale = np.array([3.0, 8.0, 30.0]), np.array([0.1, 0.7, 2.0])
    likelihood = StudentT(3)
    x = torch.from_numpy(rng.standard_t(dof, (400_000, 3)) * scale).float()
    mask = torch.from_numpy(rng.uniform(size=tuple(x.shape)) < 0.6)
    kept = []
    for at in range(0, len(x), 500):
        rows = x[at : at + 500]
        seen = mask[at : at + 500] if is_masked else None
        likelihood.loss_and_grad(torch.zeros_like(rows), rows, seen)
        likelihood.update_running_stats(torch.zeros(()))
        kept.append(torch.stack([likelihood.log_scale, likelihood.log_dof]).exp())
    late = torch.stack(kept[400:]).mean(dim=0).numpy()
    np.testing.assert_allclose(late[0], scale, rtol=0.03)
    np.testing.assert_allclose(late[1][:2], dof[:2], rtol=0.1)
    assert 18.0 < late[1][2] < 50.0  # such tails are hardly told from longer ones


def test_what_nobody_saw_keeps_its_parameters():
    likelihood = student([8.0, 8.0], [1.0, 1.0], torch.float32)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([True, False]).expand(64, 2)
    likelihood.loss(0.5 * x, 3.0 * x, mask)
    likelihood.update_running_stats(torch.zeros(()))
    assert abs(likelihood.log_scale[1].item()) < 1e-6
    assert likelihood.log_dof[1].item() == pytest.approx(math.log(8.0), abs=1e-5)
    assert abs(likelihood.log_scale[0].item()) > 1e-3


@pytest.mark.parametrize(("size", "limit"), [(1.0, MOST), (1e9, LEAST)])
def test_tails_stay_between_their_limits(size, limit):
    likelihood = StudentT(1)
    x = torch.full((64, 1), 1.0)
    x[0] = size
    for _ in range(300):
        likelihood.loss(torch.zeros_like(x), x)
        likelihood.update_running_stats(torch.zeros(()))
    assert likelihood.log_dof.exp().item() == pytest.approx(limit, rel=1e-4)
    assert torch.isfinite(likelihood.log_scale).all()


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("factor", [0.1, 5.0])
def test_calibration_finds_the_common_factor(is_masked, factor):
    rng = np.random.RandomState(0)
    dof, scale = np.array([2.5, 8.0, 100.0]), np.array([0.1, 0.7, 2.0])
    x = torch.from_numpy(rng.standard_t(dof, (8000, 3)) * scale).float()
    likelihood = student(dof.tolist(), (scale * factor).tolist(), torch.float32)
    network = VAE(3, 2, linear_path=True).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    z = torch.zeros(8000, 2)
    mask = mask_for(x) if is_masked else None
    rows = Minibatch(x, x, mask)
    likelihood.calibrate(network.decoder, Posterior(z, z), rows, cubature(2).float())
    np.testing.assert_allclose(likelihood.log_scale.exp(), scale, rtol=0.03)


def test_samples_have_its_moments():
    likelihood = student([5.0, 1000.0], [0.5, 2.0])
    likelihood.fit_inputs(np.array([1.0, -1.0]), np.array([9.0, 0.25]))
    raw = torch.zeros(200_000, 2, dtype=torch.float64)
    drawn = likelihood.sample(raw.clone(), np.random.RandomState(0)).numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, -1.0], atol=0.02)
    std = [1.5 * math.sqrt(5.0 / 3.0), math.sqrt(1000.0 / 998.0)]
    np.testing.assert_allclose(drawn.std(axis=0), std, rtol=0.02)


def test_it_starts_with_the_variances_of_factor_analysis_and_ends_as_it():
    noise = np.array([0.1, 0.4])
    model = LinearFactors(FactorAnalysis(np.zeros(1), np.zeros((1, 2)), noise))
    likelihood = StudentT(2).double()
    likelihood.start_from(model)
    dof = likelihood.log_dof.exp()
    variance = likelihood.log_scale.mul(2.0).exp() * dof / (dof - 2.0)
    np.testing.assert_allclose(variance, noise, rtol=1e-5)
    likelihood.calibrate_as(model)
    x = torch.linspace(-1.0, 1.0, 9).double()[:, None].expand(9, 2)
    gaussian = stats.norm(0.0, np.sqrt(noise)).logpdf(x.numpy()).sum(axis=1)
    found = likelihood.nll(torch.zeros_like(x), x)
    np.testing.assert_allclose(found, -gaussian, atol=0.05)


def test_no_single_entry_decides():
    """Far out the gradient falls again, and the cost grows as a logarithm."""
    likelihood = StudentT(1).double()
    x = torch.tensor([[1.0], [1e3], [1e9]]).double()
    _, gradient = likelihood.loss_and_grad(torch.zeros_like(x), x)
    assert gradient[0].abs() > 10.0 * gradient[1].abs() > 1e3 * gradient[2].abs()
    assert likelihood.nll(torch.zeros_like(x), x)[2] < 200.0
