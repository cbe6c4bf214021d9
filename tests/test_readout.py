import pytest
import torch

from skvae._nn import readout as module_under_test
from skvae._nn.autoencoder import VAE
from skvae._nn.readout import Readout, gram


@pytest.mark.parametrize("block", [1, 3, 7, 256])
@pytest.mark.parametrize("converted", [4, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gram_is_the_whole_product(monkeypatch, block, converted, dtype):
    monkeypatch.setattr(module_under_test, "GRAM_BLOCK", block)
    monkeypatch.setattr(module_under_test, "CONVERTED_ROWS", converted)
    a = torch.randn(30, 7, generator=torch.Generator().manual_seed(0))
    expected = a.double().T @ a.double()
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    found = gram(a, dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n_features", [5, 40])
@pytest.mark.parametrize("linear_path", [True, False])
def test_lengths_are_those_behind_the_decoder(n_features, linear_path):
    """Of changes of its output, in float64 though its weights are float32."""
    module = VAE(n_features, 3, hidden_dims=(9,), linear_path=linear_path, seed=0)
    module.eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.decoder.parameters():
            parameter.normal_(generator=generator)
        z = torch.randn(6, 3, generator=generator, dtype=torch.float64)
        change = module.decode(z) - module.decode(z[:1])
        embedded = module.decoder.embed(z) - module.decoder.embed(z[:1])
        readout = Readout(module.decoder, torch.float64)
        found = readout.squared_length(embedded)
        torch.testing.assert_close(found, change.square().sum(dim=1))
        back = readout.transposed_product(change)
        torch.testing.assert_close(back, change @ module.decoder.readout().double())
