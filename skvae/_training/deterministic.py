"""How a plain, regularised or sparse autoencoder starts and trains."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from .._data.dataset import TableDataset
from .._linear.components import Components
from .._linear.linear_vae import LinearMap
from .._nn.autoencoder import Autoencoder
from .._nn.thresholds import ThresholdedAutoencoder, threshold_of_weight
from .._objectives.criteria import PenalisedError
from .fit import Model


@dataclass(frozen=True)
class Deterministic:
    """A ``TrainingStrategy`` (see ``_training``). Weights are in units of X.

    A net that works on scaled rows has codes in scaled units, too; ``transform``
    multiplies them with the scale, and that is what the penalties mean.
    """

    code_penalty: str | None = None
    reg_weight: float = 0.0
    decoder_penalty: str | None = None
    decoder_penalty_weight: float = 0.0

    module: ClassVar = Autoencoder
    criterion: ClassVar = PenalisedError
    has_likelihood: ClassVar[bool] = False
    settled_at: ClassVar[float] = 0.0

    def criterion_params(self, n_features: int, scale: float) -> dict:
        return {
            "n_features": n_features,
            "code_penalty": self.code_penalty,
            "decoder_penalty": self.decoder_penalty,
            **self._weights(n_features, scale),
        }

    def update_hyperparameters(self, net, scale: float) -> None:
        criterion = net.criterion_
        criterion.code_penalty = self.code_penalty
        criterion.decoder_penalty = self.decoder_penalty
        for name, weight in self._weights(criterion.n_features, scale).items():
            setattr(criterion, name, weight)

    def linear_model(self, components: Components, scale: float) -> LinearMap:
        return LinearMap(components.eigenvectors, components.eigenvectors.T)

    def n_active(self, start: LinearMap) -> int:
        return len(start.encode)

    def set_start(self, net, start: LinearMap) -> None:
        net.module_.set_linear_path(
            *(
                torch.as_tensor(part, dtype=torch.float32, device=net.device)
                for part in start
            )
        )

    def for_new_rows(self, start: LinearMap, rows: TableDataset) -> LinearMap:
        return start

    def calibrate(
        self,
        model: Model,
        rows: TableDataset,
        held_out: TableDataset | None,
        start: LinearMap | None,
    ) -> None:
        model.code_scale = np.full(model.net.module_.latent_dim, model.scale)

    def _weights(self, n_features: int, scale: float) -> dict[str, float]:
        """In scaled units: the loss is divided by the square of the scale."""
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

    module: ClassVar = ThresholdedAutoencoder

    def update_hyperparameters(self, net, scale: float) -> None:
        super().update_hyperparameters(net, scale)
        criterion = net.criterion_
        threshold = 0.0
        if criterion.thresholds:
            threshold = threshold_of_weight(criterion.reg_weight, criterion.n_features)
        net.module_.threshold.fill_(threshold)

    def weight_in_units_of_X(self, n_features: int, scale: float) -> float:
        """The weight of the absolute code."""
        if not self.relative:
            return self.reg_weight
        # The codes have the variance D between them, in scaled units.
        size = math.sqrt(n_features / self.latent_dim)
        usual = 2.0 * USUAL_THRESHOLD * size / n_features
        return self.reg_weight * usual * scale

    def _weights(self, n_features: int, scale: float) -> dict[str, float]:
        weight = self.weight_in_units_of_X(n_features, scale)
        return {
            **super()._weights(n_features, scale),
            "reg_weight": weight / scale,
        }
