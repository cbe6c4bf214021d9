import numpy as np
import pytest
import torch

from skvae._data.covariates import NO_ROWS, NONE, SMALLEST_SIZE, RowCovariates

CPU = torch.device("cpu")


@pytest.fixture
def rows(rng):
    return RowCovariates(rng.randn(5, 2).astype(np.float32), rng.uniform(1, 9, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_have_conditions_and_logarithms_of_sizes(rows, dtype):
    found = rows.on(CPU, dtype)
    assert found.conditions.dtype is found.log_size.dtype is dtype
    np.testing.assert_array_equal(found.conditions, rows.conditions)
    np.testing.assert_allclose(found.log_size[:, 0], np.log(rows.size), rtol=1e-6)


def test_a_row_of_zeros_has_a_logarithm():
    found = RowCovariates(None, np.zeros(2)).on(CPU, torch.float64)
    np.testing.assert_allclose(found.log_size, np.log(SMALLEST_SIZE))


@pytest.mark.parametrize("index", [slice(1, 3), [4, 0], np.array([2, 2])])
def test_some_of_the_rows(rows, index):
    part = rows.at(index).on(CPU, torch.float64)
    other = rows.on(CPU, torch.float64)
    at = index if isinstance(index, slice) else torch.tensor(index)
    for one, same in zip(part, other.at(at), strict=True):
        assert torch.equal(one, same)


def test_repeated_rows_follow_each_other(rows):
    given = rows.on(CPU, torch.float64)
    twice = given.repeated(2)
    assert torch.equal(twice.conditions, torch.cat([given.conditions] * 2))
    assert torch.equal(twice.log_size, torch.cat([given.log_size] * 2))


def test_conditions_stand_behind_a_code(rows):
    z = torch.zeros(5, 3, dtype=torch.float64)
    found = rows.on(CPU, torch.float32).beside(z)
    assert found.shape == (5, 5)
    assert found.dtype is torch.float64
    np.testing.assert_array_equal(found[:, 3:], rows.conditions)


def test_without_anything_nothing_changes():
    z = torch.zeros(5, 3)
    assert NONE.beside(z) is z
    assert NONE.at(slice(1, 2)) == NONE.repeated(3) == NONE
    assert NO_ROWS.at([1]) == NO_ROWS
    assert NO_ROWS.on(CPU, torch.float32) == NONE
