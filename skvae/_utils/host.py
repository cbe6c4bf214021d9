"""Modules whose buffers stay on the CPU, in the precision that they were made in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class HostState(nn.Module):
    """Buffers that no ``.to`` moves or rounds: NumPy works with them.

    Means and scales are subtracted and divided by where X is, in its precision, and not
    every device has float64. They are a part of the ``state_dict`` all the same.
    """

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "HostState":
        return self

    def hold(self, name: str, value: Any) -> None:
        """Make or replace a buffer from an array or a number: float64, or integers."""
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            array = array.astype(np.float64)
        # A copy: a memory-mapped model is read-only, which torch warns of.
        tensor = torch.tensor(array, device="cpu")
        self._buffers.pop(name, None)
        self.register_buffer(name, tensor)

    def _held(self, name: str) -> Tensor:
        value = self._buffers[name]
        assert value is not None
        return value

    def array(self, name: str) -> np.ndarray:
        """A buffer as a NumPy array of its own."""
        return self._held(name).numpy().copy()

    def number(self, name: str) -> Any:
        """A buffer with one entry as a Python number."""
        return self._held(name).item()
