import numpy as np
import pytest
import torch
from _make import dataset, gaussian

from skvae._evaluation import calibration as _calibration
from skvae._evaluation.calibration import (
    CALIBRATION_ROWS,
    calibrate,
    gain_of_network,
    look_at_codes,
    some,
)
from skvae._likelihoods.gaussian import NOISE_FLOOR
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
