"""Whatever torch is set to around a method: the same bits, and the same state."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from skorch.callbacks import Callback

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import kl_per_unit, log_likelihood_scorer, rate


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def anomaly():
    with pytest.warns(UserWarning, match="Anomaly"):
        mode = torch.autograd.detect_anomaly()
    with mode:
        yield


# Two epochs are no training, and a network without a start says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

AMBIENT = {
    "float64": float64,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "device": lambda: torch.device("meta"),
    "deterministic": deterministic,
    "anomaly": anomaly,
}


class Listens(Callback):
    """Leaves gradients to autograd, since it is shown them."""

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert all(p.grad is not None for _, p in named_parameters)


SHORT = {"latent_dim": 3, "hidden_dims": (16,), "max_epochs": 2, "random_state": 0}
ESTIMATORS = {
    "derived": VAETransformer(**SHORT),
    "gated": VAETransformer(**SHORT, activation="swiglu", dropout_rate=0.2),
    "plain": VAETransformer(**SHORT, linear_path=None, use_batch_norm=False),
    "autograd": VAETransformer(**SHORT, callbacks=[Listens()], dropout_rate=0.2),
    "bf16": VAETransformer(**SHORT, precision="bf16"),
    "ae": AETransformer(**SHORT),
    "rae": RAETransformer(**SHORT, decoder_penalty="gradient"),
    "spectral": RAETransformer(**SHORT, decoder_penalty="spectral"),
    "sae": SAETransformer(**SHORT),
}


def state():
    return (
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_default_device(),
        torch.get_num_threads(),
        torch.random.get_rng_state().sum().item(),
        torch.backends.mkldnn.matmul.fp32_precision,
    )


def results(model, X):
    """All that a fitted model says of X, by name."""
    found = {
        "transform": model.transform(X),
        "transform float64": model.transform(X.astype(np.float64)),
        "reconstruct": model.reconstruct(X),
        "reconstruction_error": model.reconstruction_error(X),
        "score": model.score(X),
    }
    found["inverse_transform"] = model.inverse_transform(found["transform"])
    if hasattr(model, "sample"):
        found["sample"] = model.sample(4, random_state=0)
    if isinstance(model, VAETransformer):
        found["score_samples"] = model.score_samples(X)
        found["bound"] = log_likelihood_scorer(model, X)
        found["rate"] = rate(model, X)
        found["kl_per_unit"] = kl_per_unit(model, X)
        found["diagnosis"] = diagnose(model, X).mutual_information
        found["suggested"] = suggest_kld_weights(X, 3, random_state=0)
    return found


def fitted(name, X):
    """A fit, one that goes on from it, and a chunk after that."""
    model = clone(ESTIMATORS[name]).set_params(warm_start=True)
    return model.fit(X).fit(X).partial_fit(X[:40])


@pytest.fixture(scope="module")
def X():
    return np.random.RandomState(0).randn(90, 7).astype(np.float32)


@pytest.fixture(scope="module")
def expected(X):
    models = {name: fitted(name, X) for name in ESTIMATORS}
    return {name: (model, results(model, X)) for name, model in models.items()}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("ambient", AMBIENT)
def test_the_same_bits_and_the_same_state(ambient, name, X, expected):
    with AMBIENT[ambient]():
        before = state()
        found = results(fitted(name, X), X)
        assert state() == before
    for key, value in expected[name][1].items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_a_fitted_model_is_applied_in_any_state(ambient, X, expected):
    for model, values in expected.values():
        with AMBIENT[ambient]():
            found = results(model, X)
        for key, value in values.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_sparse_rows_and_wide_layers(ambient):
    generator = np.random.RandomState(0)
    X = sparse.random_array((60, 1200), density=0.05, format="csr", rng=generator)
    X = X.astype(np.float32)

    def scores():
        vae = VAETransformer(3, hidden_dims=(256,), max_epochs=1, random_state=0)
        return vae.fit(X).score_samples(X), vae.transform(X), vae.reconstruct(X)

    expected = scores()
    with AMBIENT[ambient]():
        found = scores()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_what_was_fitted_without_gradients_trains_on(mode, X):
    with mode():
        inside = VAETransformer(**SHORT, warm_start=True).fit(X)
    outside = VAETransformer(**SHORT, warm_start=True).fit(X)
    assert not any(p.is_inference() for p in inside.module_.parameters())
    for model in (inside, outside):
        model.fit(X).partial_fit(X)
    np.testing.assert_array_equal(inside.transform(X), outside.transform(X))
    # torch's own training, too
    inside.module_.code(torch.zeros(2, 7)).sum().backward()


def test_tensors_with_a_negative_or_conjugate_bit(X, expected):
    model, values = expected["derived"]
    lazy = torch.complex(torch.zeros(X.shape), -torch.from_numpy(X)).conj().imag
    assert lazy.is_neg()
    np.testing.assert_array_equal(model.transform(lazy), values["transform"])
    conjugate = torch.from_numpy(X).to(torch.complex64).conj()
    assert conjugate.is_conj()
    np.testing.assert_array_equal(model.transform(conjugate.real), values["transform"])
    with pytest.raises(ValueError, match=r"[Cc]omplex"):
        model.transform(conjugate)


def test_a_failed_fit_leaves_the_state(X):
    for ambient in (*AMBIENT.values(), nullcontext):
        with ambient():
            before = state()
            with pytest.raises(ValueError, match="lr"):
                VAETransformer(**SHORT, lr=-1).fit(X)
            with pytest.raises(ValueError, match="NaN"):
                VAETransformer(**SHORT).fit(np.where(X > 2, np.nan, X))
            assert state() == before


def test_nothing_is_held_open_between_chunks(X):
    """A score that fails half-way, too, leaves nothing behind."""
    model = VAETransformer(**SHORT).fit(X)
    before = state()
    huge = np.full((3, 7), 3e38, np.float32)
    with pytest.raises(ValueError, match="float64"):
        model.score(huge)
    assert state() == before
