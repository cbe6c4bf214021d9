import pytest
import torch

from skvae._kernels import mixed as module_under_test
from skvae._kernels.mixed import mixed_linear, mixed_product
from skvae._nn.autoencoder import ACTIVATIONS, VAE


@pytest.mark.parametrize("entries", [1, 40, 10_000])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_in_the_precision_of_the_rows(monkeypatch, entries, bias):
    monkeypatch.setattr(module_under_test, "BLOCK_ENTRIES", entries)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(9, 7, generator=generator)
    b = torch.randn(9, generator=generator) if bias else None
    expected = x @ weight.double().T + (b.double() if bias else 0.0)
    found = mixed_linear(x, weight, b)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    found = mixed_product(x, weight.T)
    torch.testing.assert_close(found, x @ weight.double().T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_dims", [(), (6, 4)])
@pytest.mark.parametrize("linear_path", [True, False])
def test_a_network_takes_float64_rows_as_one_in_float64_does(
    activation, hidden_dims, linear_path
):
    options = {
        "hidden_dims": hidden_dims,
        "activation": activation,
        "linear_path": linear_path,
    }
    network = VAE(8, 3, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
        network.train()
        network(torch.randn(20, 8, generator=generator))  # running statistics
        network.eval()
        x = torch.randn(4, 8, generator=generator, dtype=torch.float64)
        found = network(x), *network.encode(x)
        network.double()
        expected = network(x), *network.encode(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
