"""What all displays have in common: scikit-learn's convention, and errors."""

import inspect
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from _drawn import assert_legible, pixels
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AETransformer, VAETransformer, inspection
from skvae.inspection import (
    LatentSpaceDisplay,
    LoadingsDisplay,
    RateDistortionDisplay,
    ReconstructionDisplay,
    SearchHeatmapDisplay,
    TrainingCurveDisplay,
    UnitActivityDisplay,
)

DISPLAYS = [getattr(inspection, n) for n in inspection.__all__ if n.endswith("Display")]
WITHOUT_X = (LoadingsDisplay, SearchHeatmapDisplay, TrainingCurveDisplay)
OF_LIKELIHOODS = (RateDistortionDisplay, UnitActivityDisplay)
OF_FITS = [D for D in DISPLAYS if D is not SearchHeatmapDisplay]


@pytest.fixture(scope="module")
def fits(digits):
    X = digits[:200]
    params = {"max_epochs": 3, "hidden_dims": (16,), "random_state": 0}
    vae = VAETransformer(3, **params)
    return {
        "vae": vae.fit(X),
        "pipeline": make_pipeline(StandardScaler(), VAETransformer(3, **params)).fit(X),
        "ae": AETransformer(3, **params).fit(X),
        "X": X,
    }


def drawn(Display, estimator, X, **options):
    rows = () if Display in WITHOUT_X else (X,)
    return Display.from_estimator(estimator, *rows, **options)


def test_there_are_eight():
    assert len(DISPLAYS) == 8


@pytest.mark.parametrize("Display", DISPLAYS)
def test_the_constructor_stores_what_it_is_given_and_no_more(Display):
    parameters = list(inspect.signature(Display).parameters.values())
    values = {p.name: object() for p in parameters}
    assert vars(Display(**values)) == values


@pytest.mark.parametrize("Display", DISPLAYS)
def test_axes_come_last_but_for_styles_and_are_documented(Display):
    for name in ("from_estimator", "plot"):
        method = getattr(Display, name)
        parameters = inspect.signature(method).parameters
        assert parameters["ax"].default is None
        doc = inspect.getdoc(method)
        assert "%(" not in doc
        for parameter in parameters:
            if parameter not in ("cls", "self"):
                assert (
                    f"{parameter} :" in doc
                    or f"{parameter}, " in doc
                    or (f", {parameter} :" in doc)
                ), parameter


@pytest.mark.parametrize("kind", ["vae", "pipeline"])
@pytest.mark.parametrize("Display", OF_FITS)
def test_fits_and_pipelines_are_drawn(Display, kind, fits):
    display = drawn(Display, fits[kind], fits["X"])
    assert isinstance(display, Display)
    assert display.figure_ is display.ax_.figure
    first = assert_legible(display.figure_)
    # Drawn again, on axes of one's own, it is the same.
    figure, ax = plt.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    second = pixels(drawn(Display, fits[kind], fits["X"]).figure_)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("Display", OF_FITS)
def test_plain_autoencoders_are_drawn_where_it_means_something(Display, fits):
    if Display in OF_LIKELIHOODS:
        with pytest.raises(TypeError, match="AETransformer has no likelihood"):
            drawn(Display, fits["ae"], fits["X"])
        return
    assert_legible(drawn(Display, fits["ae"], fits["X"]).figure_)


@pytest.mark.parametrize("Display", OF_FITS)
def test_what_is_not_fitted_says_so(Display, fits):
    with pytest.raises(NotFittedError):
        drawn(Display, VAETransformer(), fits["X"])


@pytest.mark.parametrize("Display", DISPLAYS)
def test_what_is_no_autoencoder_is_refused(Display, fits):
    other = GaussianNB().fit(fits["X"], np.arange(200) % 2)
    with pytest.raises(TypeError, match="GaussianNB"):
        drawn(Display, other, fits["X"])


@pytest.mark.parametrize(
    "Display", [LatentSpaceDisplay, LoadingsDisplay, ReconstructionDisplay]
)
def test_other_transformers_stand_beside_ours(Display, fits):
    pca = make_pipeline(StandardScaler(), PCA(3)).fit(fits["X"])
    assert_legible(drawn(Display, pca, fits["X"]).figure_)


@pytest.mark.parametrize("Display", OF_FITS)
def test_axes_of_a_figure_without_layout_will_do(Display, fits):
    figure, axes = plt.subplots(1, 2)
    display = drawn(Display, fits["vae"], fits["X"], ax=axes[0])
    assert display.ax_ is axes[0]
    assert display.figure_ is figure
    assert pixels(figure).std() > 5


def test_nothing_imports_matplotlib_before_it_draws():
    code = "import skvae.inspection, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("Display", DISPLAYS)
def test_without_matplotlib_the_extra_is_named(Display, fits, monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'skvae\[plot\]'"):
        drawn(Display, fits["vae"], fits["X"])


def test_the_estimator_is_left_as_it_was(fits):
    before = fits["vae"].transform(fits["X"])
    for Display in OF_FITS:
        drawn(Display, fits["vae"], fits["X"])
    np.testing.assert_array_equal(before, fits["vae"].transform(fits["X"]))
