"""A likelihood's own linear model: where training begins, and the background."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from .._data.dataset import Minibatch, chunk_rows
from .._linear.covariance import Regression
from .._linear.gaps import GivenObserved, given_observed
from .._utils.host import HostState

CPU = torch.device("cpu")


class Affine(NamedTuple):
    """Inputs that are ``(X - mean) / scale``; without a mean, zeros of X stay zeros.

    The scale is that of all columns, or (D,).
    """

    mean: np.ndarray | None
    scale: float | np.ndarray


class GivenRows(NamedTuple):
    """Codes given what was observed, maps (D, k) and noise variances (D,), float64."""

    codes: GivenObserved
    maps: Tensor
    variances: Tensor


class LinearModel(HostState):
    """A likelihood's own linear model: where training begins, and the background.

    Everything is in model units. Codes have at most as many units as the network's.
    Where rows have conditions, it is of what a linear regression on them leaves.
    """

    def take_regression(
        self, regression: Regression | None, units: Affine | None, n_features: int
    ) -> None:
        """Take what conditions explain, in units of X."""
        if regression is None:
            regression = Regression(np.zeros((0, n_features)), np.zeros(0))
        assert units is not None
        self.hold("given_weights", regression.weights / units.scale)
        self.hold("given_mean", regression.mean)

    def regression(self) -> tuple[Tensor, Tensor] | None:
        """Weights (n_conditions, D) and mean (n_conditions,) of the conditions."""
        if "given_mean" not in self._buffers or not len(self._held("given_mean")):
            return None
        return self._held("given_weights"), self._held("given_mean")

    def given(self, conditions: Tensor) -> Tensor:
        """What conditions (n, n_conditions) explain, (n, D)."""
        weights, mean = (
            self._held(name).to(conditions.device, conditions.dtype)
            for name in ("given_weights", "given_mean")
        )
        return (conditions - mean) @ weights

    def residual(self, batch: Minibatch) -> Tensor:
        """Targets without what their conditions explain."""
        conditions = batch.covariates.conditions
        if conditions is None or self.regression() is None:
            return batch.target
        return batch.target - self.given(conditions).to(batch.target.dtype)

    @property
    def n_units(self) -> int:
        """Number of units, which is its size in a ``state_dict``."""
        raise NotImplementedError

    @property
    def n_active(self) -> int:
        """Number of units that it uses."""
        raise NotImplementedError

    def maps(
        self, dtype: torch.dtype = torch.float32, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder (k, D), log variances of the posterior (k,), decoder (D, k)."""
        raise NotImplementedError

    @property
    def left_out(self) -> float:
        """What :meth:`maps` leave out of every active unit's eigenvalue."""
        return 0.0

    def calibrate(
        self, target: Tensor, n_rows: int, mask: Tensor | None = None
    ) -> None:
        """Make it hold for rows beyond these, of the ``n_rows`` that it was made of."""
        raise NotImplementedError

    def expected_nll_and_kl(
        self, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``-E_q ln p(x | z)`` (n,), float64, and KL of every unit (n, k), in nats.

        Of what was observed where there is a ``mask`` (n, D).
        """
        raise NotImplementedError

    def _noise_of_maps(self) -> np.ndarray:
        """Noise variances (D,) that the maps are the best ones for."""
        raise NotImplementedError

    @property
    def _variances(self) -> np.ndarray:
        """Noise variances (D,) of its density."""
        raise NotImplementedError

    def _given_rows(self, batch: Minibatch) -> GivenRows:
        """What rows' codes are, given what was observed of them, and then the rows."""
        assert batch.mask is not None
        target = self.residual(batch)
        _, _, maps = self.maps(torch.float64, target.device)
        noise = torch.from_numpy(self._noise_of_maps()).to(target.device)
        codes = given_observed(target, batch.mask, torch.zeros_like(noise), maps, noise)
        return GivenRows(codes, maps, torch.from_numpy(self._variances).to(noise))

    def expected_rows(self, batch: Minibatch) -> Tensor:
        """Rows (n, D) in model units, expected given what was observed of them."""
        found = self._given_rows(batch)
        return self._with_given(found.codes.mean @ found.maps.T, batch)

    def drawn_rows(
        self, batch: Minibatch, random_state: np.random.RandomState
    ) -> Tensor:
        """Draws of such rows, with noise."""
        (mean, covariance, _), maps, variances = self._given_rows(batch)
        noise = torch.from_numpy(random_state.standard_normal(mean.shape))
        factor = torch.linalg.cholesky(covariance)
        codes = mean + (factor @ noise.to(mean)[:, :, None])[:, :, 0]
        rows = codes @ maps.T
        noise = torch.from_numpy(random_state.standard_normal(rows.shape)).to(rows)
        return self._with_given(rows + noise * variances.sqrt(), batch)

    def _with_given(self, rows: Tensor, batch: Minibatch) -> Tensor:
        conditions = batch.covariates.conditions
        if conditions is None or self.regression() is None:
            return rows
        return rows + self.given(conditions).to(rows)

    def sample(self, n: int, random_state: np.random.RandomState) -> Tensor:
        """Rows (n, D) in model units, with noise."""
        raise NotImplementedError

    def log_likelihood(
        self, X, units: Affine | None, conditions: np.ndarray | None = None
    ) -> np.ndarray:
        """ln p of rows of X, (n,), in nats, at its maximum for the training rows."""
        assert units is not None
        if conditions is None:
            return self._log_likelihood(X, units)
        found = []
        for part in gen_batches(X.shape[0], chunk_rows(X.shape[1])):
            rows = X[part].toarray() if hasattr(X, "toarray") else X[part]
            given = self.given(torch.from_numpy(conditions[part])).double().numpy()
            found.append(self._log_likelihood(rows - given * units.scale, units))
        return np.concatenate(found)

    def _log_likelihood(self, X, units: Affine) -> np.ndarray:
        """That of rows without conditions, or without what these explain."""
        raise NotImplementedError
