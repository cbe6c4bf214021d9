"""A linear map to as many columns as a table has.

A BLAS divides such a product by its rows, or not at all, and goes through a weight that
no cache holds. MKL is twice as fast on blocks of columns, on CPUs without AVX-512.
"""

import torch
import torch.nn.functional as F
from sklearn.utils import gen_batches
from torch import Tensor

# Columns from which on blocks were faster, on a Zen 3, and columns of a block.
WIDE = 2048
BLOCK = 512


def wide_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: (n, n_in) by a weight (n_out, n_in) to (n, n_out)."""
    n_out = len(weight)
    # Autograd would copy the whole gradient once a block.
    if n_out < WIDE or x.device.type != "cpu" or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    y = x.new_empty(len(x), n_out)
    for columns in gen_batches(n_out, BLOCK):
        part = None if bias is None else bias[columns]
        y[:, columns] = F.linear(x, weight[columns], part)
    return y
