"""Bounds on ln p(x) per row, in nats, under the calibrated decoder and beta = 1.

ELBO(x) = E_q ln p(x | z) - KL(q(z | x) || N(0, I)). The KL is exact. The expectation
is a cubature: antithetic points with mean 0 and covariance I (exactly I for up to
``MAX_PAIRS`` units), the same for every row. It is exact where the reconstruction is
linear in z, deterministic, and a row's value does not depend on its neighbours.
"""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from sklearn.utils import gen_batches
from torch import Tensor

from .._kernels.wide import wide_linear
from .._linear.linear_vae import LinearVAE
from .._nn.autoencoder import VAE
from .._objectives.elbo import (
    RowTerms,
    draw_posterior,
    gaussian_log_likelihood,
    kl_to_standard_normal,
)

MIN_PAIRS, MAX_PAIRS = 16, 64
# Small beside the prior's width of 1, large beside the rounding of float32.
GAIN_STEP = 0.05
# Rows that the decoder embeds at once while its gain is measured.
EMBEDDED_ROWS = 2048
# Columns of a Gram matrix that are multiplied at once.
GRAM_BLOCK = 256
_CUBATURE_SEED = 20_140_412


def cubature(latent_dim: int) -> Tensor:
    """Points (n_pairs, latent_dim) for a standard normal; use each with both signs.

    The polar factor of Gaussian draws: scaled to covariance I where there are at least
    as many pairs as units, orthogonal points on the typical sphere where there are
    fewer.
    """
    n_pairs = max(MIN_PAIRS, min(latent_dim, MAX_PAIRS))
    generator = torch.Generator().manual_seed(_CUBATURE_SEED)
    draws = torch.randn(
        n_pairs, latent_dim, generator=generator, dtype=torch.float64, device="cpu"
    )
    left, _, right = torch.linalg.svd(draws, full_matrices=False)
    return math.sqrt(max(n_pairs, latent_dim)) * left @ right


def antithetic_error(
    module: VAE, x: Tensor, mean: Tensor, log_var: Tensor, noise: Tensor
) -> Tensor:
    """Squared error, mean over elements, of two draws a row: ``noise`` and its mirror.

    ``noise`` is of the shape of ``mean``.
    """
    error = x.new_zeros(())
    for draw in (noise, -noise):
        z = draw_posterior(mean, log_var, draw)
        error += 0.5 * F.mse_loss(module.decode(z), x)
    return error


