"""Rows in blocks of one size, in the precision of the weights.

What decodes the points of a cubature takes most of the time that a score takes. The
weights are float32, and products in float32 are right to a millionth of a nat; they
differ in their last digits with how many rows are multiplied at once. So that a row's
score does not depend on its neighbours, every block has the same number of rows: the
last is filled up. A block and what is computed from it also stay in a CPU's caches.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .._data.covariates import Covariates
from .._data.dataset import Minibatch
from .._nn.autoencoder import Decoder
from .._nn.posterior import Posterior

# Raw outputs of a block: 512 KiB in float32; and rows of one: fewer multiply slowly.
BLOCK_ENTRIES = 131_072
LEAST_ROWS, MOST_ROWS = 32, 256

Measure = Callable[[Posterior, Minibatch], Tensor]


def block_rows(n_outputs: int) -> int:
    """How many rows a block of rows with so many raw outputs has."""
    return min(max(BLOCK_ENTRIES // n_outputs, LEAST_ROWS), MOST_ROWS)


def in_blocks(measure: Measure, decoder: Decoder) -> Measure:
    """What measures rows, (n,), in blocks, where one measures a block.

    That sees posteriors, targets and covariates in the precision of the decoder's
    weights, and no inputs. On other devices than a CPU there is one block.
    """
    weight = decoder.out.weight

    def of_all(posterior: Posterior, batch: Minibatch) -> Tensor:
        parts = (*posterior, batch.target, *batch.covariates)
        parts = [None if part is None else part.to(weight.dtype) for part in parts]
        n = len(batch)
        size = block_rows(len(weight)) if weight.device.type == "cpu" else n
        found = []
        for start in range(0, n, size):
            at: Tensor | slice = slice(start, start + size)
            if start + size > n:
                at = torch.arange(start, start + size).clamp_(max=n - 1)
            mean, log_var, target, *given = (
                None if part is None else part[at] for part in parts
            )
            mask = None if batch.mask is None else batch.mask[at]
            block = Minibatch(target, target, mask, Covariates(*given))
            found.append(measure(Posterior(mean, log_var), block))
        return torch.cat(found)[:n]

    return of_all
