"""Bounds on ln p(x) per row, in nats, under the calibrated likelihood and beta = 1.

ELBO(x) = E_q ln p(x | z) - KL(q(z | x) || N(0, I)). The KL is exact. The expectation
is a cubature: antithetic points with mean 0 and covariance I (exactly I for up to as
many units as pairs), the same for every row. It is then exact where ln p(x | z) is
quadratic in z, deterministic, and a row's value does not depend on its neighbours.
"""

import math

import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._likelihoods.base import Likelihood
from .._nn.autoencoder import VAE
from .._nn.readout import Readout

MIN_PAIRS, MAX_PAIRS = 16, 64
# Small beside the prior's width of 1, large beside the rounding of float32.
GAIN_STEP = 0.05
# Rows that the decoder embeds at once while its gain is measured.
EMBEDDED_ROWS = 2048
_CUBATURE_SEED = 20_140_412


def cubature(latent_dim: int, n_pairs: int | None = None, design: int = 0) -> Tensor:
    """Points (n_pairs, latent_dim) for a standard normal; use each with both signs.

    By default as many as units, between ``MIN_PAIRS`` and ``MAX_PAIRS``: the polar
    factor of Gaussian draws, scaled to covariance I.

    Where there are fewer pairs than units, units take turns in its columns, each with a
    sign of its own. Of second-order terms those of one unit are exact, and those of two
    units with other columns. Others are left, and are small: where posteriors are
    diagonal, training makes units change the output in orthogonal directions (Rolinek
    et al., 2019), and units come in the order of what they change.

    Parameters
    ----------
    latent_dim : int
    n_pairs : int, optional
    design : int
        Which of many that are as good in theory.
    """
    n_pairs = n_pairs or max(MIN_PAIRS, min(latent_dim, MAX_PAIRS))
    generator = torch.Generator().manual_seed(_CUBATURE_SEED + design)
    n_columns = min(n_pairs, latent_dim)
    draws = torch.randn(
        n_pairs, n_columns, generator=generator, dtype=torch.float64, device="cpu"
    )
    left, _, right = torch.linalg.svd(draws, full_matrices=False)
    points = math.sqrt(n_pairs) * left @ right
    if n_columns == latent_dim:
        return points
    turns = torch.arange(latent_dim, device="cpu") % n_pairs
    signs = torch.randn(latent_dim, generator=generator, device="cpu").sign()
    return points[:, turns] * signs


@torch.no_grad()
def decoder_gain(
    network: VAE,
    likelihood: Likelihood,
    mean: Tensor,
    covariates: Covariates = NONE,
) -> Tensor:
    """Root mean square change of the output per unit of code, (latent_dim,).

    The norm over outputs of d raw / d z_i in the likelihood's metric, its square
    averaged over the posterior means given (n, latent_dim), by central differences.
    """
    metric = likelihood.output_metric(network.decode(mean, covariates))
    squared = _squared_changes(network, metric, mean.dtype)
    steps = GAIN_STEP * torch.eye(mean.shape[1], device=mean.device, dtype=mean.dtype)
    squares = []
    # Many units at once, for the products, and not all, for the memory.
    for some in steps[:, None].split(max(1, EMBEDDED_ROWS // len(mean))):
        ahead, behind = (mean + some).flatten(0, 1), (mean - some).flatten(0, 1)
        given = covariates.repeated(len(some))
        squares.append(squared(ahead, behind, given).view(-1, len(mean)).mean(dim=1))
    # Rounding can take the square of an inactive unit below zero.
    return torch.cat(squares).clamp_(0.0).sqrt_() / (2.0 * GAIN_STEP)


def _squared_changes(network: VAE, metric: Tensor | None, dtype: torch.dtype):
    """|raw(z) - raw(z')|^2 as a function of codes (m, k) and what is given with them.

    Of shape (m,).
    """
    decoder = network.decoder
    if metric is None or metric.dim() == 1:
        readout = Readout(decoder, dtype, None if metric is None else metric.sqrt())
        return lambda z, other, given: readout.squared_length(
            decoder.embed(z, given) - decoder.embed(other, given)
        )

    def weighted(z: Tensor, other: Tensor, given: Covariates) -> Tensor:
        squares = (decoder(z, given) - decoder(other, given)).square_()
        by_unit = squares.view(-1, *metric.shape).mul_(metric)
        return by_unit.sum(dim=-1).flatten()

    return weighted
