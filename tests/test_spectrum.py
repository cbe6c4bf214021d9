import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skvae._linear.spectrum import (
    Spectrum,
    active_by_theory,
    fewer_units,
    noise_grid,
    rate_by_theory,
    spectrum,
)


def exact_eigenvalues(X):
    return np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]


def test_eigenvalues_are_those_of_the_covariance(breast_cancer):
    found = spectrum(breast_cancer, 8, np.random.RandomState(0))
    exact = exact_eigenvalues(breast_cancer)
    np.testing.assert_allclose(found.eigenvalues, exact[:8], rtol=1e-8)
    assert found.total_variance == pytest.approx(exact.sum())
    assert found.n_features == 30


def test_sparse_rows_have_the_spectrum_of_dense_ones():
    X = sparse.random(200, 40, 0.2, format="csr", random_state=0)
    dense = spectrum(X.toarray(), 5, np.random.RandomState(0))
    found = spectrum(X, 5, np.random.RandomState(0))
    np.testing.assert_allclose(found.eigenvalues, dense.eigenvalues, rtol=1e-6)
    assert found.total_variance == pytest.approx(dense.total_variance)


def test_no_more_eigenvalues_than_the_rank():
    random = np.random.RandomState(0)
    X = random.randn(50, 3) @ random.randn(3, 20)
    assert len(spectrum(X, 10, random).eigenvalues) == 3


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_has_no_spectrum(value):
    X = np.full((11, 4), value)
    assert spectrum(X, 3, np.random.RandomState(0)) == (pytest.approx([]), 0.0, 4)


def test_a_single_sparse_column():
    X = sparse.csr_array(np.array([[0.0], [2.0]]))
    found = spectrum(X, 3, np.random.RandomState(0))
    np.testing.assert_allclose(found.eigenvalues, [1.0])


def test_overflow_is_an_error():
    with pytest.raises(ValueError, match="variance overflows"):
        spectrum(np.diag([1e300, 1.0]), 1, np.random.RandomState(0))


def test_theory():
    eigenvalues = np.array([4.0, 1.0, 0.5])
    assert active_by_theory(eigenvalues, 1.0) == 1
    assert rate_by_theory(eigenvalues, 1.0) == pytest.approx(math.log(2))
    assert rate_by_theory(eigenvalues, 5.0) == 0.0
    assert rate_by_theory(eigenvalues, 0.0) == math.inf
    assert rate_by_theory(np.empty(0), 0.0) == 0.0


@pytest.mark.parametrize(
    ("latent_dim", "n", "counts"),
    [
        (16, 4, [16, 16, 4, 1]),
        (16, 2, [16, 1]),
        (16, 1, [16]),
        (64, 8, [64, 64, 64, 64, 23, 8, 3, 1]),
        (3, 8, [3, 3, 3, 3, 3, 3, 2, 1]),
        (1, 3, [1, 1, 1]),
    ],
)
def test_numbers_of_active_units(latent_dim, n, counts):
    eigenvalues = 2.0 ** -np.arange(66)
    rows = Spectrum(eigenvalues[: latent_dim + 1], eigenvalues.sum(), 66)
    grid = noise_grid(rows, latent_dim, n)
    found = [active_by_theory(eigenvalues[:latent_dim], noise) for noise in grid]
    assert found == counts


def test_a_wide_gap_is_preferred_to_a_narrow_one_beside_it():
    #                      1    2    3    4    5: a gap between 2 and 3, none after 3
    eigenvalues = np.array([9.0, 8.0, 2.0, 1.99, 1.0, 0.9, 0.8, 0.7, 0.6])
    assert fewer_units(eigenvalues, 9, 2) == [2, 1]
    eigenvalues[3] = 0.9 * 1.1
    assert fewer_units(eigenvalues, 9, 2) == [3, 1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    logs=st.lists(st.floats(-10, 10), min_size=1, max_size=40),
    latent_dim=st.integers(1, 50),
    n=st.integers(1, 12),
    left=st.floats(0, 10),
)
def test_the_grid_ascends_from_all_units_to_one(logs, latent_dim, n, left):
    eigenvalues = np.sort(np.exp(logs))[::-1]
    n_features = len(logs) + (left > 0)
    seen = eigenvalues[: latent_dim + 1]
    rows = Spectrum(seen, eigenvalues.sum() + left, n_features)
    grid = noise_grid(rows, latent_dim, n)
    assert grid.shape == (n,)
    assert (grid > 0).all()
    assert (np.diff(grid) >= 0).all()
    k = min(latent_dim, len(eigenvalues))
    assert active_by_theory(eigenvalues[:k], grid[0]) == k
    if n > 1:
        assert active_by_theory(eigenvalues[:k], grid[-1]) <= 1
        # The middle of the first gap, up to rounding where the gap has no width.
        assert grid[-1] <= eigenvalues[0] * (1 + 1e-12)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    logs=st.lists(st.floats(-10, 10), min_size=3, max_size=60), share=st.floats(0, 1)
)
def test_fewer_units_are_distinct_and_end_in_one(logs, share):
    eigenvalues = np.sort(np.exp(logs))[::-1]
    k = len(logs)
    n = 1 + int(share * (k - 2))
    numbers = fewer_units(eigenvalues, k, n)
    assert len(numbers) == n
    assert numbers[-1] == 1
    assert all(a > b for a, b in zip([k, *numbers], numbers, strict=False))
