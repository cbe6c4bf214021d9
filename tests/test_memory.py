"""Devices that run out of memory."""

import gc
import weakref

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._engine.stepper import Stepper
from skvae._kernels.memory import advice
from skvae._nn.autoencoder import VAE

QUICK = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 2, "random_state": 0}
REASON = "CUDA out of memory. Tried to allocate 2.00 GiB.\nA long second line."


@pytest.fixture
def no_memory(monkeypatch):
    """Makes a method fail as a GPU does; tells what tensors it held then."""
    held = []

    def fails(self, *args, **kwargs):
        tensor = torch.ones(3)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError(REASON)

    def fail(kind, name):
        monkeypatch.setattr(kind, name, fails)
        return held

    return fail


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
def test_training_says_what_to_try_and_holds_nothing(method, rng, no_memory):
    X = rng.randn(60, 5)
    model = VAETransformer(**QUICK, batch_size=32).fit(X)
    codes = model.transform(X)
    held = no_memory(Stepper, "begin_epoch")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        getattr(model, method)(X)
    said = str(caught.value)
    assert said.startswith(f"The device has not enough memory for {method}, with 60 ")
    for part in ("batch_size=32", "(8,)", "bf16", "device='cpu'", "2.00 GiB"):
        assert part in said
    assert "second line" not in said
    gc.collect()
    assert held
    assert held[0]() is None
    np.testing.assert_array_equal(model.transform(X), codes)


def test_a_first_fit_leaves_no_trace(rng, no_memory):
    no_memory(Stepper, "begin_epoch")
    model = VAETransformer(**QUICK)
    before = dict(vars(model))
    with pytest.raises(torch.OutOfMemoryError):
        model.fit(rng.randn(60, 5))
    assert vars(model) == before


@pytest.mark.parametrize("method", ["transform", "score"])
def test_applying_a_model_says_what_to_try(method, rng, no_memory):
    X = rng.randn(60, 5)
    model = VAETransformer(**QUICK).fit(X)
    no_memory(VAE, "encode")
    with pytest.raises(torch.OutOfMemoryError, match=r"fewer rows at once.*2\.00 GiB"):
        getattr(model, method)(X)


def test_advice_needs_neither_rows_nor_an_estimator():
    assert advice("load", ()).startswith("The device has not enough memory for load.")
