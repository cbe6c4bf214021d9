"""A likelihood that skvae does not have takes one class, and no edit elsewhere."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import skvae
from skvae import VAETransformer
from skvae._likelihoods.base import Likelihood, draws
from skvae.inspection import diagnose
from skvae.metrics import elbo_scorer, log_likelihood_scorer


class Laplace(Likelihood):
    """One scale for all features, of rows as they are."""

    name = "laplace"

    def __init__(self, n_features):
        super().__init__(n_features)
        self.register_buffer("b", torch.ones((), device="cpu"))

    def nll(self, raw, target, mask=None):
        nats = (raw - target).abs() / self.b + torch.log(2.0 * self.b)
        return (nats if mask is None else nats * mask).sum(dim=1)

    def mean(self, raw, covariates=None):
        return raw

    def sample(self, raw, random_state, covariates=None):
        noise = random_state.laplace(scale=self.b.item(), size=tuple(raw.shape))
        return raw + torch.from_numpy(noise).to(raw)

    def update_running_stats(self, loss):
        error = (loss - torch.log(2.0 * self.b)) * self.b
        self.b.lerp_(error, 0.05).clamp_(min=1e-6)

    def calibrate(self, decoder, posterior, batch, points):
        target = batch.target
        errors = [(decoder(z) - target).abs().mean() for z in draws(posterior, points)]
        self.b.fill_(torch.stack(errors).mean().clamp(min=1e-6))


class LaplaceVAE(VAETransformer):
    def _likelihood_type(self):
        return Laplace


QUICK = {"max_epochs": 3, "hidden_dims": (8,), "latent_dim": 2}


@parametrize_with_checks([LaplaceVAE(**QUICK)])
@pytest.mark.filterwarnings("ignore:Column .* of X has:UserWarning")
@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
@pytest.mark.filterwarnings("ignore::skvae.exceptions.DivergenceWarning")
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def model(digits):
    params = {"hidden_dims": (64,), "max_epochs": 30, "lr": 5e-3, "random_state": 0}
    return LaplaceVAE(8, **params).fit(digits[:1200])


def test_it_fits_codes_and_scores(model, digits):
    X = digits[1200:1400]
    b = model._fitted.state.likelihood.b.item()
    assert model.transform(X).shape == (200, 8)
    assert model.reconstruction_error(X).mean() < 0.7 * X.var(axis=0).mean()
    # the distortion that is its own definition, at the mean of the posterior
    at_mean = np.abs(model.reconstruct(X) - X).sum(axis=1) / b + 64 * np.log(2 * b)
    distortion = model._evaluate(X).distortion
    assert np.corrcoef(at_mean, distortion)[0, 1] > 0.98
    assert (distortion > at_mean - 0.5).mean() > 0.9
    bound = log_likelihood_scorer(model, X)
    assert model.score(X) < bound < model.score(X) + 10.0
    assert model.beta_ == pytest.approx(1.0)
    assert model.kld_weight_ == pytest.approx(1.0 / 64)
    assert diagnose(model, X).active_units > 4


def test_it_samples_with_its_own_noise(model):
    means = model.sample(400, random_state=0)
    off = np.abs(model.sample(400, random_state=0, noise=True) - means)
    b = model._fitted.state.likelihood.b.item()
    assert off.mean() == pytest.approx(b, rel=0.03)  # E |noise| is b
    assert np.median(off) == pytest.approx(b * np.log(2.0), rel=0.03)


def test_it_pickles_and_goes_on(model, digits):
    copied = pickle.loads(pickle.dumps(model))
    assert copied.score(digits[:50]) == model.score(digits[:50])
    copied.partial_fit(digits[:100])
    assert np.isfinite(copied.score(digits[:50]))


def test_it_is_searched(digits):
    grid = {"latent_dim": [2, 4], "beta": [0.5, 1.0]}
    model = LaplaceVAE(hidden_dims=(16,), max_epochs=30, lr=0.01, random_state=0)
    search = GridSearchCV(model, grid, scoring=elbo_scorer, cv=2).fit(digits[:200])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_leaf_s_gradient_is_autograd_s_of_the_whole(digits, monkeypatch):
    """The derived engine takes it, and trains as autograd does."""
    params = {"hidden_dims": (16,), "max_epochs": 2, "lr": 0.01, "random_state": 0}
    derived = LaplaceVAE(3, **params).fit(digits[:200])
    monkeypatch.setenv("SKVAE_ENGINE", "autograd")
    plain = LaplaceVAE(3, **params).fit(digits[:200])
    codes = (model.transform(digits[:50]) for model in (derived, plain))
    np.testing.assert_allclose(*codes, rtol=1e-3, atol=1e-3)


def test_nobody_else_knows_a_noise_model():
    """What calls likelihoods names none, nor what is a Gaussian's."""
    words = r"likelihoods\.(linear_)?gaussian|noise_variance|mse_loss|running_noise"
    package = Path(skvae.__file__).parent
    for room in ("_objectives", "_engine", "_training", "_evaluation", "_data", "_nn"):
        for file in (package / room).glob("*.py"):
            found = re.findall(words, file.read_text())
            assert not found, f"{file.name}: {found}"
