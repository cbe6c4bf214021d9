"""Dispersions without a code, and the model that has none."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.stats import nbinom

from skvae import VAETransformer
from skvae._likelihoods.dispersion import log_r_without_code
from skvae.exceptions import PosteriorCollapseWarning

LOW, HIGH = -9.0, 14.0


def drawn(rng, n_rows, log_r, rates, size):
    r = np.exp(log_r)
    mean = size[:, None] * rates
    return rng.poisson(rng.gamma(r, mean / r, mean.shape)).astype(np.float32)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_dispersions_are_of_maximum_likelihood(rng, make):
    log_r, rates = np.array([-2.0, 0.0, 1.0, 2.0]), np.array([0.3, 0.1, 0.02, 1.0])
    size = rng.lognormal(3.0, 0.7, 2000)
    X = drawn(rng, 2000, log_r, rates, size)
    found = log_r_without_code(make(X), size, rates, LOW, HIGH).numpy()
    for j in range(4):
        mean = size * rates[j]

        def loss(log_r, j=j, mean=mean):
            r = np.exp(log_r)
            return -nbinom.logpmf(X[:, j], r, r / (r + mean)).sum()

        best = minimize_scalar(loss, bounds=(LOW, HIGH), method="bounded")
        # Sizes are in groups: a fraction of a nat, of thousands of rows.
        assert loss(found[j]) < best.fun + 0.1


def test_a_column_that_is_poisson_or_empty_has_a_bound(rng):
    X = np.zeros((300, 2), np.float32)
    X[:, 0] = 5.0  # less spread than a Poisson's
    found = log_r_without_code(X, np.ones(300), np.array([5.0, 1e-3]), LOW, HIGH)
    assert found[0] == pytest.approx(HIGH, abs=1e-3)
    assert found.isfinite().all()


@pytest.fixture
def unrelated(rng):
    """Counts of 300 rows in which columns share nothing but the row's size."""
    rates = rng.dirichlet(np.full(40, 0.5))
    return drawn(rng, 300, np.full(40, 0.7), rates, rng.lognormal(4.5, 0.5, 300))


@pytest.mark.parametrize("likelihood", ["negative_binomial", "zinb"])
def test_where_no_code_helps_the_model_without_one_is_kept(unrelated, likelihood):
    train, test = unrelated[:220], unrelated[220:]
    model = VAETransformer(4, likelihood=likelihood, max_epochs=10, random_state=0)
    with pytest.warns(PosteriorCollapseWarning):
        model.fit(train)
    assert model.best_epoch_ == 0
    assert not model.transform(test).any()
    size = test.sum(axis=1, keepdims=True)
    mean = size * train.sum(axis=0) / train.sum()
    shares = model.reconstruct(test)
    np.testing.assert_allclose(shares, np.maximum(mean, 0.0), rtol=1e-3, atol=1e-2)
    log_r = log_r_without_code(
        train, train.sum(axis=1), train.sum(axis=0) / train.sum(), LOW, HIGH
    )
    r = log_r.exp().numpy()
    expected = nbinom.logpmf(test, r, r / (r + mean)).sum(axis=1)
    np.testing.assert_allclose(model.score_samples(test), expected, rtol=1e-3)


def test_training_begins_elsewhere_than_epoch_0(rng):
    """What competes as epoch 0 is no place to learn from: all its gradients are 0."""
    types = rng.randint(3, size=240)
    rates = rng.gamma(0.5, 4.0, (3, 30))
    X = rng.poisson(rates[types]).astype(np.float32)
    model = VAETransformer(
        3, likelihood="negative_binomial", max_epochs=15, random_state=0
    ).fit(X)
    assert model.best_epoch_ > 0
    assert np.isfinite(model.transform(X)).all()
    assert model.transform(X).std() > 0.0
