"""What an estimator's parameters say, checked and resolved."""

from types import SimpleNamespace
from typing import Any

import torch

from .._likelihoods.base import Likelihood
from .._utils.device import checked_precision
from .parameters import resolved
from .strategy import TrainingStrategy

# Without a linear model to begin at, an epoch has so many steps, or steps of so few
# rows: on the 142 rows of wine, 60 steps in all left the model with no code the best.
FEWEST_STEPS, FEWEST_ROWS = 16, 16
# Parameters of the network that the table has.
_NETWORK = ("latent_dim", "hidden_dims", "activation", "use_batch_norm", "dropout_rate")


class Settings(SimpleNamespace):
    """Of one call of ``fit`` or ``partial_fit``.

    Every shared parameter by its name (see ``parameters``), and

    Attributes
    ----------
    strategy : TrainingStrategy
    likelihood : type of Likelihood
    likelihood_params : dict
        What it is told of the columns beside the rows.
    marginalizes : bool
        Whether rows may have gaps.
    network : dict
        Parameters of the network, but for its seed.
    begins_linear : bool
        Whether training begins at a linear model.
    given : dict
        What the user set, by name, with the name of the estimator's class: for those
        who keep a record.
    """

    strategy: TrainingStrategy
    likelihood: type[Likelihood]
    likelihood_params: dict[str, Any]
    marginalizes: bool
    network: dict[str, Any]
    begins_linear: bool
    given: dict[str, Any]
    device: torch.device

    @property
    def held_out_fraction(self) -> float | None:
        """Share of the rows to hold out, None without early stopping."""
        return self.validation_fraction if self.early_stopping else None

    def for_rows(self, n_rows: int) -> "Settings":
        """The same for a table of so many rows: few rows come in smaller minibatches.

        Where the likelihood has a linear model, training begins at its optimum, and few
        steps do no harm.
        """
        if self.likelihood.has_linear_model:
            return self
        few = max(FEWEST_ROWS, -(-n_rows // FEWEST_STEPS))
        return Settings(**{**vars(self), "batch_size": min(self.batch_size, few)})


def settings_of(
    estimator: Any,
    n_features: int,
    strategy: TrainingStrategy,
    likelihood: type[Likelihood],
    n_conditions: int = 0,
    *,
    likelihood_params: dict[str, Any] | None = None,
    marginalizes: bool = False,
) -> Settings:
    """The parameters of an estimator, for a table of so many columns and conditions.

    Raises
    ------
    ValueError
        If one is none that this machine or the package has.
    """
    values = resolved(estimator)
    checked_precision(values["precision"], values["device"])
    linear = values["linear_path"] is not None and strategy.begins_linear(likelihood)
    network = {name: values[name] for name in _NETWORK}
    params = estimator.get_params(deep=False)
    params.pop("callbacks", None)
    return Settings(
        **values,
        strategy=strategy,
        likelihood=likelihood,
        likelihood_params=likelihood_params or {},
        marginalizes=marginalizes,
        network={
            "n_features": n_features,
            "n_conditions": n_conditions,
            "encode_conditions": getattr(estimator, "encode_conditions", False),
            **network,
            "linear_path": linear,
        },
        begins_linear=linear,
        given={"estimator": type(estimator).__name__, **params},
    )
