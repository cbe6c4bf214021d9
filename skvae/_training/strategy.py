"""What differs between kinds of autoencoders in how they start and end training."""

from typing import Protocol

import numpy as np

from .._data.dataset import TableDataset
from .._evaluation.explained_variance import Spread
from .._likelihoods.base import Likelihood
from .._linear.covariance import Covariance
from .._linear.gaps import FactorCovariance
from .._nn.autoencoder import Autoencoder
from .._objectives.criterion import Criterion
from .state import FittedState


class TrainingStrategy(Protocol):
    """How a kind of autoencoder is trained.

    A ``pca_init`` is what training begins at, in model units: of the kind that
    :meth:`pca_init` returns, None without any.
    """

    @property
    def network(self) -> type[Autoencoder]:
        """The kind of network."""

    @property
    def settled_at(self) -> float:
        """Progress from which on all weights of the loss are full."""

    def criterion_params(self, likelihood: Likelihood) -> dict:
        """Parameters of the criterion beside the likelihood, in model units."""

    @staticmethod
    def criterion_of(params: dict) -> type[Criterion]:
        """The kind of criterion that has these parameters."""

    def recorded(self) -> dict:
        """What a ``Record`` keeps of it."""

    def update_hyperparameters(self, network, criterion) -> None:
        """Give a criterion the weights of today, and its network what they set."""

    def begins_linear(self, likelihood: type[Likelihood]) -> bool:
        """Whether there is a :meth:`pca_init` for such a likelihood."""

    def pca_init(
        self,
        covariance: Covariance | FactorCovariance,
        likelihood: Likelihood,
        n_units: int,
        random_state: np.random.RandomState,
    ):
        """Where training begins, from the covariance of the rows."""

    def n_active(self, pca_init) -> int:
        """Number of units that it uses."""

    def set_pca_init(self, state: FittedState, pca_init) -> None:
        """Put it into a network."""

    def forget_codes(self, state: FittedState) -> bool:
        """Become the likelihood's model with no code; returns whether it has one."""

    def compare_epochs(self, state: FittedState, pca_init) -> None:
        """Have epochs compared by what will be scored."""

    def calibrate_pca_init(self, pca_init, rows: TableDataset) -> None:
        """Make what was made of ``rows`` hold for others."""

    def calibrate(
        self,
        state: FittedState,
        rows: TableDataset,
        held_out: TableDataset | None,
        pca_init,
    ) -> None:
        """Measure what the trained network needs to be applied.

        ``pca_init`` is None where training went on from a fit.
        """

    def pca_spread(self, state: FittedState, pca_init) -> Spread | None:
        """Spread of the codes of a network that is a :meth:`pca_init`, if it is known.

        Over the rows that this was made of.
        """

    def left_out(self, state: FittedState) -> float:
        """What a calibrated decoder leaves out of an active unit's eigenvalue.

        In squared units of X: the noise variance at which it is the best one.
        """
