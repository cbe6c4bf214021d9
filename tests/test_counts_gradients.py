"""Closed-form losses and gradients of counts beside autograd of their densities."""

import pytest
import torch

from skvae._likelihoods.registry import likelihood_named

N_ROWS, N_FEATURES = 12, 7


@pytest.fixture
def target():
    """Counts: many zeros, small ones, and some far above what is added up."""
    generator = torch.Generator().manual_seed(0)
    rates = torch.tensor([0.0, 0.2, 1.0, 8.0, 15.0, 60.0, 4000.0])
    return torch.poisson(rates.expand(N_ROWS, -1), generator=generator)


def made(name: str):
    """A likelihood whose dispersions differ, and raw outputs."""
    generator = torch.Generator().manual_seed(1)
    likelihood = likelihood_named(name)(N_FEATURES)
    for parameter in likelihood.parameters():
        parameter.data.normal_(0.0, 0.3, generator=generator)
        parameter.grad = torch.zeros_like(parameter)
    raw = torch.randn(N_ROWS, likelihood.n_outputs, generator=generator)
    raw[:, -1] += 6.0
    return likelihood, raw


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "zinb"])
def test_loss_and_gradients_are_those_of_the_density(name, target, masked):
    likelihood, raw = made(name)
    mask = None
    if masked:
        generator = torch.Generator().manual_seed(2)
        mask = torch.rand(target.shape, generator=generator) < 0.7
    n_observed = target.numel() if mask is None else int(mask.sum())
    leaf = raw.clone().requires_grad_()
    expected = likelihood.nll(leaf, target, mask).sum() / n_observed
    own = list(likelihood.parameters())
    by_raw, *by_own = torch.autograd.grad(expected, [leaf, *own])
    loss, grad = likelihood.loss_and_grad(raw.clone(), target, mask)
    assert loss.dtype == grad.dtype == torch.float32
    torch.testing.assert_close(loss, expected.detach().to(loss))
    torch.testing.assert_close(grad, by_raw, rtol=1e-5, atol=1e-6 * by_raw.abs().max())
    for parameter, gradient in zip(own, by_own, strict=True):
        scale = gradient.abs().max()
        torch.testing.assert_close(
            parameter.grad, gradient, rtol=1e-4, atol=1e-6 * scale
        )


@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "zinb"])
def test_rows_without_any_count(name):
    likelihood, raw = made(name)
    target = torch.zeros(N_ROWS, N_FEATURES)
    expected = likelihood.nll(raw, target).mean() / N_FEATURES
    loss, grad = likelihood.loss_and_grad(raw.clone(), target)
    torch.testing.assert_close(loss, expected.detach().to(loss))
    assert grad.isfinite().all()
