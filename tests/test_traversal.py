"""TraversalDisplay."""

import numpy as np
import pytest
from _drawn import assert_legible
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AETransformer, VAETransformer
from skvae.inspection import TraversalDisplay

# Fits of a moment say nothing of counts and bits.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


def test_a_unit_moves_by_deviations_of_the_prior(fitted):
    display = TraversalDisplay.from_estimator(fitted, image_shape=(8, 8), units=[4])
    assert display.decoded.shape == (1, 9, 64)
    codes = np.zeros((9, 6))
    codes[:, 4] = np.linspace(-2, 2, 9) * fitted.code_scale_[4]
    np.testing.assert_allclose(display.decoded[0], fitted.inverse_transform(codes))
    assert display.ax_.get_xlabel() == "standard deviations of the prior"
    assert_legible(display.figure_)


def test_whitened_codes_are_decoded_alike(small, quick):
    one = TraversalDisplay.from_estimator(VAETransformer(**quick).fit(small))
    other = TraversalDisplay.from_estimator(
        VAETransformer(**quick, whiten=True).fit(small)
    )
    np.testing.assert_allclose(one.decoded, other.decoded, rtol=1e-4, atol=1e-5)


def test_rows_say_how_far_units_go_and_an_odd_one_does_not(fitted, digits):
    X = digits[1200:].copy()
    usual = TraversalDisplay.from_estimator(fitted, X, image_shape=(8, 8))
    X[3] *= 1000
    odd = TraversalDisplay.from_estimator(fitted, X, image_shape=(8, 8))
    assert usual.step_name == "standard deviations of the codes"
    np.testing.assert_allclose(usual.decoded, odd.decoded, atol=0.05)
    codes = fitted.transform(digits[1200:])
    middle = fitted.inverse_transform(np.median(codes, axis=0, keepdims=True))
    np.testing.assert_allclose(usual.decoded[0, 4], middle[0], rtol=1e-5, atol=1e-5)


def test_one_row_is_where_units_start(fitted, digits):
    display = TraversalDisplay.from_estimator(fitted, digits[3:4])
    expected = fitted.reconstruct(digits[3:4])[0]
    np.testing.assert_allclose(display.decoded[2, 4], expected, rtol=1e-4, atol=1e-5)


def test_plain_autoencoders_need_rows(small, quick):
    ae = AETransformer(**quick).fit(small)
    with pytest.raises(
        ValueError, match="AETransformer has no prior to move in: pass X"
    ):
        TraversalDisplay.from_estimator(ae)
    assert_legible(
        TraversalDisplay.from_estimator(ae, small, image_shape=(8, 8)).figure_
    )


def test_a_table_shows_what_moves_most(wine, quick):
    model = VAETransformer(**quick).fit(wine)
    display = TraversalDisplay.from_estimator(model, max_features=5, n_steps=4)
    assert len(display.features_) == 5
    middle = display.decoded[:, 1:3].mean(axis=1, keepdims=True)
    change = np.abs(display.decoded - middle).max(axis=(0, 1))
    assert set(display.features_) == set(np.argsort(-change)[:5])
    blocks = np.ma.filled(display.image_.get_array(), np.nan)
    assert blocks.shape == (5, 3 * 5 - 1)
    np.testing.assert_allclose(
        blocks[:, :4], (display.decoded - middle)[0][:, display.features_].T
    )
    assert "5 of 13 features" in display.ax_.get_title()
    assert_legible(display.figure_)


def test_images_of_a_pipeline_are_brought_back(small, quick):
    model = make_pipeline(StandardScaler(), VAETransformer(**quick)).fit(small)
    display = TraversalDisplay.from_estimator(model, image_shape=(8, 8), units=[0])
    codes = np.zeros((1, 3))
    expected = model.inverse_transform(codes)
    np.testing.assert_allclose(display.decoded[0, 4], expected[0], atol=1e-6)


def test_counts_are_decoded_under_a_condition(rng, quick):
    X, batch = rng.poisson(3.0, (80, 6)), np.repeat(["a", "b"], 40)
    vae = VAETransformer(**quick, likelihood="poisson").fit(X, conditions=batch)
    display = TraversalDisplay.from_estimator(vae, conditions=["b"], size_factor=10.0)
    codes = np.zeros((1, 3))
    expected = vae.inverse_transform(codes, conditions=["b"], size_factor=10.0)
    np.testing.assert_allclose(display.decoded[0, 4], expected[0], rtol=1e-6)
    assert_legible(display.figure_)
    with pytest.raises(ValueError, match="conditions"):
        TraversalDisplay.from_estimator(vae)


@pytest.mark.parametrize("n_units", [1, 30])
def test_one_unit_and_many(n_units, rng):
    decoded = rng.randn(n_units, 7, 12)
    decoded[0, 0, 3] = 1e4
    display = TraversalDisplay(decoded, steps=np.linspace(-3, 3, 7)).plot()
    assert display.image_.get_clim()[1] < 20
    assert display.colorbar_.extend == "both"
    assert_legible(display.figure_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 1}, "n_steps must be an integer from 2 on"),
        ({"span": 0.0}, "span must be positive"),
        ({"units": [6]}, "units must be integers from 0 to 5"),
        ({"image_shape": (2, 2)}, "4 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(fitted, options, message):
    with pytest.raises(ValueError, match=message):
        TraversalDisplay.from_estimator(fitted, **options)
