"""AdamW's update of a small network, as one call of torch's fused kernel.

``AdamW.step`` collects its tensors anew in every step, which on a CPU takes several
times as long as a small network's arithmetic. Here parameters, gradients and moments
lie side by side for as long as a run takes, and what module and optimiser hold are
views of them: for everyone else both stay what they are. What is not a plain, small,
fused AdamW updates itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .flat import side_by_side

# Number of parameters up to which starting an operation is what costs.
SMALL = 4_194_304
_MOMENTS = ("exp_avg", "exp_avg_sq")
_OFF = ("amsgrad", "maximize", "capturable", "differentiable")
_CONSTANTS = ("betas", "eps", "weight_decay")
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


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All that an optimiser updates."""
    return [p for group in optimizer.param_groups for p in group["params"]]


class FlatAdamW:
    """The updates of an optimiser in a training run, which own its memory.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        One that is not plain, small and fused takes its own steps.

    Attributes
    ----------
    gradient : tensor or None
        The gradients of all parameters side by side, if there is such memory.
    """

    gradient: Tensor | None = None

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._fuses = False
        self._is_own = True
        self._constants: dict[str, Any] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that is updated."""
        return parameters_of(self._optimizer)

    @torch.no_grad()
    def _lay_out(self) -> None:
        parameters = self.parameters
        # Recorded steps (see `cuda_graph`) read the learning rate on the device.
        first = parameters[0].data
        self._device_lr = first.new_zeros(()) if first.is_cuda else None
        self._flat, self._views = side_by_side(parameters)
        self.gradient, self._gradients = side_by_side(parameters)
        self._steps = first.new_zeros(len(parameters))
        self._moments = []
        self._states = [{"step": step} for step in self._steps.unbind()]
        for name in _MOMENTS:
            moment, views = side_by_side(parameters)
            self._moments.append(moment)
            for state, view in zip(self._states, views, strict=True):
                state[name] = view

    def begin_epoch(self, *, derived: bool) -> bool:
        """Take up what is there, before gradients are written to :attr:`gradient`.

        ``derived`` says that they will be; otherwise the optimiser takes its own steps,
        from gradients wherever they are. Returns whether recorded steps stay right.
        """
        self._fuses = derived and _is_plain(self._optimizer)
        if not self._fuses:
            return False
        if self.gradient is None:
            self._lay_out()
        self._take_up()
        (group,) = self._optimizer.param_groups
        if self._device_lr is not None:
            self._device_lr.fill_(group["lr"])
        constants = {name: group[name] for name in _CONSTANTS}
        same = not self._is_own and constants == self._constants
        self._constants = constants
        return same

    @torch.no_grad()
    def _take_up(self) -> None:
        """Take over what a callback, or an epoch without, has put in their place."""
        parts = zip(
            self.parameters, self._views, self._gradients, self._states, strict=True
        )
        for parameter, view, gradient, views in parts:
            view.copy_(parameter.data)
            parameter.data, parameter.grad = view, gradient
            state = self._optimizer.state[parameter]
            for name, own in views.items():
                if state.get(name) is own:
                    continue
                if name in state:
                    own.copy_(state[name])
                else:
                    own.zero_()
                state[name] = own

    def go_on(self) -> None:
        """Take the first step as one of many: what began has been loaded.

        The kernel rounds otherwise than the optimiser's own step, in the last bit.
        """
        self._is_own = False

    @property
    def is_fused(self) -> bool:
        """Whether the steps of this epoch are calls of the fused kernel."""
        return self._fuses

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their gradients.

        The first step is the optimiser's own: schedulers look whether it was called.
        """
        if self._is_own or not self._fuses:
            self._is_own = False
            self._optimizer.step()
            return
        assert _kernel is not None
        (group,) = self._optimizer.param_groups
        beta1, beta2 = group["betas"]
        self._steps += 1.0
        _kernel(
            [self._flat],
            [self.gradient],
            [self._moments[0]],
            [self._moments[1]],
            [],
            [self._steps[0]],
            lr=group["lr"] if self._device_lr is None else self._device_lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def release(self) -> None:
        """Give every parameter, and its state, memory of its own again."""
        if self.gradient is None:
            return
        self.gradient, self._fuses = None, False
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None
        for state in self._optimizer.state.values():
            state.update({name: tensor.clone() for name, tensor in state.items()})
