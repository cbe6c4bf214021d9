"""LatentSpaceDisplay."""

import numpy as np
import pandas as pd
import pytest
from _drawn import assert_legible, texts_of
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.inspection import LatentSpaceDisplay

# Fits of a moment say nothing of counts and bits.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


@pytest.fixture
def codes(rng):
    return rng.randn(200, 4) * [4, 3, 1, 0.1]


def names(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def positions(display):
    return np.concatenate([c.get_offsets() for c in display.ax_.collections])


def test_two_units_are_drawn_as_they_are(codes):
    display = LatentSpaceDisplay.from_predictions(codes[:, :2])
    np.testing.assert_array_equal(positions(display), codes[:, :2])
    assert display.ax_.get_xlabel() == "unit 0 (units of X)"
    assert display.ax_.get_ylabel() == "unit 1 (units of X)"
    assert display.legend_ is None
    assert_legible(display.figure_)


def test_more_units_are_drawn_by_their_principal_components(codes):
    display = LatentSpaceDisplay.from_predictions(codes)
    centred = codes - codes.mean(axis=0)
    variances = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    found = positions(display)
    np.testing.assert_allclose((found**2).sum(axis=0), variances[:2])
    share = variances[0] / variances.sum()
    expected = f"component 1 of the codes: {share:.0%} (units of X)"
    assert display.ax_.get_xlabel() == expected
    assert_legible(display.figure_)


def test_one_unit_is_drawn_with_heights(codes):
    display = LatentSpaceDisplay.from_predictions(codes[:, :1], np.arange(200) % 3)
    assert len(display.ax_.get_yticks()) == 0
    assert_legible(display.figure_)


@pytest.mark.parametrize("n_units", [1, 2, 4])
def test_an_odd_row_squeezes_nothing_and_is_told_of(codes, n_units):
    codes = codes[:, :n_units]
    usual = LatentSpaceDisplay.from_predictions(codes).ax_
    odd = codes.copy()
    odd[7] *= 1e3 / np.abs(odd[7])
    ax = LatentSpaceDisplay.from_predictions(odd).ax_
    assert np.ptp(ax.get_xlim()) < 1.1 * np.ptp(usual.get_xlim())
    assert np.ptp(ax.get_ylim()) < 1.1 * np.ptp(usual.get_ylim())
    assert texts_of(ax) == ["1 of 200 rows lie outside"]


def test_labels_that_are_missing_are_shown_as_such(codes):
    labels = np.array(["a", None, "b", np.nan, pd.NA], dtype=object)[np.arange(200) % 5]
    display = LatentSpaceDisplay.from_predictions(codes, labels)
    assert names(display) == ["no label (120)", "a", "b"]
    assert len(positions(display)) == 200
    floats = np.where(np.arange(200) % 2, np.nan, 1.0)
    display = LatentSpaceDisplay.from_predictions(codes, floats)
    assert names(display) == ["no label (100)", "1"]
    display = LatentSpaceDisplay.from_predictions(codes, np.full(200, np.nan))
    assert names(display) == ["no label (200)"]
    assert_legible(display.figure_)


def test_of_many_classes_the_frequent_have_colours_and_all_rows_are_drawn(codes):
    labels = [f"a class with a long name, B{i % 30}" for i in range(200)]
    display = LatentSpaceDisplay.from_predictions(codes, labels)
    assert names(display)[0] == "10 others"
    assert len(names(display)) == len(set(names(display))) == 21
    assert names(display)[1:] == sorted(
        names(display)[1:], key=lambda n: int(n[-2:].strip("B"))
    )
    assert len(positions(display)) == 200
    looks = {
        (tuple(c.get_facecolor()[0]), len(c.get_paths()[0].vertices))
        for c in display.ax_.collections
    }
    assert len(looks) == 21  # colour and shape together are one class's
    assert_legible(display.figure_)


def test_classes_are_in_the_order_of_numbers(codes):
    display = LatentSpaceDisplay.from_predictions(codes, np.arange(200) % 12)
    assert names(display) == [str(i) for i in range(12)]


def test_a_value_is_a_scale_that_an_odd_one_does_not_take(codes, rng):
    values = pd.Series(rng.uniform(0, 1, 200), name="age")
    values[3], values[4] = 1e6, np.nan
    display = LatentSpaceDisplay.from_predictions(codes, values)
    assert display.colorbar_.ax.get_ylabel() == "age"
    assert display.colorbar_.extend == "max"
    low, high = display.colorbar_.mappable.get_clim()
    assert -0.2 < low < high < 1.2
    assert len(positions(display)) == 200
    assert_legible(display.figure_)


def test_units_and_reducers(codes):
    display = LatentSpaceDisplay.from_predictions(codes, units=[3, 1])
    np.testing.assert_array_equal(positions(display), codes[:, [3, 1]])
    assert display.ax_.get_xlabel() == "unit 3 (units of X)"
    reducer = TSNE(perplexity=5, max_iter=250, init="random", random_state=0)
    display = LatentSpaceDisplay.from_predictions(codes[:40], reducer=reducer)
    assert display.ax_.get_xlabel() == "TSNE 1"
    assert not hasattr(reducer, "embedding_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": [0, 9]}, "units must be integers from 0 to 3"),
        ({"units": [0, 1, 2]}, "units has 3 units, and the picture two axes"),
        ({"units": [0], "reducer": StandardScaler()}, "set units or reducer"),
        ({"reducer": StandardScaler()}, "not two columns"),
        ({"y": np.arange(3)}, "y has 3 values, and there are 200 codes"),
        ({"y": np.zeros((200, 2))}, "one value a row"),
    ],
)
def test_what_does_not_fit_is_refused(codes, options, message):
    with pytest.raises(ValueError, match=message):
        LatentSpaceDisplay.from_predictions(codes, **options)


def test_whitened_codes_are_in_units_of_the_prior(small, quick):
    vae = VAETransformer(**{**quick, "latent_dim": 2}, whiten=True).fit(small)
    display = LatentSpaceDisplay.from_estimator(vae, small)
    assert display.ax_.get_xlabel() == "unit 0 (units of the prior)"


def test_conditions_reach_the_last_step(rng, quick):
    X = rng.poisson(3.0, (80, 6))
    batch = np.repeat(["a", "b"], 40)
    vae = VAETransformer(**quick, likelihood="poisson", encode_conditions=True)
    vae.fit(X, conditions=batch)
    display = LatentSpaceDisplay.from_estimator(
        vae, X, batch, conditions=batch, units=[0, 1]
    )
    codes = vae.transform(X, conditions=batch)[:, :2]
    found = np.sort(positions(display), axis=0)
    np.testing.assert_allclose(found, np.sort(codes, axis=0), rtol=1e-6)


def test_a_collapsed_model_is_drawn(rng):
    display = LatentSpaceDisplay.from_predictions(np.zeros((30, 4)))
    assert display.ax_.get_xlim() == (-0.5, 0.5)
    assert_legible(display.figure_)


def test_pipelines_give_the_codes_of_their_rows(wine, quick):
    model = make_pipeline(StandardScaler(), VAETransformer(**quick)).fit(wine)
    display = LatentSpaceDisplay.from_estimator(model, wine, units=[0, 2])
    expected = model.transform(wine)[:, [0, 2]]
    np.testing.assert_allclose(positions(display), expected)
