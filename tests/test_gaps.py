"""Linear models of rows with gaps, against dense Gaussians."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis

from skvae._linear.gaps import (
    ConditionalMean,
    FactorCovariance,
    factors_with_gaps,
    given_observed,
    log_likelihood_with_gaps,
)

N, D, K = 400, 8, 2


def seeded():
    return np.random.RandomState(0)


@pytest.fixture(scope="module")
def rows():
    """Standardised rows of a factor analysis."""
    rng = np.random.RandomState(3)
    loadings, noise = rng.randn(D, K), rng.uniform(0.2, 1.0, D)
    X = rng.randn(N, K) @ loadings.T + np.sqrt(noise) * rng.randn(N, D)
    return (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.fixture(scope="module")
def with_gaps(rows):
    """A row and nearly a column are gone, and 30 % of the others."""
    X = np.where(np.random.RandomState(4).uniform(size=rows.shape) < 0.3, np.nan, rows)
    X[5] = np.nan
    X[1:, 7] = np.nan
    X[0, 7] = 0.3
    return X


@pytest.fixture(scope="module")
def factors(with_gaps):
    return factors_with_gaps(with_gaps, K, random_state=seeded())


def covariance_of(factors):
    return factors.loadings @ factors.loadings.T + np.diag(factors.noise)


def test_without_gaps_it_is_factor_analysis(rows):
    found = factors_with_gaps(
        rows, K, floor=1e-6, random_state=seeded(), tolerance=1e-7, max_turns=2000
    )
    theirs = FactorAnalysis(K, tol=1e-9, max_iter=5000).fit(rows).score(rows)
    own = log_likelihood_with_gaps(found, rows).mean()
    assert own == pytest.approx(theirs, abs=1e-3)
    np.testing.assert_allclose(found.mean, 0.0, atol=1e-6)


def test_without_gaps_and_with_one_noise_it_is_probabilistic_pca(rows):
    found = factors_with_gaps(
        rows,
        K,
        shared_noise=True,
        floor=1e-6,
        random_state=seeded(),
        tolerance=1e-9,
        max_turns=2000,
    )
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    noise = values[K:].mean()
    np.testing.assert_allclose(found.noise, noise, rtol=1e-3)
    np.testing.assert_allclose(found.noise[0] * found.values, values[:K], rtol=1e-3)
    components = FactorCovariance(found, N).components(K, seeded())
    np.testing.assert_allclose(components.eigenvalues, values[:K], rtol=1e-3)
    assert components.total == pytest.approx(values.sum(), rel=1e-3)


def test_likelihood_is_the_gaussian_s_of_what_is_there(factors, with_gaps):
    covariance = covariance_of(factors)
    found = log_likelihood_with_gaps(factors, with_gaps)
    for i in (0, 1, 2, 30):
        there = ~np.isnan(with_gaps[i])
        exact = multivariate_normal(
            factors.mean[there], covariance[np.ix_(there, there)]
        ).logpdf(with_gaps[i, there])
        assert found[i] == pytest.approx(exact)
    assert found[5] == 0.0


def test_turns_do_not_lower_the_likelihood(with_gaps):
    scores = [
        log_likelihood_with_gaps(
            factors_with_gaps(
                with_gaps, K, random_state=seeded(), max_turns=n, tolerance=-1.0
            ),
            with_gaps,
        ).mean()
        for n in (1, 2, 4, 8, 16, 64)
    ]
    assert (np.diff(scores) > -1e-8).all()
    assert scores[-1] > scores[0] + 0.01


def test_it_knows_more_than_mean_filled_rows(with_gaps, factors):
    filled = np.where(np.isnan(with_gaps), np.nanmean(with_gaps, axis=0), with_gaps)
    of_filled = factors_with_gaps(filled, K, random_state=seeded())
    known = [
        log_likelihood_with_gaps(f, with_gaps).mean() for f in (factors, of_filled)
    ]
    assert known[0] > known[1] + 0.05


def test_expectations_are_the_dense_formula_s(factors, with_gaps):
    covariance = covariance_of(factors)
    x = torch.from_numpy(with_gaps)
    observed = ~torch.isnan(x)
    found = ConditionalMean(factors)(x.nan_to_num(), observed).numpy()
    for i in (0, 1, 2, 30):
        o, m = observed[i].numpy(), ~observed[i].numpy()
        gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
        expected = factors.mean[m] + gain @ (with_gaps[i, o] - factors.mean[o])
        np.testing.assert_allclose(found[i, m], expected)
        np.testing.assert_array_equal(found[i, o], with_gaps[i, o])
    np.testing.assert_allclose(found[5], factors.mean)


def test_codes_of_filled_rows_are_those_given_what_is_there(factors, with_gaps):
    parts = [torch.from_numpy(p) for p in (factors.mean, factors.loadings)]
    parts.append(torch.from_numpy(factors.noise))
    x = torch.from_numpy(with_gaps)
    observed = ~torch.isnan(x)
    expected = given_observed(x, observed, *parts)
    filled = ConditionalMean(factors)(x.nan_to_num(), observed)
    whole = given_observed(filled, torch.ones_like(observed), *parts)
    torch.testing.assert_close(whole.mean, expected.mean)
    # What is not there widens the posterior.
    variance, least = (
        part.covariance.diagonal(dim1=1, dim2=2) for part in (expected, whole)
    )
    assert (variance >= least - 1e-12).all()


def test_a_row_does_not_depend_on_its_neighbours(factors, with_gaps):
    fill = ConditionalMean(factors)
    x = torch.from_numpy(with_gaps)
    observed = ~torch.isnan(x)
    whole = fill(x.nan_to_num(), observed)
    alone = fill(x[9:10].nan_to_num(), observed[9:10])
    torch.testing.assert_close(whole[9:10], alone, rtol=1e-12, atol=1e-12)


def test_a_state_dict_carries_it(factors):
    fill, other = ConditionalMean(factors), ConditionalMean()
    for name, value in fill.state_dict().items():
        other.hold(name, value.numpy())
    x = torch.zeros(3, D, dtype=torch.float32)
    observed = torch.zeros(3, D, dtype=torch.bool)
    found = other(x, observed)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, fill(x, observed))


@pytest.mark.parametrize(
    "shape", [(2, 3), (3, 40), (50, 1)], ids=["rows", "columns", "one"]
)
def test_small_tables(shape):
    X = np.random.RandomState(0).randn(*shape)
    X[0, 0] = np.nan
    X[:, -1] = np.where(np.arange(len(X)) > 0, 1.0, np.nan)
    found = factors_with_gaps(X, 10, random_state=seeded())
    assert len(found.values) == len(found.vectors) <= max(1, min(shape[1], len(X) - 1))
    for part in found:
        assert np.isfinite(part).all()
    assert np.isfinite(log_likelihood_with_gaps(found, X)).all()


def test_units_are_in_order_and_orthogonal(factors):
    assert (np.diff(factors.values) <= 0.0).all()
    gram = factors.loadings.T / factors.noise @ factors.loadings
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0.0, atol=1e-9)
    largest = np.abs(factors.vectors).argmax(axis=1)
    assert (factors.vectors[np.arange(K), largest] > 0.0).all()
