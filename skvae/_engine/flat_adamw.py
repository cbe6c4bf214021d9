"""AdamW's update of a small network, as one call of torch's fused kernel.

``AdamW.step`` collects its tensors anew in every step, which on a CPU takes several
times as long as a small network's arithmetic. Here parameters, gradients and moments
lie side by side, and what module and optimiser hold are views of them: for everyone
else both stay what they are. What is not a plain, small, fused AdamW updates itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .flat import lie_in, side_by_side

# Number of parameters up to which starting an operation is what costs.
SMALL = 4_194_304
_MOMENTS = ("exp_avg", "exp_avg_sq")
_CONSTANTS = ("betas", "eps", "weight_decay")
_OFF = ("amsgrad", "maximize", "capturable", "differentiable")
_kernel: Callable[..., None] | None = getattr(torch, "_fused_adamw_", None)


def _is_plain(optimizer: torch.optim.Optimizer) -> bool:
    if type(optimizer) is not torch.optim.AdamW or len(optimizer.param_groups) != 1:
        return False
    (group,) = optimizer.param_groups
    return (
        _kernel is not None
        and bool(group["fused"])
        and not any(group[name] for name in _OFF)
        and not optimizer._optimizer_step_pre_hooks
        and not optimizer._optimizer_step_post_hooks
        and all(p.device.type in ("cpu", "cuda") for p in group["params"])
        and sum(p.numel() for p in group["params"]) <= SMALL
    )


@torch.no_grad()
def _gathered(tensors: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Copies side by side in one tensor, and views of them."""
    flat, views = side_by_side(tensors)
    for view, tensor in zip(views, tensors, strict=True):
        view.copy_(tensor)
    return flat, views


class Update:
    """The steps of an optimiser in a training run.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._gradients: Tensor | None = None
        self._flat: tuple[Tensor, ...] | None = None
        self._addresses: list[int] = []
        self._has_stepped = False
        self._constants: dict[str, Any] = {}
        # Recorded steps (see `_graph`) read the learning rate on the device.
        first = self.parameters[0]
        self._device_lr = first.data.new_zeros(()) if first.is_cuda else None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that is updated."""
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def begin_epoch(self, gradients: Tensor | None) -> bool:
        """Take the gradients of all parameters from one tensor, if they lie in one.

        Returns whether steps will be what the last epoch's were, on the same memory.
        """
        plain = (
            gradients is not None
            and _is_plain(self._optimizer)
            and lie_in(gradients, [p.grad for p in self.parameters])
        )
        self._gradients = gradients if plain else None
        # A callback may have put other tensors in their place.
        if not plain or self._held() != self._addresses:
            self._flat = None
        self._is_own = not (plain and self._has_stepped and self._has_state())
        if not plain:
            return False
        (group,) = self._optimizer.param_groups
        if self._device_lr is not None:
            self._device_lr.fill_(group["lr"])
        constants = {name: group[name] for name in _CONSTANTS}
        same = self._flat is not None and constants == self._constants
        self._constants = constants
        return same

    @property
    def is_fused(self) -> bool:
        """Whether the steps of this epoch are calls of the fused kernel."""
        return self._gradients is not None

    def step(self) -> None:
        """Update the parameters from their gradients.

        The first step is the optimiser's own: it makes the state, and schedulers look
        whether it was called.
        """
        if self._is_own:
            self._is_own = self._gradients is None
            self._has_stepped = True
            self._optimizer.step()
            return
        assert self._gradients is not None
        if self._flat is None:
            self._flat = self._lay_out()
            self._addresses = self._held()
        self._fused_step(self._gradients, *self._flat)

    def _has_state(self) -> bool:
        """Whether the optimiser has its state of every parameter."""
        return all(self._optimizer.state.get(p) for p in self.parameters)

    def _held(self) -> list[int]:
        """Where what module and optimiser hold is in memory."""
        held: list[Tensor] = [p.data for p in self.parameters]
        for state in self._optimizer.state.values():
            held += [state[name] for name in ("step", *_MOMENTS)]
        return [tensor.data_ptr() for tensor in held]

    @torch.no_grad()
    def _fused_step(
        self,
        gradients: Tensor,
        parameters: Tensor,
        steps: Tensor,
        mean: Tensor,
        mean_square: Tensor,
    ) -> None:
        assert _kernel is not None
        (group,) = self._optimizer.param_groups
        beta1, beta2 = group["betas"]
        lr = group["lr"] if self._device_lr is None else self._device_lr
        steps += 1.0
        _kernel(
            [parameters],
            [gradients],
            [mean],
            [mean_square],
            [],
            [steps[0]],
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _lay_out(self) -> tuple[Tensor, ...]:
        (group,) = self._optimizer.param_groups
        parameters = group["params"]
        states = [self._optimizer.state[p] for p in parameters]
        flat, views = _gathered([p.data for p in parameters])
        for parameter, view in zip(parameters, views, strict=True):
            parameter.data = view
        steps = torch.stack([state["step"] for state in states])
        for state, step in zip(states, steps.unbind(), strict=True):
            state["step"] = step
        moments = []
        for name in _MOMENTS:
            moment, views = _gathered([state[name] for state in states])
            moments.append(moment)
            for state, view in zip(states, views, strict=True):
                state[name] = view
        return flat, steps, *moments

    def release(self) -> None:
        """Give every parameter, and its state, memory of its own again."""
        if self._flat is None and not self._addresses:
            return
        self._flat, self._addresses = None, []
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()
        for state in self._optimizer.state.values():
            state.update({name: tensor.clone() for name, tensor in state.items()})
