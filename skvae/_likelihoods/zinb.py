"""Negative binomial counts of which some are 0 for another reason.

With the probability ``pi = sigmoid(l)``, whose logit l the decoder gives, an entry is 0
whatever its rate; otherwise it is negative binomial:

    p(0) = pi + (1 - pi) NB(0),    p(x) = (1 - pi) NB(x) for x > 0.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .negative_binomial import NegativeBinomial

# Logit of the inflation that training begins with: one entry in twenty.
FIRST_LOGIT = -3.0


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Raw outputs are logarithms of means (n, D), then logits of inflation (n, D)."""

    name = "zinb"

    @property
    def n_outputs(self) -> int:
        return 2 * self.n_features

    def no_code(self) -> np.ndarray:
        logits = np.full(self.n_features, FIRST_LOGIT)
        return np.concatenate([self.log_rates, logits])

    def _elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        log_mean, logit = raw.chunk(2, dim=1)
        log_r = self.log_r.to(target)
        t = log_mean - log_r
        at_zero = log_r.exp() * F.softplus(t)
        inflated = F.softplus(logit)
        # ln(pi + (1 - pi) NB(0)), times 1 + exp(l)
        zero = inflated - torch.logaddexp(logit, -at_zero)
        return torch.where(
            target > 0.0, inflated + at_zero + target * F.softplus(-t), zero
        )

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        # By autograd at this leaf: past the closed form of what is not inflated.
        return super(NegativeBinomial, self).loss_and_grad(raw, target, mask)

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        log_mean, logit = raw.chunk(2, dim=1)
        return super().mean(log_mean) * torch.sigmoid(-logit)

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        log_mean, logit = raw.chunk(2, dim=1)
        drawn = super().sample(log_mean, random_state)
        level = torch.from_numpy(random_state.uniform(size=tuple(drawn.shape)))
        kept = level.to(logit) < torch.sigmoid(-logit)
        return drawn * kept

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """Twice the nats above those of the best mean without inflation."""
        return self._above_best(raw, target)

    def output_metric(self, raw: Tensor) -> Tensor:
        """Fisher's of the two parts, as if each were known apart from the other."""
        log_mean, logit = raw.chunk(2, dim=1)
        inflation = torch.sigmoid(logit)
        of_mean = super().output_metric(log_mean) * (1.0 - inflation)
        return torch.cat([of_mean, inflation * (1.0 - inflation)], dim=1)
