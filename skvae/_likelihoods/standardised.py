"""Rows whose columns are standardised inside: a noise of its own for every feature."""

from abc import abstractmethod

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import has_nan
from .._data.moments import column_kurtosis
from .._linear.components import bounded_index
from .._linear.covariance import Covariance
from .._linear.factor_analysis import FactorAnalysis, factor_analysis
from .._linear.gaps import FactorCovariance
from .._linear.spectrum import active_by_theory, rate_by_theory
from .._nn.autoencoder import PRECISION
from .._utils.host import HostState
from .base import DIVERGED, Likelihood, Theory
from .linear_factors import LinearFactors
from .linear_gaps import covariance_with_gaps
from .linear_model import Affine

# Least noise variance of any feature, as a share of its variance.
NOISE_FLOOR = 1e-3


class Standardised(Likelihood):
    """p(x | z) of columns that are centred and divided by scales of their own.

    A column that is constant in the training rows has the root of the mean variance of
    all for its scale: what it may be in other rows is not known.

    The noise variance of a feature, as a share of its variance, has a floor: what n
    rows cannot tell from 0. The variance of a column is known with the squared relative
    error ``(kurtosis - 1) / n`` (Kendall & Stuart), which is 1 for a pixel that is lit
    in one row: a network that learns that row by heart would be sure of the pixel, and
    the next row where it is lit would decide the mean score of all. The floor is
    ``kurtosis / n``, between 0.001 and 1.

    Attributes
    ----------
    floor : tensor of shape (D,)
        Least noise variances, in squared model units.
    """

    has_linear_model = True
    has_own_scales = True
    baseline = "factor analysis"
    floor: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.units = HostState()
        self.units.hold("mean", np.zeros(n_features))
        self.units.hold("scales", np.ones(n_features))
        floor = torch.full((n_features,), NOISE_FLOOR, dtype=PRECISION, device="cpu")
        self.register_buffer("floor", floor)
        self._units_of: dict = {}

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        usual = float(np.sqrt(variance.mean())) or 1.0
        scales = np.sqrt(variance, where=variance > 0.0, out=np.full_like(mean, usual))
        self.units.hold("mean", np.asarray(mean, dtype=np.float64))
        self.units.hold("scales", scales)
        if X is not None:
            share = column_kurtosis(X, mean, variance) / X.shape[0]
            floor = np.clip(np.where(variance > 0.0, share, 1.0), NOISE_FLOOR, 1.0)
            self.floor.copy_(torch.from_numpy(floor))

    @property
    def noise_floor(self) -> np.ndarray:
        return self.floor.double().cpu().numpy()

    def recentre(self, shift: np.ndarray) -> None:
        moved = self.units.array("mean") + self.units.array("scales") * shift
        self.units.hold("mean", moved)

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        mean, scales = self._units(x)
        return torch.sub(x, mean, out=out).div_(scales)

    def _units(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales where x is, in its precision; sent once."""
        held = [self.units.get_buffer(name) for name in ("mean", "scales")]
        key = x.dtype, x.device, *((h.data_ptr(), h._version) for h in held)
        if key not in self._units_of:
            self._units_of = {key: tuple(h.to(x.device, x.dtype) for h in held)}
        return self._units_of[key]

    def input_affine(self) -> Affine:
        return Affine(self.units.array("mean"), self.units.array("scales"))

    def feature_log_dets(self) -> np.ndarray:
        return -np.log(self.units.array("scales"))

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        mean, scales = self._units(raw)
        return raw.mul_(scales).add_(mean)

    def to_units_of_X(self, target: Tensor) -> Tensor:
        return self.mean(target)

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """The squared error, in squared units of X."""
        _, scales = self._units(raw)
        return raw.sub_(target).mul_(scales).square_()

    def output_metric(self, raw: Tensor) -> Tensor:
        """Lengths of reconstructions are in units of X."""
        _, scales = self._units(raw)
        return scales.square()

    def factors(
        self, X, n_units: int, conditions: np.ndarray | None = None
    ) -> FactorAnalysis:
        """Factor analysis of rows of X, of as many as it should look at."""
        index = bounded_index(X, np.arange(X.shape[0]), n_units)
        given = None if conditions is None else conditions[index]
        rows = self.linear_rows(X[index])
        generator = np.random.RandomState(0)
        if not sparse.issparse(X) and has_nan(X):
            return covariance_with_gaps(rows, self, n_units, generator, given).factors
        covariance = Covariance(rows, conditions=given)
        return self._factors(covariance, n_units, generator)

    def _factors(
        self,
        covariance: Covariance | FactorCovariance,
        n_units: int,
        random_state: np.random.RandomState,
    ) -> FactorAnalysis:
        """Factor analysis of rows in model units."""
        if isinstance(covariance, FactorCovariance):
            return covariance.factors
        scales = self.units.array("scales")
        return factor_analysis(
            covariance.standardised(scales),
            covariance.variance / scales**2,
            min(n_units, max(1, covariance.n_rows - 1)),
            self.noise_floor,
            random_state,
        )

    def diverged_loss(
        self, mean: np.ndarray | None = None, variance: np.ndarray | None = None
    ) -> float:
        """In nats of such errors at the noise that training begins with, or less."""
        squared = np.ones(1)
        if mean is not None and variance is not None:
            off = np.square(mean - self.units.array("mean")) + variance
            squared = np.maximum(off / self.units.array("scales") ** 2, 1.0)
        return 0.5 * float(np.log(2.0 * np.pi) + DIVERGED * squared.mean())

    def noise_in_units_of_X(self) -> np.ndarray:
        """Noise variances (D,) of the features, in squared units of X."""
        return self._noise() * self.units.array("scales") ** 2

    def noise_share(self) -> float:
        return float(self._noise().mean())

    @abstractmethod
    def _noise(self) -> np.ndarray:
        """Noise variances (D,), in squared model units."""

    def theory(
        self,
        X,
        n_units: int,
        weight: float,
        conditions: np.ndarray | None = None,
    ) -> Theory:
        """Factor analysis: a unit is active where its eigenvalue exceeds beta."""
        values = self.factors(X, n_units, conditions).values
        beta = weight * self.width
        return Theory(
            active_by_theory(values, beta),
            rate_by_theory(values, beta),
            max(float(values.max(initial=0.0)), 0.0) / self.width,
        )

    def linear_model(
        self,
        covariance: Covariance | FactorCovariance,
        n_units: int,
        random_state: np.random.RandomState,
        weight: float | None,
        beta: float = 1.0,
    ) -> LinearFactors:
        if weight is not None:
            beta = max(weight * self.width, 1e-6)
        factors = self._factors(covariance, n_units, random_state)
        return LinearFactors(factors, beta, self.noise_floor)

    def empty_linear_model(self, n_units: int) -> LinearFactors:
        k, n_features = n_units, self.n_features
        noise = np.ones(n_features)
        return LinearFactors(
            FactorAnalysis(np.zeros(k), np.zeros((k, n_features)), noise)
        )
