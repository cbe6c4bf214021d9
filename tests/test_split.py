import numpy as np
import pytest

from skvae._training.split import VALIDATION_BLOCKS, next_split, split_rows


@pytest.mark.parametrize("n_rows", [3, 4, 10, 97, 1000])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
def test_split_is_a_partition(n_rows, fraction):
    train, valid = split_rows(n_rows, fraction, np.random.RandomState(0))
    assert len(train) >= 2
    assert len(valid) >= 1
    np.testing.assert_array_equal(np.sort([*train, *valid]), np.arange(n_rows))
    assert len(valid) == min(max(1, round(fraction * n_rows)), n_rows - 2)


def test_rows_are_held_out_in_runs():
    _, valid = split_rows(1000, 0.1, np.random.RandomState(0))
    runs = np.split(np.sort(valid), np.flatnonzero(np.diff(np.sort(valid)) > 1) + 1)
    assert VALIDATION_BLOCKS - 1 <= len(runs) <= VALIDATION_BLOCKS
    assert not np.array_equal(np.sort(valid), valid)


def test_nothing_is_held_out_without_a_fraction_or_from_two_rows():
    for n_rows, fraction in ((10, None), (2, 0.5)):
        train, valid = split_rows(n_rows, fraction, np.random.RandomState(0))
        assert len(valid) == 0
        assert sorted(train) == list(range(n_rows))


def test_the_split_stays_for_rows_that_stay():
    def generator():
        return np.random.RandomState(0)

    _, first = next_split(100, 0.1, generator())
    train, same = next_split(100, 0.1, np.random.RandomState(1), first)
    np.testing.assert_array_equal(same.held_out, first.held_out)
    assert sorted([*train, *same.held_out]) == list(range(100))
    # rows that came since
    train, grown = next_split(150, 0.1, generator(), first)
    assert set(grown.held_out) >= set(first.held_out)
    assert len(grown.held_out) == 15
    assert sorted([*train, *grown.held_out]) == list(range(150))
    # rows that went
    train, shrunk = next_split(50, 0.1, generator(), first)
    assert set(shrunk.held_out) == {i for i in first.held_out if i < 50}
    assert sorted([*train, *shrunk.held_out]) == list(range(50))
    # nothing of it is left: a new one
    few = int(first.held_out.min())
    assert len(next_split(few, 0.1, generator(), first)[1].held_out) >= 1
    # another share was asked for
    _, other = next_split(100, 0.2, generator(), first)
    assert len(other.held_out) == 20
    assert len(next_split(100, None, generator(), first)[1].held_out) == 0
