"""Sizes of drawn rows under conditions."""

import pickle

import numpy as np
import pytest
from _kinds import COUNTS, rows_for

from skvae import VAETransformer
from skvae._data.covariates import SMALLEST_SIZE, RowCovariates
from skvae._data.sizes import draw_sizes, fit_sizes

BATCH = np.eye(3)[np.arange(300) % 3]


def drawn(fitted, conditions, n=4000):
    every = np.tile(conditions, (n, 1))
    return draw_sizes(fitted, every, np.random.RandomState(0))


def test_each_category_has_the_sizes_of_its_rows(rng):
    size = np.exp(rng.randn(300) * 0.2 + BATCH @ [1.0, 3.0, 5.0])
    fitted = fit_sizes(RowCovariates(BATCH, size))
    for row, expected in zip(np.eye(3), [1.0, 3.0, 5.0], strict=True):
        logs = np.log(drawn(fitted, row))
        assert logs.mean() == pytest.approx(expected, abs=0.1)
        assert logs.std() == pytest.approx(0.2, rel=0.15)


def test_conditions_that_say_nothing_leave_the_sizes_of_all(rng):
    """As likelihoods draw them without conditions."""
    size = np.exp(rng.randn(300))
    fitted = fit_sizes(RowCovariates(np.ones((300, 1)), size))
    expected = np.interp(
        np.random.RandomState(0).uniform(size=50),
        np.linspace(0, 1, 101),
        np.quantile(size, np.linspace(0, 1, 101)),
    )
    np.testing.assert_allclose(drawn(fitted, [1.0], 50), expected, rtol=0.02)


def test_batches_spread_as_their_rows_do(rng):
    spread = np.array([0.05, 0.3, 1.0])
    size = np.exp(3.0 + rng.randn(300) * (BATCH @ spread))
    fitted = fit_sizes(RowCovariates(BATCH, size))
    for row, expected in zip(np.eye(3), spread, strict=True):
        assert np.log(drawn(fitted, row)).std() == pytest.approx(expected, rel=0.25)


def test_columns_add_up_and_numbers_are_followed_as_far_as_seen(rng):
    number = rng.uniform(-1.0, 1.0, 300)
    given = np.column_stack([BATCH, number])
    size = np.exp(given @ [0.0, 1.0, 2.0, 3.0])
    fitted = fit_sizes(RowCovariates(given, size))
    one, other = drawn(fitted, [1, 0, 0, 0.5], 1), drawn(fitted, [0, 0, 1, 0.0], 1)
    assert other / one == pytest.approx(np.exp(0.5))
    assert drawn(fitted, [0, 0, 1, 99.0]).max() == pytest.approx(size.max())


def test_rows_without_a_size_are_drawn_as_often_and_explain_nothing(rng):
    size = np.exp(BATCH @ [1.0, 3.0, 5.0])
    size[rng.permutation(300)[:60]] = 0.0
    fitted = fit_sizes(RowCovariates(BATCH, size))
    found = drawn(fitted, np.eye(3)[1])
    assert (found == SMALLEST_SIZE).mean() == pytest.approx(0.2, abs=0.03)
    assert np.median(found) == pytest.approx(np.exp(3.0))


@pytest.mark.parametrize(
    "covariates",
    [
        RowCovariates(None, np.ones(300)),
        RowCovariates(BATCH, None),
        RowCovariates(BATCH, np.zeros(300)),
    ],
)
def test_without_sizes_or_conditions_there_is_nothing_to_fit(covariates):
    assert fit_sizes(covariates) is None


@pytest.fixture(scope="module")
def cells():
    """Counts of two batches, the second ten times as deep."""
    X = rows_for("poisson", n=200)
    batch = np.array(["shallow", "deep"])[np.arange(200) % 2]
    return X * np.where(batch == "deep", 10.0, 1.0)[:, None], batch


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("name", COUNTS)
def test_samples_are_as_deep_as_their_batch(name, cells):
    X, batch = cells
    vae = VAETransformer(2, hidden_dims=(), max_epochs=2, random_state=0)
    vae.set_params(likelihood=name).fit(X, conditions=batch)
    for model in (vae, pickle.loads(pickle.dumps(vae))):
        for one in ("shallow", "deep"):
            rows = model.sample(800, random_state=0, conditions=one)
            expected = np.median(X[batch == one].sum(axis=1))
            assert np.median(rows.sum(axis=1)) == pytest.approx(expected, rel=0.35)
    with pytest.raises(ValueError, match="was fitted with conditions"):
        vae.sample(3)
    given = vae.sample(800, random_state=0, conditions="deep", size_factor=5.0)
    assert given.sum(axis=1).mean() == pytest.approx(5.0, rel=0.3)


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_sizes_are_those_of_the_last_fit(cells):
    X, batch = cells
    vae = VAETransformer(2, hidden_dims=(), max_epochs=2, random_state=0)
    vae.set_params(likelihood="poisson").fit(X, conditions=batch)
    vae.fit(X)
    assert vae.sample(800, random_state=0).sum(axis=1).std() > X[batch == "deep"].mean()
    vae.set_params(size_factor=None).fit(X, conditions=batch)
    assert vae.sample(3, random_state=0, conditions="deep").shape == (3, 9)
