"""Large weight gradients, written where the last ones were.

A gradient of a hundred megabytes that is allocated anew in every step costs more in
page faults than in arithmetic. A :class:`Linear` that reuses its gradient writes

    dL/dW = (dL/dy)' x        of        y = x W' + b

into a tensor that it keeps for as long as training lasts. Autograd does the rest, and
all of it for small layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Entries of a weight from which on allocation is what costs: 16 MiB in float32.
LARGE = 4_194_304


class Linear(nn.Linear):
    """``nn.Linear`` that may keep the memory of its weight's gradient.

    Its weights are not initialised: torch would draw them from the global generator.
    """

    gradient: Tensor | None = None

    def reset_parameters(self) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        if self.gradient is None or not torch.is_grad_enabled():
            return super().forward(x)
        return _ReusingLinear.apply(x, self.weight, self.bias, self.gradient)


class _ReusingLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, gradient):
        ctx.save_for_backward(x, weight)
        ctx.gradient = gradient
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, upstream):
        x, weight = ctx.saved_tensors
        weight_gradient = torch.mm(upstream.T, x, out=ctx.gradient)
        if weight.grad is None:
            weight.grad = weight_gradient
        else:
            raise RuntimeError("A layer that reuses its gradient is used once a step.")
        x_gradient = upstream @ weight if ctx.needs_input_grad[0] else None
        bias_gradient = upstream.sum(dim=0) if ctx.needs_input_grad[2] else None
        return x_gradient, None, bias_gradient, None


@contextmanager
def reused_gradients(module: nn.Module, *, enabled: bool = True) -> Iterator[None]:
    """Let large layers keep the memory of their gradients inside.

    Each may be used once a step, with ``weight.grad`` set to None before.
    """
    layers = [m for m in module.modules() if isinstance(m, Linear)]
    large = [m for m in layers if enabled and m.weight.numel() >= LARGE]
    try:
        for layer in large:
            layer.gradient = torch.empty_like(layer.weight)
        yield
    finally:
        for layer in large:
            layer.gradient = None
            layer.weight.grad = None
