"""Factor analysis in model units: the linear model of one noise variance a feature."""

import math

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from .._data.dataset import chunk_rows
from .._kernels.wide import wide_linear
from .._linear.factor_analysis import FactorAnalysis
from .._linear.linear_vae import prediction_error
from .._nn.posterior import kl_to_standard_normal
from .._utils.device import in_float64
from .linear_gaps import WithGaps, explained_with_gaps
from .linear_model import CPU, Affine, LinearModel


class LinearFactors(LinearModel):
    """The optimal linear VAE of a factor analysis, with noise of its own.

    In units of the noise's standard deviation it is the linear VAE of probabilistic
    PCA with a noise of 1, or of ``beta``, what the KL is multiplied with: a unit is
    active where its eigenvalue exceeds that.

    Parameters
    ----------
    factors : FactorAnalysis
        In model units.
    beta : float
    floor : ndarray of shape (D,), optional
        Least noise variances; 0 by default.
    """

    def __init__(
        self,
        factors: FactorAnalysis,
        beta: float = 1.0,
        floor: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.floor = np.zeros(len(factors.noise)) if floor is None else floor
        self.hold("eigenvalues", factors.values)
        self.hold("eigenvectors", factors.vectors)
        self.hold("noise_at_init", factors.noise)
        self.hold("noise", factors.noise)
        self.hold("beta", beta)
        self._maps: dict = {}

    @property
    def n_units(self) -> int:
        return len(self.get_buffer("eigenvalues"))

    @property
    def n_active(self) -> int:
        return int((self.array("eigenvalues") > self.number("beta")).sum())

    @property
    def factors(self) -> FactorAnalysis:
        parts = self.array("eigenvalues"), self.array("eigenvectors")
        return FactorAnalysis(*parts, self._init_noise)

    @property
    def noise_variances(self) -> np.ndarray:
        """Noise variances of its density, (D,)."""
        return self.array("noise")

    def maps(
        self, dtype: torch.dtype = torch.float32, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor, Tensor]:
        if (dtype, device) not in self._maps:
            values, beta = self.array("eigenvalues"), self.number("beta")
            vectors, root = self.array("eigenvectors"), np.sqrt(self._init_noise)
            kept = np.maximum(values, beta)
            gain = np.sqrt(kept - beta)[:, None]
            parts = (
                gain / kept[:, None] * vectors / root,
                np.log(beta / kept),
                (gain * vectors * root).T,
            )
            self._maps[dtype, device] = tuple(
                torch.as_tensor(part, dtype=dtype, device=device) for part in parts
            )
        return self._maps[dtype, device]

    @property
    def _init_noise(self) -> np.ndarray:
        return self.array("noise_at_init")

    def calibrate(
        self, target: Tensor, n_rows: int, mask: Tensor | None = None
    ) -> None:
        """By Akaike's final prediction error: the noise holds for other rows.

        At another ``beta`` than 1, whose maps leave more or less of the rows than the
        noise of the factors, that is measured on these.
        """
        noise = self._init_noise
        if self.number("beta") != 1.0:
            if mask is None:
                _, squares, spread = self._errors(target)
                left = in_float64(squares.mean(dim=0) + spread)
            else:
                squares, _ = self._with_gaps(target, mask)
                left = squares.sum(dim=0) / mask.sum(dim=0).clamp(min=1)
            noise = left.cpu().numpy()
            noise = np.maximum(noise, self.floor)
        self.hold("noise", noise * prediction_error(self.n_active, n_rows))

    def _errors(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (n, k), squared residuals (n, D), and what their spread adds (D,)."""
        encode, log_var, decode = self.maps(target.dtype, target.device)
        mean = target @ encode.T
        residual = target - wide_linear(mean, decode)
        return mean, residual.square_(), decode.square() @ log_var.exp()

    def _noise_of_maps(self) -> np.ndarray:
        return self.number("beta") * self._init_noise

    @property
    def _variances(self) -> np.ndarray:
        return self.noise_variances

    def _with_gaps(self, target: Tensor, mask: Tensor) -> WithGaps:
        _, _, decode = self.maps(torch.float64, target.device)
        noise = torch.from_numpy(self._noise_of_maps())
        return explained_with_gaps(target, mask, decode, noise)

    def expected_nll_and_kl(
        self, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if mask is not None:
            squares, kl = self._with_gaps(target, mask)
            variance = torch.from_numpy(self.noise_variances).to(squares.device)
            each = (squares / variance).sum(dim=1)
            log_norms = torch.log(2.0 * math.pi * variance)
            return 0.5 * (each + in_float64(mask) @ log_norms), kl
        _, log_var, _ = self.maps(target.dtype, target.device)
        noise = torch.as_tensor(
            self.noise_variances, dtype=target.dtype, device=target.device
        )
        mean, squares, spread = self._errors(target)
        error = (squares / noise).sum(dim=1) + (spread / noise).sum()
        log_norm = float(np.log(2.0 * np.pi * self.noise_variances).sum())
        nll = 0.5 * (in_float64(error) + log_norm)
        return nll, in_float64(kl_to_standard_normal(mean, log_var))

    def sample(self, n: int, random_state: np.random.RandomState) -> Tensor:
        _, _, decode = self.maps(torch.float64)
        z = torch.from_numpy(random_state.standard_normal((n, decode.shape[1])))
        noise = torch.from_numpy(random_state.standard_normal((n, len(decode))))
        return z @ decode.T + noise * torch.from_numpy(np.sqrt(self.noise_variances))

    def _log_likelihood(self, X, units: Affine) -> np.ndarray:
        """Of the factor analysis: by the ELBO, which is tight at a beta of 1."""
        assert units.mean is not None
        model = self if self.number("beta") == 1.0 else LinearFactors(self.factors)
        log_dets = np.log(np.broadcast_to(units.scale, X.shape[1]))
        found = []
        for part in gen_batches(X.shape[0], chunk_rows(X.shape[1])):
            rows = X[part].toarray() if hasattr(X, "toarray") else X[part]
            target = torch.from_numpy((rows - units.mean) / units.scale).double()
            mask = ~torch.isnan(target)
            if mask.all():
                nll, kl = model.expected_nll_and_kl(target)
            else:
                nll, kl = model.expected_nll_and_kl(target.nan_to_num(), mask)
            log_det = mask.numpy() @ log_dets
            found.append(-(nll + kl.sum(dim=1)).numpy() - log_det)
        return np.concatenate(found)
