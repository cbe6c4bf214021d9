"""Probabilistic PCA in model units: the Gaussian's own linear model."""

import math

import numpy as np
import torch
from torch import Tensor

from .._kernels.wide import wide_linear
from .._linear.baseline import ppca_of
from .._linear.components import Components
from .._linear.gaps import given_observed
from .._linear.linear_vae import LinearVAE, linear_vae, prediction_error
from .._linear.ppca import ppca_log_likelihood
from .._nn.posterior import kl_to_standard_normal
from .._nn.readout import inner
from .._utils.device import in_float64
from .linear_gaps import explained_with_gaps
from .linear_model import CPU, Affine, LinearModel


class LinearGaussian(LinearModel):
    """The optimal linear VAE of a table's leading components, with noise of its own.

    Parameters
    ----------
    components : Components
        In model units.
    init_noise : float
        The noise variance that its maps are the optimum for.
    noise : float, optional
        That of its density, until :meth:`calibrate`; by default the same.
    floor : float
        Least noise variance.
    refit : bool
        Whether :meth:`calibrate` measures the noise on the rows that it is given.

    Attributes
    ----------
    noise_variance : float
        Of its density, in squared model units.
    """

    def __init__(
        self,
        components: Components,
        init_noise: float,
        *,
        noise: float | None = None,
        floor: float = 0.0,
        refit: bool = False,
    ) -> None:
        super().__init__()
        self.floor, self.refit = floor, refit
        self.hold("eigenvalues", components.eigenvalues)
        self.hold("eigenvectors", components.eigenvectors)
        self.hold("total", components.total)
        self.hold("noise_at_init", init_noise)
        self.hold("noise", init_noise if noise is None else noise)
        self._maps: dict = {}

    @property
    def n_units(self) -> int:
        return len(self.get_buffer("eigenvalues"))

    @property
    def noise_variance(self) -> float:
        return self.number("noise")

    @property
    def init_noise(self) -> float:
        return self.number("noise_at_init")

    @property
    def components(self) -> Components:
        parts = self.array("eigenvalues"), self.array("eigenvectors")
        return Components(*parts, self.number("total"))

    def linear_vae(self) -> LinearVAE:
        """Its maps, as arrays."""
        eigenvalues, eigenvectors, _ = self.components
        return linear_vae(eigenvalues, eigenvectors, self.init_noise)

    @property
    def n_active(self) -> int:
        return int((self.get_buffer("eigenvalues") > self.init_noise).sum())

    @property
    def left_out(self) -> float:
        return self.init_noise

    def maps(
        self, dtype: torch.dtype = torch.float32, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor, Tensor]:
        if (dtype, device) not in self._maps:
            self._maps[dtype, device] = tuple(
                torch.as_tensor(part, dtype=dtype, device=device)
                for part in self.linear_vae()[:3]
            )
        return self._maps[dtype, device]

    def _noise_of_maps(self) -> np.ndarray:
        return np.full(self.get_buffer("eigenvectors").shape[1], self.init_noise)

    @property
    def _variances(self) -> np.ndarray:
        return np.full(self.get_buffer("eigenvectors").shape[1], self.noise_variance)

    def calibrate(
        self, target: Tensor, n_rows: int, mask: Tensor | None = None
    ) -> None:
        """By Akaike's final prediction error: the noise holds for other rows."""
        noise = self.init_noise
        if self.refit:
            error, _ = self._error_and_kl(target, mask)
            n_seen = target.numel() if mask is None else int(mask.sum())
            noise = max(error.sum().item() / max(n_seen, 1), self.floor)
        self.hold("noise", noise * prediction_error(self.n_active, n_rows))

    def expected_nll_and_kl(
        self, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        error, kl = self._error_and_kl(target, mask)
        n_seen = target.shape[1] if mask is None else in_float64(mask).sum(dim=1)
        nll = gaussian_nll(in_float64(error), self.noise_variance, n_seen)
        return nll, in_float64(kl)

    def _error_and_kl(
        self, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Expected squared error (n,), in closed form, and KL in nats (n, k)."""
        if mask is not None:
            _, _, decode = self.maps(torch.float64, target.device)
            noise = torch.from_numpy(self._noise_of_maps())
            squares, kl = explained_with_gaps(target, mask, decode, noise)
            return squares.sum(dim=1), kl
        encode, log_var, decode = self.maps(target.dtype, target.device)
        mean = target @ encode.T
        residual = target - wide_linear(mean, decode)
        spread = (log_var.exp() * decode.square().sum(dim=0)).sum()
        kl = kl_to_standard_normal(mean, log_var)
        return inner(residual, residual) + spread, kl

    def sample(self, n: int, random_state: np.random.RandomState) -> Tensor:
        _, _, decode = self.maps(torch.float64)
        z = torch.from_numpy(random_state.standard_normal((n, decode.shape[1])))
        noise = torch.from_numpy(random_state.standard_normal((n, len(decode))))
        return z @ decode.T + noise * self.noise_variance**0.5

    def _log_likelihood(self, X, units: Affine) -> np.ndarray:
        assert units.mean is not None
        if self.number("total") <= 0.0:  # rows that are all the same have no density
            return np.full(X.shape[0], np.nan)
        if not hasattr(X, "toarray") and np.isnan(X).any():
            return self._log_likelihood_with_gaps(X, units)
        return ppca_log_likelihood(
            ppca_of(self.components, units.mean, float(units.scale)), X
        )

    def _log_likelihood_with_gaps(self, X, units: Affine) -> np.ndarray:
        assert units.mean is not None
        model = ppca_of(self.components, units.mean, float(units.scale))
        left = np.maximum(model.explained_variance - model.noise_variance, 0.0)
        parts = [
            torch.from_numpy(np.ascontiguousarray(part))
            for part in (
                model.mean,
                model.components.T * np.sqrt(left),
                np.full(len(model.mean), model.noise_variance),
            )
        ]
        x = torch.from_numpy(np.array(X, dtype=np.float64))
        return given_observed(x, ~torch.isnan(x), *parts).log_likelihood.numpy()


def gaussian_nll(
    squared_error: Tensor, noise_variance: float, n_features: int | Tensor
) -> Tensor:
    """``-ln N(x; xhat, noise_variance I)`` in nats, from the squared error of a row.

    ``n_features`` may be a number a row, of those that were observed.
    """
    log_norm = n_features * math.log(2.0 * math.pi * noise_variance)
    return 0.5 * (log_norm + squared_error / noise_variance)
