"""Rows with gaps, filled by a model that knows what goes with what."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ._data.dataset import Minibatch
from ._data.frames import in_precision
from ._data.mixed_table import fill_table
from ._data.moments import column_moments
from ._data.rows import Rows
from ._evaluation.imputation import Imputer
from ._generative import Generative
from ._inference import documented_rows
from ._kernels.surroundings import public
from ._nn.autoencoder import VAE
from ._streams import spools_rows
from ._utils.seeds import entropy_of, private_generator
from ._utils.typing import RandomState, Table
from ._utils.validation import checked_n_samples

# Of what was observed of held-out rows, so much is hidden at a time, until there are
# enough entries.
HIDDEN, ENOUGH_HIDDEN, MOST_HIDINGS = 0.2, 1000, 10


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
        given = {"conditions": conditions, "size_factor": size_factor}
        return self._impute(X, n_draws, n_samples, random_state, given)

    def _impute(
        self, X, n_draws, n_samples, random_state, given, share: float = 1.0
    ) -> Any:
        """The same, with a share of the network beside the linear model's."""
        check_is_fitted(self)
        n_samples = checked_n_samples(n_samples)
        n_drawn = None if n_draws is None else checked_n_samples(n_draws)
        rows = self._rows(X, **given)
        found = self._imputed(
            rows, n_drawn, n_samples, private_generator(random_state), share
        )
        generator = private_generator(random_state)
        if self._table is not None:
            drawn = None if n_drawn is None else generator
            tables = [fill_table(X, part, self._table, drawn) for part in found]
            tables = [in_precision(table, rows.dtype) for table in tables]
        else:
            tables = [np.where(np.isnan(rows.X), part, rows.X) for part in found]
        if n_drawn is None:
            return tables[0]
        arrays = all(isinstance(table, np.ndarray) for table in tables)
        return np.stack(tables) if arrays else tables

    @public
    @spools_rows
    def _share_of_network(self, X, n_samples: int, conditions=None) -> float:
        """Share of the network at which entries of held-out rows are filled best.

        Entries that were observed are hidden and filled, by the network and by the
        linear model that training began at; the share is that of least squares, in
        standard deviations of the columns (stacking: Wolpert, 1992). 1 where there are
        no rows, or there is no model, to tell.
        """
        state = self._fitted.state
        if state.linear_model is None or state.split is None or not self.best_epoch_:
            return 1.0
        held = self._rows(X, conditions)[np.sort(state.split.held_out)]
        generator = np.random.RandomState(0)
        scale = np.sqrt(column_moments(held.X)[1])
        ahead, off, n_hidden = [], [], 0
        for _ in range(MOST_HIDINGS if len(held) else 0):
            hidden = ~np.isnan(held.X) & (generator.uniform(size=held.shape) < HIDDEN)
            hidden &= scale > 0.0
            rows = Rows(np.where(hidden, np.nan, held.X), held.covariates)
            ours, linear = (
                self._imputed(rows, None, n_samples, np.random.RandomState(0), share)[0]
                for share in (1.0, 0.0)
            )
            ahead.append(((ours - linear) / np.where(scale > 0.0, scale, 1.0))[hidden])
            off.append(((held.X - linear) / np.where(scale > 0.0, scale, 1.0))[hidden])
            n_hidden += int(hidden.sum())
            if n_hidden >= ENOUGH_HIDDEN:
                break
        if not n_hidden:
            return 1.0
        d, e = np.concatenate(ahead), np.concatenate(off)
        return float(np.clip((d @ e) / max(d @ d, 1e-12), 0.0, 1.0))

    def _imputed(
        self, rows, n_draws: int | None, n_samples: int, generator, share: float = 1.0
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
            state.linear_model,
            0.0 if state.background is None else state.record.background_weight,
            share,
        )

        def filled(batch: Minibatch):
            if n_draws is None:
                return imputer.expected(batch)[:, None]
            return torch.stack(imputer.drawn(batch, n_draws), dim=1)

        gappy = rows[index]
        values = np.moveaxis(self._over_chunks(gappy, filled), 1, 0)
        found[:, index] = np.where(np.isnan(gappy.X), values, gappy.X)
        return found
