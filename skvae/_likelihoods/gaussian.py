"""One noise variance for all features: the squared error, in units of X.

With D features and the variance s2, ``-ln p(x | z) = D/2 ln(2 pi s2) + SE / (2 s2)``.
Times ``2 s2 / D`` and without its constant that is the mean squared error, so training
minimises ``SE / D + kld_weight * KL`` with ``kld_weight = 2 s2 beta / D``: a weight is
a noise variance in disguise. Where s2 is fitted, it is the mean squared error itself
(sigma-VAE: Rybkin et al., 2021).

The one scale for the whole table keeps the model that of the raw data, in other units,
and training independent of them.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import Minibatch, has_nan
from .._linear.components import Components
from .._linear.covariance import Covariance
from .._linear.gaps import FactorCovariance
from .._linear.linear_vae import noise_of_beta
from .._linear.spectrum import (
    active_by_theory,
    noise_of_weight,
    rate_by_theory,
    spectrum,
    weight_of_noise,
)
from .._nn.autoencoder import PRECISION, Decoder
from .._nn.posterior import Posterior
from .._utils.device import in_float64
from .._utils.host import HostState
from .base import DIVERGED, ExpectedNLL, Likelihood, Theory, draws, n_observed
from .linear_gaps import covariance_with_gaps
from .linear_gaussian import LinearGaussian, gaussian_nll
from .linear_model import Affine, LinearModel
from .quadratic import expected_squared_error

# Least noise variance, as a share of the mean variance of X: below it, float32
# residuals are rounding.
NOISE_FLOOR = 1e-9
# Steps over which the fitted noise variance forgets: long enough to average the
# batches, short enough to follow training.
NOISE_MOMENTUM = 0.05


class Gaussian(Likelihood):
    """N(x; raw, s2 I) of rows that are centred and divided by one scale.

    Attributes
    ----------
    noise_variance : float
        s2, calibrated, in squared model units.
    running_noise : tensor, ()
        s2 while training.
    """

    name = "gaussian"
    has_linear_model = True
    loss_exponent = 2
    baseline = "probabilistic PCA"
    mean_is_affine = True
    running_noise: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.units = HostState()
        self.units.hold("mean", np.zeros(n_features))
        self.units.hold("scale", 1.0)
        self.units.hold("noise", 1.0)
        one = torch.ones((), dtype=PRECISION, device="cpu")
        self.register_buffer("running_noise", one)
        self._centres: dict = {}

    # -- data --------------------------------------------------------------------------

    @property
    def scale(self) -> float:
        return self.units.number("scale")

    @property
    def noise_variance(self) -> float:
        return self.units.number("noise")

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        self.units.hold("mean", np.asarray(mean, dtype=np.float64))
        self.units.hold("scale", float(np.sqrt(variance.mean())) or 1.0)

    @property
    def noise_floor(self) -> float:
        return NOISE_FLOOR

    def recentre(self, shift: np.ndarray) -> None:
        self.units.hold("mean", self.units.array("mean") + self.scale * shift)

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.sub(x, self._centre(x), out=out).div_(self.scale)

    def _centre(self, x: Tensor) -> Tensor:
        """The mean where x is, in its precision; sent once: a GPU waits for it."""
        mean = self.units.get_buffer("mean")
        key = x.dtype, x.device, mean.data_ptr(), mean._version
        if key not in self._centres:
            self._centres = {key: mean.to(x.device, x.dtype)}
        return self._centres[key]

    def input_affine(self) -> Affine:
        return Affine(self.units.array("mean"), self.scale)

    def feature_log_dets(self) -> np.ndarray:
        return np.full(self.n_features, -math.log(self.scale))

    # -- the density -------------------------------------------------------------------

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        residual = raw - target
        n_seen: int | Tensor = self.n_features
        if mask is not None:
            residual, n_seen = residual * mask, mask.sum(dim=1)
        error = in_float64(residual.square().sum(dim=1))
        return gaussian_nll(error, self.noise_variance, n_seen)

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        return raw.mul_(self.scale).add_(self._centre(raw))

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        noise = random_state.standard_normal(tuple(raw.shape))
        std = self.scale * math.sqrt(self.noise_variance)
        return self.mean(raw).add_(torch.from_numpy(noise).to(raw), alpha=std)

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        return raw.sub_(target).square_()

    # -- training ----------------------------------------------------------------------

    def loss(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        raw = raw.to(target.dtype)
        if mask is None:
            return F.mse_loss(raw, target)
        return F.mse_loss(raw * mask, target * mask, reduction="sum") / n_observed(mask)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        residual = raw.sub_(target)
        n_seen: int | Tensor = residual.numel()
        if mask is not None:
            residual, n_seen = residual.mul_(mask), n_observed(mask)
        loss = torch.linalg.vector_norm(residual).square() / n_seen
        return loss, residual.mul_(2.0 / n_seen)

    def nll_in_training(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        residual = raw - target
        n_seen: int | Tensor = self.n_features
        if mask is not None:
            residual, n_seen = residual * mask, mask.sum(dim=1)
        noise = self.running_noise
        log_norm = n_seen * torch.log(2.0 * math.pi * noise)
        return 0.5 * (log_norm + residual.square().sum(dim=1) / noise)

    def unit_weight(self) -> Tensor:
        return self.running_noise * (2.0 / self.width)

    def nats_of_loss(self, loss: float) -> float:
        variance = max(loss, NOISE_FLOOR)
        log_norm = math.log(2.0 * math.pi * variance)
        return 0.5 * self.width * (log_norm + loss / variance)

    def loss_of_nats(self, nll: float) -> float:
        log_norm = self.width * math.log(2.0 * math.pi * self.noise_variance)
        return (2.0 * nll - log_norm) * self.noise_variance / self.width

    def diverged_loss(
        self, mean: np.ndarray | None = None, variance: np.ndarray | None = None
    ) -> float:
        if mean is None or variance is None:
            return DIVERGED * self.scale**2
        off = np.square(mean - self.units.array("mean")).mean()
        return DIVERGED * float(variance.mean() + off)

    @torch.no_grad()
    def update_running_stats(self, loss: Tensor) -> None:
        self.running_noise.lerp_(loss, NOISE_MOMENTUM).clamp_(NOISE_FLOOR)

    # -- the fitted model --------------------------------------------------------------

    def calibrated_weight(self) -> float:
        return weight_of_noise(self.noise_in_units_of_X(), self.width)

    def theory(
        self,
        X,
        n_units: int,
        weight: float,
        conditions: np.ndarray | None = None,
    ) -> Theory:
        generator = np.random.RandomState(0)
        if not sparse.issparse(X) and has_nan(X):
            found = covariance_with_gaps(X, self, n_units, generator, conditions)
            in_units = found.components(n_units, generator)
            eigenvalues = in_units.eigenvalues * self.scale**2
        elif conditions is None:
            eigenvalues = spectrum(X, n_units, generator).eigenvalues
        else:
            left = Covariance(X, conditions=conditions)
            eigenvalues = left.components(n_units, generator).eigenvalues
        noise = noise_of_weight(weight, self.width)
        return Theory(
            active_by_theory(eigenvalues, noise),
            rate_by_theory(eigenvalues, noise),
            weight_of_noise(eigenvalues.max(initial=0.0), self.width),
        )

    def noise_in_units_of_X(self) -> float:
        return self.noise_variance * self.scale**2

    def noise_share(self) -> float:
        return self.noise_variance

    def to_units_of_X(self, target: Tensor) -> Tensor:
        return self.mean(target)

    def set_noise(self, noise_variance: float) -> None:
        """Set s2, in squared model units."""
        self.units.hold("noise", max(noise_variance, NOISE_FLOOR))

    def keep_running_stats(self) -> None:
        self.set_noise(self.running_noise.item())

    def calibrate(
        self,
        decoder: Decoder,
        posterior: Posterior,
        batch: Minibatch,
        points: Tensor,
    ) -> None:
        target, mask = batch.target, batch.mask
        if points.dim() == 3 or mask is not None:  # few points: decode them
            losses = [
                self.loss(decoder(z, batch.covariates), target, mask)
                for z in draws(posterior, points)
            ]
            error = torch.stack(losses).mean()
        else:
            expected = expected_squared_error(decoder, points, target.dtype)
            error = expected(posterior, batch).mean() / self.n_features
        self.set_noise(error.item())

    def expected_nll(self, decoder: Decoder, points: Tensor) -> ExpectedNLL:
        by_points = super().expected_nll(decoder, points)
        expected = None

        def expected_nll(posterior: Posterior, batch: Minibatch) -> Tensor:
            nonlocal expected
            if batch.mask is not None:
                return by_points(posterior, batch)
            if expected is None:
                expected = expected_squared_error(decoder, points, batch.target.dtype)
            error = in_float64(expected(posterior, batch))
            return gaussian_nll(error, self.noise_variance, self.n_features)

        return expected_nll

    # -- the linear model --------------------------------------------------------------

    def linear_model(
        self,
        covariance: Covariance | FactorCovariance,
        n_units: int,
        random_state: np.random.RandomState,
        weight: float | None,
        beta: float = 1.0,
    ) -> LinearGaussian:
        components = covariance.components(n_units, random_state, self.scale)
        return self.linear_model_of(components, weight, beta)

    def linear_model_of(
        self, components: Components, weight: float | None, beta: float = 1.0
    ) -> LinearGaussian:
        """The same from leading components in model units."""
        if weight is not None:
            noise = max(noise_of_weight(weight, self.width), NOISE_FLOOR)
            return LinearGaussian(components, noise, floor=NOISE_FLOOR, refit=True)
        noise = noise_of_beta(components, self.n_features, beta, NOISE_FLOOR)
        return LinearGaussian(
            components,
            noise,
            noise=noise / beta,
            floor=NOISE_FLOOR,
            refit=beta != 1.0,
        )

    def start_from(self, model: LinearModel) -> None:
        assert isinstance(model, LinearGaussian)
        self.running_noise.fill_(model.noise_variance)

    def calibrate_as(self, model: LinearModel) -> None:
        assert isinstance(model, LinearGaussian)
        self.set_noise(model.noise_variance)

    def empty_linear_model(self, n_units: int) -> LinearGaussian:
        k, n_features = n_units, self.n_features
        components = Components(np.zeros(k), np.zeros((k, n_features)), 0.0)
        return LinearGaussian(components, 1.0)
