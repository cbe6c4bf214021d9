"""Products of float64 rows with float32 weights, without a float64 copy of the weights.

The weights of a wide table take hundreds of megabytes; they are taken block by block.
"""

import torch.nn.functional as F
from sklearn.utils import gen_batches
from torch import Tensor

# Entries of a weight that are converted at once: 8 MiB in float64.
BLOCK_ENTRIES = 1_048_576


def _blocks(weight: Tensor):
    rows = max(1, BLOCK_ENTRIES // max(1, weight.shape[1]))
    return gen_batches(len(weight), rows)


def mixed_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` in the precision of x: (n, n_in) by (n_out, n_in) to (n, n_out)."""
    if x.dtype == weight.dtype or weight.numel() <= BLOCK_ENTRIES:
        part = None if bias is None else bias.to(x.dtype)
        return F.linear(x, weight.to(x.dtype), part)
    y = x.new_empty(len(x), len(weight))
    for columns in _blocks(weight):
        part = None if bias is None else bias[columns].to(x.dtype)
        y[:, columns] = F.linear(x, weight[columns].to(x.dtype), part)
    return y


def mixed_product(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight`` in the precision of x: (n, n_in) by (n_in, n_out)."""
    if x.dtype == weight.dtype or weight.numel() <= BLOCK_ENTRIES:
        return x @ weight.to(x.dtype)
    y = x.new_zeros(len(x), weight.shape[1])
    for rows in _blocks(weight):
        y.addmm_(x[:, rows], weight[rows].to(x.dtype))
    return y
