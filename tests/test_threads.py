import numpy as np
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


def test_the_environment_overrules_the_choice(monkeypatch, small, quick):
    monkeypatch.setenv("SKVAE_NUM_THREADS", "3")
    assert worthwhile_threads(100_000, 128) == 3
    assert worthwhile_threads(60_000_000, 128) == 3
    for wrong in ("0", "two", "-1", ""):
        monkeypatch.setenv("SKVAE_NUM_THREADS", wrong)
        vae = VAETransformer(**quick)
        with pytest.raises(ValueError, match="SKVAE_NUM_THREADS"):
            vae.fit(small)
        assert not hasattr(vae, "net_")


@pytest.mark.parametrize("kld_weight", ["auto", 1e-3])
def test_results_do_not_depend_on_the_number_of_threads(
    kld_weight, two_threads, digits, monkeypatch
):
    codes = []
    for n_threads in ("1", "2"):
        monkeypatch.setenv("SKVAE_NUM_THREADS", n_threads)
        vae = VAETransformer(
            4, hidden_dims=(256,), kld_weight=kld_weight, max_epochs=2, random_state=0
        )
        codes.append(vae.fit_transform(digits.astype(np.float32)))
    np.testing.assert_allclose(*codes, rtol=1e-3, atol=1e-3)


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
