"""The diagonal Gaussian posterior q(z | x), and what its prior makes of it.

The prior is a standard normal for every unit.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# A unit at the prior, in terms of what `capped_log_var` takes.
AT_PRIOR = 10.0


class Posterior(NamedTuple):
    """Diagonal Gaussian q(z | x): both of shape (n_rows, latent_dim)."""

    mean: Tensor
    log_var: Tensor


def capped_log_var(raw: Tensor) -> Tensor:
    """Log variance of a posterior, below 0 whatever comes in, and ``raw`` far below.

    The optimal posterior's precision is the prior's plus what the decoder's Jacobian
    adds, so it is never wider than the prior. Without the bound a network that meets a
    row unlike any it has seen can claim any width, and the ELBO of that one row decides
    the mean.
    """
    return F.logsigmoid(raw)  # -softplus(-raw)


def kl_to_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of every unit (n, k), in nats."""
    return 0.5 * (torch.addcmul(torch.expm1(log_var), mean, mean) - log_var)


def kl_per_row(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL of a row's posterior from the prior (n,): summed over units, in nats."""
    return kl_to_standard_normal(mean, log_var).sum(dim=-1)


def draw_posterior(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Reparametrised draw from the posterior (Kingma & Welling, 2014)."""
    return torch.addcmul(mean, (0.5 * log_var).exp(), noise)
