"""One density: what is scored, measured, drawn and blamed is the same."""

import math

import numpy as np
import pytest
import torch
from _make import gaussian, minibatch
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer
from skvae._evaluation.evaluator import Density, n_active
from skvae._likelihoods.linear_gaussian import LinearGaussian
from skvae._linear.components import Components
from skvae._nn.autoencoder import VAE
from skvae.inspection import diagnose
from skvae.metrics import distortion, log_likelihood_scorer, rate

D, WEIGHT = 5, 0.2


@pytest.fixture
def parts():
    network = VAE(D, 2, hidden_dims=(4,), seed=1).double().eval()
    components = Components(np.array([4.0]), np.eye(1, D), 8.0)
    background = LinearGaussian(components, 1.0)
    x = 3.0 * torch.randn(
        40, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return network, gaussian(D, 0.3), background, x


def evaluated(x, *density):
    found = Density(*density)
    return found.evaluation(found.evaluate()(minibatch(x)).numpy())


def test_the_mixture_is_the_log_of_the_mixed_densities(parts):
    network, likelihood, background, x = parts
    alone = evaluated(x, network, likelihood)
    both = evaluated(x, network, likelihood, background, WEIGHT)
    nll, kl = background.expected_nll_and_kl(x)
    other = -(nll + kl.sum(dim=1)).numpy()
    expected = np.logaddexp(math.log(1 - WEIGHT) + alone.elbo, math.log(WEIGHT) + other)
    np.testing.assert_allclose(both.elbo, expected)
    share = np.exp(math.log(WEIGHT) + other - expected)
    np.testing.assert_allclose(both.background, share)
    np.testing.assert_allclose(both.network_distortion, alone.distortion)
    np.testing.assert_allclose(both.elbo, -(both.distortion + both.rate))
    assert not alone.background.any()
    assert not alone.choice.any()
    assert both.active_units == n_active(both.mean) == n_active(alone.mean)


def test_importance_sampling_is_of_the_same_mixture(parts):
    network, likelihood, background, x = parts

    def bound(*others):
        density = Density(network, likelihood, *others)
        return density.log_likelihood(200, 0)(minibatch(x)).numpy()

    nll, kl = background.expected_nll_and_kl(x)
    other = math.log(WEIGHT) - (nll + kl.sum(dim=1)).numpy()
    expected = np.logaddexp(math.log(1 - WEIGHT) + bound(), other)
    np.testing.assert_allclose(bound(background, WEIGHT), expected)


@pytest.fixture(scope="module")
def model(breast_cancer):
    return VAETransformer(6, max_epochs=15, random_state=0, likelihood="gaussian").fit(
        breast_cancer[:400]
    )


def test_an_outlier_is_the_background_s(model, breast_cancer):
    X = breast_cancer[400:].copy()
    usual = model.background_responsibility(X)
    assert ((usual >= 0.0) & (usual <= 1.0)).all()
    X[:20, 3] += 40.0
    odd = model.background_responsibility(X)
    assert (odd[:20] > 0.99).all()
    np.testing.assert_array_equal(odd[20:], usual[20:])
    assert np.median(usual) < 0.05


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_samples_are_of_the_density_that_is_scored(breast_cancer, weight):
    """As many are the background's as its weight says."""
    X = breast_cancer[:400]
    params = {"max_epochs": 15, "random_state": 0, "background_weight": weight}
    model = VAETransformer(6, **params, likelihood="gaussian").fit(X)
    means = model.sample(4000, random_state=0)
    drawn = model.sample(4000, random_state=0, noise=True)
    # A row of the network's is its mean and noise; one of the background's is neither.
    off = np.square(drawn - means).mean(axis=1) / model.noise_variance_
    assert (off > 4.0).mean() == pytest.approx(0.94 * weight, abs=0.06)
    assert model.background_responsibility(drawn).mean() == pytest.approx(
        weight, abs=0.05
    )
    np.testing.assert_array_equal(drawn, model.sample(4000, random_state=0, noise=True))


def test_everything_that_is_said_is_of_one_density(model, breast_cancer):
    X = breast_cancer[400:].copy()
    X[:5, 0] += 30.0
    found = diagnose(model, X)
    elbo = -(distortion(model, X) + rate(model, X))
    np.testing.assert_allclose(model.score_samples(X), elbo)
    assert found.elbo == pytest.approx(elbo.mean())
    assert log_likelihood_scorer(model, X) > found.elbo
    alone = VAETransformer(
        6, max_epochs=15, random_state=0, background_weight=0.0, likelihood="gaussian"
    ).fit(breast_cancer[:400])
    # Training is the same; what an odd row costs is not.
    np.testing.assert_array_equal(alone.transform(X), model.transform(X))
    assert alone.score(X[5:]) == pytest.approx(model.score(X[5:]), abs=2.0)
    assert alone.score(X[:5]) < model.score(X[:5]) - 10.0
    assert not alone.background_responsibility(X).any()


def test_beta_is_a_knob_without_units(digits):
    """The same units are active in whatever units the table is."""
    X, counts, betas = digits[:600], [], (0.5, 1.0, 2.0, 4.0)
    for beta in betas:
        params = {"beta": beta, "hidden_dims": (), "max_epochs": 10, "random_state": 0}
        model = VAETransformer(20, **params, likelihood="gaussian").fit(X)
        assert model.beta_ == pytest.approx(beta)
        weight = beta * 2 * model.noise_variance_ / 64
        assert model.kld_weight_ == pytest.approx(weight)
        other = VAETransformer(20, **params, likelihood="gaussian").fit(1000.0 * X)
        assert other.kld_weight_ == pytest.approx(1e6 * model.kld_weight_, rel=1e-3)
        eigenvalues = np.sort(PCA().fit(X).explained_variance_)[::-1] * 599 / 600
        threshold = beta * model.noise_variance_
        counts.append(diagnose(model, X).active_units)
        assert counts[-1] == pytest.approx((eigenvalues[:20] > threshold).sum(), abs=1)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_beta_is_searched_beside_the_number_of_units(digits):
    grid = {"beta": [0.5, 1.0, 8.0], "latent_dim": [2, 6]}
    model = VAETransformer(max_epochs=10, random_state=0, likelihood="gaussian")
    search = GridSearchCV(model, grid, cv=2).fit(digits[:400])
    # Scores are at beta = 1, whatever beta trained: maximum likelihood is near the top.
    assert search.best_params_["beta"] < 8.0
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_beta_and_a_weight_exclude_each_other(small):
    model = VAETransformer(2, kld_weight=1e-3, beta=2.0, likelihood="gaussian")
    with pytest.raises(ValueError, match=r"beta=2.0 multiplies .* set one of the two"):
        model.fit(small)
    with pytest.raises(ValueError, match="'beta' parameter"):
        VAETransformer(2, beta=0.0, likelihood="gaussian").fit(small)
    with pytest.raises(ValueError, match="'background_weight' parameter"):
        VAETransformer(2, background_weight=1.0, likelihood="gaussian").fit(small)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_training_that_goes_on_leaves_the_background_behind(call):
    """PCA was kept by the first fit, and is left by the next."""
    generator = np.random.RandomState(1)
    X = generator.randn(400, 2) @ generator.randn(2, 6) + generator.randn(400, 6) / 2
    far = 100.0 * generator.randn(50, 6)
    model = VAETransformer(2, max_epochs=5, random_state=0, likelihood="gaussian").fit(
        X
    )
    assert model.best_epoch_ == 0
    assert not model.background_responsibility(far).any()
    linear = model.score_samples(far)
    model.set_params(warm_start=True, early_stopping=False, max_epochs=60)
    for _ in range(1 if call == "fit" else 20):
        getattr(model.set_params(batch_size=16, lr=0.01), call)(X)
    assert model.best_epoch_ > 0
    assert model.background_responsibility(far).max() > 0.99
    assert (model.score_samples(far) > linear - 5.0).all()


def test_a_diagnosis_is_of_the_fit_whatever_is_set_later(breast_cancer):
    X = breast_cancer[:300]
    model = VAETransformer(
        4, max_epochs=60, random_state=0, beta=3.0, likelihood="gaussian"
    ).fit(X)
    before = repr(diagnose(model, X))
    assert "lower it to 1" in before.replace("\n", " ")
    model.set_params(beta=8.0, kld_weight=0.1)
    assert repr(diagnose(model, X)) == before
