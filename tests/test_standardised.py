import numpy as np
import pytest
import torch
from _kinds import make
from scipy import stats

from skvae._data.moments import column_moments
from skvae._likelihoods.standardised import NOISE_FLOOR

# log_normal is of logarithms, which has a file of its own.
OF_ROWS = ("gaussian_diag", "student_t")


def fitted(X, name="gaussian_diag"):
    likelihood = make(name, X.shape[1])
    likelihood.fit_inputs(*column_moments(X), X)
    return likelihood


@pytest.fixture
def X(rng):
    return np.array([1.0, -5.0, 0.0]) + rng.randn(400, 3) * [1e-3, 1.0, 1e4]


@pytest.mark.parametrize("name", OF_ROWS)
def test_units_go_there_and_back(X, name):
    likelihood = fitted(X, name)
    rows = torch.from_numpy(X)
    target = likelihood.encode_target(rows)
    np.testing.assert_allclose(target.mean(dim=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(target.square().mean(dim=0), 1.0)
    np.testing.assert_array_equal(rows, X)
    torch.testing.assert_close(likelihood.mean(target.clone()), rows)
    torch.testing.assert_close(likelihood.to_units_of_X(target.clone()), rows)
    assert likelihood.encode_inputs(target) is target
    mean, scale = likelihood.input_affine()
    np.testing.assert_allclose((X - mean) / scale, target)


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_density_of_X_is_one_of_targets_over_the_volume(X, name):
    likelihood = fitted(X, name)
    target = likelihood.encode_target(torch.from_numpy(X))
    found = -likelihood.nll(torch.zeros_like(target), target) + likelihood.log_det()
    if name == "gaussian_diag":
        density = stats.norm(X.mean(axis=0), X.std(axis=0))
    else:
        density = stats.t(8.0, X.mean(axis=0), X.std(axis=0))
    np.testing.assert_allclose(found, density.logpdf(X).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", OF_ROWS)
def test_errors_and_lengths_are_in_units_of_X(X, name):
    likelihood = fitted(X, name)
    rows = torch.from_numpy(X)
    target = likelihood.encode_target(rows)
    assert likelihood.deviance(target.clone(), target).max() == 0.0
    found = likelihood.deviance(target + 1.0, target)
    np.testing.assert_allclose(found, np.broadcast_to(X.var(axis=0), X.shape))
    np.testing.assert_allclose(likelihood.output_metric(target), X.var(axis=0))


def test_constant_columns_have_the_usual_scale_and_no_sure_noise(rng):
    X = rng.randn(100, 4) * 3.0
    X[:, 1] = 7.0
    likelihood = fitted(X)
    _, scales = likelihood.input_affine()
    assert scales[1] == pytest.approx(np.sqrt(X.var(axis=0).mean()))
    assert likelihood.floor[1] == 1.0
    same = fitted(np.ones((10, 2)))
    np.testing.assert_array_equal(same.input_affine().scale, 1.0)


def test_the_floor_is_what_the_rows_cannot_tell_from_none(rng):
    X = rng.randn(5000, 4)
    X[:, 1] = 0.0
    X[0, 1] = 1.0  # a pixel that is lit in one row
    X[:, 2] = 0.0
    X[:25, 2] = 1.0  # in 25 rows
    X[:, 3] = rng.standard_t(3.0, 5000)
    floor = fitted(X).floor.numpy()
    kurtosis = stats.kurtosis(X, axis=0, fisher=False)
    expected = np.clip(kurtosis / 5000, NOISE_FLOOR, 1.0)
    np.testing.assert_allclose(floor, expected, rtol=1e-5)
    assert floor[0] == pytest.approx(NOISE_FLOOR)
    assert floor[1] > 0.99
    assert floor[2] == pytest.approx(1.0 / 25, rel=0.02)


def test_units_follow_a_state(X):
    one, other = fitted(X), make("gaussian_diag", 3)
    rows = torch.from_numpy(X[:5])
    before = other.encode_target(rows)
    other.load_state_dict(one.state_dict())
    assert not torch.equal(before, other.encode_target(rows))
    torch.testing.assert_close(other.encode_target(rows), one.encode_target(rows))
    assert torch.equal(other.floor, one.floor)