class Cubature:
    """Expectations over the posteriors of a module, for any number of rows.

    The decoder ends in a linear map A of an embedding u(z). With r and u of the
    posterior mean and du = u(z) - u, the squared error of a row is expected to be
    ``|r|^2 - 2 r'A E[du] + E |A du|^2``: one product as wide as the table for a row,
    where decoding every point would take as many as there are points.
    """

    @torch.no_grad()
    def __init__(self, module: VAE) -> None:
        self._module = module
        self._readout = module.decoder.readout()
        self._squared_length = _squared_length_behind(self._readout)
        self._points = cubature(module.latent_dim).to(self._readout)

    @torch.no_grad()
    def squared_error(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """E_q |x - xhat(z)|^2 per row."""
        decoder = self._module.decoder
        residual = x - self._module.decode(mean)
        centre = decoder.embed(mean)
        drift = torch.zeros_like(centre)
        spread = x.new_zeros(len(x))
        for point in self._points:
            for noise in (point, -point):
                change = decoder.embed(draw_posterior(mean, log_var, noise)) - centre
                drift += change
                spread += self._squared_length(change)
        cross = _inner(residual @ self._readout, drift)
        mean_change = (spread - 2.0 * cross) / (2 * len(self._points))
        return _inner(residual, residual) + mean_change

    @torch.no_grad()
    def error_and_kl(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Expected squared error, summed over features (n,), and KL in nats (n, k)."""
        mean, log_var = self._module.encode(x)
        kl = kl_to_standard_normal(mean, log_var)
        return self.squared_error(x, mean, log_var), kl


def _squared_length_behind(linear: Tensor) -> Callable[[Tensor], Tensor]:
    """|A u|^2 of rows u, through A or through A'A: whichever is smaller."""
    n_features, width = linear.shape
    if n_features <= width:
        return lambda u: (u @ linear.T).square().sum(dim=1)
    gram = _gram(linear)
    return lambda u: _inner(u @ gram, u)


def _gram(a: Tensor) -> Tensor:
    """A'A (width, width) of a long A, of which only one half is multiplied."""
    width = a.shape[1]
    gram = a.new_empty(width, width)
    for left in gen_batches(width, GRAM_BLOCK):
        right = slice(left.start, width)
        product = a[:, left].T @ a[:, right]
        gram[left, right] = product
        gram[right, left] = product.T
    return gram


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows."""
    return torch.einsum("ni,ni->n", a, b)


@torch.no_grad()
def linear_error_and_kl(linear: LinearVAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """As :meth:`Cubature.error_and_kl`, of a linear model: in closed form."""
    # Copies: a memory-mapped model is read-only, which torch warns of.
    encode, log_var, decode = (
        torch.tensor(part, dtype=x.dtype, device=x.device) for part in linear[:3]
    )
    mean = x @ encode.T
    residual = x - wide_linear(mean, decode)
    spread = (log_var.exp() * decode.square().sum(dim=0)).sum()
    return _inner(residual, residual) + spread, kl_to_standard_normal(mean, log_var)


def in_nats(
    squared_error: Tensor, kl: Tensor, noise_variance: float, n_features: int
) -> RowTerms:
    """The terms of one model, float64."""
    error = squared_error.double()
    distortion = -gaussian_log_likelihood(error, noise_variance, n_features)
    return RowTerms(distortion, kl.double(), torch.zeros_like(distortion))


@torch.no_grad()
def importance_weighted_bound(
    module: VAE, x: Tensor, noise_variance: float, noise: Iterable[Tensor]
) -> Tensor:
    """Importance-weighted bound per row in nats (Burda et al., 2016).

    ``ln 1/K sum_k p(x, z_k) / q(z_k | x)``, with one draw of ``noise``, of shape
    (n_rows, latent_dim), a sample.
    """
    mean, log_var = module.encode(x)
    n_features = x.shape[1]
    log_weights = []
    for draw in noise:
        z = draw_posterior(mean, log_var, draw)
        error = module.decode(z).sub_(x).square_().sum(dim=1)
        log_likelihood = gaussian_log_likelihood(error, noise_variance, n_features)
        # ln N(z; 0, I) - ln N(z; mean, var): the normalising constants cancel.
        log_ratio = 0.5 * (draw.square() + log_var - z.square()).sum(dim=1)
        log_weights.append(log_likelihood + log_ratio)
    stacked = torch.stack(log_weights)
    return torch.logsumexp(stacked, dim=0) - math.log(len(stacked))


@torch.no_grad()
def decoder_gain(module: VAE, mean: Tensor) -> Tensor:
    """Root mean square change of the reconstruction per unit of code, (latent_dim,).

    The Euclidean norm over features of d xhat / d z_i, its square averaged over the
    posterior means given, by central differences.
    """
    decoder = module.decoder
    squared_length = _squared_length_behind(decoder.readout())
    steps = GAIN_STEP * torch.eye(mean.shape[1], device=mean.device, dtype=mean.dtype)
    squares = []
    # Many units at once, for the products, and not all, for the memory.
    for some in steps[:, None].split(max(1, EMBEDDED_ROWS // len(mean))):
        ahead, behind = (mean + some).flatten(0, 1), (mean - some).flatten(0, 1)
        change = decoder.embed(ahead) - decoder.embed(behind)
        squares.append(squared_length(change).view(-1, len(mean)).mean(dim=1))
    # Rounding can take the square of an inactive unit below zero.
    return torch.cat(squares).clamp_(0.0).sqrt_() / (2.0 * GAIN_STEP)
