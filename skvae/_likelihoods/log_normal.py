"""Positive numbers whose logarithms have one noise variance a feature.

With ``y = ln x`` the density of x is that of y over x, ``ln p(x) = ln N(y) - y``. The
second term is of the units, and no code changes it: in logarithms, all is Gaussian.
"""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.moments import column_moments
from .._utils.validation import name_of
from .gaussian_diag import GaussianDiag
from .linear_model import Affine, LinearModel


class LogNormal(GaussianDiag):
    """A Gaussian of standardised logarithms; its linear model is of these."""

    name = "log_normal"
    is_nonnegative = True
    baseline = "factor analysis of logarithms"

    def check(self, X, feature_names=None) -> None:
        if sparse.issparse(X):
            least = X.min(axis=0).toarray().ravel()
        else:
            least = np.fmin.reduce(X, axis=0)
        bad = np.flatnonzero(least <= 0.0)
        if len(bad):
            j = int(bad[0])
            found = f"olumn {name_of(j, feature_names)} of X has {least[j]:.12g}"
            # scikit-learn's words, which its checks look for.
            negative = f"Negative values in data: c{found}"
            raise ValueError(
                f"{negative if least[j] < 0.0 else 'C' + found}, and "
                f"likelihood={self.name!r} is of positive numbers: use "
                "likelihood='gaussian_diag', or 'negative_binomial' for counts."
            )

    # -- units -------------------------------------------------------------------------

    def linear_rows(self, X) -> np.ndarray:
        return np.log(X.toarray() if sparse.issparse(X) else X)

    def linear_units(self) -> Affine:
        return super().input_affine()

    def input_affine(self) -> None:  # type: ignore[override]
        return None

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        assert X is not None
        logs = self.linear_rows(X)
        super().fit_inputs(*column_moments(logs), logs, size)

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return super().encode_target(torch.log(x, out=out), out)

    def feature_log_dets(self) -> np.ndarray:
        return super().feature_log_dets() - self.units.array("mean")

    def entry_log_dets(self, target: Tensor) -> Tensor:
        _, scales = self._units(target)
        return -target * scales

    def linear_log_likelihood(
        self, model: LinearModel, X, conditions: np.ndarray | None = None
    ) -> np.ndarray:
        logs = self.linear_rows(X)
        found = model.log_likelihood(logs, self.linear_units(), conditions)
        return found - np.nansum(logs, axis=1)

    def to_units_of_X(self, target: Tensor) -> Tensor:
        return super().mean(target).exp_()

    # -- the density -------------------------------------------------------------------

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """``exp(m + v / 2)`` of logarithms of the mean m and the variance v."""
        _, scales = self._units(raw)
        half = 0.5 * self.variance.to(raw) * scales.square()
        return super().mean(raw, covariates).add_(half).exp_()

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        noise = torch.from_numpy(random_state.standard_normal(tuple(raw.shape)))
        raw.add_(noise.to(raw) * self.variance.sqrt().to(raw))
        return self.to_units_of_X(raw)

    # -- what is not in units of X -----------------------------------------------------

    def diverged_loss(
        self, mean: np.ndarray | None = None, variance: np.ndarray | None = None
    ) -> float:
        if mean is None:
            return super().diverged_loss()
        return float("inf")

    def noise_in_units_of_X(self) -> None:  # type: ignore[override]
        return None
