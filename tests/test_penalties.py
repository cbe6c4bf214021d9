import pytest
import torch

from skvae._nn.autoencoder import Autoencoder
from skvae._objectives.penalties import (
    DECODER_PENALTIES,
    absolute_length,
    decoder_gradient,
    decoder_spectral,
    decoder_weights,
    largest_singular_value,
    squared_length,
)


@pytest.fixture
def module():
    return Autoencoder(
        6, 2, hidden_dims=(4,), use_batch_norm=False, linear_path=False, seed=3
    ).eval()


@pytest.fixture
def z():
    return torch.randn(9, 2, generator=torch.Generator().manual_seed(0))


def generator():
    return torch.Generator().manual_seed(0)


def test_lengths_are_sums_over_units_and_means_over_rows():
    z = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    assert squared_length(z).item() == (5 + 9) / 2
    assert absolute_length(z).item() == (3 + 3) / 2


def test_weights_are_those_of_the_decoder_s_matrices(module, z):
    first = module.decoder.mlp.blocks[0].linear.weight
    expected = first.square().sum() + module.decoder.out.weight.square().sum()
    torch.testing.assert_close(decoder_weights(module, z, generator()), expected)


def test_gradient_estimates_the_jacobian(module, z):
    jacobians = [
        torch.func.jacrev(lambda v: module.decode(v[None])[0])(row) for row in z
    ]
    expected = torch.stack(jacobians).square().sum(dim=(1, 2)).mean().item()
    draws = generator()
    estimate = [decoder_gradient(module, z, draws).item() for _ in range(2000)]
    assert sum(estimate) / 2000 == pytest.approx(expected, rel=0.03)


def test_gradient_penalty_reaches_the_decoder_alone_and_works_without_grad(module, z):
    decoder_gradient(module, z.requires_grad_(), generator()).backward()
    assert z.grad is None
    assert module.decoder.out.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert decoder_gradient(module, z, generator()) > 0


def test_power_iteration_finds_the_largest_singular_value():
    weight = torch.randn(30, 20, generator=generator())
    value = largest_singular_value(weight, generator())
    assert value.item() == pytest.approx(
        torch.linalg.matrix_norm(weight, ord=2).item(), rel=0.05
    )


def test_spectral_is_the_sum_of_squares_over_matrices(module, z):
    norms = [
        torch.linalg.matrix_norm(w, ord=2)
        for w in (
            module.decoder.mlp.blocks[0].linear.weight,
            module.decoder.out.weight,
        )
    ]
    value = decoder_spectral(module, z, generator())
    assert value.item() == pytest.approx(sum(n.item() ** 2 for n in norms), rel=0.02)


@pytest.mark.parametrize("name", sorted(DECODER_PENALTIES))
def test_steps_down_the_penalty_lower_it(module, z, name):
    penalty = DECODER_PENALTIES[name]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
    before = penalty(module, z, generator()).item()
    for _ in range(20):
        optimizer.zero_grad()
        penalty(module, z, generator()).backward()
        optimizer.step()
    assert penalty(module, z, generator()).item() < 0.9 * before
