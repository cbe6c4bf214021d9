"""Optimisation steps of a training run: the one door of the engine.

Inside, gradients are derived by hand, the update is one kernel, and on a GPU a step is
one graph. ``SKVAE_ENGINE=autograd`` in the environment trains without any of it.
"""

import os
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .._data.dataset import Minibatch
from .._nn.autoencoder import Autoencoder
from .._objectives.criterion import Criterion
from .._utils.device import products_in
from .cuda_graph import CudaRecorder, GraphedSteps, worth_recording
from .flat_adamw import FlatAdamW, parameters_of
from .gradients import Gradients

# The environment variable that says how steps are taken.
ENGINE = "SKVAE_ENGINE"


def uses_autograd() -> bool:
    """Whether the environment asks for plain steps.

    Raises
    ------
    ValueError
        If ``SKVAE_ENGINE`` is anything but "autograd" or "derived".
    """
    engine = os.environ.get(ENGINE, "derived")
    if engine not in ("autograd", "derived"):
        raise ValueError(
            f"The environment variable {ENGINE} is {engine!r}; set it to 'autograd' or "
            "'derived', or unset it."
        )
    return engine == "autograd"


def clip(gradients: list[Tensor], norm: Tensor, max_norm: float) -> None:
    """Scale the gradient, in parts, from its ``norm`` down to ``max_norm`` at most."""
    # By a factor of 1 where it is not longer: a look would wait for a GPU.
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


class Stepper:
    """The steps of a training run.

    Parameters
    ----------
    network : Autoencoder
    criterion : Criterion
    optimizer : torch.optim.Optimizer
        Of the parameters of both.
    generator : torch.Generator
        Where dropout and posteriors draw from; on the network's device.
    max_norm : float or None
        Length that gradients are clipped to.
    precision : {"float32", "bf16"}
        Of the products.
    n_steps : int
        How many steps the run will take, about.
    """

    def __init__(
        self,
        network: Autoencoder,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        *,
        max_norm: float | None = None,
        precision: str = "float32",
        n_steps: int = 0,
    ) -> None:
        self._network, self._criterion = network, criterion
        self._optimizer, self._generator = optimizer, generator
        self._max_norm, self._precision = max_norm, precision
        self._plain = uses_autograd()
        if self._plain:
            return
        self._derived = Gradients(network, criterion)
        self._update = FlatAdamW(optimizer)
        self._graphs = None
        if worth_recording(generator.device, n_steps):
            self._graphs = GraphedSteps(CudaRecorder(generator))

    def begin_epoch(
        self,
        n_batches: int,
        *,
        lone_row: bool = False,
        on_grad_computed: Callable[[Tensor], None] | None = None,
    ) -> Callable[[Minibatch], Tensor]:
        """What takes a step of the coming epoch.

        It takes a minibatch, and returns the terms of its loss without synchronising.
        Gradients are derived where they can be. Someone who is shown them may replace
        them, a lone row cannot be normalised, and only autograd knows which products
        were in bfloat16.
        """
        if self._plain:
            return partial(self._autograd_step, on_grad_computed)
        usual = not lone_row and self._precision == "float32"
        if not usual or on_grad_computed is not None or not self._derived.covered():
            self._update.begin_epoch(derived=False)
            return partial(self._autograd_step, on_grad_computed)
        same = self._update.begin_epoch(derived=True)
        self._derived.attach(self._update.gradient)
        self._derived.count_batches(n_batches)
        if self._graphs is None or not self._update.is_fused:
            return self._derived_step
        if not same:
            self._graphs.forget()
        return partial(self._graphs.take, self._derived_step)

    def go_on(self) -> None:
        """Go on with a run of another process, whose optimiser has been loaded."""
        if not self._plain:
            self._update.go_on()

    def release(self) -> None:
        """Leave network and optimiser as they would be without all this."""
        if not self._plain:
            self._update.release()

    def _derived_step(self, batch: Minibatch) -> Tensor:
        terms = self._derived.compute(batch, self._generator)
        if self._max_norm is not None:
            flat = self._derived.flat
            clip([flat], torch.linalg.vector_norm(flat), self._max_norm)
        self._update.step()
        self._criterion.update_running_stats(terms)
        return terms

    def _autograd_step(
        self, on_grad_computed: Callable[[Tensor], None] | None, batch: Minibatch
    ) -> Tensor:
        batch = batch.dense()
        parameters = parameters_of(self._optimizer)
        for parameter in parameters:
            parameter.grad = None
        # What goes back is as precise as what went forward: torch wants it outside.
        with products_in(self._precision, batch.target.device):
            terms = self._criterion.terms(self._network, batch, self._generator)
        self._criterion(terms).backward()
        if self._max_norm is not None:
            parts = [p.grad for p in parameters if p.grad is not None]
            clip(parts, nn.utils.get_total_norm(parts), self._max_norm)
        if on_grad_computed is not None:
            on_grad_computed(batch.target)
        self._optimizer.step()
        terms = terms.detach()
        self._criterion.update_running_stats(terms)
        return terms
