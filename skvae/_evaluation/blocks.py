"""Rows in blocks of one size.

Products in float32 differ in their last digits with how many rows are multiplied at
once. So that what is said of a row does not depend on its neighbours, every block has
as many rows: the last is filled up. A block and what is computed from it also stay in
a CPU's caches.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Raw outputs of a block, 512 KiB in float32, and bounds of its rows: products of fewer
# are slow.
BLOCK_ENTRIES = 131_072
LEAST_ROWS, MOST_ROWS = 64, 256


def block_rows(n_outputs: int) -> int:
    """How many rows a block of rows with so many raw outputs has."""
    return min(max(BLOCK_ENTRIES // n_outputs, LEAST_ROWS), MOST_ROWS)


def row_blocks(
    n: int, n_outputs: int, device: torch.device
) -> Iterator[slice | Tensor]:
    """Where the rows of every block are; the last of ``n`` fills up the last block.

    Elsewhere than on a CPU there is one block.
    """
    if device.type != "cpu":
        yield slice(None)
        return
    size = block_rows(n_outputs)
    for start in range(0, n, size):
        if start + size <= n:
            yield slice(start, start + size)
        else:
            yield torch.arange(start, start + size, device="cpu").clamp_(max=n - 1)
