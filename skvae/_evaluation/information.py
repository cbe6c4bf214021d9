"""What codes say about rows: posteriors, mutual information, exchanged codes."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import rows_at_once
from .bounds import Cubature

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


class Posteriors(NamedTuple):
    """What one pass over X collects, float64 on the CPU.

    ``mean`` and ``log_var`` (n_rows, latent_dim); ``error`` (n_rows,) in squared units
    of X; ``kept`` indices of some rows and ``rows`` these rows as the module has them.
    """

    mean: Tensor
    log_var: Tensor
    error: Tensor
    kept: Tensor
    rows: Tensor


def evenly_spaced(n_rows: int, at_most: int) -> Tensor:
    """Indices of up to ``at_most`` rows."""
    n_kept = min(n_rows, max(2, at_most))
    return torch.from_numpy(np.linspace(0, n_rows - 1, n_kept).round().astype(int))


@torch.no_grad()
def collect_posteriors(estimator, X, n_rows: int) -> Posteriors:
    """Posteriors and expected squared errors of all rows, chunk by chunk."""
    width = estimator.n_features_in_
    kept = evenly_spaced(n_rows, min(SHUFFLED_ROWS, rows_at_once(width)))
    cubature = None
    parts, rows = [], []
    start = 0
    with estimator._inference(n_rows):
        for module, x in estimator._chunks(X):
            mean, log_var = module.encode(x)
            cubature = cubature or Cubature(module)
            error = cubature.squared_error(x, mean, log_var)
            parts.append([part.double().cpu() for part in (mean, log_var, error)])
            inside = kept[(kept >= start) & (kept < start + len(x))] - start
            rows.append(x[inside.to(x.device)])
            start += len(x)
    mean, log_var, error = (torch.cat(part) for part in zip(*parts, strict=True))
    return Posteriors(mean, log_var, error * estimator.scale_**2, kept, torch.cat(rows))


@torch.no_grad()
def shuffle_loss(estimator, posteriors: Posteriors) -> float:
    """Nats per row that the ELBO falls by when rows exchange their codes.

    Along one random cycle, so that no row keeps its own and neighbours, which may be
    alike, do not swap. The KL is the same on average: only the error tells.
    """
    x, kept = posteriors.rows, posteriors.kept
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(kept)))
    others = torch.empty_like(kept)
    others[order] = kept[order.roll(1)]
    module = estimator._inference_module(x.dtype)
    mean, log_var = posteriors.mean[others].to(x), posteriors.log_var[others].to(x)
    error = Cubature(module).squared_error(x, mean, log_var)
    shuffled = error.double().mean().item() * estimator.scale_**2
    own = posteriors.error[kept].mean().item()
    return (shuffled - own) / (2.0 * float(estimator.noise_variance_))
