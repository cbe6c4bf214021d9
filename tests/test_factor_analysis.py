import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import FactorAnalysis as SklearnFactorAnalysis

from skvae._linear.factor_analysis import FactorAnalysis, factor_analysis, leading


def likelihood_of(model, covariance):
    """Mean ln p of rows with this covariance and no mean, nats per row."""
    root = np.sqrt(model.noise)
    active = np.maximum(model.values, 1.0) - 1.0
    loadings = root * model.vectors * np.sqrt(active)[:, None]
    modelled = loadings.T @ loadings + np.diag(model.noise)
    _, log_det = np.linalg.slogdet(modelled)
    trace = np.trace(np.linalg.solve(modelled, covariance))
    return -0.5 * (len(root) * np.log(2.0 * np.pi) + log_det + trace)


def fitted(covariance, k, floor=1e-12, seed=0):
    random = np.random.RandomState(seed)
    variance = np.diag(covariance)
    return factor_analysis(lambda v: covariance @ v, variance, k, floor, random)


@pytest.fixture
def X(rng):
    loadings = rng.randn(3, 12)
    return rng.randn(800, 3) @ loadings + rng.randn(800, 12) * rng.uniform(0.3, 3.0, 12)


@pytest.mark.parametrize("k", [1, 3])
def test_it_is_as_likely_as_scikit_learn_s(X, k):
    covariance = np.cov(X.T, bias=True)
    found = likelihood_of(fitted(covariance, k), covariance)
    other = SklearnFactorAnalysis(k, tol=1e-8, max_iter=5000, svd_method="lapack")
    expected = other.fit(X).score(X)
    assert expected - 0.01 < found < expected + 1e-3 + 1e-6 * abs(expected)


def converged(covariance, k, floor):
    """The same turns with all eigenpairs, until nothing changes."""
    noise = np.diag(covariance)
    for _ in range(3000):
        root = np.sqrt(noise)
        values, vectors = np.linalg.eigh(covariance / root[:, None] / root)
        values, vectors = values[-k:], vectors[:, -k:]
        explained = vectors**2 @ np.maximum(values - 1.0, 0.0) * noise
        before, noise = noise, np.maximum(np.diag(covariance) - explained, floor)
        if np.abs(noise - before).max() < 1e-10:
            break
    return FactorAnalysis(values[::-1], vectors[:, ::-1].T, noise)


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "digits"])
@pytest.mark.parametrize("k", [2, 8])
def test_it_is_as_likely_as_one_that_went_on(name, k, request):
    """With a floor that some columns are at."""
    X = request.getfixturevalue(name)
    X = X[:, X.std(axis=0) > 0.05]
    covariance = np.corrcoef(X.T)
    found = likelihood_of(fitted(covariance, k, 1e-3), covariance)
    best = likelihood_of(converged(covariance, k, 1e-3), covariance)
    assert best - 0.1 < found < best + 0.01


def test_a_model_of_the_truth_is_found(rng):
    loadings, noise = 2.0 * rng.randn(2, 8), rng.uniform(0.1, 2.0, 8)
    truth = loadings.T @ loadings + np.diag(noise)
    model = fitted(truth, 2)
    np.testing.assert_allclose(model.noise, noise, atol=0.1)
    perfect = -0.5 * (8 * np.log(2.0 * np.pi * np.e) + np.linalg.slogdet(truth)[1])
    assert perfect - 0.01 < likelihood_of(model, truth) < perfect + 1e-9
    np.testing.assert_allclose(model.vectors @ model.vectors.T, np.eye(2), atol=1e-10)
    assert (np.diff(model.values) <= 0.0).all()


def test_noise_has_its_floor(rng):
    """A column that is a sum of others (Heywood's case)."""
    X = rng.randn(500, 4)
    X[:, 3] = X[:, :3].sum(axis=1)
    covariance = np.cov(X.T, bias=True)
    floor = np.array([0.01, 0.02, 0.03, 0.5])
    model = fitted(covariance, 3, floor)
    assert (model.noise >= floor).all()
    assert model.noise[3] == 0.5


def test_without_correlations_there_is_no_factor(rng):
    model = fitted(np.diag([1.0, 4.0, 9.0]), 2)
    assert (model.values <= 1.0 + 1e-9).all()
    np.testing.assert_allclose(model.noise, [1.0, 4.0, 9.0])
    none = fitted(np.zeros((3, 3)), 2, floor=0.1)
    np.testing.assert_allclose(none.noise, 0.1)
    assert np.isfinite(none.vectors).all()


def test_seeds_decide_on_nothing(X):
    covariance = np.cov(X.T, bias=True)
    one, other = (fitted(covariance, 3, seed=seed) for seed in (0, 1))
    np.testing.assert_allclose(one.noise, other.noise, rtol=1e-2)
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-2)
    assert fitted(covariance, 20).vectors.shape == (12, 12)


def test_leading_eigenpairs(rng):
    vectors = stats.ortho_group.rvs(20, random_state=rng)
    matrix = (vectors * 0.5 ** np.arange(20)) @ vectors.T
    values, basis = leading(lambda v: matrix @ v, rng.randn(20, 8), 8)
    np.testing.assert_allclose(values[:3], 0.5 ** np.arange(3), rtol=1e-6)
    np.testing.assert_allclose(np.abs(basis[:, 0] @ vectors[:, 0]), 1.0, rtol=1e-6)
