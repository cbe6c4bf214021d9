"""What training minimises, and what a step measures of it, for skorch to hold.

A criterion turns a minibatch into its *terms*, a vector whose first is the mean squared
error, and the terms into the loss. It works on scaled rows, and says in which power of
the scale each term is, so that the history can be in the units of X.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from .._evaluation.bounds import antithetic_error
from .._nn.autoencoder import VAE, Autoencoder
from .._nn.thresholds import ThresholdedAutoencoder, thresholded, with_noise
from .elbo import (
    calibrated_elbo,
    draw_posterior,
    kl_per_row,
    kl_to_standard_normal,
)
from .penalties import CODE_PENALTIES, DECODER_PENALTIES
from .schedules import Schedule, constant

# Least noise variance, as a share of the mean variance of X: below it, float32
# residuals are rounding.
NOISE_FLOOR = 1e-9
# Steps over which the fitted noise variance forgets: long enough to average the
# batches, short enough to follow training.
NOISE_MOMENTUM = 0.05


def scalar(value: float) -> Tensor:
    """A number as a tensor on the CPU, whatever torch's defaults."""
    return torch.tensor(float(value), dtype=torch.float32, device="cpu")


def _squared_error(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Mean over elements, in the precision of the rows."""
    return nn.functional.mse_loss(reconstruction.to(x.dtype), x)


class Criterion(nn.Module):
    """Squared error plus weighted penalties.

    Attributes
    ----------
    powers : dict of str to int
        What the terms are called in the history, in their order, the first
        ``recon_loss``; and the power of the scale of X that each is in.
    single_pass : bool
        Whether a step goes through encoder and decoder once.
    """

    n_features: int

    @property
    def single_pass(self) -> bool:
        return True

    @property
    def powers(self) -> dict[str, int]:
        raise NotImplementedError

    def terms(self, module, x: Tensor, generator: torch.Generator) -> Tensor:
        """Differentiable terms of a minibatch, (n_terms,).

        In the precision of its rows, also under autocast, where a module returns
        bfloat16 and a sum of that would be rounded to three digits.
        """
        raise NotImplementedError

    def held_out_terms(self, module, x: Tensor, generator: torch.Generator) -> Tensor:
        """The same of held-out rows, with less noise if that can be had."""
        return self.terms(module, x, generator)

    def forward(self, terms: Tensor) -> Tensor:
        """The loss that a training step lowers."""
        raise NotImplementedError

    def full_loss(self, terms: Tensor) -> Tensor:
        """The loss at full weights: what epochs are compared by."""
        return self(terms)

    def objective(self, terms: Tensor) -> float:
        """What early stopping minimises, in nats per row."""
        loss = max(self.full_loss(terms).item(), NOISE_FLOOR)
        return 0.5 * self.n_features * math.log(loss)

    def elbo(self, terms: Tensor) -> float | None:
        """ELBO in nats per row, with the noise variance at its optimum, if any."""
        return None

    def update_running_stats(self, terms: Tensor) -> None:
        """Take note of a step's terms."""

    def set_progress(self, progress: float) -> None:
        """Take note of the share of training that is done, in [0, 1]."""

    def end_training(self) -> None:
        """Forget what belongs to a run."""

    def recorded(self, scale: float) -> dict[str, float]:
        """What else belongs into an epoch's row of the history, in units of X."""
        return {}


class WeightedELBO(Criterion):
    """``squared error + kld_weight * KL``, with the weight given or fitted.

    Fitted, the weight is ``2 s2 / D`` (beta = 1) with s2 a running mean of the squared
    error, which is where s2 is optimal (sigma-VAE: Rybkin et al., 2021).

    Parameters
    ----------
    kld_weight : float or None
        None: fit the noise variance.
    n_features : int
    noise_variance : float
        Where the fitted variance starts.
    schedule : callable
        Share of the weight as a function of progress.
    free_bits : float
        Nats of every unit's mean KL that cost nothing (Kingma et al., 2016).
    """

    noise_variance: Tensor
    fixed_weight: Tensor
    share: Tensor

    def __init__(
        self,
        kld_weight: float | None,
        n_features: int,
        noise_variance: float = 1.0,
        schedule: Schedule = constant,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__()
        self.fitted = kld_weight is None
        self.n_features = n_features
        self.schedule = schedule
        self.free_bits = free_bits
        self.register_buffer("noise_variance", scalar(noise_variance))
        self.register_buffer("fixed_weight", scalar(kld_weight or 0.0))
        self.register_buffer("share", scalar(1.0), persistent=False)

    @property
    def powers(self) -> dict[str, int]:
        powers = {"recon_loss": 2, "kl_loss": 0}
        return {**powers, "free_bits_loss": 0} if self.free_bits > 0.0 else powers

    @property
    def full_weight(self) -> Tensor:
        if self.fitted:
            return self.noise_variance * (2.0 / self.n_features)
        return self.fixed_weight

    @property
    def weight(self) -> Tensor:
        """Weight of the KL at this point of training."""
        if self.schedule is constant:
            return self.full_weight
        return self.share * self.full_weight

    def terms(self, module: VAE, x: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error of a posterior draw and KL per row."""
        mean, log_var = (part.to(x.dtype) for part in module.encode(x, generator))
        noise = torch.empty_like(mean).normal_(generator=generator)
        z = draw_posterior(mean, log_var, noise)
        error = _squared_error(module.decode(z, generator), x)
        return self._with_kl(error, mean, log_var)

    def held_out_terms(
        self, module: VAE, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """With an antithetic pair of draws a row.

        With the same seed in every epoch the draws are the same, so that epochs are
        compared on equal terms.
        """
        mean, log_var = module.encode(x)
        noise = torch.empty_like(mean).normal_(generator=generator)
        error = antithetic_error(module, x, mean, log_var, noise)
        return self._with_kl(error, mean, log_var)

    def _with_kl(self, error: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        kl = kl_per_row(mean, log_var).mean()
        if self.free_bits == 0.0:
            return torch.stack([error, kl])
        per_unit = kl_to_standard_normal(mean, log_var).mean(dim=0)
        return torch.stack([error, kl, per_unit.clamp_min(self.free_bits).sum()])

    def forward(self, terms: Tensor) -> Tensor:
        return terms[0] + self.weight * terms[-1]

    def full_loss(self, terms: Tensor) -> Tensor:
        return terms[0] + self.full_weight * terms[-1]

    def objective(self, terms: Tensor) -> float:
        if not self.fitted:
            return super().objective(terms)
        error, penalty = terms[0].item(), terms[-1].item()
        return -calibrated_elbo(error, penalty, self.n_features, NOISE_FLOOR)

    def elbo(self, terms: Tensor) -> float:
        error, kl = terms[:2].tolist()
        return calibrated_elbo(error, kl, self.n_features, NOISE_FLOOR)

    @torch.no_grad()
    def update_running_stats(self, terms: Tensor) -> None:
        """Move the noise variance towards the squared error of a batch."""
        self.noise_variance.lerp_(terms[0], NOISE_MOMENTUM).clamp_(NOISE_FLOOR)

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

    def recorded(self, scale: float) -> dict[str, float]:
        return {"kld_weight": self.weight.item() * scale**2}


class PenalisedError(Criterion):
    """``squared error + reg_weight * penalty of the code + weight * of the decoder``.

    Parameters
    ----------
    n_features : int
    code_penalty : {"l2", "l1", "soft_threshold"} or None
        "soft_threshold" is "l1" of a :class:`ThresholdedAutoencoder`'s codes, whose
        decoder is trained on codes with noise.
    reg_weight : float
    decoder_penalty : {"l2", "gradient", "spectral"} or None
    decoder_penalty_weight : float
    """

    def __init__(
        self,
        n_features: int,
        code_penalty: str | None = None,
        reg_weight: float = 0.0,
        decoder_penalty: str | None = None,
        decoder_penalty_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.code_penalty = code_penalty
        self.reg_weight = reg_weight
        self.decoder_penalty = decoder_penalty
        self.decoder_penalty_weight = decoder_penalty_weight

    @property
    def powers(self) -> dict[str, int]:
        powers = {"recon_loss": 2}
        if self.code_penalty is not None:
            powers["reg_loss"] = 2 if self.code_penalty == "l2" else 1
        if self.decoder_penalty is not None:
            powers["decoder_loss"] = 0
        return powers

    @property
    def single_pass(self) -> bool:
        return self.decoder_penalty is None

    @property
    def thresholds(self) -> bool:
        """Whether codes pass a soft threshold."""
        return self.code_penalty == "soft_threshold"

    def price(self, n_rows: int) -> float:
        """Slope of the loss by the absolute value of one of so many rows' codes."""
        return self.reg_weight / n_rows

    def code_terms(self, z: Tensor) -> list[Tensor]:
        """The penalty of codes, if there is one."""
        if self.code_penalty is None:
            return []
        return [CODE_PENALTIES[self.code_penalty](z)]

    def terms(
        self, module: Autoencoder, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Squared error, and the penalties that there are."""
        if not self.thresholds:
            z = module.code(x, generator).to(x.dtype)
            return self._terms(module, x, z, z, generator)
        a = module.encoder(x, generator).to(x.dtype)
        threshold = cast(ThresholdedAutoencoder, module).threshold
        z = thresholded(a, threshold, self.price(len(a)))
        noisy = with_noise(z, threshold, generator)
        return self._terms(module, x, z, noisy, generator)

    def held_out_terms(
        self, module: Autoencoder, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Without noise: epochs are compared by the codes that will be applied."""
        z = module.code(x, generator).to(x.dtype)
        return self._terms(module, x, z, z, generator)

    def _terms(
        self,
        module: Autoencoder,
        x: Tensor,
        z: Tensor,
        received: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Terms of rows with codes ``z``, of which the decoder sees ``received``."""
        terms = [_squared_error(module.decode(received, generator), x)]
        terms += self.code_terms(z)
        if self.decoder_penalty is not None:
            penalty = DECODER_PENALTIES[self.decoder_penalty]
            terms.append(penalty(module, z, generator))
        return torch.stack(terms)

    def forward(self, terms: Tensor) -> Tensor:
        loss = terms[0]
        if self.code_penalty is not None:
            loss = loss + self.reg_weight * terms[1]
        if self.decoder_penalty is not None:
            loss = loss + self.decoder_penalty_weight * terms[-1]
        return loss
