"""ReconstructionDisplay."""

import numpy as np
import pytest
from _drawn import assert_legible, texts_of
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skvae import VAETransformer
from skvae.inspection import ReconstructionDisplay

# Fits of a moment say nothing of counts and bits.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


def tile(display, strip, j, shape=(8, 8)):
    canvas = np.ma.filled(display.image_.get_array(), np.nan)
    high, wide = shape[0] + 1, shape[1] + 1
    return canvas[strip * high :, j * wide :][: shape[0], : shape[1]]


def test_images_stand_above_their_reconstructions(fitted, digits):
    display = ReconstructionDisplay.from_estimator(
        fitted, digits, rows=[5, 900, 2], image_shape=(8, 8)
    )
    for j, row in enumerate([5, 900, 2]):
        np.testing.assert_array_equal(tile(display, 0, j).ravel(), digits[row])
        rebuilt = fitted.reconstruct(digits[[5, 900, 2]])[j]
        np.testing.assert_allclose(tile(display, 1, j).ravel(), rebuilt)
    assert_legible(display.figure_)


@pytest.mark.parametrize("scaler", [StandardScaler(), Normalizer()])
def test_images_of_a_pipeline_are_brought_back_where_they_can_be(scaler, small, quick):
    model = make_pipeline(scaler, VAETransformer(**quick)).fit(small)
    display = ReconstructionDisplay.from_estimator(
        model, small, rows=[4], image_shape=(8, 8)
    )
    back = hasattr(scaler, "inverse_transform")
    expected = small[4] if back else model[:-1].transform(small[4:5])[0]
    np.testing.assert_allclose(tile(display, 0, 0).ravel(), expected, atol=1e-12)


def test_an_odd_image_leaves_the_scale_to_the_others(digits):
    X = digits[:8].copy()
    X[3] *= 1000
    display = ReconstructionDisplay.from_predictions(X, X, image_shape=(8, 8))
    assert display.image_.get_clim() == (0.0, 1.0)
    assert display.ax_.get_xlabel() == "1 of 8 rows have values beyond the colours"
    assert_legible(display.figure_)


def test_colours(rng):
    X = rng.uniform(size=(4, 48))
    display = ReconstructionDisplay.from_predictions(X, X, image_shape=(4, 4, 3))
    assert display.image_.get_array().shape[2] == 3
    assert_legible(display.figure_)


def bars(panel):
    return [[bar.get_height() for bar in bars] for bars in panel.containers]


def test_bars_stand_beside_those_of_the_reconstruction(wine, quick):
    names = [f"column {i} with a long name" for i in range(13)]
    model = VAETransformer(**quick).fit(wine)
    display = ReconstructionDisplay.from_estimator(model, wine, feature_names=names)
    assert len(display.axes_) == 3
    rebuilt = model.reconstruct(wine[[0]])
    found = bars(display.axes_[0])
    np.testing.assert_allclose(found[0], wine[0])
    np.testing.assert_allclose(found[1], rebuilt[0], rtol=1e-5)
    ticks = [t.get_text() for t in display.axes_[-1].get_xticklabels()]
    assert len(set(ticks)) == 1 or len(ticks) == 13
    assert_legible(display.figure_)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_many_features_are_lines_and_rows_may_be_sparse(fitted, digits, kind):
    display = ReconstructionDisplay.from_estimator(fitted, kind(digits[:50]), rows=[7])
    row, rebuilt = display.axes_[0].lines[:2]
    np.testing.assert_allclose(row.get_ydata(), digits[7])
    expected = fitted.reconstruct(digits[7:8])[0]
    np.testing.assert_allclose(rebuilt.get_ydata(), expected, rtol=1e-4, atol=1e-5)
    assert_legible(display.figure_)


def test_an_odd_feature_does_not_squeeze_the_others(rng):
    X = rng.randn(2, 20)
    X[0, 4] = 1000.0
    display = ReconstructionDisplay.from_predictions(X, 0.9 * X)
    assert np.ptp(display.axes_[0].get_ylim()) < 10
    assert texts_of(display.axes_[0]) == ["1 of 20 features lie outside"]


def test_counts_are_reconstructed_under_their_conditions(rng, quick):
    X, batch = rng.poisson(3.0, (80, 6)), np.repeat(["a", "b"], 40)
    vae = VAETransformer(**quick, likelihood="poisson").fit(X, conditions=batch)
    display = ReconstructionDisplay.from_estimator(
        vae, X, rows=[70, 3], conditions=batch
    )
    expected = vae.reconstruct(X[[70, 3]], conditions=batch[[70, 3]])
    np.testing.assert_allclose(display.X_reconstructed, expected)
    assert_legible(display.figure_)


def test_frames_give_their_names(rng, quick):
    import pandas as pd

    X = pd.DataFrame(rng.randn(60, 4), columns=["age", "height", "weight", "pulse"])
    model = make_pipeline(StandardScaler(), VAETransformer(**quick)).fit(X)
    display = ReconstructionDisplay.from_estimator(model, X)
    assert display.feature_names == list(X.columns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (3, 3)}, "has 9 pixels, and rows have 4 features"),
        ({"image_shape": (4,)}, "must be"),
        ({"feature_names": ["a"]}, "1 feature_names for 4 features"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReconstructionDisplay.from_predictions(
            np.ones((2, 4)), np.ones((2, 4)), **options
        )
    with pytest.raises(ValueError, match="one shape"):
        ReconstructionDisplay.from_predictions(np.ones((2, 4)), np.ones((3, 4)))
