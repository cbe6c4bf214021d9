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
from scipy import sparse, stats

from skvae._likelihoods.bernoulli import Bernoulli


@pytest.fixture
def likelihood():
    return make("bernoulli")


def test_the_mass_is_scipy_s(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    p = torch.sigmoid(raw).numpy()
    expected = -stats.bernoulli(p).logpmf(x.numpy()).sum(axis=1)
    np.testing.assert_allclose(likelihood.nll(raw, x).numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sure_bits_have_costs(dtype):
    """-ln p of a bit at +-40, where softplus(raw) - x raw is 0."""
    raw = torch.tensor([[-40.0], [-20.0], [20.0], [40.0]], dtype=dtype)
    one = Bernoulli(1).to(dtype).nll(raw, torch.ones_like(raw)).double()
    expected = np.logaddexp(0.0, -raw.double().numpy().ravel())
    np.testing.assert_allclose(one.numpy(), expected, rtol=1e-5)
    zero = Bernoulli(1).to(dtype).nll(-raw, torch.zeros_like(raw)).double()
    np.testing.assert_allclose(zero.numpy(), expected, rtol=1e-5)


def test_tables_have_a_probability_of_1_together():
    raw = raw_for(Bernoulli(4), n=1, spread=3.0)
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double()
    nll = Bernoulli(4).nll(raw.expand(16, -1), x)
    assert torch.exp(-nll).sum().item() == pytest.approx(1.0)


def test_pixels_cost_their_cross_entropy(likelihood):
    raw = raw_for(likelihood)
    x = torch.sigmoid(target_for(likelihood, seed=5) + raw)
    p = torch.sigmoid(raw)
    expected = -(x * p.log() + (1.0 - x) * (1.0 - p).log()).sum(dim=1)
    torch.testing.assert_close(likelihood.nll(raw, x), expected)


def test_masks_hide(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients(likelihood):
    raw, x = raw_for(likelihood, spread=5.0), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_samples_are_bits_with_the_mean():
    likelihood = Bernoulli(3)
    raw = torch.tensor([[-2.0, 0.0, 1.0]]).expand(40_000, -1).clone()
    drawn = likelihood.sample(raw, np.random.RandomState(0)).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    mean = likelihood.mean(torch.tensor([[-2.0, 0.0, 1.0]])).numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), mean[0], atol=0.01)


def test_deviance_is_0_at_the_entries_themselves(likelihood):
    x = torch.rand(6, 5, dtype=torch.float64, generator=torch.Generator())
    perfect = torch.logit(x)
    assert likelihood.deviance(perfect, x).max() < 1e-12
    off = likelihood.deviance(perfect + 0.1, x)
    assert (off > 0.0).all()
    bits = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0]]).double()
    expected = 2.0 * likelihood.nll(torch.ones_like(bits), bits)
    found = likelihood.deviance(torch.ones_like(bits), bits)
    torch.testing.assert_close(found.sum(dim=1), expected)


def test_the_metric_is_fisher_s_information(likelihood):
    raw = raw_for(likelihood, n=1)
    many = raw.expand(40_000, -1).clone()
    x = likelihood.sample(many, np.random.RandomState(0))
    squares = (torch.sigmoid(raw) - x).square().mean(dim=0)
    metric = likelihood.output_metric(raw)
    torch.testing.assert_close(squares[None], metric, rtol=0.05, atol=0.0)


def test_the_model_without_a_code_has_the_shares_of_the_columns():
    X = np.zeros((99, 3))
    X[:30, 1], X[:, 2] = 1.0, 1.0
    likelihood = Bernoulli(3)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    bias = torch.from_numpy(likelihood.init_output_bias(X.mean(axis=0)))
    # half a row of each kind more: a bit that was never seen is not impossible
    expected = [0.005, 0.305, 0.995]
    np.testing.assert_allclose(likelihood.mean(bias), expected)


def test_the_encoder_sees_centred_columns():
    X = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    likelihood = Bernoulli(2)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    inputs = likelihood.encode_inputs(torch.from_numpy(X))
    np.testing.assert_allclose(inputs, X - X.mean(axis=0))
    mean, scale = likelihood.input_affine()
    np.testing.assert_allclose(inputs, (X - mean) / scale)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_what_is_no_bit_is_refused_by_the_name_of_its_column(kind):
    X = np.zeros((4, 3))
    X[2, 1] = 255.0
    with pytest.raises(ValueError, match=r"Column 'b' of X has 255.*divide"):
        Bernoulli(3).check(kind(X), np.array(["a", "b", "c"]))
    with pytest.raises(ValueError, match=r"Negative values in data: column 1 of X"):
        Bernoulli(3).check(kind(-X))
    Bernoulli(3).check(kind(X / 255.0))
