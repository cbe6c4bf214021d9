"""One pass of rows through a fitted model: all that scores and measures are made of.

Scorers, ``metrics``, ``diagnose``, the search and the command line's runs share it, so
that what they say of a fit adds up, and a row is encoded and decoded once.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._data.dataset import Minibatch
from .._likelihoods.base import ExpectedNLL, Likelihood
from .._likelihoods.linear_model import LinearModel
from .._nn.autoencoder import VAE
from .._nn.posterior import Posterior, kl_to_standard_normal
from .._objectives.elbo import RowTerms, choice_of_model, mixed
from .._utils.device import in_float64
from .blocks import row_blocks
from .bounds import cubature
from .importance import RowNoise, importance_weighted_bound
from .verdicts import ACTIVE_VARIANCE


class Evaluation(NamedTuple):
    """What a model makes of rows: arrays in float64, in nats and in units of X.

    Attributes
    ----------
    distortion : ndarray of shape (n,)
        ``-E_q ln p(x | z)`` of the density that is scored.
    choice : ndarray of shape (n,)
        KL of the choice between the network and the background, 0 without one.
    kl : ndarray of shape (n, latent_dim)
        KL of every unit's posterior.
    background : ndarray of shape (n,)
        The background's share in the explanation of the row, in [0, 1].
    network_distortion : ndarray of shape (n,)
        As ``distortion``, of the network alone.
    mean, log_var : ndarray of shape (n, latent_dim)
        The network's posteriors.
    """

    distortion: np.ndarray
    choice: np.ndarray
    kl: np.ndarray
    background: np.ndarray
    network_distortion: np.ndarray
    mean: np.ndarray
    log_var: np.ndarray

    @property
    def rate(self) -> np.ndarray:
        """KL of the posterior from the prior, (n,)."""
        return self.choice + self.kl.sum(axis=1)

    @property
    def elbo(self) -> np.ndarray:
        """(n,)."""
        return -(self.distortion + self.rate)

    @property
    def active_units(self) -> int:
        """Units whose posterior mean varies over the rows."""
        return n_active(self.mean)


def n_active(mean: np.ndarray, threshold: float = ACTIVE_VARIANCE) -> int:
    """Units whose posterior mean (n, latent_dim) has a variance above a threshold."""
    return int((mean.var(axis=0, dtype=np.float64) > threshold).sum())


class Density:
    """A network's density, mixed with that of a background model if there is one.

    Parameters
    ----------
    network : VAE
    likelihood : Likelihood
        Calibrated.
    background : LinearModel or None
    background_weight : float
        Prior probability of the background, in (0, 1); not used without one.
    n_pairs : int or None
        Of the cubature; None is what it has by itself.
    design : int
        Of the cubature.
    """

    def __init__(
        self,
        network: VAE,
        likelihood: Likelihood,
        background: LinearModel | None = None,
        background_weight: float = 0.0,
        n_pairs: int | None = None,
        design: int = 0,
    ) -> None:
        self._network, self._likelihood = network, likelihood
        self._background, self._weight = background, background_weight
        self._points = n_pairs, design

    def evaluate(self) -> Callable[[Minibatch], Tensor]:
        """What measures a chunk: columns of an :class:`Evaluation`, side by side.

        Chunks are best in float32, as the weights are: the outcome is then right to a
        ten millionth of what is added up, and takes a fourth of the time.
        """
        expected_nll: ExpectedNLL | None = None

        @torch.no_grad()
        def measure(batch: Minibatch) -> Tensor:
            nonlocal expected_nll
            target, whole = batch.target, None
            expected_nll = expected_nll or self.expected_nll(target)
            if not isinstance(batch.inputs, Tensor):
                # Sparse rows are multiplied each by itself: no need of blocks.
                whole = self._network.encode(batch.inputs)
                batch = Minibatch(target, target, batch.mask, batch.covariates)
            found = []
            for at in row_blocks(len(target), target.device):
                some = batch[at]
                if whole is None:
                    posterior = self._network.encode(some.inputs)
                else:
                    posterior = Posterior(*(part[at] for part in whole))
                nll = expected_nll(posterior, some)
                found.append(self._columns(posterior, nll, some))
            return torch.cat(found)[: len(target)]

        return measure

    def _columns(self, posterior: Posterior, nll: Tensor, batch: Minibatch) -> Tensor:
        nll, kl = in_float64(nll), in_float64(kl_to_standard_normal(*posterior))
        terms, share = self._mixed(RowTerms(nll, kl, torch.zeros_like(nll)), batch)
        # The units of X that a row was observed in are not those of all its columns.
        beyond = self._likelihood.log_det_beyond(batch.target, batch.mask)
        nats = terms.distortion - beyond
        firsts = torch.stack([nats, terms.choice, share, nll - beyond], dim=1)
        moments = [in_float64(part) for part in posterior]
        return torch.cat([firsts, terms.kl, *moments], dim=1)

    def evaluation(self, columns: np.ndarray) -> Evaluation:
        """The columns of all rows, taken apart, in the units of X."""
        distortion, choice, share, nll = columns[:, :4].T
        kl, mean, log_var = np.split(columns[:, 4:], 3, axis=1)
        log_det = self._likelihood.log_det()
        return Evaluation(
            distortion - log_det, choice, kl, share, nll - log_det, mean, log_var
        )

    def _mixed(self, terms: RowTerms, batch: Minibatch) -> tuple[RowTerms, Tensor]:
        if self._background is None:
            return terms, torch.zeros_like(terms.distortion)
        rows = self._background.residual(batch)
        nll, kl = self._background.expected_nll_and_kl(rows, batch.mask)
        # Both have the unit that explains most first, so the KLs of the i-th of each
        # are averaged; totals need no pairs. Units that it has not are at the prior.
        kl = F.pad(kl, (0, terms.kl.shape[1] - kl.shape[1]))
        others = RowTerms(nll, kl, torch.zeros_like(nll))
        share, _ = choice_of_model(terms.elbo, others.elbo, self._weight)
        return mixed(terms, others, self._weight), share

    def log_likelihood(
        self, n_samples: int, entropy: int
    ) -> Callable[[Minibatch], Tensor]:
        """What bounds ln p of a chunk's rows by importance sampling, nats of X.

        Chunks are to come in the order of the rows. Every row has draws of its own, so
        that their errors average out over rows.
        """
        log_det = self._likelihood.log_det()
        noise = RowNoise(entropy, n_samples, self._network.latent_dim)

        def bounds(batch: Minibatch) -> Tensor:
            draws = noise.of_next(len(batch), batch.target)
            bound = importance_weighted_bound(
                self._network, self._likelihood, batch, draws
            )
            if self._background is not None:
                rows = self._background.residual(batch)
                nll, kl = self._background.expected_nll_and_kl(rows, batch.mask)
                background = -(nll + kl.sum(dim=1)) + math.log(self._weight)
                bound = torch.logaddexp(bound + math.log1p(-self._weight), background)
            beyond = self._likelihood.log_det_beyond(batch.target, batch.mask)
            return bound + (log_det + beyond)

        return bounds

    def expected_nll(self, target: Tensor) -> ExpectedNLL:
        """Of the network, for rows of the target's precision and device."""
        points = cubature(self._network.latent_dim, *self._points).to(target)
        return self._likelihood.expected_nll(self._network.decoder, points)
