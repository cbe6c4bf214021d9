import pytest
import torch

from skvae import VAETransformer, _reuse
from skvae._modules import VAE
from skvae._reuse import Linear, reused_gradients


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr(_reuse, "LARGE", 1)


def make_layer(n_in, n_out, **options):
    layer = Linear(n_in, n_out, **options)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_autograd_s(bias):
    layer = make_layer(5, 4, bias=bias, dtype=torch.float64)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(7, 4, dtype=torch.float64)
    expected = torch.autograd.grad(layer(x), [x, *layer.parameters()], upstream)
    x.grad = None
    with reused_gradients(layer):
        layer(x).backward(upstream)
        got = [x.grad, *(p.grad.clone() for p in layer.parameters())]
    torch.testing.assert_close(got, list(expected))


def test_the_memory_is_the_same_in_every_step_and_let_go_afterwards():
    layer = make_layer(5, 4)
    with reused_gradients(layer):
        places = []
        for _ in range(3):
            layer.weight.grad = None
            layer(torch.randn(7, 5)).sum().backward()
            places.append(layer.weight.grad.data_ptr())
        assert len(set(places)) == 1
    assert layer.gradient is None
    assert layer.weight.grad is None
    with pytest.raises(KeyError), reused_gradients(layer):
        raise KeyError
    assert layer.gradient is None


def test_two_uses_a_step_are_refused():
    layer = make_layer(4, 4)
    with reused_gradients(layer), pytest.raises(RuntimeError, match="once a step"):
        layer(layer(torch.randn(7, 4))).sum().backward()


def test_small_layers_and_evaluation_are_left_alone(monkeypatch):
    monkeypatch.setattr(_reuse, "LARGE", 1000)
    layer = make_layer(5, 4)
    with reused_gradients(layer):
        assert layer.gradient is None
    monkeypatch.setattr(_reuse, "LARGE", 1)
    with reused_gradients(layer), torch.no_grad():
        assert not layer(torch.randn(7, 5)).requires_grad


def test_fits_are_the_same_with_and_without(small, quick, monkeypatch):
    reused = VAETransformer(**quick, linear_path=None).fit(small)
    monkeypatch.setattr(_reuse, "LARGE", 10**9)
    plain = VAETransformer(**quick, linear_path=None).fit(small)
    for one, other in zip(
        reused.module_.parameters(), plain.module_.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
        assert one.grad is None


def test_every_layer_of_the_network_can(small):
    module = VAE(64, 3, hidden_dims=(16,), linear_path=True)
    linear = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
    assert linear
    assert all(isinstance(m, Linear) for m in linear)


def test_making_a_layer_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Linear(5, 4)
    assert torch.equal(torch.get_rng_state(), before)
