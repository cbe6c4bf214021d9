"""What training minimises, and what a step measures of it, for skorch to hold.

A criterion turns a minibatch into its *terms*, a vector whose first is the likelihood's
loss, and the terms into one number to lower. It works in model units, and says in which
power of the likelihood's scale each term is, so that the history can be in units of X.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._data.dataset import Minibatch
from .._likelihoods.base import Likelihood
from .._nn.posterior import Posterior, draw_posterior


class LossTerm(NamedTuple):
    """A term by the name that the history has, in a power of the units of X."""

    name: str
    unit_exponent: int


def scalar(value: float) -> Tensor:
    """A number as a tensor on the CPU, whatever torch's defaults."""
    return torch.tensor(float(value), dtype=torch.float32, device="cpu")


class Criterion(nn.Module):
    """A likelihood's loss plus weighted penalties.

    Parameters
    ----------
    likelihood : Likelihood

    Attributes
    ----------
    loss_terms : tuple of LossTerm
        In their order, the first ``recon_loss``.
    single_pass : bool
        Whether a step goes through encoder and decoder once.
    """

    likelihood: Likelihood

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    @property
    def single_pass(self) -> bool:
        return True

    @property
    def loss_terms(self) -> tuple[LossTerm, ...]:
        raise NotImplementedError

    @property
    def recon_term(self) -> LossTerm:
        return LossTerm("recon_loss", self.likelihood.loss_exponent)

    def in_units_of_X(self, term: LossTerm, value: float) -> float:
        """The value of a term as the history has it."""
        return value * self.likelihood.scale**term.unit_exponent

    def terms(self, network, batch: Minibatch, generator: torch.Generator) -> Tensor:
        """Differentiable terms of a minibatch, (n_terms,).

        In the precision of its rows, also under autocast, where a network returns
        bfloat16 and a sum of that would be rounded to three digits.
        """
        raise NotImplementedError

    def held_out_terms(
        self, network, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        """The same of held-out rows, with less noise if that can be had."""
        return self.terms(network, batch, generator)

    def forward(self, terms: Tensor) -> Tensor:
        """The loss that a training step lowers."""
        raise NotImplementedError

    def full_loss(self, terms: Tensor) -> Tensor:
        """The loss at full weights: what epochs are compared by."""
        return self(terms)

    def objective(self, terms: Tensor) -> float:
        """What early stopping minimises, in nats per row."""
        return self.likelihood.nats_of_loss(self.full_loss(terms).item())

    def begin_validation(self) -> None:
        """Take note that a pass over the held-out rows begins."""

    def elbo(self, terms: Tensor) -> float | None:
        """ELBO in nats per row of model units, at the best shared parameters."""
        return None

    def update_running_stats(self, terms: Tensor) -> None:
        """Take note of a step's terms."""

    def set_progress(self, progress: float) -> None:
        """Take note of the share of training that is done, in [0, 1]."""

    def end_training(self) -> None:
        """Forget what belongs to a run."""

    def recorded_weights(self) -> dict[str, float]:
        """Weights for an epoch's row of the history, in units of X."""
        return {}


def antithetic_loss(
    likelihood: Likelihood, network, batch: Minibatch, posterior: Posterior, noise
) -> Tensor:
    """The likelihood's loss of two draws a row: ``noise`` (n, k) and its mirror."""
    target = batch.target
    loss = target.new_zeros(())
    for draw in (noise, -noise):
        z = draw_posterior(*posterior, draw)
        raw = network.decode(z, batch.covariates)
        loss += 0.5 * likelihood.held_out_loss(raw, target, batch.mask)
    return loss


def antithetic_nll(
    likelihood: Likelihood, network, batch: Minibatch, posterior: Posterior, noise
) -> Tensor:
    """-ln p(x | z) of every row, (n,), mean over ``noise`` (n, k) and its mirror."""
    nats = []
    for draw in (noise, -noise):
        raw = network.decode(draw_posterior(*posterior, draw), batch.covariates)
        nats.append(likelihood.nll_of_code(raw, batch.target, batch.mask))
    return 0.5 * (nats[0] + nats[1]) + likelihood.nll_constant(batch.target, batch.mask)
