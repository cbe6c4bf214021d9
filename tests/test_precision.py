"""Training with products in bfloat16."""

import contextlib
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from _make import elbo, minibatch, penalised
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._nn.autoencoder import ACTIVATIONS, VAE, Autoencoder, InputLinear, Linear
from skvae._nn.thresholds import ThresholdedAutoencoder
from skvae._objectives.penalties import decoder_spectral
from skvae._utils.device import checked_precision

D = 7
ESTIMATORS = [VAETransformer, AETransformer, RAETransformer, SAETransformer]
CASES = [
    (VAE, elbo(D, 0.3)),
    (VAE, elbo(D, 0.3, free_bits=0.1)),
    (Autoencoder, penalised(D)),
    (Autoencoder, penalised(D, "l1", 0.2)),
    (ThresholdedAutoencoder, penalised(D, "soft_threshold", 0.2)),
    (Autoencoder, penalised(D, "l2", 0.2, "l2", 0.2)),
    (Autoencoder, penalised(D, "l2", 0.2, "gradient", 0.2)),
    (Autoencoder, penalised(D, "l2", 0.2, "spectral", 0.2)),
]
has_bfloat16_gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported(
    including_emulation=False
)
needs_gpu = pytest.mark.skipif(
    not has_bfloat16_gpu, reason="no CUDA device with bfloat16"
)


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def make(kind, **options):
    """A module all of whose parameters are random."""
    module = kind(D, 3, **{"hidden_dims": (16, 8), **options})
    source = generator(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.3, generator=source)
    return module


def rows(n_rows=64):
    return torch.randn(n_rows, D, generator=generator(3))


def gradient(module, criterion, context):
    """Terms and gradients of a step, all gradients in one tensor."""
    module.zero_grad()
    with context:
        terms = criterion.terms(module, minibatch(rows()), generator(2))
    criterion(terms).backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert {g.dtype for g in gradients} == {torch.float32}
    return terms.detach(), torch.cat([g.flatten() for g in gradients])


@pytest.fixture
def products(monkeypatch):
    """Which linear layers were at work: (in training mode, dtype of the product)."""
    seen = set()

    def watched(forward):
        def watch(layer, x):
            y = forward(layer, x)
            seen.add((layer.training, y.dtype))
            return y

        return watch

    for kind in (Linear, InputLinear):
        monkeypatch.setattr(kind, "forward", watched(kind.forward))
    return seen


@pytest.mark.parametrize(("kind", "criterion"), CASES)
@pytest.mark.parametrize(
    ("activation", "batch_norm"), list(product(ACTIVATIONS, (True, False)))
)
def test_gradients_are_nearly_those_of_float32(kind, criterion, activation, batch_norm):
    # Rounding takes some units from one side of a kink to the other.
    tolerance = 0.3 if activation in ("relu", "leaky_relu") else 0.1
    for linear_path, dropout_rate in product((True, False), (0.0, 0.3)):
        module = make(
            kind,
            activation=activation,
            use_batch_norm=batch_norm,
            linear_path=linear_path,
            dropout_rate=dropout_rate,
        )
        expected = gradient(module, criterion, contextlib.nullcontext())
        terms, g = gradient(module, criterion, autocast())
        assert terms.dtype is torch.float32
        torch.testing.assert_close(terms, expected[0], rtol=0.1, atol=0.0)
        assert 0.0 < (g - expected[1]).norm() < tolerance * expected[1].norm()


@pytest.mark.parametrize("linear_path", [True, False])
def test_errors_and_kl_are_summed_in_float32(linear_path):
    module, x = make(VAE, linear_path=linear_path), rows()
    criterion = elbo(D, 0.3, free_bits=0.1)
    with autocast():
        error, kl, _ = criterion.terms(module, minibatch(x), generator(2)).tolist()
        mean, log_var = (part.double() for part in module.encode(x, generator(2)))
    exact = 0.5 * (log_var.exp() - 1 + mean.square() - log_var).sum(dim=1).mean()
    assert kl == pytest.approx(exact.item(), rel=1e-6)
    noise = torch.empty(len(x), 3)
    noise.normal_(generator=generator(2))
    z = (mean + (0.5 * log_var).exp() * noise).float()
    with autocast():
        residual = module.decode(z).double() - x
    assert error == pytest.approx(residual.square().mean().item(), rel=1e-6)


