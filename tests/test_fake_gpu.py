"""A training step on a GPU that is not there.

torch's fake tensors have a shape and a device and no values: where two devices meet is
an error as it is on a GPU, and so is a look at a value, for which a GPU would wait.
"""

import numpy as np
import pytest
import torch
from _make import dataset, elbo, penalised
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
)

from skvae._engine.gradients import Gradients
from skvae._engine.stepper import clip
from skvae._nn.autoencoder import VAE, Autoencoder
from skvae._nn.thresholds import ThresholdedAutoencoder
from skvae._utils.host import HostState

CUDA = torch.device("cuda", 0)
N_ROWS, N_FEATURES = 40, 6


@pytest.fixture
def fake():
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


@pytest.fixture
def rows(fake):
    """Rows that are resident on the GPU."""
    X = np.random.RandomState(0).randn(N_ROWS, N_FEATURES)
    cpu = torch.device("cpu")
    options = {"dtype": torch.float32, "device": cpu, "resident": False}
    rows = dataset(X, X.mean(axis=0), **options)
    rows.device = CUDA
    rows._resident = torch.empty(N_ROWS, N_FEATURES, device=CUDA)
    return rows


def on_gpu(module):
    """The module with fake parameters and buffers; torch cannot move it there."""
    for part in module.modules():
        if isinstance(part, HostState):
            continue
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, device=CUDA)
                part._parameters[name] = torch.nn.Parameter(fake)
        for name, buffer in part._buffers.items():
            fake = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)
            part._buffers[name] = fake
    return module


def test_fake_tensors_find_what_they_are_there_for(fake):
    x = torch.ones(3, device=CUDA)
    with pytest.raises(RuntimeError, match="device"):
        x.index_select(0, torch.tensor([1]))
    with pytest.raises(DataDependentOutputException):
        x.sum().item()


def test_rows_come_by_an_index_of_the_host(rows):
    """As calibration asks for some of them."""
    index = torch.from_numpy(np.array([3, 1, 2]))
    target = rows.batch(index).target
    assert target.shape == (3, N_FEATURES)
    assert target.device == CUDA
    batches = list(rows.shuffled(16, torch.Generator()))
    assert [len(x) for x in batches] == [13, 14, 13]
    assert all(x.target.device == CUDA for x in batches)


@pytest.mark.parametrize("linear_path", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize(
    "kind",
    ["elbo", "fitted elbo", "free bits", "l1", "l2", "soft threshold", "plain"],
)
def test_a_step_stays_on_the_gpu_and_does_not_wait(rows, kind, activation, linear_path):
    options = {
        "hidden_dims": (8, 4),
        "activation": activation,
        # Of normalisation, gradients are copied, and torch copies on no fake GPU.
        "use_batch_norm": False,
        "linear_path": linear_path,
        "dropout_rate": 0.1,
    }
    variational = kind in ("elbo", "fitted elbo", "free bits")
    make = VAE if variational else Autoencoder
    if kind == "soft threshold":
        make = ThresholdedAutoencoder
    module = make(N_FEATURES, 3, **options)
    criterion = {
        "elbo": lambda: elbo(N_FEATURES, 1e-3),
        "fitted elbo": lambda: elbo(N_FEATURES, None),
        "free bits": lambda: elbo(N_FEATURES, 1e-3, free_bits=0.1),
        "l1": lambda: penalised(N_FEATURES, "l1", 0.1),
        "l2": lambda: penalised(N_FEATURES, "l2", 0.1),
        "soft threshold": lambda: penalised(N_FEATURES, "soft_threshold", 0.1),
        "plain": lambda: penalised(N_FEATURES),
    }[kind]()
    module, criterion = on_gpu(module).train(), on_gpu(criterion)
    gradients = Gradients(module, criterion)
    assert gradients.covered()
    gradients.attach()
    # Without a GPU there is no generator on one: None stands for torch's own.
    terms = gradients.compute(rows.batch(torch.arange(16)), None)
    clip([gradients.flat], torch.linalg.vector_norm(gradients.flat), 1.0)
    assert terms.device == gradients.flat.device == CUDA
    assert len(terms) == len(criterion.loss_terms)
