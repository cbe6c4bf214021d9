"""The linear map that a decoder ends in, and lengths behind it.

A decoder ends in a linear map A of an embedding u(z), as wide as its last layer.
Squared lengths ``|A u|^2`` of many embeddings go through ``A'A``, which is small where
the table is wide, so that nothing as wide as the table is computed for each of them.
"""

import torch
from sklearn.utils import gen_batches
from torch import Tensor

from .._kernels.mixed import mixed_linear, mixed_product
from .autoencoder import Decoder

# Columns of a Gram matrix that are multiplied at once.
GRAM_BLOCK = 256
# Rows of A that are converted at once, where it is not in the precision asked for.
CONVERTED_ROWS = 4096


class Readout:
    """The map A (n_outputs, width) of a decoder, for rows of one precision.

    Parameters
    ----------
    decoder : Decoder
    dtype : torch.dtype
    scale : tensor of shape (n_outputs,), optional
        What every output is multiplied with.
    """

    @torch.no_grad()
    def __init__(
        self, decoder: Decoder, dtype: torch.dtype, scale: Tensor | None = None
    ) -> None:
        self._weight = decoder.readout()
        if scale is not None:
            self._weight = self._weight * scale[:, None].to(self._weight)
        n_outputs, width = self._weight.shape
        self._gram = None if n_outputs <= width else gram(self._weight, dtype)

    def squared_length(self, u: Tensor) -> Tensor:
        """|A u|^2 of rows u (n, width), through A or through A'A: the smaller one."""
        if self._gram is None:
            return (u @ self._weight.to(u.dtype).T).square().sum(dim=1)
        return inner(u @ self._gram, u)

    def product(self, u: Tensor) -> Tensor:
        """A u of rows u (n, width): (n, n_outputs)."""
        return mixed_linear(u, self._weight)

    def transposed_product(self, residual: Tensor) -> Tensor:
        """A' r of rows r (n, n_outputs): (n, width)."""
        return mixed_product(residual, self._weight)


@torch.no_grad()
def gram(a: Tensor, dtype: torch.dtype) -> Tensor:
    """A'A (width, width) of a long A, of which only one half is multiplied."""
    n_rows, width = a.shape
    product = torch.zeros(width, width, dtype=dtype, device=a.device)
    step = n_rows if a.dtype == dtype else CONVERTED_ROWS
    for rows in gen_batches(n_rows, step):
        part = a[rows].to(dtype)
        for left in gen_batches(width, GRAM_BLOCK):
            right = slice(left.start, width)
            product[left, right] += part[:, left].T @ part[:, right]
    for left in gen_batches(width, GRAM_BLOCK):
        right = slice(left.start, width)
        product[right, left] = product[left, right].T.clone()
    return product


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows, (n,)."""
    return torch.einsum("ni,ni->n", a, b)