@pytest.mark.parametrize("code_penalty", ["l1", "l2"])
def test_code_penalties_are_summed_in_float32(code_penalty):
    module, x = make(Autoencoder), rows()
    criterion = penalised(D, code_penalty, 0.2)
    with autocast():
        _, penalty = criterion.terms(module, minibatch(x), generator(2)).tolist()
        z = module.code(x).double()
    exact = z.abs() if code_penalty == "l1" else z.square()
    assert penalty == pytest.approx(exact.sum(dim=1).mean().item(), rel=1e-6)


def test_a_decoder_s_singular_values_are_float32_s():
    module = make(Autoencoder)
    expected = decoder_spectral(module, rows(), generator(2))
    with autocast():
        assert decoder_spectral(module, rows(), generator(2)) == expected


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_fit_learns_what_one_in_float32_learns(kind, digits):
    X, test = digits[:1200], digits[1200:]
    params = {"latent_dim": 8, "max_epochs": 15, "random_state": 0}
    plain = kind(**params).fit(X)
    rounded = kind(**params, precision="bf16").fit(X)
    for name in ("train_loss", "valid_loss"):
        loss, other = rounded.history_[-1][name], plain.history_[-1][name]
        assert loss != other
        assert loss == pytest.approx(other, rel=0.02)
    errors = [m.reconstruction_error(test).mean() for m in (rounded, plain)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)
    if kind is VAETransformer:
        assert rounded.score(test) == pytest.approx(plain.score(test), abs=0.3)


@pytest.mark.parametrize(
    "estimator",
    [
        VAETransformer(linear_path=None, activation="swiglu", free_bits=0.1),
        VAETransformer(hidden_dims=(), kld_weight=1e-3),
        VAETransformer(dropout_rate=0.3, use_batch_norm=False, kld_schedule="linear"),
        VAETransformer(batch_size=1, gradient_clip_val=None),
        AETransformer(activation="relu", dropout_rate=0.3),
        RAETransformer(decoder_penalty="l2", activation="silu"),
        RAETransformer(decoder_penalty="gradient", dropout_rate=0.3),
        RAETransformer(decoder_penalty="gradient", activation="swiglu"),
        RAETransformer(decoder_penalty="spectral", activation="leaky_relu"),
        SAETransformer(linear_path=None, weight_decay=0.1, reg_weight=1e-3),
        SAETransformer(code_penalty="l1"),
    ],
)
def test_every_kind_fits(estimator, small, quick):
    params = {name: quick[name] for name in ("max_epochs", "latent_dim")}
    estimator.set_params(**params, random_state=0, precision="bf16").fit(small)
    for row in estimator.history_:
        assert np.isfinite(list(row.values())).all()
    assert np.isfinite(estimator.reconstruct(small)).all()
    assert np.isfinite(estimator.score(small))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_only_training_is_rounded(kind, small, quick, products):
    estimator = kind(**quick, precision="bf16").fit(small.astype(np.float32))
    estimator.score(small.astype(np.float32))
    assert products == {(True, torch.bfloat16), (False, torch.float32)}


def test_all_else_has_the_dtypes_of_float32(small, quick):
    class Look(Callback):
        gradients = ()

        def on_grad_computed(self, net, named_parameters, **kwargs):
            self.gradients = {p.grad.dtype for _, p in named_parameters}

    look = Look()
    vae = VAETransformer(**quick, precision="bf16", callbacks=[look]).partial_fit(small)
    assert look.gradients == {torch.float32}
    state = vae.module_.state_dict().values()
    assert {t.dtype for t in state if t.is_floating_point()} == {torch.float32}
    moments = [t for s in vae.net_.optimizer_.state.values() for t in s.values()]
    assert {t.dtype for t in moments} == {torch.float32}
    for dtype in (np.float32, np.float64):
        codes = vae.transform(small.astype(dtype))
        assert codes.dtype == vae.inverse_transform(codes).dtype == dtype


