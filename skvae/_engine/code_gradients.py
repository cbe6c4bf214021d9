"""Gradients of what stands between encoder and decoder: a code and its penalty.

``forward`` takes the encoder's outputs and a generator, and returns the code that the
decoder receives and the terms behind the likelihood's loss. ``backward`` takes the
gradient by that code and returns those by the outputs, the penalty's included (the
derivations are in ``gradients``).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from .._nn.autoencoder import Autoencoder
from .._nn.posterior import capped_log_var, kl_to_standard_normal
from .._nn.thresholds import soft_threshold, with_noise
from .._objectives.criterion import Criterion
from .._objectives.penalised_error import PenalisedError
from .._objectives.weighted_elbo import WeightedELBO


class GaussianCode:
    """The terms behind the squared error, and a draw from the posterior."""

    def __init__(self, criterion: WeightedELBO) -> None:
        self._criterion = criterion

    def forward(
        self, outputs: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        mean, raw = outputs
        log_var = capped_log_var(raw)
        noise = torch.empty_like(mean).normal_(generator=generator)
        spread = noise.mul_((0.5 * log_var).exp())
        kl = kl_to_standard_normal(mean, log_var)
        terms = [kl.sum() / len(kl)]
        weight = self._criterion.weight
        if self._criterion.free_bits > 0.0:
            per_unit = kl.mean(dim=0)
            terms.append(per_unit.clamp_min(self._criterion.free_bits).sum())
            weight = weight * (per_unit >= self._criterion.free_bits)
        # s^2 - 1, without cancellation for a unit near the prior
        self._kept = mean, spread, torch.expm1(log_var), weight
        return mean + spread, terms

    def backward(self, g: Tensor) -> list[Tensor]:
        mean, spread, excess, weight = self._kept
        share = 1.0 / len(mean)
        g_log_var = torch.addcmul(g * spread, excess, weight, value=share)
        return [
            torch.addcmul(g, mean, weight, value=share),
            g_log_var.mul_(excess).mul_(-0.5),
        ]


class PenalisedCode:
    """The terms behind the squared error; the code is taken as it is."""

    def __init__(self, criterion: PenalisedError) -> None:
        self._criterion = criterion

    def forward(
        self, outputs: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        (self._z,) = outputs
        return self._z, self._criterion.code_terms(self._z)

    def backward(self, g: Tensor) -> list[Tensor]:
        weight = self._criterion.reg_weight / len(g)
        if self._criterion.code_penalty == "l2":
            return [g.add_(self._z, alpha=2.0 * weight)]
        if self._criterion.code_penalty == "l1":
            return [g.add_(self._z.sign(), alpha=weight)]
        return [g]


class ThresholdedCode:
    """The terms behind the squared error, and a sparse code with noise."""

    def __init__(self, criterion: PenalisedError, threshold: Tensor) -> None:
        self._criterion, self._threshold = criterion, threshold

    def forward(
        self, outputs: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        (a,) = outputs
        self._z = soft_threshold(a, self._threshold)
        noisy = with_noise(self._z, self._threshold, generator)
        return noisy, self._criterion.code_terms(self._z)

    def backward(self, g: Tensor) -> list[Tensor]:
        price = self._criterion.price(len(g))
        passed = torch.where(self._z == 0.0, soft_threshold(g, price), g)
        return [passed.add_(self._z.sign(), alpha=price)]


def code_of(
    module: Autoencoder, criterion: Criterion
) -> GaussianCode | PenalisedCode | ThresholdedCode:
    if isinstance(criterion, PenalisedError):
        if criterion.thresholds:
            return ThresholdedCode(criterion, cast(Tensor, module.threshold))
        return PenalisedCode(criterion)
    return GaussianCode(cast(WeightedELBO, criterion))
