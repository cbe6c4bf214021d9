"""Importance-weighted log-likelihoods of rows."""

import math

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._data import dataset
from skvae._evaluation import importance
from skvae._evaluation.importance import RowNoise
from skvae._likelihoods.bernoulli import Bernoulli
from skvae.metrics import log_likelihood_scorer


@pytest.fixture(scope="module")
def bits(digits):
    return (digits > 0.4).astype(np.float64)


@pytest.fixture(scope="module")
def one_unit(bits):
    """A posterior that is far from Gaussian: ten kinds of digits on a line."""
    params = {"hidden_dims": (32,), "max_epochs": 15, "random_state": 0}
    return VAETransformer(1, likelihood="bernoulli", **params).fit(bits[:1200])


def test_it_is_the_integral_over_the_code(one_unit, bits):
    X = bits[1200:1260]
    z = np.linspace(-8.0, 8.0, 4001)
    network = one_unit.module_
    with torch.no_grad():
        raw = network.decode(torch.as_tensor(z[:, None], dtype=torch.float32)).double()
    log_p = -np.logaddexp(0.0, raw.numpy()).sum(axis=1) + X @ raw.numpy().T
    joint = log_p - 0.5 * z**2 - 0.5 * math.log(2.0 * math.pi)
    largest = joint.max(axis=1, keepdims=True)
    exact = np.log(np.exp(joint - largest).sum(axis=1) * (z[1] - z[0])) + largest[:, 0]
    found = one_unit.log_likelihood(X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, exact, atol=0.15)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.01)


def test_it_rises_with_the_draws_from_the_elbo(one_unit, bits):
    X = bits[:1200]
    found = [one_unit.log_likelihood(X, n).mean() for n in (1, 4, 64)]
    assert found[0] == pytest.approx(one_unit.score(X), abs=0.1)
    assert found[0] < found[1] < found[2]


def test_how_it_is_computed_does_not_change_it(one_unit, bits, monkeypatch):
    X = bits[:150]
    expected = one_unit.log_likelihood(X, 70)
    np.testing.assert_allclose(one_unit.log_likelihood(X[:40], 70), expected[:40])
    for n_rows, n_draws in ((7, 3), (64, 1), (100_000, 64)):
        monkeypatch.setattr(dataset, "CHUNK_ROWS", n_rows)
        monkeypatch.setattr(importance, "DRAWS_AT_ONCE", n_draws)
        np.testing.assert_allclose(one_unit.log_likelihood(X, 70), expected)


def test_it_is_decided_by_its_seed(one_unit, bits):
    X = bits[:30]
    first = one_unit.log_likelihood(X, 20)
    np.testing.assert_array_equal(first, one_unit.log_likelihood(X, 20, random_state=0))
    assert (first != one_unit.log_likelihood(X, 20, random_state=1)).all()
    of_state = [
        one_unit.log_likelihood(X, 20, random_state=np.random.RandomState(3))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*of_state)
    one_unit.log_likelihood(X, 2, random_state=None)
    # Rows that are the same have draws of their own.
    twice = one_unit.log_likelihood(X[[0, 0]], 5)
    assert twice[0] != twice[1]
    assert log_likelihood_scorer(one_unit, X, n_samples=20) == first.mean()


def test_torch_s_generator_is_neither_read_nor_moved(one_unit, bits):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = one_unit.log_likelihood(bits[:5], 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    np.testing.assert_array_equal(first, one_unit.log_likelihood(bits[:5], 5))


def test_any_number_of_draws_is_made_by_and_by():
    noise = RowNoise(0, 10**9, 3).of_next(5, torch.zeros(5, 64))
    first = next(noise)
    assert first.shape[1:] == (5, 3)
    assert len(first) < 1000
    values = torch.cat([first, *(next(noise) for _ in range(9))]).numpy()
    assert values.mean() == pytest.approx(0.0, abs=0.02)
    assert values.var() == pytest.approx(1.0, abs=0.03)
    between = np.corrcoef(values.reshape(len(values), -1).T) - np.eye(15)
    assert np.abs(between).max() < 0.1


def test_what_no_code_changes_is_computed_once(one_unit, bits, monkeypatch):
    calls = []

    def constant(self, target, mask=None):
        calls.append(len(target))
        return torch.full((len(target),), 2.0)

    expected = one_unit.log_likelihood(bits[:20], 300) - 2.0
    monkeypatch.setattr(Bernoulli, "nll_constant", constant)
    np.testing.assert_allclose(one_unit.log_likelihood(bits[:20], 300), expected)
    assert calls == [20]


def test_units_of_X_are_told_apart(wine, quick):
    params = {**quick, "likelihood": "gaussian"}
    found = [
        VAETransformer(**params).fit(scale * wine).log_likelihood(scale * wine, 50)
        for scale in (1.0, 8.0)
    ]
    shift = wine.shape[1] * math.log(8.0)
    np.testing.assert_allclose(found[0] - found[1], shift, atol=1e-2)


@pytest.mark.parametrize("n_samples", [0, -3, 2.5, "many"])
def test_numbers_of_draws_that_are_none(one_unit, bits, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        one_unit.log_likelihood(bits[:5], n_samples)


def test_rows_of_another_table_are_refused(one_unit, bits):
    with pytest.raises(ValueError, match="features"):
        one_unit.log_likelihood(bits[:5, 1:])
    with pytest.raises(ValueError, match="seed"):
        one_unit.log_likelihood(bits[:5], 3, random_state="seed")
