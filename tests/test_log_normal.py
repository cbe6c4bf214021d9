"""Positive numbers: a Gaussian of their logarithms, in units of X."""

import numpy as np
import pytest
import torch
from _kinds import (
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    make,
    mask_for,
    raw_for,
    rows_for,
    target_for,
)
from scipy import sparse
from scipy.stats import lognorm

from skvae import VAETransformer

QUICK = {"max_epochs": 30, "hidden_dims": (16,), "random_state": 0}


@pytest.fixture
def likelihood():
    made = make("log_normal")
    X = rows_for("log_normal", d=5)
    made.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    made.variance.copy_(torch.tensor([0.3, 0.5, 1.0, 0.2, 0.7]))
    return made


def test_the_density_is_scipy_s(likelihood):
    X = rows_for("log_normal", n=6, d=5, seed=3)
    raw = raw_for(likelihood)
    target = likelihood.encode_target(torch.from_numpy(X))
    found = -likelihood.nll(raw, target) + likelihood.log_det()
    found = found + likelihood.log_det_beyond(target)
    scales = likelihood.units.array("scales")
    spread = np.sqrt(likelihood.variance.numpy()) * scales
    centre = raw.numpy() * scales + likelihood.units.array("mean")
    exact = lognorm.logpdf(X, spread, scale=np.exp(centre)).sum(axis=1)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    mean = lognorm.mean(spread, scale=np.exp(centre))
    np.testing.assert_allclose(likelihood.mean(raw.clone()), mean, rtol=1e-6)
    draws = likelihood.sample(raw[:1].repeat(40_000, 1), np.random.RandomState(0))
    medians = np.median(draws.numpy(), axis=0)
    np.testing.assert_allclose(medians, np.exp(centre[0]), rtol=0.03)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(likelihood, masked):
    raw, target = raw_for(likelihood), target_for(likelihood)
    mask = mask_for(target) if masked else None
    assert_gradients_are_the_loss_s(likelihood, raw, target, mask)


def test_masks(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_it_is_the_score_of_logarithms():
    """The density of X is that of ln X over X."""
    X = rows_for("log_normal", n=300)
    vae = VAETransformer(2, likelihood="log_normal", **QUICK).fit(X)
    logs = VAETransformer(2, **QUICK)
    of_logs = logs.fit(np.log(X)).score_samples(np.log(X)) - np.log(X).sum(axis=1)
    assert vae.score(X) == pytest.approx(of_logs.mean(), abs=1.0)
    # So it does not depend on the units but for their logarithm.
    other = VAETransformer(2, likelihood="log_normal", **QUICK).fit(1000.0 * X)
    shift = X.shape[1] * np.log(1000.0)
    assert other.score(1000.0 * X) == pytest.approx(vae.score(X) - shift, abs=0.05)
    for row in vae.history_:
        assert np.isfinite(row["valid_elbo"])
    assert vae.history_[-1]["valid_elbo"] == pytest.approx(vae.score(X), abs=2.0)
    assert (vae.sample(200, random_state=0, noise=True) > 0.0).all()


def test_what_is_not_positive_is_refused():
    X = rows_for("log_normal")
    for value, match in (
        (0.0, "Column 3 of X has 0"),
        (-2.0, "Negative values in dat"),
    ):
        bad = np.where(np.arange(9) == 3, value, X)
        for rows in (bad, sparse.csr_array(bad)):
            with pytest.raises(ValueError, match=match):
                VAETransformer(likelihood="log_normal").fit(rows)
