"""RateDistortionDisplay."""

import numpy as np
import pytest
from _drawn import assert_legible, texts_of
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.inspection import RateDistortionDisplay
from skvae.metrics import distortion, elbo_scorer, rate, rate_distortion_scorer

# Fits of a moment say nothing of counts and bits.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


@pytest.fixture(scope="module")
def searched(digits):
    model = make_pipeline(
        StandardScaler(),
        VAETransformer(max_epochs=2, hidden_dims=(8,), random_state=0),
    )
    grid = {"vaetransformer__beta": [0.5, 2.0], "vaetransformer__latent_dim": [2, 4]}
    search = GridSearchCV(
        model, grid, scoring=rate_distortion_scorer, refit="elbo", cv=2
    )
    return search.fit(digits[:120])


def points(display):
    return np.concatenate([p.get_offsets() for p in display.points_])


def test_fits_are_where_the_metrics_say(fitted, digits, small, quick):
    other = VAETransformer(**quick).fit(small)
    X = digits[1200:]
    display = RateDistortionDisplay.from_estimators([fitted, other], X)
    np.testing.assert_allclose(
        display.rate, [rate(m, X).mean() for m in (fitted, other)]
    )
    expected = [distortion(m, X).mean() for m in (fitted, other)]
    np.testing.assert_allclose(display.distortion, expected)
    assert display.latent_dims.tolist() == [6, 3]
    best = np.argmax([fitted.score(X), other.score(X)])
    ring = display.best_.get_offsets()[0]
    np.testing.assert_allclose(ring, [display.rate[best], display.distortion[best]])
    assert_legible(display.figure_)


def test_lines_are_of_equal_elbo(fitted, digits):
    display = RateDistortionDisplay.from_estimator(fitted, digits[1200:])
    assert display.elbo_lines_
    for line in display.elbo_lines_:
        np.testing.assert_allclose(np.diff(np.add(*line.get_data())), 0.0, atol=1e-9)
    written = [float(text) for text in texts_of(display.ax_)]
    sums = [-np.add(*line.get_data())[0] for line in display.elbo_lines_]
    np.testing.assert_allclose(written, sums, rtol=1e-3, atol=1e-9)


def test_candidates_of_a_search(searched):
    display = RateDistortionDisplay.from_cv_results(searched.cv_results_)
    np.testing.assert_array_equal(display.rate, searched.cv_results_["mean_test_rate"])
    assert display.weight_name == "beta"
    assert sorted(set(display.weights)) == [0.5, 2.0]
    assert sorted(set(display.latent_dims)) == [2, 4]
    assert_legible(display.figure_)
    failed = {**searched.cv_results_}
    failed["mean_test_rate"] = np.array([np.nan, 1.0, 2.0, 3.0])
    assert len(RateDistortionDisplay.from_cv_results(failed).rate) == 3
    failed["mean_test_rate"] = np.full(4, np.nan)
    with pytest.raises(ValueError, match="No candidate"):
        RateDistortionDisplay.from_cv_results(failed)


def test_a_search_without_rates_is_told_which_scorer(searched):
    results = {k: v for k, v in searched.cv_results_.items() if "rate" not in k}
    with pytest.raises(ValueError, match="rate_distortion_scorer"):
        RateDistortionDisplay.from_cv_results(results)
    with pytest.raises(ValueError, match="no parameter 'lr'"):
        RateDistortionDisplay.from_cv_results(searched.cv_results_, weight="lr")


def test_the_scorer_is_the_elbo_and_its_terms(fitted, digits):
    X = digits[1200:]
    scores = rate_distortion_scorer(fitted, X)
    assert scores["elbo"] == elbo_scorer(fitted, X)
    assert scores["elbo"] == pytest.approx(-(scores["rate"] + scores["distortion"]))
    assert scores["active_units"] == 6


def test_a_hopeless_fit_does_not_squeeze_the_others():
    rates, left = np.arange(1.0, 9.0), np.arange(8.0)[::-1]
    usual = RateDistortionDisplay(rate=rates, distortion=left).plot().ax_
    ax = (
        RateDistortionDisplay(
            rate=np.append(rates, 3.0), distortion=np.append(left, 5e3)
        )
        .plot()
        .ax_
    )
    assert np.ptp(ax.get_ylim()) < 1.5 * np.ptp(usual.get_ylim())
    assert "1 of 9 fits lie outside" in texts_of(ax)


def test_fits_in_one_place_are_all_seen():
    display = RateDistortionDisplay(
        rate=[5.0, 5.01, 5.0, 1.0],
        distortion=[1.0, 1.001, 1.0, 9.0],
        weights=[0, 1e-3, 1, 2],
    ).plot()
    assert "3 fits" in texts_of(display.ax_)
    sizes = {p.get_sizes()[0] for p in display.points_}
    assert len(sizes) == 3
    assert "0 in the lowest colour" in display.colorbar_.ax.get_ylabel()
    assert_legible(display.figure_)


@pytest.mark.parametrize("n_dims", [1, 8, 12])
def test_numbers_of_units_have_markers_while_there_are_enough(n_dims, rng):
    display = RateDistortionDisplay(
        rate=rng.uniform(1, 9, 24),
        distortion=rng.uniform(1, 9, 24),
        weights=np.geomspace(1e-5, 1e-1, 24),
        latent_dims=1 + np.arange(24) % n_dims,
    ).plot()
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert sum("unit" in name for name in names) == (n_dims if n_dims < 9 else 0)
    assert_legible(display.figure_)


def test_densities_and_probabilities_do_not_mix(small, quick):
    bits = VAETransformer(**quick, likelihood="bernoulli").fit(small)
    with pytest.raises(ValueError, match="draw them apart"):
        RateDistortionDisplay.from_estimators(
            [bits, VAETransformer(**quick).fit(small)], small
        )
    assert_legible(RateDistortionDisplay.from_estimator(bits, small).figure_)
    with pytest.raises(ValueError, match="no estimator"):
        RateDistortionDisplay.from_estimators([], small)
    with pytest.raises(ValueError, match="weight must be"):
        RateDistortionDisplay.from_estimator(bits, small, weight="lr")
