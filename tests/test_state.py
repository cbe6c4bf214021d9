import numpy as np
import pytest
import torch
from _make import elbo

from skvae import VAETransformer
from skvae._nn.autoencoder import VAE
from skvae._training.state import FittedState, Split


def make(n_features=6, latent_dim=2):
    network = VAE(n_features, latent_dim, hidden_dims=(4,))
    return FittedState(network, elbo(n_features))


def test_an_empty_state():
    state = make()
    assert state.split is None
    assert state.background is None
    assert state.seeds == (0, 0)
    np.testing.assert_array_equal(state.code_scale, [1.0, 1.0])


@pytest.mark.parametrize("entropy", [0, 7, 2**32 - 1, 2**64 - 1])
def test_seeds_of_any_size_are_kept(entropy):
    state = make()
    state.set_seeds(entropy, 12)
    assert state.seeds == (entropy, 12)


@pytest.mark.parametrize("fraction", [0.25, None])
def test_splits_are_kept(fraction):
    state = make()
    state.split = Split(np.array([4, 1, 2]), 12, fraction)
    held_out, n_rows, kept = state.split
    assert held_out.tolist() == [4, 1, 2]
    assert (n_rows, kept) == (12, fraction)


def test_arrays_are_all_of_it(digits, quick):
    X = digits[:300]
    fitted = (
        VAETransformer(**{**quick, "max_epochs": 8}, likelihood="gaussian")
        .fit(X)
        ._fitted.state
    )
    assert fitted.background is not None
    other = make(64, 3)
    other.network = VAE(64, 3, hidden_dims=(16,), linear_path=True)
    other.load_arrays(fitted.arrays())
    for name, value in fitted.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert other.is_background
    assert other.seeds == fitted.seeds
    np.testing.assert_array_equal(other.split.held_out, fitted.split.held_out)
    np.testing.assert_array_equal(other.code_scale, fitted.code_scale)
    fitted.arrays()["host.code_scale"][:] = 0.0
    assert fitted.code_scale.all()


def test_a_move_takes_weights_and_leaves_numbers_on_the_host():
    state = make().to("meta")
    devices = {name: value.device.type for name, value in state.state_dict().items()}
    assert devices["network.decoder.out.weight"] == "meta"
    assert devices["criterion.likelihood.running_noise"] == "meta"
    assert devices["criterion.likelihood.units.mean"] == "cpu"
    assert devices["host.code_scale"] == "cpu"


def test_learnt_tells_weights_apart():
    state = make()
    before = state.learnt()
    assert state.learnt() == before
    with torch.no_grad():
        state.network.decoder.out.bias += 1e-3
    assert state.learnt() != before
