"""Rows with gaps, filled by a model that knows what goes with what."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ._data.dataset import Minibatch
from ._data.mixed_table import fill_table
from ._evaluation.imputation import Imputer
from ._generative import Generative
from ._inference import documented_rows
from ._kernels.surroundings import public
from ._nn.autoencoder import VAE
from ._streams import spools_rows
from ._utils.seeds import entropy_of, private_generator
from ._utils.typing import RandomState, Table
from ._utils.validation import checked_n_samples


class Imputing(Generative):
    """A density of rows that may have gaps."""

    @public
    @documented_rows
    @spools_rows
    def impute(
        self,
        X: Table,
        n_draws: int | None = None,
        *,
        n_samples: int = 50,
        random_state: RandomState = 0,
        conditions: Table | None = None,
        size_factor: Any = None,
    ) -> Any:
        """Fill the gaps of X with what the rest of every row says of them.

        Codes are drawn from the row's posterior and weighed by how well they explain
        what was observed (importance sampling, [1]_), so that entries are expected
        under the model's own posterior, not the encoder's guess of it. Where the
        density has a background, it fills rows to the share that it explains of them.

        Parameters
        ----------
        X : {array-like, frame} of shape (n_samples, n_features)
            Rows, with NaN (of frames also NA and None) where a value is missing.
        n_draws : int or None, default=None
            How many imputations to draw from the posterior predictive distribution,
            for what depends on how sure entries are (Rubin's rules, intervals). None
            is one imputation, of means, and of the most probable categories and truths.
        n_samples : int, default=50
            Codes a row that are weighed.
        random_state : int, RandomState instance or None, default=0
            Seed of the draws.
        %(given)s

        Returns
        -------
        X_imputed : ndarray or frame of shape (n_samples, n_features)
            X with its gaps filled; what was observed is as it was. With ``n_draws``,
            an ndarray of shape (n_draws, n_samples, n_features), or a list of frames.

        Raises
        ------
        ValueError
            If X is invalid, or has gaps and ``missing_values`` was not "marginalize".

        References
        ----------
        .. [1] Mattei and Frellsen (2019). MIWAE: Deep Generative Modelling and
           Imputation of Incomplete Data Sets. ICML.
        """
        check_is_fitted(self)
        n_samples = checked_n_samples(n_samples)
        n_drawn = None if n_draws is None else checked_n_samples(n_draws)
        rows = self._rows(X, conditions, size_factor)
        found = self._imputed(rows, n_drawn, n_samples, private_generator(random_state))
        generator = private_generator(random_state)
        if self._table is not None:
            drawn = None if n_drawn is None else generator
            tables = [fill_table(X, part, self._table, drawn) for part in found]
        else:
            tables = [np.where(np.isnan(rows.X), part, rows.X) for part in found]
        if n_drawn is None:
            return tables[0]
        arrays = all(isinstance(table, np.ndarray) for table in tables)
        return np.stack(tables) if arrays else tables

    def _imputed(
        self, rows, n_draws: int | None, n_samples: int, generator
    ) -> np.ndarray:
        """Rows with their gaps filled, (n_draws or 1, n_rows, n_features)."""
        found = np.repeat(np.array(rows.X)[None], n_draws or 1, axis=0)
        index = np.flatnonzero(np.isnan(rows.X).any(axis=1))
        if not len(index):
            return found
        network = self.module_
        assert isinstance(network, VAE)
        state = self._fitted.state
        imputer = Imputer(
            network,
            self._likelihood_,
            n_samples,
            entropy_of(generator),
            state.background,
            state.record.background_weight,
        )

        def filled(batch: Minibatch):
            if n_draws is None:
                return imputer.expected(batch)[:, None]
            return torch.stack(imputer.drawn(batch, n_draws), dim=1)

        gappy = rows[index]
        values = np.moveaxis(self._over_chunks(gappy, filled), 1, 0)
        found[:, index] = np.where(np.isnan(gappy.X), values, gappy.X)
        return found
