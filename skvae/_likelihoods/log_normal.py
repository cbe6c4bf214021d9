"""Positive numbers whose logarithms have one noise variance a feature.

With ``y = ln x``, the density of x is that of y over x, so that

    -ln p(x | z) = -ln N(y; raw, v) + y,

the second term of which no code changes.
"""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import Minibatch
from .._data.moments import column_moments
from .._nn.autoencoder import Decoder
from .._utils.validation import name_of
from .base import ExpectedNLL, Likelihood, Theory, n_observed
from .gaussian_diag import GaussianDiag


class LogNormal(GaussianDiag):
    """A Gaussian of standardised logarithms.

    It has no linear model: what is affine in logarithms is not so in X.
    """

    name = "log_normal"
    is_nonnegative = True
    has_linear_model = False
    inputs_are_rows = False
    baseline = Likelihood.baseline

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

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        assert X is not None
        logs = np.log(X.toarray() if sparse.issparse(X) else X)
        super().fit_inputs(*column_moments(logs), logs, size)

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return super().encode_target(torch.log(x, out=out), out)

    def input_affine(self) -> None:  # type: ignore[override]
        return None

    def no_code(self) -> np.ndarray:
        return np.zeros(self.n_features)

    def without_code(self) -> Tensor:
        self.start_from(self.empty_linear_model(0))
        return torch.from_numpy(self.no_code())

    # -- the density -------------------------------------------------------------------

    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return super().nll(raw, target, mask)

    def nll_constant(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the density of a logarithm is divided by: its exponential."""
        mean, scales = self._units(target)
        logs = target * scales + mean
        return (logs if mask is None else logs * mask).sum(dim=1)

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        of_code = self.nll_of_code(raw, target, mask)
        return of_code + self.nll_constant(target, mask)

    def loss(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().loss(raw, target, mask) + self._constant_loss(target, mask)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        loss, gradient = super().loss_and_grad(raw, target, mask)
        return loss + self._constant_loss(target, mask), gradient

    def _constant_loss(self, target: Tensor, mask: Tensor | None) -> Tensor:
        n_seen = target.numel() if mask is None else n_observed(mask)
        return self.nll_constant(target, mask).sum() / n_seen

    def expected_nll(self, decoder: Decoder, points: Tensor) -> ExpectedNLL:
        of_logs = super().expected_nll(decoder, points)

        def expected_nll(posterior, batch: Minibatch) -> Tensor:
            if batch.mask is not None:  # by points, which have the constant
                return of_logs(posterior, batch)
            constant = self.nll_constant(batch.target)
            return of_logs(posterior, batch) + constant

        return expected_nll

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
        return GaussianDiag.mean(self, raw).exp_()

    def to_units_of_X(self, target: Tensor) -> Tensor:
        return GaussianDiag.mean(self, target).exp_()

    # Of logarithms there is no theory in units of X.

    def theory(
        self,
        X,
        n_units: int,
        weight: float,
        conditions: np.ndarray | None = None,
    ) -> Theory:
        return Likelihood.theory(self, X, n_units, weight, conditions)

    def diverged_loss(
        self, mean: np.ndarray | None = None, variance: np.ndarray | None = None
    ) -> float:
        return float("inf")

    def noise_in_units_of_X(self) -> None:  # type: ignore[override]
        return None
