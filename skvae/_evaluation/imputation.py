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
from .._nn.posterior import draw_posterior
from .._utils.device import in_float64
from .importance import RowNoise


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
    background : LinearModel or None
        A second component of the density, which explains odd rows.
    background_weight : float
        Its prior probability.
    """

    def __init__(
        self,
        network: VAE,
        likelihood: Likelihood,
        n_samples: int,
        entropy: int,
        background: LinearModel | None,
        background_weight: float,
    ) -> None:
        self._network, self._likelihood = network, likelihood
        self._background, self._prior = background, background_weight
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
        if self._background is None:
            return rows
        odd = self._odd(batch, found)[:, None].to(rows.dtype)
        linear = self._background.expected_rows(batch)
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
        if self._background is None:
            return rows
        odd = self._odd(batch, found).cpu().numpy()
        for i, own in enumerate(rows):
            taken = self._random_state.uniform(size=n) < odd
            linear = self._background.drawn_rows(batch, self._random_state)
            others = self._likelihood.to_units_of_X(linear.to(own.dtype))
            where = torch.from_numpy(taken).to(device)[:, None]
            rows[i] = torch.where(where, others, own)
        return rows

    def _weighted_codes(self, batch: Minibatch) -> WeightedCodes:
        posterior = self._network.encode(batch.inputs)
        mean, log_var = posterior
        codes, logs = [], []
        for draws in self._noise.of_next(len(batch), batch.target):
            z = draw_posterior(mean, log_var, draws)
            # ln N(z; 0, I) - ln N(z; mean, var): the normalising constants cancel.
            log_ratio = 0.5 * (draws.square() + log_var - z.square()).sum(dim=2)
            for code, ratio in zip(z, log_ratio, strict=True):
                raw = self._network.decode(code, batch.covariates)
                nll = self._likelihood.nll_of_code(raw, batch.target, batch.mask)
                logs.append(in_float64(ratio) - in_float64(nll))
            codes.append(z)
        log_weights = torch.stack(logs)
        total = torch.logsumexp(log_weights, dim=0)
        constant = self._likelihood.nll_constant(batch.target, batch.mask)
        evidence = total - math.log(len(log_weights)) - constant
        return WeightedCodes(torch.cat(codes), log_weights - total, evidence)

    def _odd(self, batch: Minibatch, found: WeightedCodes) -> Tensor:
        """Posterior probability of the background, (n,), float64."""
        assert self._background is not None
        rows = self._background.residual(batch)
        nll, kl = self._background.expected_nll_and_kl(rows, batch.mask)
        odds = found.evidence + math.log1p(-self._prior)
        odds = odds - math.log(self._prior) + nll + kl.sum(dim=1)
        return torch.sigmoid(-odds)
