"""Heavy tails, with one scale and one number of degrees of freedom a feature.

With ``q = (x - raw)^2 / (nu s^2)``, of every feature

    -ln p(x | z) = (nu + 1)/2 ln(1 + q) + ln s + ln B(nu/2, 1/2) + ln(nu)/2,

whose gradient by raw is ``-(nu + 1) / (nu s^2) (x - raw) / (1 + q)``: it falls again
far out, so that no single entry can decide a fit, or a mean score. Scales and degrees
of freedom follow training by steps of natural gradient, which are those of maximum
likelihood from a running mean: with the Fisher information of ln s and ln nu (Lange,
Little & Taylor, 1989, section 4)

    I(ln s) = 2 nu / (nu + 3),
    I(ln nu) = nu^2 (psi'(nu/2) - psi'(nu/2 + 1/2)) / 4
               - nu (nu + 5) / (2 (nu + 1) (nu + 3)).
"""

import math

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import Minibatch
from .._nn.autoencoder import PRECISION, Decoder
from .._nn.posterior import Posterior
from .base import draws, in_turns, n_observed
from .linear_factors import LinearFactors
from .linear_model import LinearModel
from .standardised import Standardised

# Share of the way to the maximum of likelihood that a step takes, and the longest step.
MOMENTUM = 0.05
LONGEST_STEP = 0.1
# Degrees of freedom: variances exist, and beyond the most of them it is a Gaussian.
LEAST, MOST, FIRST = 2.1, 1000.0, 8.0
# Halvings of the interval that a common factor of the scales is sought in.
HALVINGS = 30


