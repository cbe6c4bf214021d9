"""Ordered levels: thresholds, masses, gradients."""

import numpy as np
import pytest
import torch
from _kinds import (
    N_CATEGORIES,
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    make,
    mask_for,
    raw_for,
    target_for,
)

from skvae import VAETransformer
from skvae._likelihoods.ordinal import MOST_LEVELS, Ordinal


@pytest.fixture
def likelihood():
    made = make("ordinal")
    rng = np.random.RandomState(0)
    X = np.stack([rng.randint(n, size=200) for n in N_CATEGORIES], axis=1) * 1.0
    made.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    return made


def test_levels_have_probabilities_that_add_up_to_1(likelihood):
    raw = raw_for(likelihood, spread=2.0)
    found = likelihood.level_probabilities(raw)
    for j, part in enumerate(found.split(list(N_CATEGORIES), dim=1)):
        torch.testing.assert_close(part.sum(dim=1), torch.ones(len(raw)).double())
        for level in range(part.shape[1]):
            target = torch.zeros_like(raw)
            target[:, j] = level
            alone = torch.zeros_like(target, dtype=torch.bool)
            alone[:, j] = True
            nll = likelihood.nll(raw, target, alone)
            torch.testing.assert_close(nll, -part[:, level].log())


def test_without_a_code_levels_have_their_frequencies(likelihood):
    bias = likelihood.without_code()
    assert not bias.any()
    found = likelihood.level_probabilities(bias[None])[0]
    torch.testing.assert_close(
        found, likelihood.frequencies.double(), rtol=1e-5, atol=1e-6
    )


def test_thresholds_ascend(likelihood):
    for parameter in likelihood.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    parts = likelihood.thresholds().split([n - 1 for n in N_CATEGORIES])
    assert all((part.diff() > 0.0).all() for part in parts)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(likelihood, masked):
    raw, target = raw_for(likelihood), target_for(likelihood)
    mask = mask_for(target) if masked else None
    assert_gradients_are_the_loss_s(likelihood, raw, target, mask)


def test_masks(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes(dtype):
    likelihood = Ordinal(1, [[0.0, 1.0, 2.0, 3.0]]).to(dtype)
    X = np.repeat([0.0, 1.0, 2.0, 3.0], [1, 1, 10_000, 1])[:, None]
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    raw = torch.tensor([[-200.0], [0.0], [200.0]], dtype=dtype).repeat(4, 1)
    target = torch.arange(4, dtype=dtype).repeat_interleave(3)[:, None]
    nll = likelihood.nll(raw, target)
    assert torch.isfinite(nll).all()
    assert (nll >= 0.0).all()


@torch.no_grad()
def test_means_draws_and_nearest_levels():
    likelihood = Ordinal(2, [[1.0, 2.0, 10.0], [0.0, 5.0]])
    X = np.array([[1.0, 0.0], [2.0, 5.0], [10.0, 5.0], [2.0, 5.0]] * 50)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    x = torch.tensor([[0.0, -3.0], [5.9, 2.4], [6.1, 2.6], [99.0, torch.nan]])
    levels = likelihood.encode_target(x)
    expected = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [2.0, torch.nan]])
    torch.testing.assert_close(levels, expected, equal_nan=True)
    raw = torch.zeros(20_000, 2)
    drawn = likelihood.sample(raw.clone(), np.random.RandomState(0)).numpy()
    assert set(np.unique(drawn[:, 0])) == {1.0, 2.0, 10.0}
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), rtol=0.03)
    mean = likelihood.mean(raw[:1].clone())[0]
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=0.02)


def test_fisher_is_the_mean_square_of_the_derivative(likelihood):
    raw = raw_for(likelihood).requires_grad_()
    metric = likelihood.output_metric(raw).detach()
    found = torch.zeros_like(metric)
    for j, n in enumerate(N_CATEGORIES):
        for level in range(n):
            target = torch.zeros_like(metric)
            target[:, j] = level
            alone = torch.zeros_like(target, dtype=torch.bool)
            alone[:, j] = True
            nll = likelihood.nll(raw, target, alone)
            (slope,) = torch.autograd.grad(nll.sum(), raw)
            found[:, j] += (-nll).exp().detach() * slope[:, j].square()
    torch.testing.assert_close(found, metric)


def test_an_order_is_learnt():
    rng = np.random.RandomState(0)
    score = rng.randn(600, 1)
    X = np.digitize(score + 0.4 * rng.randn(600, 6), [-1.5, -0.5, 0.5, 1.5]) * 1.0
    params = {"max_epochs": 30, "batch_size": 32, "random_state": 0}
    vae = VAETransformer(2, likelihood="ordinal", **params).fit(X[:500])
    codes = vae.transform(X[500:])
    best = max(abs(np.corrcoef(c, score[500:, 0])[0, 1]) for c in codes.T if c.std())
    assert best > 0.9
    # It has an order, which categories would have to learn.
    named = VAETransformer(2, likelihood="categorical", **params).fit(X[:500])
    assert vae.score(X[500:]) > named.score(X[500:])


def test_too_many_levels_are_refused():
    X = np.arange(2.0 * (MOST_LEVELS + 1)).reshape(-1, 2)
    X[:, 0] = 1.0
    with pytest.raises(ValueError, match="Column 1 of X has more than 1000 different"):
        VAETransformer(likelihood="ordinal").fit(X)
