"""Poisson counts: ``-ln p(x | z) = mu - x ln(mu) + ln(x!)``, their mean mu."""

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._utils.device import in_float64
from .base import n_observed
from .counts import LARGEST_LOG_RATE, Counts, Nonzeros, in_precision

# Largest mean that a draw is taken at: beyond it NumPy refuses.
LARGEST_MEAN = 1e18


class Poisson(Counts):
    """Poisson(exp(raw)); the derivative of ``-ln p`` by raw is ``mu - x``."""

    name = "poisson"

    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        raw, target = in_precision(raw, target)
        raw = raw.clamp(max=LARGEST_LOG_RATE)
        nats = torch.addcmul(raw.exp(), target, raw, value=-1.0)
        return (nats if mask is None else nats * mask).sum(dim=1)

    def nll_constant(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        counts = Nonzeros(target, mask)
        return counts.per_row(counts.log_choices())

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        raw = raw.clamp_(max=LARGEST_LOG_RATE)
        followed = raw < LARGEST_LOG_RATE
        mean = raw.exp()
        nats = torch.addcmul(mean, target, raw, value=-1.0)
        n_seen: int | Tensor = target.numel()
        g = mean.sub_(target).mul_(followed)
        if mask is not None:
            nats, g, n_seen = nats * mask, g * mask, n_observed(mask)
        constant = Nonzeros(target, mask).rising.log_factorials()
        loss = (nats.sum() + constant) / n_seen
        return loss.to(raw.dtype), g.div_(n_seen)

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        mean = self.mean(raw).double().clamp_(max=LARGEST_MEAN).cpu().numpy()
        return torch.from_numpy(random_state.poisson(mean)).to(raw)

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """Unit deviance, ``2 (x ln(x / mu) - (x - mu))``, of every element."""
        return poisson_deviance(raw, target)

    def output_metric(self, raw: Tensor) -> Tensor:
        """Fisher's, ``mu``: codes are in units of the counts' standard deviation."""
        return self.mean(raw)


def poisson_deviance(log_mean: Tensor, target: Tensor) -> Tensor:
    """``2 (x ln(x / mu) - (x - mu))`` of every element, in the target's precision.

    In float64: of large counts the terms are alike.
    """
    x = in_float64(target)
    log_mean = in_float64(log_mean).clamp(max=LARGEST_LOG_RATE)
    nats = torch.xlogy(x, x) - x * log_mean - (x - log_mean.exp())
    return 2.0 * nats.clamp_(min=0.0).to(target)
