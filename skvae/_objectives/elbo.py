"""What the ELBO of rows is made of, and of a mixture of two models: pure functions.

The ELBO of a row is ``E_q ln p(x | z) - KL(q(z | x) || p(z))``: minus its distortion
and its rate (Alemi et al., 2018).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class RowTerms(NamedTuple):
    """What the ELBO of rows is made of, in nats: ``-(distortion + sum of all KLs)``.

    ``distortion`` (n,) is ``-E_q ln p(x | z)``, ``kl`` (n, latent_dim) that of every
    unit's posterior, ``choice`` (n,) that of the choice between two models, if any.
    """

    distortion: Tensor
    kl: Tensor
    choice: Tensor

    @property
    def elbo(self) -> Tensor:
        return -(self.distortion + self.kl.sum(dim=1) + self.choice)


def choice_of_model(
    elbo: Tensor, other_elbo: Tensor, share: float
) -> tuple[Tensor, Tensor]:
    """Posterior of a second model that has the prior ``share``, and its KL in nats."""
    prior = math.log(share / (1.0 - share))
    log_odds = other_elbo - elbo + prior
    w = torch.sigmoid(log_odds)
    # w ln(w / share) + (1 - w) ln((1 - w) / (1 - share))
    choice = w * (log_odds - prior) - F.softplus(log_odds) - math.log1p(-share)
    return w, choice


def mixed(terms: RowTerms, others: RowTerms, share: float) -> RowTerms:
    """The terms of a mixture of two models, whose units are taken in pairs.

    The mixture has a binary latent variable beside the codes, with the prior ``share``
    for the second model. At its optimal posterior the ELBO is
    ``ln((1 - share) exp(ELBO_1) + share exp(ELBO_2))``, so no row's is below the second
    model's by more than ``-ln(share)``, nor below the first's by more than
    ``-ln(1 - share)``.
    """
    w, choice = choice_of_model(terms.elbo, others.elbo, share)
    return RowTerms(
        torch.lerp(terms.distortion, others.distortion, w),
        torch.lerp(terms.kl, others.kl, w[:, None]),
        choice,
    )
