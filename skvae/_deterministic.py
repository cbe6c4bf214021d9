"""How a plain or regularised autoencoder starts and trains."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ._criteria import PenalisedError
from ._linear import Components, LinearMap
from ._modules import Autoencoder
from ._rows import Rows
from ._training import Model


@dataclass(frozen=True)
class Deterministic:
    """A ``Family`` (see ``_training``). Weights are in units of X.

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
            **self._weights(scale),
        }

    def retune(self, criterion: PenalisedError, scale: float) -> None:
        criterion.decoder_penalty = self.decoder_penalty
        for name, weight in self._weights(scale).items():
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

    def for_new_rows(self, start: LinearMap, rows: Rows) -> LinearMap:
        return start

    def calibrate(
        self,
        model: Model,
        rows: Rows,
        held_out: Rows | None,
        start: LinearMap | None,
    ) -> None:
        model.code_scale = np.full(model.net.module_.latent_dim, model.scale)

    def _weights(self, scale: float) -> dict[str, float]:
        """In scaled units: the loss is divided by the square of the scale."""
        # A squared length shrinks as the loss does, an absolute one by its root.
        code = 1.0 if self.code_penalty == "l2" else scale
        return {
            "reg_weight": self.reg_weight / code,
            "decoder_penalty_weight": self.decoder_penalty_weight / scale**2,
        }
