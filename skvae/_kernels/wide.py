"""A linear map to as many columns as a table has.

Without AVX-512 it is MKL that multiplies, also inside ``onednn_matmul``; and on AMD's
CPUs it goes through a weight that no cache holds at half of its rate. Blocks of columns
have the whole of it. Where oneDNN multiplies, blocks would only be more calls.
"""

import torch
import torch.nn.functional as F
from sklearn.utils import gen_batches
from torch import Tensor

# Whether blocks are faster: measured on a Zen 3.
BLOCKS_PAY = torch.backends.cpu.get_cpu_capability() == "AVX2"
# Columns from which on they are, and columns of a block.
WIDE = 2048
BLOCK = 512


def wide_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: (n, n_in) by a weight (n_out, n_in) to (n, n_out)."""
    n_out = len(weight)
    whole = n_out < WIDE or not BLOCKS_PAY or x.device.type != "cpu"
    # Autograd would copy the whole gradient once a block.
    if whole or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    y = x.new_empty(len(x), n_out)
    for columns in gen_batches(n_out, BLOCK):
        part = None if bias is None else bias[columns]
        y[:, columns] = F.linear(x, weight[columns], part)
    return y
