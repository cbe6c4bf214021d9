import pytest
import torch

from skvae._modules import VAE
from skvae._objective import kl_per_row
from skvae._rows import Rows
from skvae._step import WeightedELBO, forward_terms, held_out_terms, training_step


@pytest.fixture
def module():
    return VAE(5, 2, hidden_dims=(8,), seed=0)


@pytest.fixture
def x():
    return torch.randn(32, 5, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_loss_is_error_plus_weighted_kl():
    fixed = WeightedELBO(0.25, 5, 1.0, 1e-9)
    assert fixed(torch.tensor(2.0), torch.tensor(4.0)).item() == 3.0
    fitted = WeightedELBO(None, 5, 0.5, 1e-9)
    assert fitted.kld_weight.item() == pytest.approx(2 * 0.5 / 5)


def test_noise_follows_the_error_down_to_the_floor():
    criterion = WeightedELBO(None, 5, 1.0, 0.01)
    for _ in range(500):
        criterion.observe(torch.tensor(0.3))
    assert criterion.noise_variance.item() == pytest.approx(0.3, rel=1e-3)
    for _ in range(500):
        criterion.observe(torch.tensor(0.0))
    assert criterion.noise_variance.item() == pytest.approx(0.01)


def test_terms_are_those_of_the_objective(module, x):
    error, kl = forward_terms(module.eval(), x, generator())
    mean, log_var = module.encode(x)
    assert kl.item() == pytest.approx(kl_per_row(mean, log_var).mean().item())
    noise = torch.empty_like(mean).normal_(generator=generator())
    z = mean + (log_var / 2).exp() * noise
    expected = (module.decode(z) - x).square().mean()
    assert error.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("max_norm", [None, 1e-3])
def test_steps_lower_the_loss(module, x, max_norm):
    criterion = WeightedELBO(1e-3, 5, 1.0, 1e-9)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.0)
    noise = generator()
    losses = [
        criterion(
            *training_step(module, criterion, optimizer, x, noise, max_norm=max_norm)
        ).item()
        for _ in range(60)
    ]
    assert losses[-1] < 0.7 * losses[0]


def test_gradient_is_clipped_before_it_is_shown(module, x):
    norms = []

    def show(_):
        squares = [p.grad.square().sum() for p in module.parameters()]
        norms.append(torch.stack(squares).sum().sqrt().item())

    criterion = WeightedELBO(1e-3, 5, 1.0, 1e-9)
    optimizer = torch.optim.AdamW(module.parameters())
    training_step(
        module,
        criterion,
        optimizer,
        x,
        generator(),
        max_norm=1e-3,
        on_grad_computed=show,
    )
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_held_out_terms_are_the_same_for_the_same_seed(module, x):
    rows = Rows(
        x.numpy(),
        torch.zeros(5).numpy(),
        1.0,
        dtype=torch.float32,
        device=torch.device("cpu"),
        resident=True,
    )
    module.eval()
    first = held_out_terms(module, rows, generator(3))
    assert torch.equal(first, held_out_terms(module, rows, generator(3)))
    mean, log_var = module.encode(x)
    assert first[1].item() == pytest.approx(kl_per_row(mean, log_var).mean().item())
