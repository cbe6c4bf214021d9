"""What is measured on a trained net, on a bounded number of rows."""

from typing import NamedTuple

import numpy as np
import torch

from .._data.dataset import TableDataset, rows_at_once
from .._kernels.sparse import Batch, as_tensor
from .._kernels.threads import threads_for
from .._linear.linear_vae import LinearVAE
from .._nn.autoencoder import VAE
from .._objectives.criteria import NOISE_FLOOR
from .._objectives.elbo import kl_per_row
from .bounds import (
    Cubature,
    antithetic_error,
    cubature,
    decoder_gain,
    linear_error_and_kl,
)
from .verdicts import ACTIVE_VARIANCE

# Rows that calibration looks at: the noise variance is one number.
CALIBRATION_ROWS = 2048
# Rows that exchange codes: enough to see whether codes are worth anything.
EXCHANGED_ROWS = 256
_EXCHANGE_SEED = 20_160_509
# Decoded rows, over all points, that a cubature may take.
CUBATURE_ROWS = 32_768
# Decoded rows, over all units, that the gain of the decoder is averaged over.
GAIN_ROWS = 2048


def some(rows: TableDataset, n_rows: int) -> Batch:
    """Up to ``n_rows`` rows, and no more than memory takes, evenly spaced."""
    n_kept = min(n_rows, len(rows), rows_at_once(rows.n_features))
    index = np.linspace(0, len(rows) - 1, n_kept).round().astype(int)
    return rows.batch(torch.from_numpy(index))


@torch.no_grad()
def noise_of_module(module: VAE, rows: TableDataset) -> float:
    """The noise variance that maximises the ELBO of these rows.

    By cubature; where that takes long, rows take its points in turns. Over rows whose
    posteriors are equally wide, as a linear model's are, that is as exact.
    """
    batch = some(rows, CALIBRATION_ROWS)
    x = as_tensor(batch)
    points = cubature(module.latent_dim)
    with threads_for(module, len(x)):
        if 2 * len(points) * len(x) <= CUBATURE_ROWS:
            squared_error, _ = Cubature(module).error_and_kl(x)
            error = squared_error.mean() / rows.n_features
        else:
            points = points.to(x.device, x.dtype).repeat(len(x) // len(points), 1)
            mean, log_var = (part[: len(points)] for part in module.encode(batch))
            error = antithetic_error(module, x[: len(points)], mean, log_var, points)
    return max(error.item(), NOISE_FLOOR)


def noise_of_linear(linear: LinearVAE, rows: TableDataset) -> float:
    """The same for a linear model."""
    x = as_tensor(some(rows, CALIBRATION_ROWS))
    error, _ = linear_error_and_kl(linear, x)
    return max(error.mean().item() / rows.n_features, NOISE_FLOOR)


class Codes(NamedTuple):
    """What the codes of training rows are worth: nats per row but for the units."""

    active_units: int
    rate: float
    shuffle_loss: float


@torch.no_grad()
def codes_of_module(module: VAE, rows: TableDataset, noise_variance: float) -> Codes:
    """Look at the codes of some rows, and at what is lost if rows exchange them."""
    batch = some(rows, CALIBRATION_ROWS)
    generator = torch.Generator().manual_seed(_EXCHANGE_SEED)
    with threads_for(module, len(batch)):
        mean, log_var = module.encode(batch)
        active = int((mean.var(dim=0, correction=0) > ACTIVE_VARIANCE).sum())
        rate = kl_per_row(mean, log_var).mean().item()
        # Along a random cycle: neighbours, which may be alike, do not swap.
        kept = torch.randperm(len(batch), generator=generator, device="cpu")
        kept = kept[:EXCHANGED_ROWS].to(mean.device)
        x, mean, log_var = as_tensor(batch)[kept], mean[kept], log_var[kept]
        noise = torch.randn(
            mean.shape, generator=generator, dtype=torch.float32, device="cpu"
        ).to(mean)
        own = antithetic_error(module, x, mean, log_var, noise)
        mean, log_var = mean.roll(1, dims=0), log_var.roll(1, dims=0)
        loss = antithetic_error(module, x, mean, log_var, noise) - own
    nats = rows.n_features * loss.item() / (2.0 * noise_variance)
    return Codes(active, rate, nats)


@torch.no_grad()
def gain_of_module(module: VAE, rows: TableDataset) -> np.ndarray:
    """Gain of the decoder around these rows' codes, (latent_dim,), float64."""
    x = some(rows, max(16, GAIN_ROWS // module.latent_dim))
    with threads_for(module, len(x)):
        gain = decoder_gain(module, module.code(x))
    return gain.cpu().numpy().astype(np.float64)
