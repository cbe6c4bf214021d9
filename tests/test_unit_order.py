import numpy as np
import pytest
import torch

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._evaluation.explained_variance import Carried
from skvae._nn.autoencoder import VAE, Autoencoder
from skvae._nn.thresholds import ThresholdedAutoencoder
from skvae._nn.unit_order import reorder_units

ORDER, SIGNS = np.array([2, 0, 3, 1]), np.array([1.0, -1.0, -1.0, 1.0])


def network_of(kind, **options):
    """A network all of whose weights say something."""
    network = kind(7, 4, seed=0, **options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    if kind is ThresholdedAutoencoder:
        network.threshold.fill_(0.7)
    return network


@pytest.mark.parametrize("kind", [Autoencoder, VAE, ThresholdedAutoencoder])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("hidden_dims", [(), (5,), (6, 5)])
@pytest.mark.parametrize("linear_path", [True, False])
@torch.no_grad()
def test_the_model_is_the_same_but_for_its_units(
    kind, activation, hidden_dims, linear_path
):
    options = {"activation": activation, "hidden_dims": hidden_dims}
    network = network_of(kind, linear_path=linear_path, **options)
    tensors = [p.data_ptr() for p in network.parameters()]
    x = torch.randn(9, 7, generator=torch.Generator().manual_seed(2))
    z, rows = network.code(x), network(x)
    spread = network.encode(x).log_var[:, ORDER] if kind is VAE else None
    reorder_units(network, ORDER, SIGNS)
    codes = network.code(x)
    expected = z[:, ORDER] * torch.as_tensor(SIGNS, dtype=z.dtype)
    torch.testing.assert_close(codes, expected)
    torch.testing.assert_close(network(x), rows)
    if spread is not None:
        torch.testing.assert_close(network.encode(x).log_var, spread)
    assert [p.data_ptr() for p in network.parameters()] == tensors


@torch.no_grad()
def test_what_stands_behind_the_code_stays_where_it_is():
    """A decoder that is given more than the code, as conditions would be."""
    network = network_of(VAE, hidden_dims=(5,), linear_path=True)
    wide = network_of(VAE, hidden_dims=(5,), linear_path=True)
    wide.decoder = VAE(7, 6, hidden_dims=(5,), linear_path=True, seed=3).eval().decoder
    z = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    torch.nn.init.normal_(wide.decoder.linear.weight)
    torch.nn.init.normal_(wide.decoder.out.weight)
    rows = wide.decoder(z)
    reorder_units(wide, ORDER, SIGNS)
    moved = z[:, :4][:, ORDER] * torch.as_tensor(SIGNS, dtype=z.dtype)
    got = wide.decoder(torch.cat([moved, z[:, 4:]], dim=1))
    torch.testing.assert_close(got, rows)
    assert network.latent_dim == wide.latent_dim


MODELS = [
    VAETransformer(6, hidden_dims=(32,), max_epochs=8, lr=0.01, random_state=0),
    VAETransformer(
        *(6,),
        hidden_dims=(32,),
        max_epochs=8,
        lr=0.01,
        linear_path=None,
        random_state=0,
    ),
    AETransformer(6, hidden_dims=(32,), max_epochs=8, lr=0.01, random_state=0),
    RAETransformer(6, hidden_dims=(32,), max_epochs=8, lr=0.01, random_state=0),
    SAETransformer(6, hidden_dims=(32,), max_epochs=8, lr=0.01, random_state=0),
]
IDS = ["vae", "plain", "ae", "rae", "sae"]


def is_in_order(model):
    variance, components = model.explained_variance_, model.components_
    descends = np.all(np.diff(variance) <= 1e-4 * variance[:-1])
    largest = np.abs(components).argmax(axis=1)
    return descends and (components[np.arange(len(components)), largest] >= 0.0).all()


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_fits_and_warm_fits_leave_units_in_order(model, digits):
    model = model.__class__(**{**model.get_params(), "warm_start": True})
    X = digits[:400]
    assert is_in_order(model.fit(X))
    # Other rows: digits that are dark where the first were bright.
    assert is_in_order(model.fit(X[:, ::-1]))
    assert model.best_epoch_ > 0


def test_training_without_a_linear_path_leaves_an_order_of_its_own(digits):
    """What is put in order was not: `partial_fit` leaves it."""
    model = MODELS[1].__class__(**MODELS[1].get_params())
    assert not is_in_order(model.partial_fit(digits[:400]))


def test_codes_of_all_chunks_mean_the_same(digits):
    """Units keep their places and signs, whatever a chunk would say of them."""
    model = VAETransformer(4, hidden_dims=(16,), random_state=0)
    model.partial_fit(digits[:600])
    first = model.transform(digits)
    # The variance of what was the first unit is gone from this chunk.
    along = model.components_[0] / np.linalg.norm(model.components_[0])
    flat = digits[600:900] - np.outer((digits[600:900] - model.mean_) @ along, along)
    model.partial_fit(flat)
    assert model.explained_variance_[0] < model.explained_variance_[1]
    second = model.transform(digits)
    agreement = np.corrcoef(first.T, second.T)[:4, 4:].diagonal()
    assert (agreement > 0.9).all()
    variance = model.explained_variance_
    model.partial_fit(digits[:1])  # which says nothing of variances
    np.testing.assert_array_equal(model.explained_variance_, variance)


def test_going_on_that_does_not_help_leaves_codes_as_they_were(digits, quick):
    params = {**quick, "lr": 5e-3, "use_batch_norm": False, "warm_start": True}
    model = VAETransformer(**params).fit(digits[:300])
    codes = model.transform(digits[:300])
    model.set_params(lr=1e-12).fit(digits[:300])
    assert model.best_epoch_ == 0
    np.testing.assert_array_equal(model.transform(digits[:300]), codes)


def test_an_order_or_a_sign_that_is_rounding_is_left_alone():
    even = np.array([[0.5, -0.5000001], [0.2, -0.9], [0.6, 0.6]])
    active = np.array([True, True, False])
    ties = Carried(even, np.array([1.0, 1.0000001, 2.0]), active)
    order, signs = ties.principal_order()
    assert list(order) == [0, 1, 2]
    assert list(signs) == [1.0, -1.0, 1.0]
    others = Carried(even, np.array([1.0, 1.1, 1.05]), np.ones(3, dtype=bool))
    order, signs = others.principal_order()
    assert list(order) == [1, 2, 0]
    assert list(signs) == [-1.0, 1.0, 1.0]
    in_order = others.reordered(order, signs)
    assert list(in_order.variance) == [1.1, 1.05, 1.0]
    np.testing.assert_array_equal(in_order.jacobian[0], [-0.2, 0.9])
