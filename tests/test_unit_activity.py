"""UnitActivityDisplay."""

import numpy as np
import pytest
from _drawn import assert_legible, texts_of

from skvae import VAETransformer
from skvae.inspection import UnitActivityDisplay
from skvae.metrics import active_units, kl_per_unit

# Fits of a moment say nothing of counts and bits.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


def heights(display):
    return np.array([bar.get_height() for bar in display.bars_])


def names(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def test_bars_are_the_metric_s(fitted, digits):
    X = digits[1200:]
    display = UnitActivityDisplay.from_estimator(fitted, X)
    assert display.n_left_out_ == 0
    np.testing.assert_allclose(heights(display), kl_per_unit(fitted, X))
    assert display.active_.sum() == active_units(fitted, X)
    assert display.ax_.get_ylabel() == "KL from the prior (nats per row)"
    assert_legible(display.figure_)


def test_units_that_say_nothing_are_told_apart(rng):
    kl = rng.exponential(size=(50, 4)) * [2.0, 1.0, 1e-4, 0.0]
    display = UnitActivityDisplay(
        kl=kl, variance=np.array([0.8, 0.5, 1e-4, 0.0])
    ).plot()
    assert names(display)[:2] == ["active (2)", "not active (2)"]
    colours = {bar.get_facecolor() for bar in display.bars_}
    assert len(colours) == 2


def test_posteriors_that_are_known_give_the_same(small, quick):
    # Without a background, whose KL is in the metric, too.
    vae = VAETransformer(**quick, background_weight=0.0, whiten=True).fit(small)
    mean, std = vae.transform(small, return_std=True)
    display = UnitActivityDisplay.from_predictions(mean, std)
    np.testing.assert_allclose(heights(display), kl_per_unit(vae, small), rtol=1e-4)


def test_an_odd_row_is_left_out_and_told_of(rng):
    kl = rng.exponential(size=(200, 5))
    usual = UnitActivityDisplay(kl=kl, variance=np.ones(5)).plot()
    kl[7] *= 1e4
    display = UnitActivityDisplay(kl=kl, variance=np.ones(5)).plot()
    assert display.n_left_out_ == 1
    assert display.legend_.get_title().get_text() == (
        "without 1 of 200 rows, far from all others"
    )
    assert display.ax_.get_ylim()[1] < 1.1 * usual.ax_.get_ylim()[1]
    assert_legible(display.figure_)


@pytest.mark.parametrize("size", [100, 3000])
def test_a_unit_far_above_the_others_is_cut_and_has_its_value(size, rng):
    kl = rng.uniform(0.5, 1.5, size=(50, 6)) * [3, 2, 1, 0.01, 0, size]
    display = UnitActivityDisplay(kl=kl, variance=np.ones(6)).plot()
    assert display.ax_.get_ylim()[1] < 10
    assert texts_of(display.ax_) == [f"mean {kl[:, 5].mean():.3g}"]
    assert_legible(display.figure_)


@pytest.mark.parametrize(("n_rows", "n_units"), [(1, 1), (3, 1), (2, 200)])
def test_one_unit_one_row_and_many_units(n_rows, n_units, rng):
    kl = rng.exponential(size=(n_rows, n_units))
    display = UnitActivityDisplay(kl=kl, variance=np.zeros(n_units)).plot()
    assert len(display.bars_) == n_units
    assert_legible(display.figure_)


def test_counts_with_conditions(rng, quick):
    X, batch = rng.poisson(3.0, (80, 6)), np.repeat(["a", "b"], 40)
    vae = VAETransformer(**quick, likelihood="poisson").fit(X, conditions=batch)
    display = UnitActivityDisplay.from_estimator(vae, X, conditions=batch)
    np.testing.assert_allclose(heights(display), kl_per_unit(vae, X, conditions=batch))
    with pytest.raises(ValueError, match="conditions"):
        UnitActivityDisplay.from_estimator(vae, X)


def test_what_is_no_posterior_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        UnitActivityDisplay.from_predictions(np.zeros((3, 2)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="positive"):
        UnitActivityDisplay.from_predictions(np.zeros((3, 2)), np.zeros((3, 2)))
