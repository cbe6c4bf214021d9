"""What gaps of rows are, given what was observed of them, by importance sampling.

With draws z_s from q(z | x) and ``w_s = p(x_o | z_s) p(z_s) / q(z_s | x)``, normalised
to add up to 1, ``E[x_m | x_o] = sum_s w_s E[x_m | z_s]``, and draws of z_s with the
probabilities w_s are draws from p(z | x_o) (Mattei & Frellsen, 2019): both for as many
draws as it takes, whatever q is.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import Minibatch
from .._likelihoods.base import Likelihood
from .._likelihoods.linear_model import LinearModel
from .._nn.autoencoder import VAE
from .._utils.device import in_float64
from .importance import RowNoise, weighted_draws


class WeightedCodes(NamedTuple):
    """Draws of the codes of rows, and what they weigh.

    Attributes
    ----------
    codes : tensor of shape (n_draws, n, k)
    log_weights : tensor of shape (n_draws, n)
        Normalised, float64.
    evidence : tensor of shape (n,)
        The importance-weighted bound on ln p(x_o), in nats, float64, in model units.
    """

    codes: Tensor
    log_weights: Tensor
    evidence: Tensor


class Imputer:
    """Fills the gaps of minibatches of rows, which come in the order of the table.

    Parameters
    ----------
    network : VAE
    likelihood : Likelihood
        Calibrated.
    n_samples : int
        Draws of the code of every row.
    entropy : int
        Seed of the draws.
    linear : LinearModel or None
        That training began at.
    background_weight : float
        Its prior probability as a second component of the density, which explains odd
        rows; 0 where it is none.
    share : float
        Of the network in what is filled in; the rest is the linear model's.
    """

    def __init__(
        self,
        network: VAE,
        likelihood: Likelihood,
        n_samples: int,
        entropy: int,
        linear: LinearModel | None,
        background_weight: float,
        share: float = 1.0,
    ) -> None:
        self._network, self._likelihood = network, likelihood
        self._linear, self._prior, self._share = linear, background_weight, share
        self._noise = RowNoise(entropy, n_samples, network.latent_dim)
        self._random_state = np.random.RandomState(entropy % 2**32)

    @torch.no_grad()
    def expected(self, batch: Minibatch) -> Tensor:
        """Rows (n, D) in units of X, every entry at its mean or most probable value."""
        found = self._weighted_codes(batch)
        likelihood = self._likelihood
        total = None
        for codes, weights in zip(found.codes, found.log_weights.exp(), strict=True):
            raw = self._network.decode(codes, batch.covariates)
            part = likelihood.predictive(raw, batch.covariates)
            part = in_float64(part) * weights[:, None]
            total = part if total is None else total + part
        assert total is not None
        rows = likelihood.point(total.to(batch.target.dtype))
        if self._is_alone:
            return rows
        odd = self._odd(batch, found)[:, None].to(rows.dtype)
        assert self._linear is not None
        linear = self._linear.expected_rows(batch)
        return torch.lerp(rows, likelihood.to_units_of_X(linear.to(rows.dtype)), odd)

    @torch.no_grad()
    def drawn(self, batch: Minibatch, n_draws: int) -> list[Tensor]:
        """Draws of rows (n, D), in units of X, given what was observed of them."""
        found = self._weighted_codes(batch)
        n = len(batch)
        shares = found.log_weights.exp().cpu().numpy().cumsum(axis=0)
        device = batch.target.device
        rows = []
        for _ in range(n_draws):
            level = self._random_state.uniform(size=n) * shares[-1]
            which = np.minimum((shares < level).sum(axis=0), len(shares) - 1)
            codes = found.codes[torch.from_numpy(which), torch.arange(n)]
            raw = self._network.decode(codes, batch.covariates)
            rows.append(
                self._likelihood.sample(raw, self._random_state, batch.covariates)
            )
        if self._is_alone:
            return rows
        assert self._linear is not None
        odd = self._odd(batch, found).cpu().numpy()
        for i, own in enumerate(rows):
            taken = self._random_state.uniform(size=n) < odd
            linear = self._linear.drawn_rows(batch, self._random_state)
            others = self._likelihood.to_units_of_X(linear.to(own.dtype))
            where = torch.from_numpy(taken).to(device)[:, None]
            rows[i] = torch.where(where, others, own)
        return rows

    def _weighted_codes(self, batch: Minibatch) -> WeightedCodes:
        noise = self._noise.of_next(len(batch), batch.target)
        blocks = list(weighted_draws(self._network, self._likelihood, batch, noise))
        codes, logs = zip(*blocks, strict=True)
        log_weights = torch.cat(logs)
        total = torch.logsumexp(log_weights, dim=0)
        constant = self._likelihood.nll_constant(batch.target, batch.mask)
        evidence = total - math.log(len(log_weights)) - constant
        return WeightedCodes(torch.cat(codes), log_weights - total, evidence)

    @property
    def _is_alone(self) -> bool:
        """Whether all is the network's."""
        return self._linear is None or (self._prior == 0.0 and self._share == 1.0)

    def _odd(self, batch: Minibatch, found: WeightedCodes) -> Tensor:
        """What the linear model has in a row, (n,), float64.

        Its posterior probability, and its share in what is not odd.
        """
        assert self._linear is not None
        if self._prior == 0.0:
            return torch.full_like(found.evidence, 1.0 - self._share)
        rows = self._linear.residual(batch)
        nll, kl = self._linear.expected_nll_and_kl(rows, batch.mask)
        odds = found.evidence + math.log1p(-self._prior)
        odds = odds - math.log(self._prior) + nll + kl.sum(dim=1)
        return 1.0 - self._share * torch.sigmoid(odds)
