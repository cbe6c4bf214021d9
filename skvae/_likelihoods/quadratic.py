"""Expected squared errors over posteriors, in closed form but for the embedding."""

import torch
from torch import Tensor

from .._data.dataset import Minibatch
from .._nn.autoencoder import Decoder
from .._nn.posterior import Posterior
from .._nn.readout import Readout, inner
from .base import draws


def expected_squared_error(
    decoder: Decoder,
    points: Tensor,
    dtype: torch.dtype,
    root: Tensor | None = None,
):
    """E_q |x - xhat(z)|^2 per row, as a function of posteriors and targets.

    The decoder ends in a linear map A of an embedding u(z). With r and u of the
    posterior mean and du = u(z) - u, the squared error of a row is expected to be
    ``|r|^2 - 2 r'A E[du] + E |A du|^2``: one product as wide as the table for a row,
    where decoding every point would take as many as there are points. With ``root``
    (n_outputs,), every output's error is multiplied with it first.
    """
    readout = Readout(decoder, dtype, root)

    @torch.no_grad()
    def expected(posterior: Posterior, batch: Minibatch) -> Tensor:
        target, given = batch.target, batch.covariates
        residual = target - decoder(posterior.mean, given)
        if root is not None:
            residual *= root
        centre = decoder.embed(posterior.mean, given)
        drift = torch.zeros_like(centre)
        spread = target.new_zeros(len(target))
        for z in draws(posterior, points):
            change = decoder.embed(z, given) - centre
            drift += change
            spread += readout.squared_length(change)
        cross = inner(readout.transposed_product(residual), drift)
        mean_change = (spread - 2.0 * cross) / (2 * len(points))
        return inner(residual, residual) + mean_change

    return expected
