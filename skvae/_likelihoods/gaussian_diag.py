"""One noise variance a feature: what factor analysis has, of a network.

``-ln p(x | z) = 1/2 sum_j (ln(2 pi v_j) + (x_j - raw_j)^2 / v_j)``, with the variances
v_j at their maximum of likelihood, the mean squares of the residuals, but no less than
a floor.
"""

import math

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import Minibatch
from .._nn.autoencoder import PRECISION, Decoder
from .._nn.posterior import Posterior
from .._utils.device import in_float64
from .base import ExpectedNLL, draws, n_observed
from .linear_factors import LinearFactors
from .linear_model import LinearModel
from .quadratic import expected_squared_error
from .standardised import Standardised

# Share that a step has in the running variances.
MOMENTUM = 0.05


class GaussianDiag(Standardised):
    """N(x; raw, diag(v)) of standardised columns.

    Attributes
    ----------
    variance : tensor of shape (D,)
        v, in squared model units: running while training, calibrated afterwards.
    """

    name = "gaussian_diag"
    variance: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        ones = torch.ones(n_features, dtype=PRECISION, device="cpu")
        self.register_buffer("variance", ones)
        self._mean_squares: Tensor | None = None

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        variance = self.variance.to(target.dtype)
        nats = (raw - target).square_().div_(variance)
        nats += torch.log(2.0 * math.pi * variance)
        if mask is not None:
            nats *= mask
        return 0.5 * nats.sum(dim=1)

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        noise = torch.from_numpy(random_state.standard_normal(tuple(raw.shape)))
        return self.mean(raw.add_(noise.to(raw) * self.variance.sqrt().to(raw)))

    def _noise(self) -> np.ndarray:
        return self.variance.double().cpu().numpy()

    # -- training ----------------------------------------------------------------------

    def loss(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        squares = (raw.to(target.dtype) - target).square()
        return self._loss(squares, mask)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        residual = raw.sub_(target)
        if mask is not None:
            residual = residual.mul_(mask)
        loss = self._loss(residual.square(), mask)
        share: float | Tensor = 1.0 / residual.numel()
        if mask is not None:
            share = 1.0 / n_observed(mask)
        return loss, residual.mul_(share / self.variance)

    def _loss(self, squares: Tensor, mask: Tensor | None) -> Tensor:
        """The mean over elements; notes the mean squares of the features."""
        log_norm = torch.log(2.0 * math.pi * self.variance)
        if mask is None:
            mean = squares.mean(dim=0)
            self._mean_squares = mean.detach()
            return 0.5 * (log_norm + mean / self.variance).mean()
        n_rows = mask.sum(dim=0)
        total = (squares * mask).sum(dim=0)
        mean = total / n_rows.clamp(min=1)
        # A feature that nobody has seen keeps its variance.
        self._mean_squares = torch.where(n_rows > 0, mean.detach(), self.variance)
        nats = (log_norm * n_rows + total / self.variance).sum()
        return 0.5 * nats / n_observed(mask)

    @torch.no_grad()
    def update_running_stats(self, loss: Tensor) -> None:
        assert self._mean_squares is not None
        self.variance.lerp_(self._mean_squares, MOMENTUM).clamp_(min=self.floor)

    # -- the fitted model --------------------------------------------------------------

    def calibrate(
        self,
        decoder: Decoder,
        posterior: Posterior,
        batch: Minibatch,
        points: Tensor,
    ) -> None:
        """One factor for the variances that training left: few rows tell no more."""
        target, mask = batch.target, batch.mask
        if points.dim() == 2 and mask is None:
            root = self.variance.rsqrt()
            expected = expected_squared_error(decoder, points, target.dtype, root)
            ratio = in_float64(expected(posterior, batch)).mean() / self.n_features
        else:
            ratios = [
                (decoder(z, batch.covariates) - target).square_().div_(self.variance)
                for z in draws(posterior, points)
            ]
            each = torch.stack(ratios).mean(dim=0)
            ratio = (each if mask is None else each[mask]).mean()
        self.variance.mul_(ratio).clamp_(min=self.floor)

    def expected_nll(self, decoder: Decoder, points: Tensor) -> ExpectedNLL:
        """In closed form but for the embedding, as of one variance for all."""
        by_points = super().expected_nll(decoder, points)
        root = self.variance.rsqrt()
        log_norm = float(torch.log(2.0 * math.pi * self.variance.double()).sum())
        expected = None

        def expected_nll(posterior: Posterior, batch: Minibatch) -> Tensor:
            nonlocal expected
            if batch.mask is not None:
                return by_points(posterior, batch)
            if expected is None:
                dtype = batch.target.dtype
                expected = expected_squared_error(decoder, points, dtype, root)
            return 0.5 * (in_float64(expected(posterior, batch)) + log_norm)

        return expected_nll

    def start_from(self, model: LinearModel) -> None:
        self.calibrate_as(model)

    def calibrate_as(self, model: LinearModel) -> None:
        assert isinstance(model, LinearFactors)
        self.variance.copy_(torch.from_numpy(model.noise_variances))
