"""One optimisation step and one look at held-out rows, for a module on any device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._criteria import Criterion
from ._modules import Autoencoder
from ._rows import Rows


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> None:
    """Scale the gradient down to ``max_norm``, if it is longer."""
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # Looking at the norm costs nothing on a CPU, and multiplying large gradients by 1
    # does; elsewhere it would wait for the device.
    if norm.device.type != "cpu" or norm > max_norm:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)


def training_step(
    module: Autoencoder,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    generator: torch.Generator,
    *,
    max_norm: float | None,
    on_grad_computed: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """One update; returns the terms of the loss without synchronising."""
    optimizer.zero_grad(set_to_none=True)
    terms = criterion.terms(module, x, generator)
    criterion(terms).backward()
    if max_norm is not None:
        # Walking through the module takes as long as a small layer.
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        clip_gradients(parameters, max_norm)
    if on_grad_computed is not None:
        on_grad_computed(x)
    optimizer.step()
    terms = terms.detach()
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
