"""What is measured on a trained net, on a bounded number of rows."""

import numpy as np
import torch

from ._bounds import (
    Cubature,
    antithetic_error,
    cubature,
    decoder_gain,
    linear_error_and_kl,
)
from ._criteria import NOISE_FLOOR
from ._linear import LinearVAE
from ._modules import VAE
from ._rows import Rows, rows_at_once
from ._sparse import Batch, as_tensor
from ._threads import threads_for
from ._verdicts import ACTIVE_VARIANCE, is_collapsed

# Rows that calibration looks at: the noise variance is one number.
CALIBRATION_ROWS = 2048
# Decoded rows, over all points, that a cubature may take.
CUBATURE_ROWS = 32_768
# Decoded rows, over all units, that the gain of the decoder is averaged over.
GAIN_ROWS = 2048


def some(rows: Rows, n_rows: int) -> Batch:
    """Up to ``n_rows`` rows, and no more than memory takes, evenly spaced."""
    n_kept = min(n_rows, len(rows), rows_at_once(rows.n_features))
    index = np.linspace(0, len(rows) - 1, n_kept).round().astype(int)
    return rows.batch(torch.from_numpy(index))


@torch.no_grad()
def noise_of_module(module: VAE, rows: Rows) -> float:
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


def noise_of_linear(linear: LinearVAE, rows: Rows) -> float:
    """The same for a linear model."""
    x = as_tensor(some(rows, CALIBRATION_ROWS))
    error, _ = linear_error_and_kl(linear, x)
    return max(error.mean().item() / rows.n_features, NOISE_FLOOR)


@torch.no_grad()
def collapsed(module: VAE, rows: Rows) -> bool:
    """Whether rows that differ have codes that do not."""
    x = some(rows, CALIBRATION_ROWS)
    with threads_for(module, len(x)):
        spread = module.code(x).var(dim=0, correction=0)
    if not is_collapsed(int((spread > ACTIVE_VARIANCE).sum())):
        return False
    dense = as_tensor(x)
    return bool((dense != dense[0]).any())


@torch.no_grad()
def gain_of_module(module: VAE, rows: Rows) -> np.ndarray:
    """Gain of the decoder around these rows' codes, (latent_dim,), float64."""
    x = some(rows, max(16, GAIN_ROWS // module.latent_dim))
    with threads_for(module, len(x)):
        gain = decoder_gain(module, module.code(x))
    return gain.cpu().numpy().astype(np.float64)
