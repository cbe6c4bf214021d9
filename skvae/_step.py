"""One optimisation step and one look at held-out rows, for a module on any device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._modules import VAE
from ._objective import draw_posterior, kl_per_row
from ._rows import Rows

# Steps over which the fitted noise variance forgets: long enough to average the
# batches, short enough to follow training.
NOISE_MOMENTUM = 0.05


class WeightedELBO(nn.Module):
    """``reconstruction + kld_weight * KL``, with the weight given or fitted.

    Fitted, the weight is ``2 s2 / D`` (beta = 1) with s2 a running mean of the squared
    error, which is where s2 is optimal (sigma-VAE: Rybkin et al., 2021).

    Parameters
    ----------
    kld_weight : float or None
        None: fit the noise variance.
    n_features : int
    noise_variance, floor : float
        Where the fitted variance starts, and the least it may become.
    """

    noise_variance: Tensor
    fixed_weight: Tensor

    def __init__(
        self,
        kld_weight: float | None,
        n_features: int,
        noise_variance: float,
        floor: float,
    ) -> None:
        super().__init__()
        self.fitted = kld_weight is None
        self.n_features = n_features
        self.floor = floor
        self.register_buffer("noise_variance", torch.tensor(float(noise_variance)))
        self.register_buffer("fixed_weight", torch.tensor(float(kld_weight or 0.0)))

    @property
    def kld_weight(self) -> Tensor:
        if self.fitted:
            return self.noise_variance * (2.0 / self.n_features)
        return self.fixed_weight

    def forward(self, reconstruction: Tensor, kl: Tensor) -> Tensor:
        return reconstruction + self.kld_weight * kl

    @torch.no_grad()
    def observe(self, reconstruction: Tensor) -> None:
        """Move the noise variance towards the squared error of a batch."""
        self.noise_variance.lerp_(reconstruction, NOISE_MOMENTUM).clamp_(self.floor)


def forward_terms(
    module: VAE, x: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mean squared error of a posterior draw and KL per row, of one minibatch."""
    mean, log_var = module.encode(x, generator)
    noise = torch.empty_like(mean).normal_(generator=generator)
    reconstruction = module.decode(draw_posterior(mean, log_var, noise), generator)
    error = nn.functional.mse_loss(reconstruction, x)
    return error, kl_per_row(mean, log_var).mean()


def training_step(
    module: VAE,
    criterion: WeightedELBO,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    generator: torch.Generator,
    *,
    max_norm: float | None,
    on_grad_computed: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """One update; returns the two terms of the loss, (2,), without synchronising."""
    optimizer.zero_grad(set_to_none=True)
    error, kl = forward_terms(module, x, generator)
    criterion(error, kl).backward()
    if max_norm is not None:
        nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    if on_grad_computed is not None:
        on_grad_computed(x)
    optimizer.step()
    terms = torch.stack([error.detach(), kl.detach()])
    criterion.observe(terms[0])
    return terms


@torch.no_grad()
def held_out_terms(module: VAE, rows: Rows, generator: torch.Generator) -> Tensor:
    """Mean squared error and KL per row over held-out rows, (2,).

    One antithetic pair of draws a row. With the same seed in every epoch the draws are
    the same, so that epochs are compared on equal terms.
    """
    total = torch.zeros(2, device=generator.device)
    for x in rows.chunks():
        mean, log_var = module.encode(x)
        noise = torch.empty_like(mean).normal_(generator=generator)
        error = x.new_zeros(())
        for draw in (noise, -noise):
            z = draw_posterior(mean, log_var, draw)
            error += 0.5 * nn.functional.mse_loss(module.decode(z), x)
        total += len(x) * torch.stack([error, kl_per_row(mean, log_var).mean()])
    return total / len(rows)
