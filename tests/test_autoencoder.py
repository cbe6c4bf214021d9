import numpy as np
import pytest
import torch

from skvae._nn.autoencoder import (
    ACTIVATIONS,
    VAE,
    Autoencoder,
    capped_log_var,
    dropout_masks,
)


def make(kind=VAE, **options):
    options = {"hidden_dims": (8, 6), "seed": 0, **options}
    return kind(5, 3, **options)


@pytest.fixture
def x():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("use_batch_norm", [True, False])
@pytest.mark.parametrize("linear_path", [True, False])
def test_shapes_and_gradients(x, activation, use_batch_norm, linear_path):
    module = make(
        activation=activation, use_batch_norm=use_batch_norm, linear_path=linear_path
    )
    posterior = module.encode(x)
    assert posterior.mean.shape == posterior.log_var.shape == (7, 3)
    loss = module(x).square().mean() + posterior.log_var.mean()
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("linear_path", [True, False])
def test_deterministic_module_has_codes_and_no_variance(x, linear_path):
    module = make(Autoencoder, linear_path=linear_path)
    assert module.code(x).shape == (7, 3)
    torch.testing.assert_close(module(x), module.decode(module.code(x)))
    assert not any("log_var" in name for name, _ in module.named_parameters())
    module(x).square().mean().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_hidden_widths_are_mirrored():
    module = make()
    widths = [b.linear.out_features for b in module.encoder.mlp.blocks]
    mirrored = [b.linear.out_features for b in module.decoder.mlp.blocks]
    assert widths == [8, 6]
    assert mirrored == [6, 8]


def test_no_hidden_widths_is_a_linear_model(x):
    module = make(hidden_dims=())
    first, second = module(x), module(2 * x)
    bias = module(torch.zeros(1, 5))
    torch.testing.assert_close(second - bias, 2 * (first - bias))


def test_swiglu_takes_layer_norm_and_others_batch_norm():
    swiglu, gelu = make(activation="swiglu"), make()
    assert isinstance(swiglu.encoder.mlp.blocks[0].norm, torch.nn.LayerNorm)
    assert isinstance(gelu.encoder.mlp.blocks[0].norm, torch.nn.BatchNorm1d)
    assert not swiglu.normalises_batches
    assert gelu.normalises_batches


def test_seed_decides_weights_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in one.state_dict().items():
        torch.testing.assert_close(value, same.state_dict()[key], rtol=0, atol=0)
    key = "encoder.mlp.blocks.0.linear.weight"
    assert not torch.equal(one.state_dict()[key], other.state_dict()[key])


def test_initial_weights_are_spread_as_torch_spreads_them():
    weight = VAE(400, 3, hidden_dims=(300,), seed=0).encoder.mlp.blocks[0].linear.weight
    reference = torch.nn.Linear(400, 300).weight
    assert weight.abs().max() <= 1 / 400**0.5
    assert weight.std().item() == pytest.approx(reference.std().item(), rel=0.02)


def test_linear_path_starts_alone(x):
    """With the networks' last layers at zero, the model is its linear path."""
    module = make(linear_path=True).eval()
    encode, decode = torch.randn(2, 5), torch.randn(5, 2)
    module.set_linear_path(encode, decode)
    module.set_posterior_variance(torch.tensor([-1.0, 0.0]))
    mean, log_var = module.encode(x)
    torch.testing.assert_close(mean[:, :2], x @ encode.T)
    assert (mean[:, 2] == 0).all()
    expected = torch.tensor([-1.0, 0.0, 0.0]).expand(7, 3)
    torch.testing.assert_close(log_var, expected, atol=1e-4, rtol=0)
    assert torch.isfinite(module.encoder.linear_log_var).all()
    torch.testing.assert_close(module(x), x @ encode.T @ decode.T)


def test_linear_path_cannot_be_set_where_there_is_none():
    with pytest.raises(ValueError, match="without a linear path"):
        make().set_linear_path(torch.zeros(1, 5), torch.zeros(5, 1))
    with pytest.raises(ValueError, match="without a linear path"):
        make().set_posterior_variance(torch.zeros(1))


def test_posterior_is_never_wider_than_the_prior():
    raw = torch.tensor([-50.0, -8.0, 0.0, 10.0, 1e4])
    log_var = capped_log_var(raw)
    assert (log_var <= 0).all()
    torch.testing.assert_close(log_var[:2], raw[:2], atol=1e-3, rtol=0)
    assert log_var[3].abs() < 1e-4


def test_dropout_keeps_the_mean_and_draws_privately():
    before = torch.get_rng_state()
    x = torch.ones(201, 3)
    generator = torch.Generator().manual_seed(0)
    masks = dropout_masks(x, [200, 7], 0.3, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert [mask.shape for mask in masks] == [(201, 200), (201, 7)]
    assert masks[0].mean().item() == pytest.approx(1.0, abs=0.02)
    assert (masks[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert masks[0].unique().numel() == 2


def test_the_layers_of_a_network_drop_units_independently():
    generator = torch.Generator().manual_seed(0)
    masks = dropout_masks(torch.ones(500, 3), [64, 64], 0.5, generator)
    correlation = torch.corrcoef(torch.stack([m.flatten() for m in masks]))[0, 1]
    assert abs(correlation.item()) < 0.03


def test_dropout_is_off_in_evaluation(x):
    module = make(dropout_rate=0.5).eval()
    torch.testing.assert_close(module(x), module(x), rtol=0, atol=0)
    module.train()
    generator = torch.Generator().manual_seed(0)
    first = module.encode(x, generator).mean
    assert not torch.equal(first, module.encode(x, generator).mean)


def test_batch_norm_takes_a_single_row(x):
    module = make().train()
    statistics = module.encoder.mlp.blocks[0].norm.running_mean.clone()
    assert torch.isfinite(module(x[:1])).all()
    after = module.encoder.mlp.blocks[0].norm.running_mean
    assert torch.equal(after, statistics)
    torch.testing.assert_close(module(x[:1]), module.eval()(x[:1]))


def test_linear_bias_in_front_of_batch_norm_is_left_out():
    assert make().encoder.mlp.blocks[0].linear.bias is None
    assert make(use_batch_norm=False).encoder.mlp.blocks[0].linear.bias is not None


def test_float64_works_as_float32_does(x):
    module = make().eval()
    single = module(x).detach().numpy()
    double = module.double()(x.double()).detach().numpy()
    np.testing.assert_allclose(single, double, atol=1e-5)
