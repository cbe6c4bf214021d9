import numpy as np
import pytest
import torch
from _make import elbo, minibatch, penalised

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._engine.stepper import ENGINE, Stepper, clip, uses_autograd
from skvae._nn.autoencoder import VAE, Autoencoder


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
        (VAE, elbo(5, 1e-3)),
        (VAE, elbo(5, 1e-3, free_bits=0.1)),
        (Autoencoder, penalised(5)),
        (Autoencoder, penalised(5, "l1", 1e-3, "gradient", 1e-3)),
    ],
)
def test_steps_lower_the_loss(x, kind, criterion, max_norm, hook):
    module = kind(5, 2, hidden_dims=(8,), seed=0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.0)
    steps = Stepper(module, criterion, optimizer, generator(), max_norm=max_norm)
    step = steps.begin_epoch(60, on_grad_computed=hook)
    losses = [criterion(step(minibatch(x))).item() for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("max_norm", [None, 1e-3])
def test_derived_gradients_are_clipped_as_autograd_s_are(x, max_norm):
    weights = []
    for hook in (None, lambda x: None):  # who is shown gradients gets autograd's
        module, criterion = VAE(5, 2, hidden_dims=(8,), seed=0), elbo(5, 1e-3)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        steps = Stepper(module, criterion, optimizer, generator(), max_norm=max_norm)
        steps.begin_epoch(1, on_grad_computed=hook)(minibatch(x))
        weights.append([p.detach() for p in module.parameters()])
    torch.testing.assert_close(*weights)


def test_a_lone_row_is_not_normalised(module, x):
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    steps = Stepper(module, elbo(5, 1e-3), optimizer, generator())
    steps.begin_epoch(1, lone_row=True)(minibatch(x[:1]))
    for name, tensor in module.state_dict().items():
        assert torch.isfinite(tensor).all(), name


@pytest.mark.parametrize("max_norm", [0.5, 50.0])
@pytest.mark.parametrize("sizes", [(3, 4), (7,)])
def test_clipping_scales_the_gradient_as_a_whole(sizes, max_norm):
    before = torch.arange(1.0, 8.0)
    parts = list(before.clone().split(sizes))
    clip(parts, before.norm(), max_norm)
    expected = before * min(1.0, max_norm / before.norm().item())
    torch.testing.assert_close(torch.cat(parts), expected)


def test_gradient_is_clipped_before_it_is_shown(module, x):
    norms = []

    def show(_):
        squares = [p.grad.square().sum() for p in module.parameters()]
        norms.append(torch.stack(squares).sum().sqrt().item())

    steps = Stepper(
        module,
        elbo(5, 1e-3),
        torch.optim.AdamW(module.parameters()),
        generator(),
        max_norm=1e-3,
    )
    steps.begin_epoch(1, on_grad_computed=show)(minibatch(x))
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_the_environment_chooses_the_engine(monkeypatch):
    assert not uses_autograd()
    monkeypatch.setenv(ENGINE, "derived")
    assert not uses_autograd()
    monkeypatch.setenv(ENGINE, "autograd")
    assert uses_autograd()
    monkeypatch.setenv(ENGINE, "fast")
    with pytest.raises(ValueError, match="SKVAE_ENGINE is 'fast'; set it to"):
        uses_autograd()


@pytest.mark.parametrize(
    "estimator",
    [
        VAETransformer(kld_weight=1e-3, dropout_rate=0.1),
        VAETransformer(linear_path=None, activation="swiglu", free_bits=0.1),
        AETransformer(),
        RAETransformer(decoder_penalty="l2"),
        SAETransformer(reg_weight=1e-3),
    ],
)
def test_a_fit_is_the_same_by_autograd(estimator, small, quick, monkeypatch):
    """The engine is an oracle of its own, to the precision of float32."""
    estimator.set_params(**quick)
    fast = estimator.fit(small).transform(small)
    monkeypatch.setenv(ENGINE, "autograd")
    for part in ("Gradients", "FlatAdamW", "CudaRecorder"):
        monkeypatch.setattr(f"skvae._engine.stepper.{part}", None)  # never made
    slow = estimator.fit(small).transform(small)
    np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-3)
