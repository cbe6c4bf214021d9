"""How a plain, regularised or sparse autoencoder starts and trains."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from .._data.dataset import TableDataset
from .._evaluation.explained_variance import Spread
from .._likelihoods.base import Likelihood
from .._linear.covariance import Covariance
from .._linear.gaps import FactorCovariance
from .._linear.linear_vae import LinearMap
from .._nn.autoencoder import Autoencoder
from .._nn.thresholds import ThresholdedAutoencoder, threshold_of_weight
from .._objectives.penalised_error import PenalisedError
from .state import FittedState


@dataclass(frozen=True)
class Deterministic:
    """A ``TrainingStrategy``. Weights are in units of X.

    A network that works on scaled rows has codes in scaled units, too; ``transform``
    multiplies them with the scale, and that is what the penalties mean.
    """

    code_penalty: str | None = None
    reg_weight: float = 0.0
    decoder_penalty: str | None = None
    decoder_penalty_weight: float = 0.0

    network: ClassVar = Autoencoder
    settled_at: ClassVar[float] = 0.0

    def criterion_params(self, likelihood: Likelihood) -> dict:
        return {
            "code_penalty": self.code_penalty,
            "decoder_penalty": self.decoder_penalty,
            **self._weights(likelihood),
        }

    @staticmethod
    def criterion_of(params: dict) -> type[PenalisedError]:
        return PenalisedError

    def recorded(self) -> dict:
        return {}

    def update_hyperparameters(
        self, network: Autoencoder, criterion: PenalisedError
    ) -> None:
        criterion.code_penalty = self.code_penalty
        criterion.decoder_penalty = self.decoder_penalty
        for name, weight in self._weights(criterion.likelihood).items():
            setattr(criterion, name, weight)

    def begins_linear(self, likelihood: type[Likelihood]) -> bool:
        return True

    def pca_init(
        self,
        covariance: Covariance | FactorCovariance,
        likelihood: Likelihood,
        n_units: int,
        random_state: np.random.RandomState,
    ) -> LinearMap:
        scale = likelihood.scale
        values, vectors, _ = covariance.components(n_units, random_state, scale)
        given = None
        if covariance.regression is not None:
            weights, mean = covariance.regression
            given = weights / scale, mean
        return LinearMap(vectors, vectors.T, values, given)

    def n_active(self, pca_init: LinearMap) -> int:
        return len(pca_init.encode)

    def set_pca_init(self, state: FittedState, pca_init: LinearMap) -> None:
        encode, decode = (
            torch.as_tensor(part, dtype=torch.float32, device="cpu")
            for part in (pca_init.encode, pca_init.decode)
        )
        state.network.set_linear_path(encode, decode)
        if pca_init.given is not None:
            state.network.set_condition_path(*map(torch.from_numpy, pca_init.given))

    def forget_codes(self, state: FittedState) -> bool:
        return False

    def compare_epochs(self, state: FittedState, pca_init: LinearMap) -> None:
        pass

    def calibrate_pca_init(self, pca_init: LinearMap, rows: TableDataset) -> None:
        pass

    def calibrate(
        self,
        state: FittedState,
        rows: TableDataset,
        held_out: TableDataset | None,
        pca_init: LinearMap | None,
    ) -> None:
        scale = state.likelihood.scale
        state.code_scale = np.full(state.network.latent_dim, scale)

    def pca_spread(
        self, state: FittedState, pca_init: LinearMap | None
    ) -> Spread | None:
        if pca_init is None:
            return None
        means = np.zeros(state.network.latent_dim)
        means[: len(pca_init.variance)] = pca_init.variance
        return Spread(means, np.zeros_like(means))

    def left_out(self, state: FittedState) -> float:
        return 0.0

    def _weights(self, likelihood: Likelihood) -> dict[str, float]:
        """In model units: the loss is divided by the square of the scale."""
        scale = likelihood.scale
        # A squared length shrinks as the loss does, an absolute one by its root.
        code = 1.0 if self.code_penalty == "l2" else scale
        return {
            "reg_weight": self.reg_weight / code,
            "decoder_penalty_weight": self.decoder_penalty_weight / scale**2,
        }


# Threshold of a weight that is left to us, in the root mean square of the codes that
# PCA would have with all variance in its units.
USUAL_THRESHOLD = 0.25


@dataclass(frozen=True)
class Sparse(Deterministic):
    """With an absolute penalty; ``relative`` weights are in units of the usual one."""

    latent_dim: int = 1
    relative: bool = False

    network: ClassVar = ThresholdedAutoencoder

    def update_hyperparameters(
        self, network: Autoencoder, criterion: PenalisedError
    ) -> None:
        assert isinstance(network, ThresholdedAutoencoder)
        super().update_hyperparameters(network, criterion)
        threshold = 0.0
        if criterion.thresholds:
            n_features = criterion.likelihood.n_features
            threshold = threshold_of_weight(criterion.reg_weight, n_features)
        network.threshold.fill_(threshold)

    def pca_spread(
        self, state: FittedState, pca_init: LinearMap | None
    ) -> Spread | None:
        # A threshold makes other codes of it.
        network = state.network
        assert isinstance(network, ThresholdedAutoencoder)
        known = network.threshold.item() == 0.0
        return super().pca_spread(state, pca_init) if known else None

    def weight_in_units_of_X(self, n_features: int, scale: float) -> float:
        """The weight of the absolute code."""
        if not self.relative:
            return self.reg_weight
        # The codes have the variance D between them, in model units.
        size = math.sqrt(n_features / self.latent_dim)
        usual = 2.0 * USUAL_THRESHOLD * size / n_features
        return self.reg_weight * usual * scale

    def _weights(self, likelihood: Likelihood) -> dict[str, float]:
        scale = likelihood.scale
        weight = self.weight_in_units_of_X(likelihood.n_features, scale)
        return {**super()._weights(likelihood), "reg_weight": weight / scale}
