import numpy as np
import pytest
import torch
from _make import minibatch

from skvae._data.covariates import Covariates
from skvae._data.dataset import Minibatch
from skvae._evaluation.bounds import cubature
from skvae._likelihoods.base import draws
from skvae._likelihoods.quadratic import expected_squared_error
from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import Posterior


@pytest.fixture
def posterior(rng):
    mean, log_var = rng.randn(9, 3), rng.uniform(-3.0, 0.0, (9, 3))
    return Posterior(torch.from_numpy(mean), torch.from_numpy(log_var))


@pytest.mark.parametrize("hidden_dims", [(), (8,)])
@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("n_conditions", [0, 2])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_it_is_the_mean_over_decoded_points(
    posterior, rng, hidden_dims, linear_path, n_conditions, is_weighted
):
    params = {"linear_path": linear_path, "n_conditions": n_conditions}
    network = VAE(12, 3, hidden_dims=hidden_dims, **params).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    batch = minibatch(torch.from_numpy(rng.randn(9, 12)))
    if n_conditions:
        given = Covariates(torch.from_numpy(rng.randn(9, n_conditions)))
        batch = Minibatch(batch.inputs, batch.rows, None, given)
    root = torch.from_numpy(rng.uniform(0.5, 2.0, 12)) if is_weighted else None
    points, dtype = cubature(3), torch.float64
    weight = 1.0 if root is None else root.square()
    with torch.no_grad():
        errors = [
            ((network.decode(z, batch.covariates) - batch.target).square() * weight)
            for z in draws(posterior, points)
        ]
        expected = torch.stack(errors).mean(dim=0).sum(dim=1)
        found = expected_squared_error(network.decoder, points, dtype, root)
        torch.testing.assert_close(found(posterior, batch), expected)


def test_of_a_linear_decoder_it_is_exact(posterior, rng):
    network = VAE(6, 3).double().eval()
    weight = network.decoder.out.weight.detach().double()
    x = torch.from_numpy(rng.randn(9, 6))
    with torch.no_grad():
        residual = x - network.decode(posterior.mean)
    spread = posterior.log_var.exp() @ weight.square().sum(dim=0)
    expected = residual.square().sum(dim=1) + spread
    found = expected_squared_error(network.decoder, cubature(3), torch.float64)
    np.testing.assert_allclose(found(posterior, minibatch(x)), expected)
