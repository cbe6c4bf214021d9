"""What codes say about rows: posteriors, mutual information, exchanged codes."""

import math

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import Minibatch, rows_at_once
from .._nn.posterior import Posterior
from .._utils.device import in_float64
from .evaluator import Density

# Rows that exchange codes, and whose posteriors are compared in pairs.
SHUFFLED_ROWS = 4096
COMPARED_ROWS = 2048

_SEED = 20_160_509
# Rows of the table of densities that are in memory at once.
_STEP = 256


@torch.no_grad()
def mutual_information(mean: Tensor, log_var: Tensor) -> float:
    """I_q(x; z) of the rows whose posteriors these are, in nats.

    ``E_x E_q(z|x) [ln q(z | x) - ln q(z)]`` with q(z) the mixture of all the posteriors
    given (Hoffman & Johnson, 2016), from an antithetic pair of draws a row with a fixed
    seed. At most ``ln(n_rows)``, which is reached where no two posteriors overlap.

    Parameters
    ----------
    mean, log_var : tensor of shape (n_rows, latent_dim)
        Diagonal Gaussian posteriors.
    """
    mean, log_var = mean.double().cpu(), log_var.double().cpu()
    generator = torch.Generator().manual_seed(_SEED)
    noise = torch.randn(
        mean.shape, generator=generator, dtype=torch.float64, device="cpu"
    )
    pairs = (_mean_log_ratio(mean, log_var, draw) for draw in (noise, -noise))
    return max(0.0, 0.5 * sum(pairs))


def _mean_log_ratio(mean: Tensor, log_var: Tensor, noise: Tensor) -> float:
    """Mean of ln q(z | x) - ln q(z) over one draw a row.

    Densities leave out the constant, which cancels. Every draw against every posterior
    is two matrix products.
    """
    precision = torch.exp(-log_var)
    weighted = precision * mean
    offset = (weighted * mean + log_var).sum(dim=1)
    z = mean + torch.exp(0.5 * log_var) * noise
    own = -0.5 * (noise.square() + log_var).sum(dim=1)
    total = 0.0
    for start in range(0, len(z), _STEP):
        part = z[start : start + _STEP]
        densities = -0.5 * (part.square() @ precision.T + offset) + part @ weighted.T
        # Without the rounding of the products: no draw then exceeds the bound.
        rows = torch.arange(len(part))
        densities[rows, start + rows] = own[start : start + len(part)]
        mixture = torch.logsumexp(densities, dim=1) - math.log(len(z))
        total += float((own[start : start + len(part)] - mixture).sum())
    return total / len(z)


def evenly_spaced(n_rows: int, at_most: int) -> np.ndarray:
    """Indices of up to ``at_most`` rows."""
    n_kept = min(n_rows, max(2, at_most))
    return np.linspace(0, n_rows - 1, n_kept).round().astype(int)


def exchanged_rows(n_rows: int, n_features: int) -> np.ndarray:
    """Indices of the rows that :func:`shuffle_loss` looks at."""
    return evenly_spaced(n_rows, min(SHUFFLED_ROWS, rows_at_once(n_features)))


@torch.no_grad()
def shuffle_loss(density: Density, batch: Minibatch, posterior: Posterior) -> float:
    """Nats per row that the network's ELBO falls by when rows exchange their codes.

    Along one random cycle, so that no row keeps its own and neighbours, which may be
    alike, do not swap. The KL is the same on average: only the distortion tells.
    """
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(batch)))
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    others = others.to(posterior.mean.device)
    exchanged = Posterior(*(part[others] for part in posterior))
    expected = density.expected_nll(batch.target)
    others_nats = in_float64(expected(exchanged, batch)).mean()
    own_nats = in_float64(expected(posterior, batch)).mean()
    return others_nats.item() - own_nats.item()
