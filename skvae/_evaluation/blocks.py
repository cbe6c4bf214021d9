"""Rows in blocks of one size.

Products in float32 differ in their last digits with how many rows are multiplied at
once. So that what is said of a row does not depend on its neighbours, every block has
as many rows: the last is filled up. A block and what is computed from it also stay in
a CPU's caches.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Of every block: products of fewer rows are slow, and small tables are filled up.
BLOCK_ROWS = 128


def row_blocks(n: int, device: torch.device) -> Iterator[slice | Tensor]:
    """Where the rows of every block are; the last of ``n`` fills up the last block.

    Elsewhere than on a CPU there is one block.
    """
    if device.type != "cpu":
        yield slice(None)
        return
    for start in range(0, n, BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        if stop <= n:
            yield slice(start, stop)
        else:
            yield torch.arange(start, stop, device="cpu").clamp_(max=n - 1)
