import numpy as np
import pytest
import torch
from _make import dataset, gaussian

from skvae._evaluation import calibration as _calibration
from skvae._evaluation.bounds import cubature
from skvae._evaluation.calibration import (
    CALIBRATION_ROWS,
    MEAN_ERROR,
    ROW_ERROR,
    TRIED_PAIRS,
    calibrate,
    exact_pairs,
    gain_of_network,
    look_at_codes,
    points_needed,
    some,
)
from skvae._likelihoods.gaussian import NOISE_FLOOR
from skvae._likelihoods.gaussian_diag import GaussianDiag
from skvae._likelihoods.student_t import StudentT
from skvae._nn.autoencoder import VAE


@pytest.fixture
def module():
    """Codes are the first two of five columns, with a posterior variance of 0.25.

    The decoder stretches them threefold.
    """
    module = VAE(5, 2, linear_path=True).eval()
    encode = torch.eye(2, 5)
    module.set_linear_path(encode, 3 * encode.T)
    module.set_posterior_variance(torch.full((2,), 0.25).log())
    return module


def test_some_rows_are_spread_evenly():
    rows = dataset(np.arange(20_000.0)[:, None])
    kept = some(rows, CALIBRATION_ROWS).target[:, 0]
    assert len(kept) == CALIBRATION_ROWS
    assert kept[0] == 0
    assert kept[-1] == 19_999
    assert len(some(dataset(np.ones((3, 1))), 10)) == 3


def noise_of(module, X):
    likelihood = gaussian(5)
    calibrate(module, likelihood, dataset(X))
    return likelihood.noise_variance


def test_noise_is_the_squared_error_of_a_draw(module, monkeypatch):
    X = np.random.RandomState(0).randn(300, 5)
    left = np.square(X[:, 2:]).sum(axis=1).mean()
    moved = left + 4 * np.square(X[:, :2]).sum(axis=1).mean() + 9 * 2 * 0.25
    assert noise_of(module, X) == pytest.approx(moved / 5, rel=1e-4)
    monkeypatch.setattr(_calibration, "CUBATURE_ROWS", 0)
    # A point a row, in turns: as exact for a decoder that is linear.
    kept = np.square(X[:288]).mean(axis=0) * [4, 4, 1, 1, 1]
    in_turns = (kept.sum() + 9 * 2 * 0.25) / 5
    assert noise_of(module, X) == pytest.approx(in_turns, rel=1e-4)


def test_noise_has_a_floor(module):
    module.set_posterior_variance(torch.full((2,), -99.0))
    assert noise_of(module, np.zeros((4, 5))) == NOISE_FLOOR


def test_gain_is_how_far_the_decoder_stretches(module):
    X = np.random.RandomState(0).randn(30, 5)
    rows = dataset(X, scale=2.0)
    gain = gain_of_network(module, rows.likelihood, rows)
    np.testing.assert_allclose(gain, [6.0, 6.0], rtol=1e-5)  # in units of X
    assert gain.dtype == np.float64


def test_codes_are_worth_what_exchanging_them_costs(module):
    """Twice the reconstruction's covariance with the rows, over twice the noise."""
    X = np.random.RandomState(0).randn(2000, 5)
    codes = look_at_codes(module, gaussian(5, 0.5), dataset(X))
    assert codes.active_units == 2
    # |x - 3 m|^2 with m = x rises by 2 <x, 3 m> in the mean: 6 a unit
    assert codes.shuffle_loss == pytest.approx(2 * 6.0 / (2 * 0.5), rel=0.2)
    kl = 2 * 0.5 * (1.0 + 0.25 - np.log(0.25) - 1.0)
    assert codes.rate == pytest.approx(kl, rel=0.1)


def test_few_points_are_enough_where_a_decoder_hardly_bends():
    X = np.random.RandomState(0).randn(300, 5)
    network = VAE(5, 9, hidden_dims=(), seed=1).eval()
    n_pairs, _ = points_needed(network, gaussian(5, 5.0), dataset(X))
    assert n_pairs == TRIED_PAIRS[0]


def test_points_are_within_the_stated_errors_or_exact():
    """Of a decoder whose units overlap, at several levels of the noise."""
    network = VAE(40, 9, hidden_dims=(12,), seed=1).eval()
    rows = dataset(np.random.RandomState(0).randn(100, 40))
    batch = some(rows, 100)
    with torch.no_grad():
        network.decoder.out.weight.mul_(5.0)
        posterior = network.encode(batch.inputs)

        def distortion(likelihood, *points):
            at = cubature(9, *points).float()
            return likelihood.expected_nll(network.decoder, at)(posterior, batch)

        found = []
        for noise in (0.01, 0.1, 1.0, 30.0):
            likelihood = gaussian(40, noise)
            found.append(points_needed(network, likelihood, rows))
            if found[-1][0] < 32:
                off = distortion(likelihood, *found[-1]) - distortion(likelihood, 32)
                assert abs(off.mean()) < MEAN_ERROR
                assert off.square().mean() < ROW_ERROR**2
    numbers = [n_pairs for n_pairs, _ in found]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == 32
    assert numbers[-1] < 4


def test_as_many_pairs_as_units_are_exact():
    assert [exact_pairs(k) for k in (1, 4, 10, 64, 300)] == [4, 4, 10, 64, 64]


@pytest.mark.parametrize("kind", [GaussianDiag, StudentT])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("n_rows", [12, 200])
def test_few_rows_are_calibrated_on_draws_that_are_as_long_as_any(kind, k, n_rows):
    """The score is then best at the noise that was found."""
    rng = np.random.RandomState(k)
    likelihood = kind(20)
    module = VAE(20, k, linear_path=True).eval()
    decode = torch.from_numpy(np.linalg.qr(rng.randn(20, k))[0]).float()
    module.set_linear_path(0.1 * decode.T, 3.0 * decode)
    module.set_posterior_variance(torch.zeros(k))
    calibrate(module, likelihood, dataset(rng.randn(n_rows, 20), likelihood=likelihood))
    batch = some(dataset(rng.randn(n_rows, 20), likelihood=likelihood), n_rows)
    shared = likelihood.variance if kind is GaussianDiag else likelihood.log_scale

    def cost(factor):
        before = shared.clone()
        if kind is GaussianDiag:
            shared.mul_(factor)
        else:
            shared.add_(0.5 * np.log(factor))
        with torch.no_grad():
            posterior = module.encode(batch.inputs)
            points = cubature(k).float()
            expected = likelihood.expected_nll(module.decoder, points)
            found = expected(posterior, batch).mean().item()
        shared.copy_(before)
        return found

    assert cost(1.0) < min(cost(0.8), cost(1.25))
