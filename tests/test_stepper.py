import numpy as np
import pytest
import torch

from skvae._data.dataset import TableDataset
from skvae._engine.stepper import Stepper, clip, held_out_terms
from skvae._nn.autoencoder import VAE, Autoencoder
from skvae._objectives.criteria import PenalisedError, WeightedELBO
from skvae._objectives.elbo import kl_per_row


@pytest.fixture
def module():
    return VAE(5, 2, hidden_dims=(8,), seed=0)


@pytest.fixture
def x():
    return torch.randn(32, 5, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("hook", [None, lambda x: None])
@pytest.mark.parametrize("max_norm", [None, 1e-3])
@pytest.mark.parametrize(
    ("kind", "criterion"),
    [
        (VAE, WeightedELBO(1e-3, 5)),
        (VAE, WeightedELBO(1e-3, 5, free_bits=0.1)),
        (Autoencoder, PenalisedError(5)),
        (Autoencoder, PenalisedError(5, "l1", 1e-3, "gradient", 1e-3)),
    ],
)
def test_steps_lower_the_loss(x, kind, criterion, max_norm, hook):
    module = kind(5, 2, hidden_dims=(8,), seed=0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.0)
    steps = Stepper(module, criterion, optimizer, generator(), max_norm=max_norm)
    step = steps.begin_epoch(60, on_grad_computed=hook)
    losses = [criterion(step(x)).item() for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("max_norm", [None, 1e-3])
def test_derived_gradients_are_clipped_as_autograd_s_are(x, max_norm):
    weights = []
    for hook in (None, lambda x: None):  # who is shown gradients gets autograd's
        module, criterion = VAE(5, 2, hidden_dims=(8,), seed=0), WeightedELBO(1e-3, 5)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        steps = Stepper(module, criterion, optimizer, generator(), max_norm=max_norm)
        steps.begin_epoch(1, on_grad_computed=hook)(x)
        weights.append([p.detach() for p in module.parameters()])
    torch.testing.assert_close(*weights)


def test_a_lone_row_is_not_normalised(module, x):
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    steps = Stepper(module, WeightedELBO(1e-3, 5), optimizer, generator())
    steps.begin_epoch(1, lone_row=True)(x[:1])
    for name, tensor in module.state_dict().items():
        assert torch.isfinite(tensor).all(), name


@pytest.mark.parametrize("max_norm", [0.5, 50.0])
@pytest.mark.parametrize("sizes", [(3, 4), (7,)])
def test_clipping_scales_the_gradient_as_a_whole(sizes, max_norm):
    before = torch.arange(1.0, 8.0)
    parts = list(before.clone().split(sizes))
    clip(parts, max_norm)
    expected = before * min(1.0, max_norm / before.norm().item())
    torch.testing.assert_close(torch.cat(parts), expected)


def test_gradient_is_clipped_before_it_is_shown(module, x):
    norms = []

    def show(_):
        squares = [p.grad.square().sum() for p in module.parameters()]
        norms.append(torch.stack(squares).sum().sqrt().item())

    steps = Stepper(
        module,
        WeightedELBO(1e-3, 5),
        torch.optim.AdamW(module.parameters()),
        generator(),
        max_norm=1e-3,
    )
    steps.begin_epoch(1, on_grad_computed=show)(x)
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_held_out_terms_are_the_same_for_the_same_seed(module, x):
    rows = TableDataset(
        x.numpy(),
        np.zeros(5),
        1.0,
        dtype=torch.float32,
        device=torch.device("cpu"),
        resident=True,
    )
    module.eval()
    criterion = WeightedELBO(None, 5)
    first = held_out_terms(module, criterion, rows, generator(3))
    again = held_out_terms(module, criterion, rows, generator(3))
    assert torch.equal(first, again)
    mean, log_var = module.encode(x)
    assert first[1].item() == pytest.approx(kl_per_row(mean, log_var).mean().item())
