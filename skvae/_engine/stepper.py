"""Optimisation steps, and a look at held-out rows, for a module on any device."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .._data.dataset import TableDataset
from .._kernels.sparse import Batch, as_tensor
from .._nn.autoencoder import Autoencoder
from .._objectives.criteria import Criterion
from .._utils.device import products_in
from .cuda_graph import CudaRecorder, GraphedSteps
from .flat_adamw import Update
from .gradients import Gradients


def clip(gradients: list[Tensor], max_norm: float) -> None:
    """Scale the gradient, in parts, down to the length ``max_norm`` if it is longer."""
    if len(gradients) == 1:
        norm = torch.linalg.vector_norm(gradients[0])
    else:
        norm = nn.utils.get_total_norm(gradients)
    # Looking at the norm costs nothing on a CPU, and multiplying large gradients by 1
    # does; elsewhere it would wait for the device.
    if norm.device.type == "cpu" and norm <= max_norm:
        return
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


class Stepper:
    """The steps of a training run.

    Parameters
    ----------
    module : Autoencoder
    criterion : Criterion
    optimizer : torch.optim.Optimizer
    generator : torch.Generator
        Where dropout and posteriors draw from; on the module's device.
    max_norm : float or None
        Length that gradients are clipped to.
    precision : {"float32", "bf16"}
        Of the products.
    recorded : bool
        Whether to replay steps as CUDA graphs.
    """

    def __init__(
        self,
        module: Autoencoder,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        *,
        max_norm: float | None = None,
        precision: str = "float32",
        recorded: bool = False,
    ) -> None:
        self._module, self._criterion = module, criterion
        self._generator = generator
        self._max_norm, self._precision = max_norm, precision
        self._derived = Gradients(module, criterion)
        self._update = Update(optimizer)
        self._graphs = GraphedSteps(CudaRecorder(generator)) if recorded else None

    def begin_epoch(
        self,
        n_batches: int,
        *,
        lone_row: bool = False,
        on_grad_computed: Callable[[Tensor], None] | None = None,
    ) -> Callable[[Batch], Tensor]:
        """What takes a step of the coming epoch.

        It takes a minibatch, and returns the terms of its loss without synchronising.
        Gradients are derived where they can be. Someone who is shown them may replace
        them, a lone row cannot be normalised, and only autograd knows which products
        were in bfloat16.
        """
        usual = not lone_row and self._precision == "float32"
        if not usual or on_grad_computed is not None or not self._derived.covered():
            self._update.begin_epoch(None)
            return partial(self._step, self._differentiate, on_grad_computed)
        self._derived.attach()
        self._derived.count_batches(n_batches)
        same = self._update.begin_epoch(self._derived.flat)
        step = partial(self._step, self._derive, None)
        if self._graphs is None or not self._update.is_fused:
            return step
        if not same:
            self._graphs.forget()
        return partial(self._graphs.take, step)

    def release(self) -> None:
        """Leave module and optimiser as they would be without all this."""
        self._update.release()

    def _step(
        self,
        gradients: Callable[[Batch], tuple[Tensor, list[Tensor]]],
        on_grad_computed: Callable[[Tensor], None] | None,
        x: Batch,
    ) -> Tensor:
        terms, parts = gradients(x)
        if self._max_norm is not None:
            clip(parts, self._max_norm)
        if on_grad_computed is not None:
            on_grad_computed(as_tensor(x))
        self._update.step()
        self._criterion.update_running_stats(terms)
        return terms

    def _derive(self, x: Batch) -> tuple[Tensor, list[Tensor]]:
        return self._derived.compute(x, self._generator), [self._derived.flat]

    def _differentiate(self, x: Batch) -> tuple[Tensor, list[Tensor]]:
        x = as_tensor(x)
        parameters = self._update.parameters
        for parameter in parameters:
            parameter.grad = None
        # What goes back is as precise as what went forward: torch wants it outside.
        with products_in(self._precision, x.device):
            terms = self._criterion.terms(self._module, x, self._generator)
        self._criterion(terms).backward()
        parts = [p.grad for p in parameters if p.grad is not None]
        return terms.detach(), parts


@torch.no_grad()
def held_out_terms(
    module: Autoencoder,
    criterion: Criterion,
    rows: TableDataset,
    generator: torch.Generator,
) -> Tensor:
    """Terms of the loss over held-out rows."""
    total = torch.zeros(
        len(criterion.powers), dtype=torch.float32, device=generator.device
    )
    for x in rows.chunks():
        total += len(x) * criterion.held_out_terms(module, x, generator).detach()
    return total / len(rows)
