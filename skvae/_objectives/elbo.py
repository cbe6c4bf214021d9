"""The objective, as pure functions of tensors.

With D features, the Gaussian decoder of variance s2 and a unit Gaussian prior, the
negative ELBO of a row is

    D/2 ln(2 pi s2) + SE / (2 s2) + KL,    SE = E_q |x - xhat(z)|^2.

Multiplied by ``2 s2 / D`` and without its constant it is the training loss,

    SE / D + kld_weight * KL    with    kld_weight = 2 s2 beta / D,

so a fixed ``kld_weight`` is a beta-VAE, and ``beta = 1`` is maximum likelihood.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of every unit, in nats."""
    return 0.5 * (torch.addcmul(torch.expm1(log_var), mean, mean) - log_var)


def kl_per_row(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL of a row's posterior from the prior: summed over units, in nats."""
    return kl_to_standard_normal(mean, log_var).sum(dim=-1)


def draw_posterior(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Reparametrised draw from the posterior (Kingma & Welling, 2014)."""
    return torch.addcmul(mean, (0.5 * log_var).exp(), noise)


def gaussian_log_likelihood(
    squared_error: Tensor, noise_variance: float, n_features: int
) -> Tensor:
    """ln N(x; xhat, noise_variance I) in nats, from the squared error of a row."""
    log_norm = n_features * math.log(2.0 * math.pi * noise_variance)
    return -0.5 * (log_norm + squared_error / noise_variance)


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


def calibrated_elbo(
    mean_squared_error: float, kl: float, n_features: int, floor: float
) -> float:
    """ELBO in nats per row with the noise variance at its own optimum.

    The optimum is the mean squared error itself (sigma-VAE: Rybkin et al., 2021), not
    less than ``floor``; at the optimum a row's distortion is D/2 (ln(2 pi MSE) + 1).
    """
    variance = max(mean_squared_error, floor)
    log_norm = math.log(2.0 * math.pi * variance)
    return -0.5 * n_features * (log_norm + mean_squared_error / variance) - kl


def weight_of_noise(noise_variance: float, n_features: int) -> float:
    """The ``kld_weight`` that is maximum likelihood (beta = 1) at a noise variance."""
    return 2.0 * noise_variance / n_features


def noise_of_weight(kld_weight: float, n_features: int) -> float:
    """The noise variance at which ``kld_weight`` is maximum likelihood (beta = 1)."""
    return 0.5 * kld_weight * n_features
