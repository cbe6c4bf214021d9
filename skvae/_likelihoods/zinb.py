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
from .base import n_observed
from .counts import Nonzeros
from .negative_binomial import NegativeBinomial

# Logit of the inflation that training begins with: one entry in twenty.
FIRST_LOGIT = -3.0
# And that of the model with no code: its dispersions explain the zeros.
NO_INFLATION = -14.0


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Raw outputs are logarithms of means (n, D), then logits of inflation (n, D)."""

    name = "zinb"

    @property
    def n_outputs(self) -> int:
        return 2 * self.n_features

    def no_code(self) -> np.ndarray:
        logits = np.full(self.n_features, FIRST_LOGIT)
        return np.concatenate([self.log_rates, logits])

    def without_code(self) -> Tensor:
        logits = torch.full((self.n_features,), NO_INFLATION, dtype=torch.float64)
        return torch.cat([super().without_code(), logits])

    def _elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        log_mean, logit = raw.chunk(2, dim=1)
        log_r = self.log_r.to(target)
        t = log_mean - log_r
        # softplus(t) is softplus(-|t|) and t where that is above 0.
        tail = F.softplus(t.abs().neg_())
        at_zero = t.clamp(min=0.0).add_(tail).mul(log_r.exp())
        count = at_zero.addcmul(target, tail.sub_(t.clamp(max=0.0)))
        # -ln(pi + (1 - pi) NB(0)) less ln(1 + exp(l)), with the larger one in front.
        rest = F.softplus((at_zero + logit).abs_().neg_())
        zero = torch.minimum(at_zero, -logit).sub_(rest)
        # torch takes ten times as long to choose.
        is_zero = (target == 0.0).to(raw.dtype)
        return torch.lerp(count, zero, is_zero).add_(F.softplus(logit))

    @torch.no_grad()
    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """In closed form.

        With ``a = r softplus(t)``, what NB(0) costs, and s = sigmoid(t), a zero is the
        negative binomial's with the probability ``w = sigmoid(-a - l)``. Let w be 1
        for other counts. The derivatives are, by ``ln mu``, ``w r s - x (1 - s)``; by
        l, ``pi``, of zeros ``pi - (1 - w)``; by ``ln r``, ``w a`` less that by
        ``ln mu``, and what log-gammas have.
        """
        log_mean, logit = raw.chunk(2, dim=1)
        log_r = self.log_r
        r, counts = log_r.exp(), Nonzeros(target, mask)
        t = log_mean - log_r
        at_zero, share, rest = r * F.softplus(t), torch.sigmoid(t), torch.sigmoid(-t)
        is_zero = (target == 0.0).to(raw.dtype)
        sum_at_zero = at_zero + logit
        # 1 - w
        other = torch.sigmoid(sum_at_zero).mul_(is_zero)
        # ln(pi + (1 - pi) NB(0)) with a in front: log-sum-exp takes ten times as long.
        nats = F.softplus(sum_at_zero).mul_(is_zero)
        nats = torch.sub(at_zero, nats, out=nats).add_(F.softplus(logit))
        kept = 1.0 - other
        of_mean = share.mul_(kept).mul_(r).addcmul_(target, rest, value=-1.0)
        of_logit = torch.sigmoid(logit).sub_(other)
        of_r = kept.mul_(at_zero)
        n_seen: int | Tensor = target.numel()
        if mask is not None:
            nats, of_mean, of_logit, of_r = (
                part * mask for part in (nats, of_mean, of_logit, of_r)
            )
            n_seen = n_observed(mask)
        total = nats.sum() + (counts.values * F.softplus(-counts.of(t))).sum()
        others = (of_r - of_mean).sum(dim=0)
        constant = self._choices_and_grad(counts, others, n_seen)
        g = torch.cat([of_mean, of_logit], dim=1).div_(n_seen)
        return ((total + constant) / n_seen).to(raw.dtype), g

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
