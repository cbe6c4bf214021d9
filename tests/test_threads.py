import pytest
import torch

from skvae import VAETransformer
from skvae._threads import at_most_threads, worthwhile_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_steps_get_one_thread_and_large_ones_many():
    assert worthwhile_threads(100_000, 128) == 1
    assert worthwhile_threads(60_000_000, 128) > 16


def test_threads_are_put_back(two_threads, small, quick):
    with at_most_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with at_most_threads(64):
        assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="hidden"), at_most_threads(1):
        raise ValueError("hidden")
    VAETransformer(**quick).fit(small)
    assert torch.get_num_threads() == 2
