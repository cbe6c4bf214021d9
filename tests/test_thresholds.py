import copy

import pytest
import torch
from _make import minibatch, penalised

from skvae._nn.thresholds import (
    ThresholdedAutoencoder,
    soft_threshold,
    threshold_of_weight,
    thresholded,
    with_noise,
)

D = 5


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def module():
    made = ThresholdedAutoencoder(D, 3, hidden_dims=(8,), linear_path=True, seed=0)
    made.set_linear_path(torch.eye(3, D), torch.eye(D, 3))
    made.threshold.fill_(0.5)
    return made.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zeros_are_exact(dtype):
    a = torch.tensor([-2.0, -0.5, -0.25, 0.0, 0.5, 0.75, 2.0], dtype=dtype)
    expected = torch.tensor([-1.5, 0.0, 0.0, 0.0, 0.0, 0.25, 1.5], dtype=dtype)
    assert torch.equal(soft_threshold(a, torch.tensor(0.5)), expected)
    assert torch.equal(soft_threshold(a, torch.tensor(0.0)), a)


def test_thresholded_codes_are_the_lasso_s():
    """Of an orthonormal decoder: no other code has a smaller loss."""
    W = torch.linalg.qr(torch.randn(D, 3, generator=generator()).double())[0]
    x = torch.randn(40, D, generator=generator()).double()
    weight = 0.2
    z = soft_threshold(x @ W, threshold_of_weight(weight, D))
    assert 0.1 < (z == 0.0).double().mean() < 0.9

    def losses(code):
        error = (x - code @ W.T).square().mean(dim=1)
        return error + weight * code.abs().sum(dim=1)

    for size in (1e-4, 1e-2, 1.0):
        other = z + size * torch.randn(40, 3, generator=generator()).double()
        assert (losses(other) > losses(z)).all()


def test_a_zero_has_a_way_back_if_it_pays():
    a = torch.tensor([[0.1, -0.1, 0.2, 3.0]], requires_grad=True)
    z = thresholded(a, torch.tensor(0.5), 1.0)
    slopes = torch.tensor([[0.9, -3.0, 2.5, 0.9]])
    (got,) = torch.autograd.grad(z, a, slopes)
    assert torch.equal(got, torch.tensor([[0.0, -2.0, 1.5, 0.9]]))


def test_noise_is_on_what_is_not_zero_alone():
    z = torch.tensor([0.0, 1.0, -2.0]).repeat(20_000, 1)
    noise = with_noise(z, torch.tensor(0.5), generator()) - z
    assert (noise[:, 0] == 0.0).all()
    torch.testing.assert_close(
        noise[:, 1:].std(dim=0), torch.full((2,), 0.5), rtol=0.02, atol=0.0
    )
    assert noise.mean().abs() < 0.01


def test_nothing_is_drawn_where_nothing_trains(module):
    x = torch.randn(30, D, generator=generator())
    criterion = penalised(D, "soft_threshold", 0.2)
    first, second = (
        criterion.held_out_terms(
            module, minibatch(x), torch.Generator().manual_seed(seed)
        )
        for seed in (0, 1)
    )
    assert torch.equal(first, second)
    error = (module(x) - x).square().mean()
    torch.testing.assert_close(first[0], error)
    torch.testing.assert_close(first[1], module.code(x).abs().sum(dim=1).mean())
    assert criterion.terms(module, minibatch(x), generator())[0] > error


def test_the_state_has_the_threshold(module):
    other = ThresholdedAutoencoder(D, 3, hidden_dims=(8,), linear_path=True, seed=1)
    other.load_state_dict(module.state_dict())
    x = torch.randn(30, D, generator=generator())
    codes = other.eval().code(x)
    assert (codes == 0.0).any()
    assert torch.equal(codes, module.code(x))


def rescaled(module, factor):
    """The same function of rows, with codes ``factor`` times as large."""
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.encoder.linear.weight.mul_(factor)
        other.encoder.mean.weight.mul_(factor)
        other.encoder.mean.bias.mul_(factor)
        other.threshold.mul_(factor)
        other.decoder.linear.weight.div_(factor)
        other.decoder.mlp.blocks[0].linear.weight.div_(factor)
    return other


def test_no_decoder_undoes_the_penalty(module):
    """Codes that all shrink lower the plain loss for free; not that of noisy ones."""
    x = 3.0 * torch.randn(4000, D, generator=generator())

    def losses(factor):
        other = rescaled(module, factor)
        torch.testing.assert_close(other(x), module(x), rtol=1e-3, atol=1e-3)
        # What shrinks the codes does not shrink the noise.
        threshold = other.threshold.clone()
        z = other.code(x)
        noisy = with_noise(z, module.threshold, generator())
        error = (other.decode(noisy) - x).square().mean()
        plain = penalised(D, "l1", 0.2).terms(other, minibatch(x), generator())
        assert torch.equal(other.threshold, threshold)
        return (plain[0] + 0.2 * plain[1]).item(), (error + 0.2 * plain[1]).item()

    factors = (0.05, 0.2, 1.0)
    plain, noisy = zip(*map(losses, factors), strict=True)
    assert plain[0] < plain[1] < plain[2]
    assert noisy[0] > noisy[1] > noisy[2]