class StudentT(Standardised):
    """Student's t around raw, of standardised columns.

    Attributes
    ----------
    log_scale, log_dof : tensor of shape (D,)
        Logarithms of s, in model units, and of nu.
    """

    name = "student_t"
    log_scale: Tensor
    log_dof: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        zeros = torch.zeros(n_features, dtype=PRECISION, device="cpu")
        self.register_buffer("log_scale", zeros)
        self.register_buffer("log_dof", torch.full_like(zeros, math.log(FIRST)))
        self._slopes: tuple[Tensor, Tensor] | None = None

    def _q(self, residual: Tensor) -> Tensor:
        """q of residuals, which are overwritten."""
        unit = torch.exp(-0.5 * self.log_dof.double() - self.log_scale.double())
        return residual.mul_(unit.to(residual)).square_()

    def _log_norm(self) -> Tensor:
        """The part of -ln p that no residual changes, (D,), float64."""
        nu = self.log_dof.double().exp()
        log_beta = torch.lgamma(0.5 * nu) - torch.lgamma(0.5 * nu + 0.5)
        log_beta = log_beta + 0.5 * math.log(math.pi)
        return self.log_scale.double() + log_beta + 0.5 * self.log_dof.double()

    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        weight = 0.5 * (self.log_dof.exp() + 1.0).to(target.dtype)
        tails = self._q(raw - target).log1p_()
        if mask is not None:
            tails *= mask
        return tails @ weight

    def nll_constant(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        log_norm = self._log_norm().to(target.dtype)
        if mask is not None:
            return mask.to(target.dtype) @ log_norm
        return log_norm.sum()

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        of_code = self.nll_of_code(raw, target, mask)
        return of_code + self.nll_constant(target, mask)

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        dof = self.log_dof.double().exp().cpu().numpy()
        noise = torch.from_numpy(random_state.standard_t(dof, tuple(raw.shape)))
        return self.mean(raw.add_(noise.to(raw) * self.log_scale.exp().to(raw)))

    def _noise(self) -> np.ndarray:
        nu = self.log_dof.double().exp()
        return ((2.0 * self.log_scale.double()).exp() * nu / (nu - 2.0)).cpu().numpy()

    # -- training ----------------------------------------------------------------------

    def loss(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        residual = raw.to(target.dtype) - target
        unit = torch.exp(-0.5 * self.log_dof - self.log_scale)
        return self._loss((residual * unit).square(), mask)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        residual = raw.sub_(target)
        nu = self.log_dof.exp()
        unit = torch.exp(-0.5 * self.log_dof - self.log_scale)
        scaled = residual.mul_(unit)
        q = scaled.square()
        loss = self._loss(q, mask)
        g = scaled.div_(q.add_(1.0))
        if mask is None:
            return loss, g.mul_((nu + 1.0) * unit / g.numel())
        return loss, g.mul_(mask).mul_((nu + 1.0) * unit / n_observed(mask))

    def _loss(self, q: Tensor, mask: Tensor | None) -> Tensor:
        """The mean over elements; notes what the scales and tails learn from."""
        tails, weighted = q.log1p(), (q / (q + 1.0)).detach()
        log_norm = self._log_norm().to(q.dtype)
        nu = self.log_dof.exp()
        if mask is None:
            mean = tails.mean(dim=0)
            self._slopes = weighted.mean(dim=0), mean.detach()
            return (0.5 * (nu + 1.0) * mean + log_norm).mean()
        n_rows = mask.sum(dim=0)
        each = n_rows.clamp(min=1)
        total = (tails * mask).sum(dim=0)
        # A feature that nobody has seen is where its expectation is.
        seen = n_rows > 0
        self._slopes = (
            torch.where(seen, (weighted * mask).sum(dim=0) / each, 1.0 / (nu + 1.0)),
            torch.where(seen, total.detach() / each, _expected_log(nu)),
        )
        nats = (0.5 * (nu + 1.0) * total + log_norm * n_rows).sum()
        return nats / n_observed(mask)

    @torch.no_grad()
    def update_running_stats(self, loss: Tensor) -> None:
        assert self._slopes is not None
        weighted, log1p = self._slopes
        nu = self.log_dof.exp()
        # d ln p / d ln s and d ln p / d ln nu, means over rows.
        by_scale = (nu + 1.0) * weighted - 1.0
        by_dof = 0.5 * nu * (_expected_log(nu) - log1p) + 0.5 * by_scale
        of_scale = 2.0 * nu / (nu + 3.0)
        step = MOMENTUM * by_scale / of_scale
        self.log_scale.add_(step.clamp_(-LONGEST_STEP, LONGEST_STEP))
        self.log_scale.clamp_(min=0.5 * self.floor.log())
        step = MOMENTUM * by_dof / _dof_information(nu)
        self.log_dof.add_(step.clamp_(-LONGEST_STEP, LONGEST_STEP))
        self.log_dof.clamp_(math.log(LEAST), math.log(MOST))

    # -- the fitted model --------------------------------------------------------------

    def calibrate(
        self,
        decoder: Decoder,
        posterior: Posterior,
        batch: Minibatch,
        points: Tensor,
    ) -> None:
        """One factor for the scales that training left: few rows tell no more.

        At its maximum of likelihood ``(nu + 1) q / (c^2 + q)`` is 1 in the mean. Rows
        take points in turns, since q of all of them would take memory.
        """
        if points.dim() == 2:
            points = in_turns(points, len(batch))
        nu = self.log_dof.exp().to(batch.target)
        qs = [
            self._q(decoder(z, batch.covariates) - batch.target)
            for z in draws(posterior, points)
        ]
        low, high = -3.0, 3.0
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            square = math.exp(2.0 * middle)
            parts = [(nu + 1.0) * q / (q + square) for q in qs]
            if batch.mask is not None:
                parts = [part[batch.mask] for part in parts]
            larger = torch.stack([part.mean() for part in parts]).mean().item() > 1.0
            low, high = (middle, high) if larger else (low, middle)
        self.log_scale.add_(low).clamp_(min=0.5 * self.floor.log())

    def start_from(self, model: LinearModel) -> None:
        assert isinstance(model, LinearFactors)
        variance = torch.from_numpy(model.noise_variances)
        self.log_dof.fill_(math.log(FIRST))
        self.log_scale.copy_(0.5 * torch.log(variance * (FIRST - 2.0) / FIRST))
        self.log_scale.clamp_(min=0.5 * self.floor.log())

    def calibrate_as(self, model: LinearModel) -> None:
        """With so many degrees of freedom it is the Gaussian."""
        assert isinstance(model, LinearFactors)
        self.log_dof.fill_(math.log(MOST))
        self.log_scale.copy_(0.5 * torch.log(torch.from_numpy(model.noise_variances)))


def _expected_log(nu: Tensor) -> Tensor:
    """E ln(1 + q) = psi((nu + 1) / 2) - psi(nu / 2)."""
    half = 0.5 * nu.double()
    return (torch.digamma(half + 0.5) - torch.digamma(half)).to(nu)


def _dof_information(nu: Tensor) -> Tensor:
    """Fisher information of ln nu; it falls to 0 as 3 / (2 nu^2), by cancellation."""
    n = nu.double()
    curve = torch.polygamma(1, 0.5 * n) - torch.polygamma(1, 0.5 * n + 0.5)
    found = 0.25 * n * n * curve - 0.5 * n * (n + 5.0) / ((n + 1.0) * (n + 3.0))
    return found.clamp_(min=1e-6).to(nu)
