import numpy as np
import pytest
import torch

from skvae._data.dataset import TableDataset
from skvae._evaluation import calibration as _calibration
from skvae._evaluation.calibration import (
    CALIBRATION_ROWS,
    gain_of_module,
    noise_of_linear,
    noise_of_module,
    some,
)
from skvae._linear.linear_vae import LinearVAE
from skvae._nn.autoencoder import VAE
from skvae._objectives.criteria import NOISE_FLOOR


def rows_of(X):
    return TableDataset(
        X,
        np.zeros(X.shape[1]),
        1.0,
        dtype=torch.float32,
        device=torch.device("cpu"),
        resident=True,
    )


@pytest.fixture
def linear():
    """Codes are the first two of five columns, with a posterior variance of 0.25."""
    encode = np.eye(2, 5)
    return LinearVAE(encode, np.log([0.25, 0.25]), encode.T, 1.0)


@pytest.fixture
def module(linear):
    module = VAE(5, 2, linear_path=True).eval()
    encode, log_var, decode = (torch.as_tensor(p).float() for p in linear[:3])
    module.set_linear_path(encode, 3 * decode)
    module.set_posterior_variance(log_var)
    return module


def test_some_rows_are_spread_evenly():
    rows = rows_of(np.arange(20_000.0)[:, None])
    kept = some(rows, CALIBRATION_ROWS)[:, 0]
    assert len(kept) == CALIBRATION_ROWS
    assert kept[0] == 0
    assert kept[-1] == 19_999
    assert len(some(rows_of(np.ones((3, 1))), 10)) == 3


def test_noise_is_the_squared_error_of_a_draw(linear, module, monkeypatch):
    X = np.random.RandomState(0).randn(300, 5)
    left = np.square(X[:, 2:]).sum(axis=1).mean()
    expected = (left + 2 * 0.25) / 5
    assert noise_of_linear(linear, rows_of(X)) == pytest.approx(expected, rel=1e-4)
    # The module's decoder stretches threefold.
    moved = left + 4 * np.square(X[:, :2]).sum(axis=1).mean() + 9 * 2 * 0.25
    noise = noise_of_module(module, rows_of(X))
    assert noise == pytest.approx(moved / 5, rel=1e-4)
    monkeypatch.setattr(_calibration, "CUBATURE_ROWS", 0)
    # A point a row, in turns: as exact for a decoder that is linear.
    in_turns = noise_of_module(module, rows_of(X))
    kept = np.square(X[:288]).mean(axis=0) * [4, 4, 1, 1, 1]
    assert in_turns == pytest.approx((kept.sum() + 9 * 2 * 0.25) / 5, rel=1e-4)
    still = linear._replace(log_var=np.full(2, -99.0))
    assert noise_of_linear(still, rows_of(np.zeros((4, 5)))) == NOISE_FLOOR


def test_gain_is_how_far_the_decoder_stretches(module):
    gain = gain_of_module(module, rows_of(np.random.RandomState(0).randn(30, 5)))
    np.testing.assert_allclose(gain, [3.0, 3.0], rtol=1e-5)
    assert gain.dtype == np.float64