def test_a_seed_decides_the_bits(small, quick):
    params = {**quick, "precision": "bf16", "early_stopping": False}
    codes = [
        VAETransformer(**params, dropout_rate=0.2).fit_transform(small)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_float32_is_the_default_and_bf16_the_only_other(kind, small):
    assert kind().precision == "float32"
    for value in ("bfloat16", "fp16", 16, None, torch.bfloat16):
        with pytest.raises(ValueError, match="'precision' parameter"):
            kind(precision=value).fit(small)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_device_without_bfloat16_is_refused_before_training(
    method, small, monkeypatch
):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("fit_rows", "fitted_chunk"):
        monkeypatch.setattr(f"skvae._base.{name}", None)  # calling it would raise
    vae = VAETransformer(device="mps", precision="bf16")
    with pytest.raises(ValueError, match=r"on 'mps' here; use precision='float32'"):
        getattr(vae, method)(small)
    assert not hasattr(vae, "n_features_in_")


def test_the_device_that_is_asked_is_the_one_to_train_on(monkeypatch):
    current = []

    @contextlib.contextmanager
    def device(chosen):
        current.append(chosen)
        yield
        current.pop()

    def is_bf16_supported(including_emulation=True):
        return including_emulation or current[-1].index == 1

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert checked_precision("bf16", torch.device("cuda:1")) == "bf16"
    assert checked_precision("float32", torch.device("cuda:0")) == "float32"
    with pytest.raises(ValueError, match=r"on 'cuda:0'.*capability 8\.0"):
        checked_precision("bf16", torch.device("cuda:0"))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_it_is_a_parameter_like_others(kind, small, quick):
    estimator = clone(kind(**quick)).set_params(precision="bf16")
    assert clone(estimator).get_params()["precision"] == "bf16"
    estimator.fit(small)
    other = pickle.loads(pickle.dumps(estimator))
    for each in (estimator, other):
        each.partial_fit(small)
    np.testing.assert_array_equal(other.transform(small), estimator.transform(small))


def test_a_grid_over_it(small, quick):
    grid = GridSearchCV(
        VAETransformer(**quick), {"precision": ["float32", "bf16"]}, cv=2
    ).fit(small)
    scores = grid.cv_results_["mean_test_score"]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)


def test_partial_fit_takes_today_s(small, quick, products):
    vae = VAETransformer(**quick).partial_fit(small)
    assert (True, torch.bfloat16) not in products
    vae.set_params(precision="bf16").partial_fit(small)
    assert (True, torch.bfloat16) in products
    vae.partial_fit(small[:1])  # a lone row, which cannot be normalised
    assert np.isfinite(vae.score(small))
    products.clear()
    vae.set_params(precision="float32").partial_fit(small)
    assert (True, torch.bfloat16) not in products


def test_a_warm_start_takes_today_s(small, quick, products):
    vae = VAETransformer(**quick, warm_start=True).fit(small)
    assert (True, torch.bfloat16) not in products
    vae.set_params(precision="bf16").fit(small)
    assert (True, torch.bfloat16) in products
    products.clear()
    vae.set_params(precision="float32").fit(small)
    assert (True, torch.bfloat16) not in products


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_gpu_learns_what_it_learns_in_float32(kind, digits, products):
    X = digits.astype(np.float32)
    params = {"latent_dim": 8, "max_epochs": 15, "random_state": 0, "device": "cuda"}
    plain = kind(**params).fit(X)
    products.clear()
    rounded = kind(**params, precision="bf16").fit(X)
    assert products == {(True, torch.bfloat16), (False, torch.float32)}
    loss = plain.history_[-1]["train_loss"]
    assert rounded.history_[-1]["train_loss"] == pytest.approx(loss, rel=0.02)
    assert rounded.transform(X).dtype == np.float32


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("decoder_penalty", ["l2", "gradient", "spectral"])
def test_gpu_fits_every_kind(activation, decoder_penalty, small, quick):
    params = {**quick, "device": "cuda", "precision": "bf16", "activation": activation}
    params |= {"dropout_rate": 0.3, "decoder_penalty": decoder_penalty}
    rae = RAETransformer(**params).partial_fit(small).partial_fit(small[:1])
    assert all(np.isfinite(list(row.values())).all() for row in rae.history_)
    state = rae.module_.state_dict().values()
    assert {t.dtype for t in state if t.is_floating_point()} == {torch.float32}
