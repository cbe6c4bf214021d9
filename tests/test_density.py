import warnings

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from skvae._evaluation.density import draw_codes, fit_density


def test_density_is_as_good_as_scikit_learns(wine):
    """Another start of the same iteration: the likelihood of the codes agrees."""
    ours, theirs = (
        [make(seed).score(wine[:, :4]) for seed in range(8)]
        for make in (
            lambda seed: fit_density(wine[:, :4], 5, 1.0, seed),
            lambda seed: GaussianMixture(5, reg_covar=1e-6, random_state=seed).fit(
                wine[:, :4]
            ),
        )
    )
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.05)
    assert fit_density(wine, 5, 1.0, 0).get_params()["means_init"] is None


def test_density_of_few_or_equal_codes():
    codes = np.random.RandomState(0).randn(12, 5)
    assert fit_density(codes, 10, 1.0, 0).n_components == 2
    assert fit_density(codes[:2], 10, 1.0, 0).n_components == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        density = fit_density(np.zeros((200, 2)), 10, 1.0, 0)
    assert np.isfinite(density.sample(3)[0]).all()


def test_codes_are_drawn_in_any_unit_and_order(wine):
    """numpy checks covariances to absolute tolerances."""
    for scale in (1e-6, 1.0, 1e6):
        codes = scale * wine[:, :3]
        density = fit_density(codes, 2, scale, 0)
        drawn = draw_codes(density, 4000, scale, np.random.RandomState(0)) / scale
        np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.1)
        np.testing.assert_allclose(drawn.std(axis=0), 1.0, rtol=0.1)
