"""What skvae computes in, whatever its caller has set torch to.

torch has modes that belong to a thread (autocast, gradients off, inference mode). A fit
inside ``torch.no_grad()`` must train, one under ``torch.autocast`` must be as exact as
ever, and what was fitted inside ``torch.inference_mode()`` must train on outside. So
every public method steps out of all of them. torch's default dtype and device belong
to the process and are not touched: skvae names both wherever it makes a tensor.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

from .memory import out_of_memory_explained
from .onednn import onednn_matmul
from .threads import entry_policy

_P = ParamSpec("_P")
_T = TypeVar("_T")
_AUTOCAST = ("cpu", "cuda", "mps")


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Compute as if the caller had set nothing; all is as it was afterwards."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in _AUTOCAST:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(entry_policy())
        stack.enter_context(onednn_matmul())
        yield


def public(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A public function or method: it runs in surroundings of its own."""

    @wraps(function)
    def in_own_surroundings(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        explained = out_of_memory_explained(function.__name__, args)
        with explained, own_surroundings():
            return function(*args, **kwargs)

    return in_own_surroundings
