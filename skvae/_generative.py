"""What a model with a likelihood is asked: scores of rows, and rows of its own."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._base import BaseAutoencoder
from ._data.covariates import Covariates
from ._data.dataset import Minibatch
from ._data.rows import Rows
from ._evaluation.evaluator import Evaluation
from ._inference import documented_rows
from ._kernels.surroundings import public
from ._nn.autoencoder import VAE
from ._streams import reads_parts, spools_rows
from ._utils.seeds import entropy_of, private_generator
from ._utils.typing import RandomState, Table
from ._utils.validation import Overflowed, checked_finite, checked_n_samples
from ._utils.warn import warn_user


class Generative(BaseAutoencoder):
    """An autoencoder that is a density, or a probability mass, of rows."""

    @public
    @documented_rows
    @reads_parts
    def transform(
        self,
        X: Table,
        return_std: bool = False,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
    ) -> Any:
        """Code X.

        Deterministic: the posterior's mean, no dropout, running statistics. Conditions
        are needed only with ``encode_conditions``.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to code.
        return_std : bool, default=False
            Whether to return the posterior's standard deviation, too.
        %(given)s

        Returns
        -------
        %(codes)s
        X_std : ndarray of shape (n_samples, latent_dim)
            Standard deviation of the posterior of every unit, in the units and the
            dtype of the codes; only with ``return_std``. An ndarray whatever
            ``set_output`` asks for the codes.
        """
        check_is_fitted(self)
        rows = self._rows(X, conditions, size_factor, decoded=False)
        if not return_std:
            return self._transformed(rows)
        network = self.module_
        assert isinstance(network, VAE)

        def moments(batch: Minibatch) -> Tensor:
            mean, log_var = network.encode(batch.inputs)
            return torch.cat([mean, (0.5 * log_var).exp()], dim=1)

        found = self._over_chunks(rows, moments)
        parts = np.hsplit(found, 2)
        with np.errstate(over="ignore"):
            parts = [part * self._code_units(found.dtype) for part in parts]
        return tuple(checked_finite(part, rows.dtype) for part in parts)

    @public
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        noise: bool | None = None,
        conditions: Table | None = None,
        size_factor: Any = None,
    ) -> np.ndarray:
        """Draw rows from the model: codes from the prior, decoded.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.
        noise : bool or None, default=None
            Whether to draw from what :meth:`score` measures: with the likelihood's
            noise, and a row with the probability ``background_weight`` from the
            background. Without it, the mean of the network's decoder. None draws where
            the likelihood is discrete or "mixed", so that counts and bits are whole
            numbers, and gives the mean where it is continuous.
        conditions : array-like or frame, optional
            To draw under, (n_samples, n_conditions), or one row for all; only if
            ``fit`` was given some.
        size_factor : float or array-like of shape (n_samples,), optional
            Of likelihoods of counts: the size of the rows, by default drawn from those
            of the training rows under such conditions, or, without noise, that of the
            median row of all.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Drawn rows, in the units and the dtype of the training data.
        """
        check_is_fitted(self)
        n_samples = checked_n_samples(n_samples)
        generator = private_generator(random_state)
        Z = generator.standard_normal((n_samples, self.module_.latent_dim))
        Z = Z.astype(self._dtype)
        likelihood, state = self._likelihood_, self._fitted.state
        noisy = bool(noise)
        if noise is None:
            noisy = likelihood.is_discrete or likelihood.is_drawn
        if noisy and size_factor is None and self._sizes is not None:
            size_factor = self._drawn_sizes(n_samples, conditions, generator)
        given = self._covariates_of_codes(n_samples, conditions, size_factor)
        if not noisy:
            return self._as_given(self._decode(Z, given))

        def drawn(raw: Tensor, covariates: Covariates) -> Tensor:
            return likelihood.sample(raw, generator, covariates)

        X = self._decode(Z, given, drawn)
        if state.background is None:
            return self._as_given(X, random_state=generator)
        odd = generator.uniform(size=n_samples) < state.record.background_weight
        others = state.background.sample(int(odd.sum()), generator)
        if given.conditions is not None:
            others += state.background.given(
                torch.tensor(given.conditions[odd]).double()
            )
        X[odd] = likelihood.to_units_of_X(others).numpy()
        return X

    @public
    @documented_rows
    @reads_parts
    def score_samples(
        self, X: Table, *, conditions: Table | None = None, size_factor: Any = None
    ) -> np.ndarray:
        """Evidence lower bound of every row.

        ``E_q ln p(x | z) - KL(q(z | x) || p(z))`` with the calibrated decoder and
        beta = 1: a lower bound of the log-likelihood, comparable across ``kld_weight``,
        ``beta``, ``latent_dim``, architectures and with probabilistic PCA
        (:func:`skvae.metrics.pca_scorer`). Of discrete likelihoods it bounds the
        logarithm of a probability, which does not compare with that of a density.

        The expectation is a cubature of antithetic points, the same for every row:
        deterministic. A fit takes the fewest (at most twice as many as units, or 128)
        that keep the mean of some held-out rows within 0.15 nats of many points, and
        the rows within 0.5 in the root mean square; of tables wider than 500 columns,
        in proportion. It is computed in float32, whatever X is in, unless that
        overflows; rounding is some ten millionths of the nats that a row has.

        Where fitting began at a linear model and left it, the density is a mixture of
        the network, at ``1 - background_weight``, and of that model, the background: an
        odd row, far from all that the network was trained on, is explained by the
        linear model (see :meth:`background_responsibility`). With
        ``kld_weight="auto"`` that is probabilistic PCA, so at the default of 0.01 no
        row scores more than 4.6 nats below it; other rows lose 0.01 nats.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to score.
        %(given)s

        Returns
        -------
        elbo : ndarray of shape (n_samples,)
            Nats per row, float64.
        """
        return self._evaluate(X, conditions, size_factor).elbo

    @documented_rows
    def score(
        self,
        X: Table,
        y: Any = None,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
    ) -> float:
        """Mean evidence lower bound, in nats per row.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to score.
        y : Ignored
            Not used, present for API consistency.
        %(given)s

        Returns
        -------
        elbo : float
            Mean of :meth:`score_samples`.
        """
        given = {"conditions": conditions, "size_factor": size_factor}
        if self._is_of_another_kind:
            warn_user(
                f"likelihood={self.likelihood_!r} is of another kind than that of the "
                "estimator that this was cloned from: one score is a density, and the "
                "other a probability mass, which do not compare."
            )
        return float(self.score_samples(X, **given).mean())

    @property
    def _is_of_another_kind(self) -> bool:
        """Whether it was cloned from one of numbers and is of counts, or so."""
        is_discrete = self._likelihood_.is_discrete
        return is_discrete != getattr(self, "_cloned_is_discrete", is_discrete)

    @public
    @documented_rows
    @spools_rows
    def log_likelihood(
        self,
        X: Table,
        n_samples: int = 5000,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
        random_state: RandomState = 0,
    ) -> np.ndarray:
        """Log-likelihood of every row, bounded from below by importance sampling.

        The importance-weighted bound of Burda et al. (2016),
        ``ln 1/K sum_k p(x, z_k) / q(z_k | x)`` over K draws from the row's posterior:
        in expectation no more than ln p(x), and the closer the more draws. With 5000 it
        is what the literature gives as the log-likelihood of a variational autoencoder.
        It is of the density that :meth:`score_samples` bounds, the background included,
        and comparable with that; of discrete likelihoods it is of a probability.

        Every row has draws of its own, which depend on ``random_state`` and the row's
        place in X alone. Memory does not grow with ``n_samples``; the time is that of
        decoding ``n_samples`` times as many rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to score.
        n_samples : int, default=5000
            Draws a row.
        %(given)s
        random_state : int, RandomState instance or None, default=0
            Seed of the draws.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            Nats per row, float64.

        Raises
        ------
        ValueError
            If ``n_samples`` is not a positive integer, or X is invalid.

        References
        ----------
        Burda, Grosse and Salakhutdinov (2016). Importance Weighted Autoencoders. ICLR.
        """
        check_is_fitted(self)
        n_samples = checked_n_samples(n_samples)
        entropy = entropy_of(private_generator(random_state))
        rows = self._rows(X, conditions, size_factor)
        measure = self._fitted.state.density().log_likelihood(n_samples, entropy)
        return self._over_chunks(rows, measure)

    @documented_rows
    def background_responsibility(
        self, X: Table, *, conditions: Table | None = None, size_factor: Any = None
    ) -> np.ndarray:
        """The background's share in the explanation of every row.

        The density that :meth:`score_samples` bounds is a mixture of the network and,
        at ``background_weight``, of the linear model that fitting began at. This is the
        posterior probability of the latter: near 0 for what the network was trained on,
        near 1 for an outlier, which the score of the mixture would hide.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows.
        %(given)s

        Returns
        -------
        responsibility : ndarray of shape (n_samples,)
            In [0, 1], float64; 0 where there is no background: ``background_weight=0``,
            ``linear_path=None``, a discrete likelihood, or a fit that kept the linear
            model itself (``best_epoch_`` 0).
        """
        return self._evaluate(X, conditions, size_factor).background

    @public
    @spools_rows
    def _evaluate(self, X, conditions=None, size_factor=None) -> Evaluation:
        """One pass of rows through the density: all that is scored and measured."""
        check_is_fitted(self)
        return self._evaluate_rows(self._rows(X, conditions, size_factor))

    def _evaluate_rows(self, rows: Rows) -> Evaluation:
        """The same of validated rows."""
        density = self._fitted.state.density()
        try:
            columns = self._over_chunks(rows, density.evaluate(), torch.float32)
        except Overflowed:
            if rows.dtype == np.float32:
                raise
            columns = self._over_chunks(rows, density.evaluate())
        return density.evaluation(columns)

    @public
    @spools_rows
    def _linear_log_likelihood(self, X) -> np.ndarray | None:
        """ln p of rows (n,) in the linear model that fitting began at, nats of X."""
        check_is_fitted(self)
        model, likelihood = self._fitted.state.linear_model, self._likelihood_
        if model is None:
            return None
        return likelihood.linear_log_likelihood(model, self._rows(X).X)

    @public
    @spools_rows
    def _nats_per_feature(self, X) -> np.ndarray:
        """``-ln p(x | z)`` of every entry at the row's code, (n, D), nats of X."""
        check_is_fitted(self)
        network, likelihood = self.module_, self._likelihood_

        def nats(batch: Minibatch) -> Tensor:
            raw = network(batch.inputs, batch.covariates)
            return likelihood.nll_per_feature(raw, batch.target, batch.mask)

        return self._over_chunks(self._rows(X), nats)

    @public
    def _posterior_means(self, X, **given: Any) -> np.ndarray:
        """Means of the posteriors (n, latent_dim), in units of the prior."""
        check_is_fitted(self)
        network = self.module_
        rows = self._rows(X, **given, decoded=False)

        def means(batch) -> Tensor:
            return network.code(batch.inputs)

        return self._over_chunks(rows, means)
