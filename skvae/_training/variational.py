"""How a variational autoencoder starts, trains and is calibrated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._data.dataset import TableDataset
from .._evaluation.calibration import (
    CALIBRATION_ROWS,
    calibrate,
    exact_pairs,
    gain_of_network,
    look_at_codes,
    points_needed,
    some,
)
from .._evaluation.explained_variance import Spread
from .._likelihoods.base import Likelihood
from .._likelihoods.linear_model import LinearModel
from .._linear.covariance import Covariance
from .._linear.gaps import FactorCovariance
from .._nn.autoencoder import VAE
from .._objectives.importance_weighted import ImportanceWeightedELBO
from .._objectives.schedules import constant
from .._objectives.weighted_elbo import WeightedELBO
from .state import FittedState


@dataclass(frozen=True)
class Variational:
    """A ``TrainingStrategy``.

    ``kld_weight`` is in units of X; None means that it is ``beta`` times that of
    maximum likelihood. ``settled_at`` is the progress from which on the schedule gives
    the full weight.
    """

    kld_weight: float | None
    beta: float = 1.0
    schedule: Callable[[float], float] = constant
    settled_at: float = 0.0
    free_bits: float = 0.0
    background_weight: float = 0.01
    n_importance_samples: int = 1

    network: ClassVar = VAE

    def criterion_params(self, likelihood: Likelihood) -> dict:
        params = {
            "kld_weight": self._scaled(likelihood),
            "beta": self.beta,
            "free_bits": self.free_bits,
        }
        if self.n_importance_samples > 1:
            params["n_samples"] = self.n_importance_samples
        return params

    @staticmethod
    def criterion_of(params: dict) -> type[WeightedELBO]:
        return ImportanceWeightedELBO if "n_samples" in params else WeightedELBO

    def recorded(self) -> dict:
        return {
            "free_bits": self.free_bits,
            "background_weight": self.background_weight,
            "fitted": self.kld_weight is None,
            "beta": self.beta,
        }

    def update_hyperparameters(self, network: VAE, criterion: WeightedELBO) -> None:
        criterion.fitted = self.kld_weight is None
        criterion.beta = self.beta
        criterion.schedule = self.schedule
        criterion.free_bits = self.free_bits
        if isinstance(criterion, ImportanceWeightedELBO):
            criterion.n_samples = self.n_importance_samples
        weight = self._scaled(criterion.likelihood)
        if weight is not None:
            criterion.fixed_weight.fill_(weight)

    def begins_linear(self, likelihood: type[Likelihood]) -> bool:
        return likelihood.has_linear_model

    def pca_init(
        self,
        covariance: Covariance | FactorCovariance,
        likelihood: Likelihood,
        n_units: int,
        random_state: np.random.RandomState,
    ) -> LinearModel:
        weight = self._scaled(likelihood)
        model = likelihood.linear_model(
            covariance, n_units, random_state, weight, self.beta
        )
        units, n_features = likelihood.linear_units(), likelihood.n_features
        model.take_regression(covariance.regression, units, n_features)
        return model

    def n_active(self, pca_init: LinearModel) -> int:
        return pca_init.n_active

    def set_pca_init(self, state: FittedState, pca_init: LinearModel) -> None:
        network = state.network
        assert isinstance(network, VAE)
        encode, log_var, decode = pca_init.maps()
        network.set_linear_path(encode, decode)
        network.set_posterior_variance(log_var)
        given = pca_init.regression()
        if given is not None:
            network.set_condition_path(*given)
        state.likelihood.start_from(pca_init)
        state.set_linear_model(pca_init)

    def forget_codes(self, state: FittedState) -> bool:
        bias = state.likelihood.without_code()
        if bias is None:
            return False
        network = state.network
        assert isinstance(network, VAE)
        network.forget_codes()
        network.set_output_bias(bias)
        return True

    def compare_epochs(self, state: FittedState, pca_init: LinearModel) -> None:
        # Where the ELBO is compared, one noise for all features is fitted anew, and so
        # is what an odd row costs.
        mixes = self.kld_weight is None and self.background_weight > 0.0
        criterion = state.criterion
        assert isinstance(criterion, WeightedELBO)
        refits = not isinstance(criterion, ImportanceWeightedELBO)
        if mixes and (state.likelihood.has_own_scales or not refits):
            criterion.compare_within(pca_init, self.background_weight)

    def calibrate_pca_init(self, pca_init: LinearModel, rows: TableDataset) -> None:
        batch = some(rows, CALIBRATION_ROWS)
        pca_init.calibrate(pca_init.residual(batch), len(rows), batch.mask)

    def calibrate(
        self,
        state: FittedState,
        rows: TableDataset,
        held_out: TableDataset | None,
        pca_init: LinearModel | None,
    ) -> None:
        """From held-out rows, or else as training left it."""
        network, likelihood = state.network, state.likelihood
        assert isinstance(network, VAE)
        left_it = state.record.best_epoch > 0
        # Training that goes on may be what leaves the linear model of an earlier fit.
        linear = state.linear_model if pca_init is None else pca_init
        if linear is not None:
            state.set_linear_model(linear, is_background=left_it)
        if pca_init is not None and not left_it:
            likelihood.calibrate_as(pca_init)
        elif held_out is not None:
            calibrate(network, likelihood, held_out, self.n_importance_samples)
        else:
            likelihood.keep_running_stats()
        # Streaming, which holds nothing out, does not warn: it need not look.
        state.codes = None
        if held_out is not None:
            state.codes = look_at_codes(network, likelihood, rows)
        state.code_scale = gain_of_network(network, likelihood, rows)
        n_pairs, design = exact_pairs(network.latent_dim), 0
        if held_out is not None:
            n_pairs, design = points_needed(network, likelihood, held_out)
        state.host.hold("n_pairs", n_pairs)
        state.host.hold("design", design)

    def pca_spread(
        self, state: FittedState, pca_init: LinearModel | None
    ) -> Spread | None:
        if pca_init is None:
            return None
        _, log_var, _ = pca_init.maps()
        posteriors = np.ones(state.network.latent_dim)
        posteriors[: len(log_var)] = log_var.double().exp().cpu().numpy()
        # Posteriors of the best model add up to the prior.
        return Spread(1.0 - posteriors, posteriors)

    def left_out(self, state: FittedState) -> float:
        likelihood, linear = state.likelihood, state.linear_model
        if linear is not None and not state.is_background:
            # It is the network still, and its noise is calibrated for other rows.
            return linear.left_out * likelihood.scale**2
        noise = likelihood.noise_in_units_of_X()
        if not isinstance(noise, float):  # of no direction in particular
            return 0.0
        if self.kld_weight is None:
            return self.beta * noise
        return noise * self.kld_weight / likelihood.calibrated_weight()

    def _scaled(self, likelihood: Likelihood) -> float | None:
        """The weight in model units."""
        if self.kld_weight is None:
            return None
        return self.kld_weight / likelihood.loss_unit
