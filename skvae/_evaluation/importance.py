"""Importance-weighted bounds on ln p(x), over as many draws as it takes.

With draws z_k from q(z | x), ``ln 1/K sum_k p(x, z_k) / q(z_k | x)`` is in expectation
no more than ln p(x), rises with K, and tends to ln p(x) (Burda et al., 2016). The sum
is followed draw by draw, so that memory does not grow with K.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import Minibatch, chunk_rows
from .._likelihoods.base import Likelihood
from .._nn.autoencoder import VAE
from .._nn.posterior import draw_posterior
from .._utils.device import in_float64

# Draws of a row that are made at once, and entries of all rows' draws.
DRAWS_AT_ONCE = 64
NOISE_ENTRIES = 8_388_608


@torch.no_grad()
def importance_weighted_bound(
    network: VAE, likelihood: Likelihood, batch: Minibatch, noise: Iterable[Tensor]
) -> Tensor:
    """Importance-weighted bound per row in nats, (n,), float64.

    ``noise`` are blocks of standard normal draws, (n_draws, n_rows, latent_dim), every
    row's its own. In model units.
    """
    log_sum: Tensor | None = None
    n_draws = 0
    for _, log_weights in weighted_draws(network, likelihood, batch, noise):
        block = torch.logsumexp(log_weights, dim=0)
        log_sum = block if log_sum is None else torch.logaddexp(log_sum, block)
        n_draws += len(log_weights)
    assert log_sum is not None
    constant = likelihood.nll_constant(batch.target, batch.mask)
    if isinstance(constant, Tensor):
        constant = in_float64(constant)
    return log_sum - constant - math.log(n_draws)


def weighted_draws(
    network: VAE, likelihood: Likelihood, batch: Minibatch, noise: Iterable[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of codes (n_draws, n, k), and ``ln p(x, z) / q(z | x)`` (n_draws, n).

    The latter in float64, and but for the constant of ``p(x | z)``.
    """
    mean, log_var = network.encode(batch.inputs)
    log_p = _log_p_of_codes(network, likelihood, batch)
    for draws in noise:
        z = draw_posterior(mean, log_var, draws)
        # ln N(z; 0, I) - ln N(z; mean, var): the normalising constants cancel.
        log_ratio = 0.5 * (draws.square() + log_var - z.square()).sum(dim=2)
        yield z, in_float64(log_ratio) + log_p(z)


def _log_p_of_codes(
    network: VAE, likelihood: Likelihood, batch: Minibatch
) -> Callable[[Tensor], Tensor]:
    """``ln p(x | z)`` but for its constant, (n_draws, n), of codes (n_draws, n, k)."""
    repeated = batch

    def log_p(z: Tensor) -> Tensor:
        nonlocal repeated
        n_codes = z.shape[0] * z.shape[1]
        if len(repeated) < n_codes:
            repeated = batch.repeated(z.shape[0])
        some = repeated if len(repeated) == n_codes else repeated[:n_codes]
        raw = network.decode(z.flatten(0, 1), some.covariates)
        nll = likelihood.nll_of_code(raw, some.target, some.mask)
        return -in_float64(nll).view(z.shape[:2])

    return log_p


class RowNoise:
    """Standard normal draws for every row of a table, from a stream of the row's own.

    A stream is keyed by the seed and the row's place in the table, and is read draw by
    draw: neither how rows are cut into chunks nor how draws are cut into blocks changes
    what a row is given.

    Parameters
    ----------
    entropy : int
    n_draws : int
        Of every row.
    latent_dim : int
    """

    def __init__(self, entropy: int, n_draws: int, latent_dim: int) -> None:
        self._entropy, self._n_draws = entropy, n_draws
        self._latent_dim = latent_dim
        self._n_rows = 0

    def of_next(self, n: int, like: Tensor) -> Iterator[Tensor]:
        """Blocks (n_draws, n, latent_dim) for the next ``n`` rows of the table.

        As few draws as decode with one another, where there are many rows.
        """
        places = range(self._n_rows, self._n_rows + n)
        self._n_rows += n
        return self._blocks([self._stream(place) for place in places], like)

    def _stream(self, place: int) -> np.random.Generator:
        key = np.array([self._entropy % 2**64, place], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def _blocks(
        self, streams: list[np.random.Generator], like: Tensor
    ) -> Iterator[Tensor]:
        n, k = len(streams), self._latent_dim
        decoded = max(1, chunk_rows(like.shape[1]) // n)
        drawn = max(decoded, min(DRAWS_AT_ONCE, NOISE_ENTRIES // (n * k)))
        for start in range(0, self._n_draws, drawn):
            shape = min(drawn, self._n_draws - start), k
            rows = [stream.standard_normal(shape, np.float32) for stream in streams]
            noise = torch.from_numpy(np.stack(rows, axis=1)).to(like)
            yield from noise.split(decoded)
