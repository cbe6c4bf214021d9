"""One optimisation step and one look at held-out rows, for a module on any device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._criteria import Criterion
from ._device import products_in
from ._gradients import Gradients
from ._modules import Autoencoder
from ._rows import Rows
from ._update import Update


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


def training_step(
    module: Autoencoder,
    criterion: Criterion,
    update: Update,
    x: Tensor,
    generator: torch.Generator,
    *,
    max_norm: float | None,
    precision: str = "float32",
    gradients: Gradients | None = None,
    on_grad_computed: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """One update; returns the terms of the loss without synchronising.

    Without ``gradients``, it is autograd that differentiates, and only it has another
    ``precision`` than float32.
    """
    if gradients is not None:
        terms = gradients.compute(x, generator)
        parts = [gradients.flat]
    else:
        parameters = update.parameters
        for parameter in parameters:
            parameter.grad = None
        # What goes back is as precise as what went forward: torch wants it outside.
        with products_in(precision, x.device):
            terms = criterion.terms(module, x, generator)
        criterion(terms).backward()
        terms = terms.detach()
        parts = [p.grad for p in parameters if p.grad is not None]
    if max_norm is not None:
        clip(parts, max_norm)
    if on_grad_computed is not None:
        on_grad_computed(x)
    update.step()
    criterion.observe(terms)
    return terms


@torch.no_grad()
def held_out_terms(
    module: Autoencoder, criterion: Criterion, rows: Rows, generator: torch.Generator
) -> Tensor:
    """Terms of the loss over held-out rows."""
    total = torch.zeros(len(criterion.powers), device=generator.device)
    for x in rows.chunks():
        total += len(x) * criterion.held_out_terms(module, x, generator).detach()
    return total / len(rows)
