"""The order and the signs of a network's units, as its weights have them.

Nothing outside a network knows which of its units is which: a standard normal prior,
the penalties of codes and of decoders, and the noise of sparse training are the same
for all units and for both directions of each. So is the soft threshold, one number for
all units, and odd: ``S(-a) = -S(a)``. Units can be exchanged and mirrored behind the
encoder's heads and in front of the decoder, and the model is the same, bit for bit but
for the order of sums.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .autoencoder import Autoencoder, Block, GaussianEncoder, InputLinear, Linear


@torch.no_grad()
def reorder_units(network: Autoencoder, order: np.ndarray, signs: np.ndarray) -> None:
    """Make unit ``order[i]`` unit i, and mirror it where ``signs[i]`` is -1.

    In place: optimisers, recorded graphs and views go on with the same tensors.

    Parameters
    ----------
    network : Autoencoder
    order : ndarray of int of shape (latent_dim,)
    signs : ndarray of shape (latent_dim,)
        1 or -1, in the new order.
    """
    if (order == np.arange(len(order))).all() and (signs > 0.0).all():
        return
    for weights, is_mirrored in _by_unit(network):
        index = torch.from_numpy(order).to(weights.device)
        moved = weights.index_select(0, index)
        if is_mirrored:
            factor = torch.from_numpy(signs).to(moved.dtype).to(moved.device)
            moved *= factor.view(-1, *[1] * (moved.dim() - 1))
        weights.copy_(moved)


def _by_unit(network: Autoencoder) -> Iterator[tuple[Tensor, bool]]:
    """Weights with units along the first axis, and whether they change sign."""
    encoder, decoder = network.encoder, network.decoder
    yield from ((w, True) for w in _of_outputs(encoder.mean))
    if encoder.linear is not None:
        yield from ((w, True) for w in _of_outputs(encoder.linear))
    if isinstance(encoder, GaussianEncoder):
        yield from ((w, False) for w in _of_outputs(encoder.log_var))
        if encoder.linear_log_var is not None:
            yield encoder.linear_log_var, False
    first: Linear | InputLinear = decoder.out
    for block in decoder.mlp.blocks[:1]:
        assert isinstance(block, Block)
        first = block.linear
    for layer in (first, decoder.linear):
        if layer is not None:
            # Whatever else the decoder is given stands behind the code.
            yield layer.weight.T[: network.latent_dim], True


def _of_outputs(layer: Linear | InputLinear) -> Iterator[Tensor]:
    yield layer.weight.T if isinstance(layer, InputLinear) else layer.weight
    if layer.bias is not None:
        yield layer.bias
