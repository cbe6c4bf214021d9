"""LoadingsDisplay."""

import numpy as np
import pandas as pd
import pytest
from _drawn import assert_legible, texts_of
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.inspection import LoadingsDisplay


def features(display):
    return [text.get_text() for text in display.ax_.get_yticklabels()]


def test_cells_are_components(wine, quick):
    model = VAETransformer(**quick).fit(wine)
    display = LoadingsDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.image_.get_array(), model.components_.T)
    assert features(display) == [f"x{i}" for i in range(13)]
    written = [float(text) for text in texts_of(display.ax_)]
    np.testing.assert_allclose(written, model.components_.T.ravel(), atol=0.0051)
    assert "-0.00" not in texts_of(display.ax_)
    assert_legible(display.figure_)


def test_names_come_through_a_pipeline(rng, quick):
    X = pd.DataFrame(rng.randn(60, 3), columns=["age", "height", "weight"])
    steps = ColumnTransformer([("s", StandardScaler(), ["weight", "age"])])
    model = make_pipeline(steps, VAETransformer(**quick)).fit(X)
    assert features(LoadingsDisplay.from_estimator(model)) == ["s__weight", "s__age"]
    model = make_pipeline(StandardScaler(), VAETransformer(**quick)).fit(X)
    assert features(LoadingsDisplay.from_estimator(model)) == list(X.columns)


def test_of_many_features_those_with_the_largest_loadings(digits):
    pca = PCA(12).fit(digits)
    display = LoadingsDisplay.from_estimator(pca, max_features=7, units=[2, 0])
    size = np.abs(pca.components_[[2, 0]]).max(axis=0)
    assert sorted(display.features_) == sorted(np.argsort(-size)[:7])
    shares = pca.explained_variance_ratio_
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == [f"unit 2\n{shares[2]:.0%}", f"unit 0\n{shares[0]:.0%}"]
    assert "7 of 64 features" in display.ax_.get_title()
    assert_legible(display.figure_)
    assert_legible(LoadingsDisplay.from_estimator(pca).figure_)


def test_an_odd_loading_does_not_take_the_colours(rng):
    components = rng.uniform(-1, 1, (4, 15))
    components[0, 4] = 4000.0
    display = LoadingsDisplay(components).plot()
    assert display.image_.get_clim()[1] <= 1.0
    assert display.colorbar_.extend == "both"
    assert_legible(display.figure_)


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (40, 3)])
def test_all_sizes_are_legible(shape, rng):
    names = [f"a long name of a column {i}" for i in range(shape[1])]
    display = LoadingsDisplay(1e-4 * rng.randn(*shape), feature_names=names).plot()
    assert_legible(display.figure_)


def test_what_does_not_fit_is_refused(fitted):
    with pytest.raises(ValueError, match="units must be integers from 0 to 5"):
        LoadingsDisplay.from_estimator(fitted, units=[-1])
    with pytest.raises(ValueError, match="2 feature_names for 64 features"):
        LoadingsDisplay.from_estimator(fitted, feature_names=["a", "b"])
