"""Scores and samples of rows with conditions; without, they are tested elsewhere."""

import numpy as np
import pytest
from _kinds import rows_for
from sklearn.base import clone

from skvae import VAETransformer

LETTERS = np.array(["a", "b"])[np.arange(200) % 2]
SHIFT = 6.0


@pytest.fixture(scope="module")
def X():
    """Rows whose first column the condition moves."""
    rows = rows_for("gaussian_diag", n=200)
    rows[LETTERS == "b", 0] += SHIFT
    return rows


@pytest.fixture(scope="module")
def mixture(X):
    """Half of its density is the background's."""
    vae = VAETransformer(2, hidden_dims=(8,), max_epochs=20, lr=0.01, random_state=0)
    vae.set_params(background_weight=0.5, early_stopping=False)
    return vae.fit(X, conditions=LETTERS)


def test_the_score_is_the_mean_of_what_rows_score(X, mixture):
    rows = mixture.score_samples(X, conditions=LETTERS)
    assert rows.dtype == np.float64
    assert mixture.score(X, conditions=LETTERS) == rows.mean()
    swapped = LETTERS[::-1]
    assert mixture.score(X, conditions=swapped) < rows.mean() - 1.0
    bound = mixture.log_likelihood(X, 50, conditions=LETTERS)
    assert bound.mean() > rows.mean() - 0.1


@pytest.mark.parametrize("noise", [False, True])
def test_samples_follow_conditions_from_both_components(X, mixture, noise):
    assert mixture._fitted.state.background is not None
    a, b = (
        mixture.sample(4000, random_state=0, noise=noise, conditions=one)
        for one in ("a", "b")
    )
    moved = (b - a).mean(axis=0)
    seen = X[LETTERS == "b"].mean(axis=0) - X[LETTERS == "a"].mean(axis=0)
    np.testing.assert_allclose(moved, seen, atol=0.25 * SHIFT)
    assert moved[0] == pytest.approx(SHIFT, rel=0.15)


def test_one_row_of_conditions_stands_for_all(mixture):
    one = mixture.sample(5, random_state=0, conditions="b")
    every = mixture.sample(5, random_state=0, conditions=["b"] * 5)
    np.testing.assert_array_equal(one, every)


def test_means_of_posteriors_are_whitened_codes(X, mixture):
    means = mixture._posterior_means(X, conditions=LETTERS)
    np.testing.assert_allclose(means * mixture.code_scale_, mixture.transform(X))


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3"])
def test_bad_numbers_of_samples(X, mixture, n_samples):
    for draw in (
        lambda: mixture.sample(n_samples, conditions="a"),
        lambda: mixture.log_likelihood(X, n_samples, conditions=LETTERS),
    ):
        with pytest.raises((ValueError, TypeError), match="n_samples"):
            draw()


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_a_score_of_another_kind_than_the_estimator_that_was_cloned_warns(rng):
    """As the candidates of a search that has no scorer of ours are."""
    counts = rng.poisson(3.0, size=(60, 4))
    base = VAETransformer(2, max_epochs=1, hidden_dims=(4,))
    candidate = clone(base).set_params(likelihood="poisson").fit(counts)
    with pytest.warns(UserWarning, match="do not compare"):
        score = candidate.score(counts)
    assert clone(candidate).fit(counts).score(counts) == pytest.approx(score, abs=5.0)
