"""The linear model that training begins at, and the one of all rows, if it is kept."""

import numpy as np

from .._data.dataset import has_nan
from .._data.rows import Rows
from .._likelihoods.linear_gaps import covariance_with_gaps
from .._linear.components import Scatter, bounded_index, is_tall, merged, scatter_of
from .._linear.covariance import Covariance
from .._linear.gaps import FactorCovariance
from .._utils.seeds import Seeds
from .settings import Settings
from .state import FittedState


class PCAInit:
    """Linear models of some rows, then of all, in model units.

    Parameters
    ----------
    rows : Rows
    state : FittedState
    settings : Settings
    seeds : Seeds
    """

    def __init__(
        self, rows: Rows, state: FittedState, settings: Settings, seeds: Seeds
    ) -> None:
        self._X = state.likelihood.linear_rows(rows.X)
        self._given = rows.covariates.conditions
        self._state, self._settings = state, settings
        self._seeds = seeds
        self._k = settings.network["latent_dim"]
        self._first: Scatter | None = None

    def of(self, index: np.ndarray):
        """The best linear model of the rows at ``index``."""
        index = bounded_index(self._X, index, self._k)
        rows = self._X[index]
        if self._state.gaps is not None and has_nan(rows):
            return self._with_gaps(rows, index)
        if is_tall(rows):
            self._first = self._scatter(index)
        given = None if self._given is None else self._given[index]
        return self._model(Covariance(rows, self._first, given))

    def of_all(self, first: np.ndarray, others: np.ndarray):
        """The best linear model of all rows, where :meth:`of` had the first ones.

        Their covariance is merged with that of the others, where it is what was
        decomposed, and all of the rows were looked at.
        """
        every = np.concatenate([others, first])
        whole = len(bounded_index(self._X, every, self._k)) == len(every)
        if self._first is None or not whole:
            return self.of(every)
        both = merged(self._first, self._scatter(others))
        return self._model(Covariance(self._X, both, self._given))

    def _with_gaps(self, rows: np.ndarray, index: np.ndarray):
        """The same of rows with gaps, which have no covariance that could be merged."""
        generator = self._seeds.numpy_generator(self._seeds.components)
        given = None if self._given is None else self._given[index]
        likelihood = self._state.likelihood
        found = covariance_with_gaps(rows, likelihood, self._k, generator, given)
        return self._model(found)

    def _scatter(self, index: np.ndarray) -> Scatter:
        """Of rows, with their conditions behind them."""
        rows = self._X[index]
        if self._given is not None:
            given = self._given[index].astype(rows.dtype)
            rows = np.concatenate([rows, given], axis=1)
        return scatter_of(rows)

    def _model(self, covariance: Covariance | FactorCovariance):
        generator = self._seeds.numpy_generator(self._seeds.components)
        return self._settings.strategy.pca_init(
            covariance, self._state.likelihood, self._k, generator
        )
