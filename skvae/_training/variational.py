"""How a variational autoencoder starts, trains and is calibrated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from .._data.dataset import TableDataset
from .._evaluation.calibration import (
    codes_of_module,
    gain_of_module,
    noise_of_linear,
    noise_of_module,
)
from .._linear.components import Components
from .._linear.linear_vae import (
    LinearVAE,
    linear_vae,
    prediction_error,
    residual_variance,
)
from .._nn.autoencoder import VAE
from .._objectives.criteria import NOISE_FLOOR, WeightedELBO
from .._objectives.elbo import noise_of_weight
from .._objectives.schedules import constant
from .fit import Model


@dataclass(frozen=True)
class Variational:
    """A ``TrainingStrategy`` (see ``_training``).

    ``kld_weight`` is in units of X; None means that the noise variance is fitted.
    ``settled_at`` is the progress from which on the schedule gives the full weight.
    """

    kld_weight: float | None
    schedule: Callable[[float], float] = constant
    settled_at: float = 0.0
    free_bits: float = 0.0

    module: ClassVar = VAE
    criterion: ClassVar = WeightedELBO
    has_likelihood: ClassVar[bool] = True

    def criterion_params(self, n_features: int, scale: float) -> dict:
        return {
            "n_features": n_features,
            "kld_weight": self._scaled(scale),
            "free_bits": self.free_bits,
        }

    def update_hyperparameters(self, net, scale: float) -> None:
        criterion = net.criterion_
        criterion.fitted = self.kld_weight is None
        criterion.schedule = self.schedule
        criterion.free_bits = self.free_bits
        weight = self._scaled(scale)
        if weight is not None:
            criterion.fixed_weight.fill_(weight)

    def linear_model(self, components: Components, scale: float) -> LinearVAE:
        eigenvalues, eigenvectors, total = components
        n_features = eigenvectors.shape[1]
        weight = self._scaled(scale)
        if weight is None:
            noise = residual_variance(total, eigenvalues, n_features, NOISE_FLOOR)
        else:
            noise = max(noise_of_weight(weight, n_features), NOISE_FLOOR)
        return linear_vae(eigenvalues, eigenvectors, noise)

    def n_active(self, start: LinearVAE) -> int:
        return int(np.count_nonzero(start.log_var))

    def set_start(self, net, start: LinearVAE) -> None:
        encode, log_var, decode = (
            torch.as_tensor(part, dtype=torch.float32, device=net.device)
            for part in start[:3]
        )
        net.module_.set_linear_path(encode, decode)
        net.module_.set_posterior_variance(log_var)
        net.criterion_.noise_variance.fill_(start.noise_variance)

    def for_new_rows(self, start: LinearVAE, rows: TableDataset) -> LinearVAE:
        """Its noise variance is fitted to ``rows``, and raised to that of others.

        With a weight given, the noise it starts from is what the weight stands for.
        """
        noise = start.noise_variance
        if self.kld_weight is not None:
            noise = noise_of_linear(start, rows)
        factor = prediction_error(self.n_active(start), len(rows))
        return start._replace(noise_variance=noise * factor)

    def calibrate(
        self,
        model: Model,
        rows: TableDataset,
        held_out: TableDataset | None,
        start: LinearVAE | None,
    ) -> None:
        """Noise variance from held-out rows, or else as training left it."""
        net = model.net
        if start is not None and model.best_epoch == 0:
            noise = start.noise_variance
        elif held_out is not None:
            noise = noise_of_module(net.module_, held_out)
        else:
            noise = net.criterion_.noise_variance.item()
        if start is not None and model.best_epoch > 0:
            model.start = start
        model.noise_variance = noise * model.scale**2
        # Streaming, which holds nothing out, does not warn: it need not look.
        if held_out is not None:
            model.codes = codes_of_module(net.module_, rows, noise)
        model.code_scale = gain_of_module(net.module_, rows) * model.scale

    def _scaled(self, scale: float) -> float | None:
        return None if self.kld_weight is None else self.kld_weight / scale**2
