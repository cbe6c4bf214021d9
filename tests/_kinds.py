"""Likelihoods, rows of the right kind for each, and what all of them must hold."""

import numpy as np
import torch

from skvae._likelihoods.registry import likelihood_named

CONTINUOUS = ("gaussian_diag", "student_t", "log_normal")
COUNTS = ("poisson", "negative_binomial", "zinb", "multinomial")
CODES = ("categorical", "ordinal")
NAMES = (*CONTINUOUS, "bernoulli", *COUNTS, *CODES)
N_CATEGORIES = (2, 3, 4, 2, 5)
DTYPES = (torch.float32, torch.float64)


def rows_for(name, n=120, d=9, seed=0):
    """Rows (n, d) with two factors, float64, that the likelihood can explain."""
    rng = np.random.RandomState(seed)
    maps = np.random.RandomState(7).randn(2, d)
    eta = rng.randn(n, 2) @ maps
    if name == "bernoulli":
        return (rng.uniform(size=(n, d)) < 1.0 / (1.0 + np.exp(-4.0 * eta - 1.0))) * 1.0
    if name in CODES:
        return np.digitize(eta + 0.3 * rng.randn(n, d), [-1.0, 0.0, 1.0]) * 1.0
    if name in COUNTS:
        return rng.poisson(np.exp(0.7 * eta + 1.0)) * 1.0
    if name == "log_normal":
        return np.exp(0.5 * eta + 0.2 * rng.randn(n, d))
    return 3.0 + 2.0 * eta + 0.5 * rng.randn(n, d)


def make(name, n_features=5, dtype=torch.float64):
    """A likelihood in its first state; of categories, the first of N_CATEGORIES."""
    params = {}
    if name == "categorical":
        params = {"n_categories": [N_CATEGORIES[j % 5] for j in range(n_features)]}
    if name == "ordinal":
        sizes = [N_CATEGORIES[j % 5] for j in range(n_features)]
        params = {"levels": [[float(v) for v in range(n)] for n in sizes]}
    return likelihood_named(name)(n_features, **params).to(dtype)


def raw_for(likelihood, n=6, seed=1, spread=1.0):
    """Raw outputs (n, n_outputs) in float64."""
    values = np.random.RandomState(seed).randn(n, likelihood.n_outputs)
    return torch.from_numpy(spread * values)


def target_for(likelihood, n=6, seed=2):
    """Rows (n, D) in model units, float64, with zeros among them."""
    rng = np.random.RandomState(seed)
    d = likelihood.n_features
    if likelihood.name == "categorical":
        return torch.from_numpy(rng.randint(likelihood.n_categories, size=(n, d)) * 1.0)
    if likelihood.name == "ordinal":
        sizes = [len(levels) for levels in likelihood.levels]
        return torch.from_numpy(rng.randint(sizes, size=(n, d)) * 1.0)
    if likelihood.name == "bernoulli":
        return torch.from_numpy(rng.randint(2, size=(n, d)) * 1.0)
    if likelihood.name in COUNTS:
        return torch.from_numpy(rng.poisson(1.5, (n, d)) * 1.0)
    return torch.from_numpy(rng.randn(n, d))


def mask_for(target, seed=3):
    """Which entries were seen; one row and one column not at all."""
    mask = np.random.RandomState(seed).uniform(size=tuple(target.shape)) < 0.7
    mask[1], mask[:, 2] = False, False
    return torch.from_numpy(mask)


def assert_masks_hide(likelihood, raw, target):
    """What is hidden changes nothing; hiding nothing is no mask."""
    mask = mask_for(target)
    every = torch.ones_like(mask)
    for measure in (likelihood.nll, likelihood.nll_of_code, likelihood.loss):
        torch.testing.assert_close(measure(raw, target, every), measure(raw, target))
    hidden = torch.where(mask, target, 1.0)
    for measure in (likelihood.nll, likelihood.nll_of_code, likelihood.loss):
        seen = measure(raw, target, mask)
        assert torch.isfinite(seen).all()
        torch.testing.assert_close(seen, measure(raw, hidden, mask))
    assert likelihood.nll(raw, target, mask)[1] == 0.0
    parts = likelihood.nll_of_code(raw, target, mask)
    parts = parts + likelihood.nll_constant(target, mask)
    torch.testing.assert_close(parts, likelihood.nll(raw, target, mask))


def gradients_of(likelihood, raw, target, mask=None):
    """Loss, its gradient by raw, and those of the likelihood's own parameters."""
    for parameter in likelihood.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    loss, gradient = likelihood.loss_and_grad(raw.clone(), target, mask)
    return loss, gradient, [p.grad for p in likelihood.parameters()]


def assert_gradients_are_the_loss_s(likelihood, raw, target, mask=None):
    """Of ``loss_and_grad``, by autograd of ``loss`` and by differences of it."""
    kept, leaf = target.clone(), raw.clone().requires_grad_()
    own = list(likelihood.parameters())
    loss = likelihood.loss(leaf, target, mask)
    expected = torch.autograd.grad(loss, [leaf, *own])
    found, gradient, others = gradients_of(likelihood, raw, target, mask)
    torch.testing.assert_close(found, loss.detach())
    for one, other in zip([gradient, *others], expected, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one.to(other), other, rtol=1e-6, atol=1e-9)
    assert torch.equal(target, kept)
    assert torch.autograd.gradcheck(
        lambda x: likelihood.loss(x, target, mask), (leaf,), atol=1e-6
    )
