"""``likelihood's loss + kld_weight * KL``: what a variational autoencoder minimises."""

import math

import torch
from torch import Tensor

from .._data.dataset import Minibatch
from .._likelihoods.base import Likelihood
from .._likelihoods.linear_model import LinearModel
from .._nn.autoencoder import VAE
from .._nn.posterior import (
    Posterior,
    draw_posterior,
    kl_per_row,
    kl_to_standard_normal,
)
from .._utils.device import in_float64
from .criterion import (
    Criterion,
    LossTerm,
    antithetic_loss,
    antithetic_nll,
    scalar,
)
from .schedules import Schedule, constant


class WeightedELBO(Criterion):
    """``loss + weight * KL``, with the weight given or that of maximum likelihood.

    Fitted, it is ``beta`` times the likelihood's weight of today (see
    ``Likelihood.unit_weight``).

    Parameters
    ----------
    likelihood : Likelihood
    kld_weight : float or None
        In model units. None: fitted.
    beta : float
        What the fitted weight is multiplied with.
    schedule : callable
        Share of the weight as a function of progress.
    free_bits : float
        Nats of every unit's mean KL that cost nothing (Kingma et al., 2016).
    """

    fixed_weight: Tensor
    share: Tensor

    def __init__(
        self,
        likelihood: Likelihood,
        kld_weight: float | None = None,
        beta: float = 1.0,
        schedule: Schedule = constant,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__(likelihood)
        self.fitted = kld_weight is None
        self.beta = beta
        self.schedule = schedule
        self.free_bits = free_bits
        self._rival: tuple[LinearModel, float] | None = None
        self._row_objectives: list[Tensor] = []
        self.register_buffer("fixed_weight", scalar(kld_weight or 0.0))
        self.register_buffer("share", scalar(1.0), persistent=False)

    @property
    def loss_terms(self) -> tuple[LossTerm, ...]:
        terms = (self.recon_term, LossTerm("kl_loss", 0))
        if self.free_bits > 0.0:
            return (*terms, LossTerm("free_bits_loss", 0))
        return terms

    @property
    def full_weight(self) -> Tensor:
        if not self.fitted:
            return self.fixed_weight
        weight = self.likelihood.unit_weight()
        return weight if self.beta == 1.0 else self.beta * weight

    @property
    def weight(self) -> Tensor:
        """Weight of the KL at this point of training."""
        if self.schedule is constant:
            return self.full_weight
        return self.share * self.full_weight

    def terms(
        self, network: VAE, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        """Loss of a posterior draw and KL per row."""
        target = batch.target
        encoded = network.encode(batch.inputs, generator)
        posterior = Posterior(*(part.to(target.dtype) for part in encoded))
        noise = torch.empty_like(posterior.mean).normal_(generator=generator)
        z = draw_posterior(*posterior, noise)
        raw = network.decode(z, batch.covariates, generator)
        loss = self.likelihood.loss(raw, target, batch.mask)
        return self._with_kl(loss, posterior)

    def held_out_terms(
        self, network: VAE, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        """With an antithetic pair of draws a row.

        With the same seed in every epoch the draws are the same, so that epochs are
        compared on equal terms.
        """
        posterior = network.encode(batch.inputs)
        noise = torch.empty_like(posterior.mean).normal_(generator=generator)
        if self._rival is None:
            loss = antithetic_loss(self.likelihood, network, batch, posterior, noise)
            return self._with_kl(loss, posterior)
        nll = antithetic_nll(self.likelihood, network, batch, posterior, noise)
        self._note_rows(batch, nll, kl_per_row(*posterior))
        return self._with_kl(nll.mean() / self.likelihood.width, posterior)

    def _note_rows(self, batch: Minibatch, nll: Tensor, kl: Tensor) -> None:
        """Note what rows cost in the mixture with the rival, nats."""
        assert self._rival is not None
        model, weight = self._rival
        rows = model.residual(batch)
        others_nll, others_kl = model.expected_nll_and_kl(rows, batch.mask)
        own = in_float64(nll) + self.beta * in_float64(kl)
        others = others_nll + self.beta * others_kl.sum(dim=1)
        self._row_objectives.append(
            -torch.logaddexp(math.log1p(-weight) - own, math.log(weight) - others)
        )

    def compare_within(self, rival: LinearModel, weight: float) -> None:
        """Compare epochs by the mixture with a linear model that will be scored.

        Of a likelihood whose loss is its negative log-likelihood. A held-out row that
        the network cannot explain, and the linear model can, would otherwise decide
        which epoch is kept.
        """
        self._rival = rival, weight

    def begin_validation(self) -> None:
        self._row_objectives = []

    def _with_kl(self, loss: Tensor, posterior: Posterior) -> Tensor:
        kl = kl_per_row(*posterior).mean()
        if self.free_bits == 0.0:
            return torch.stack([loss, kl])
        per_unit = kl_to_standard_normal(*posterior).mean(dim=0)
        return torch.stack([loss, kl, per_unit.clamp_min(self.free_bits).sum()])

    def forward(self, terms: Tensor) -> Tensor:
        return terms[0] + self.weight * terms[-1]

    def full_loss(self, terms: Tensor) -> Tensor:
        return terms[0] + self.full_weight * terms[-1]

    def objective(self, terms: Tensor) -> float:
        if self._row_objectives:
            return torch.cat(self._row_objectives).mean().item()
        if not self.fitted:
            return super().objective(terms)
        loss, penalty = terms[0].item(), terms[-1].item()
        return self.likelihood.nats_of_loss(loss) + self.beta * penalty

    def elbo(self, terms: Tensor) -> float:
        loss, kl = terms[:2].tolist()
        return -self.likelihood.nats_of_loss(loss) - kl

    def update_running_stats(self, terms: Tensor) -> None:
        self.likelihood.update_running_stats(terms[0])

    def set_progress(self, progress: float) -> None:
        if self.schedule is not constant:
            self.share.fill_(self.schedule(progress))

    def __getstate__(self) -> dict:
        """A copy has the schedule of no run: one of the user's may not pickle."""
        return {**self.__dict__, "schedule": constant}

    def end_training(self) -> None:
        # A schedule of the user's may not pickle, and a fitted net has no use for it.
        self.schedule = constant
        self.share.fill_(1.0)
        self._rival, self._row_objectives = None, []

    def recorded_weights(self) -> dict[str, float]:
        return {"kld_weight": self.weight.item() * self.likelihood.loss_unit}
