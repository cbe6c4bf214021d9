import numpy as np
import pytest
import torch
from scipy import sparse, stats

from skvae._likelihoods.gaussian_diag import GaussianDiag
from skvae._likelihoods.linear_factors import LinearFactors
from skvae._likelihoods.linear_model import Affine
from skvae._linear.factor_analysis import FactorAnalysis, factor_analysis
from skvae._linear.linear_vae import prediction_error


@pytest.fixture
def model(rng):
    """Two factors and one that is none, of five features."""
    vectors = stats.ortho_group.rvs(5, random_state=rng)[:3]
    noise = np.array([0.1, 0.5, 1.0, 2.0, 0.3])
    return LinearFactors(FactorAnalysis(np.array([9.0, 3.0, 0.8]), vectors, noise))


def modelled(model):
    """Covariance of its rows."""
    _, _, decode = model.maps(torch.float64)
    decode = decode.numpy()
    return decode @ decode.T + np.diag(model.noise_variances)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_elbo_is_ln_p_of_a_normal(model, rng, dtype):
    covariance = modelled(model)
    x = torch.from_numpy(rng.multivariate_normal(np.zeros(5), covariance, 40))
    nll, kl = model.expected_nll_and_kl(x.to(dtype))
    assert nll.dtype is kl.dtype is torch.float64
    assert kl.shape == (40, 3)
    assert (kl[:, 2] == 0.0).all()
    expected = stats.multivariate_normal(np.zeros(5), covariance).logpdf(x)
    np.testing.assert_allclose(-(nll + kl.sum(dim=1)), expected, rtol=1e-5)


def test_with_other_noise_it_is_a_bound(model, rng):
    x = torch.from_numpy(rng.multivariate_normal(np.zeros(5), modelled(model), 400))
    model.calibrate(x, 50)
    grown = prediction_error(2, 50)
    np.testing.assert_allclose(
        model.noise_variances, grown * np.array([0.1, 0.5, 1.0, 2.0, 0.3])
    )
    nll, kl = model.expected_nll_and_kl(x)
    exact = stats.multivariate_normal(np.zeros(5), modelled(model)).logpdf(x)
    elbo = -(nll + kl.sum(dim=1)).numpy()
    assert (elbo <= exact + 1e-9).all()
    assert (exact - elbo).mean() < 0.05


def test_a_larger_beta_has_fewer_units(model):
    values, vectors = model.array("eigenvalues"), model.array("eigenvectors")
    factors = FactorAnalysis(values, vectors, model.noise_variances)
    assert model.n_active == 2
    narrow = LinearFactors(factors, beta=4.0)
    assert narrow.n_active == 1
    encode, log_var, decode = narrow.maps()
    assert (encode[1:] == 0.0).all()
    assert (decode[:, 1:] == 0.0).all()
    np.testing.assert_allclose(log_var.exp(), [4.0 / 9.0, 1.0, 1.0], rtol=1e-6)
    # What a unit is at its optimum (Lucas et al., 2019), in units of the noise.
    loadings = decode[:, 0].numpy() / np.sqrt(model.noise_variances)
    assert loadings @ loadings == pytest.approx(9.0 - 4.0, rel=1e-5)


def test_samples_have_its_covariance(model):
    drawn = model.sample(200_000, np.random.RandomState(0)).numpy()
    found = np.cov(drawn.T)
    np.testing.assert_allclose(found, modelled(model), rtol=0.05, atol=0.03)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_likelihoods_of_rows_in_their_own_units(rng, kind):
    X = 3.0 + rng.randn(300, 2) @ rng.randn(2, 6) + rng.randn(300, 6)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    covariance = np.corrcoef(X.T)
    factors = factor_analysis(
        lambda v: covariance @ v, np.ones(6), 2, 1e-3, np.random.RandomState(0)
    )
    model = LinearFactors(factors)
    found = model.log_likelihood(kind(X), Affine(mean, scale))
    in_units = modelled(model) * scale[:, None] * scale
    expected = stats.multivariate_normal(mean, in_units).logpdf(X)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_its_size_and_numbers_are_its_state(model):
    other = GaussianDiag(5).empty_linear_model(3)
    assert other.n_units == model.n_units == 3
    assert other.n_active == 0
    other.load_state_dict(model.state_dict())
    x = torch.ones(2, 5, dtype=torch.float64)
    for one, same in zip(
        model.expected_nll_and_kl(x), other.expected_nll_and_kl(x), strict=True
    ):
        assert torch.equal(one, same)


@pytest.mark.parametrize("beta", [0.2, 5.0])
def test_at_another_beta_the_noise_is_what_its_maps_leave(rng, beta):
    """No other noise gives a better ELBO; the baseline stays factor analysis."""
    X = rng.randn(3000, 2) @ rng.randn(2, 6) + rng.randn(3000, 6) * [1, 2, 1, 3, 1, 1]
    likelihood = GaussianDiag(6)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    factors = likelihood.factors(X, 3)
    model = LinearFactors(factors, beta)
    target = likelihood.encode_target(torch.from_numpy(X))
    model.calibrate(target, 10**9)

    def elbo(factor):
        noise = model.noise_variances
        model.hold("noise", noise * factor)
        nll, kl = model.expected_nll_and_kl(target)
        model.hold("noise", noise)
        return -(nll.mean() + kl.sum(dim=1).mean()).item()

    assert elbo(1.0) > max(elbo(0.9), elbo(1.1))
    affine = likelihood.input_affine()
    np.testing.assert_allclose(
        model.log_likelihood(X, affine),
        LinearFactors(factors).log_likelihood(X, affine),
    )
