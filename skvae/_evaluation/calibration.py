"""What is measured on a trained network, on a bounded number of rows."""

import math
from typing import NamedTuple

import numpy as np
import torch

from .._data.dataset import Minibatch, TableDataset, rows_at_once
from .._kernels.threads import threads_for
from .._likelihoods.base import Likelihood
from .._nn.autoencoder import VAE
from .._nn.posterior import Posterior, draw_posterior, kl_per_row
from .._objectives.importance_weighted import Draws
from .._utils.device import in_float64
from .bounds import MAX_PAIRS, cubature, decoder_gain
from .verdicts import ACTIVE_VARIANCE

# Rows that calibration looks at: shared parameters are few.
CALIBRATION_ROWS = 2048
# Rows that exchange codes: enough to see whether codes are worth anything.
EXCHANGED_ROWS = 256
_EXCHANGE_SEED = 20_160_509
_DRAWS_SEED = 20_150_901
# Decoded rows, over all points, that a cubature may take.
CUBATURE_ROWS = 32_768
# Rows that are resampled for it, however many draws they have, and how often, as long
# as that gains so many nats: what training left is of rows that it has learnt.
MIN_RESAMPLED = 256
MAX_ROUNDS, LEAST_GAIN = 20, 0.01
# Numbers of pairs that are tried, in so many designs each; the pairs and rows they are
# judged by, and the errors that they may have, in nats of so many columns or fewer.
TRIED_PAIRS, N_DESIGNS = (3, 4, 6, 8, 16, 32), 8
JUDGING_PAIRS, JUDGED_ROWS = 32, 128
MEAN_ERROR, ROW_ERROR, COLUMNS = 0.15, 0.5, 500
# The least number that is taken without a trial.
UNTRIED_PAIRS = 4
# Decoded rows, over all units, that the gain of the decoder is averaged over.
GAIN_ROWS = 2048


def some(rows: TableDataset, n_rows: int) -> Minibatch:
    """Up to ``n_rows`` rows, and no more than memory takes, evenly spaced."""
    n_kept = min(n_rows, len(rows), rows_at_once(rows.n_features))
    index = np.linspace(0, len(rows) - 1, n_kept).round().astype(int)
    return rows.batch(torch.from_numpy(index))


@torch.no_grad()
def calibrate(
    network: VAE, likelihood: Likelihood, rows: TableDataset, n_draws: int = 1
) -> None:
    """Set the shared parameters that maximise the ELBO of these rows.

    By cubature; where that takes long, rows take its points in turns. Over rows whose
    posteriors are equally wide, as a linear model's are, that is as exact.

    With ``n_draws`` above 1, those that raise the importance-weighted bound with so
    many: rows are explained by one of their draws, taken with its normalised weight
    (see ``_objectives.importance_weighted``).
    """
    if n_draws > 1:
        _calibrate_on_weighted_draws(network, likelihood, rows, n_draws)
        return
    batch = some(rows, CALIBRATION_ROWS)
    points = cubature(network.latent_dim)
    with threads_for(network, len(batch)):
        posterior = network.encode(batch.inputs)
        if 2 * len(points) * len(batch) > CUBATURE_ROWS:
            in_turns = slice(len(batch) // len(points) * len(points))
            points = points.repeat(len(batch) // len(points), 1)[None]
            posterior = Posterior(*(part[in_turns] for part in posterior))
            batch = batch[in_turns]
        points = points.to(batch.target)
        likelihood.calibrate(network.decoder, posterior, batch, points)


def _calibrate_on_weighted_draws(
    network: VAE, likelihood: Likelihood, rows: TableDataset, n_draws: int
) -> None:
    n_rows = max(MIN_RESAMPLED, CUBATURE_ROWS // n_draws)
    batch = some(rows, min(CALIBRATION_ROWS, n_rows))
    with threads_for(network, len(batch)):
        posterior = network.encode(batch.inputs)
        # Few rows are there many times: what is drawn of them averages out.
        n_drawn = min(CUBATURE_ROWS // n_draws, rows_at_once(rows.n_features))
        n_times = max(1, n_drawn // len(batch))
        posterior = Posterior(*(part.repeat(n_times, 1) for part in posterior))
        batch = batch.repeated(n_times)
        likelihood.keep_running_stats()
        bound = -math.inf
        for _ in range(MAX_ROUNDS):
            draws = Draws(likelihood, network, batch, posterior, training=False)
            generator = torch.Generator(posterior.mean.device).manual_seed(_DRAWS_SEED)
            last, bound = bound, draws.bound(n_draws, generator).mean().item()
            if not bound > last + LEAST_GAIN:
                break
            # The draws and nothing around them.
            points = torch.zeros_like(draws.codes[None, :1])
            at_draws = Posterior(draws.codes, torch.full_like(draws.codes, -torch.inf))
            likelihood.calibrate(network.decoder, at_draws, batch, points)


@torch.no_grad()
def points_needed(
    network: VAE, likelihood: Likelihood, rows: TableDataset
) -> tuple[int, int]:
    """Fewest pairs of a cubature that are as good as many, and their best design.

    Over some rows, the mean of their distortion is then within ``MEAN_ERROR`` nats of
    that of many pairs, and the root mean square difference of a row's within
    ``ROW_ERROR``; of tables wider than ``COLUMNS``, whose distortions are as much
    larger, in proportion. If none are, as many as they are judged by.
    """
    batch = some(rows, JUDGED_ROWS)
    k = network.latent_dim
    unit = max(1.0, likelihood.n_features / COLUMNS)

    def distortion(n_pairs: int, design: int = 0) -> np.ndarray:
        points = cubature(k, n_pairs, design).to(batch.target)
        expected = likelihood.expected_nll(network.decoder, points)
        return in_float64(expected(posterior, batch)).cpu().numpy()

    with threads_for(network, len(batch)):
        posterior = network.encode(batch.inputs)
        most = max(JUDGING_PAIRS, exact_pairs(k))
        best = distortion(most)
        for n_pairs in (n for n in TRIED_PAIRS if n < most):
            means = np.full(N_DESIGNS, np.inf)
            for design in range(N_DESIGNS):
                off = (distortion(n_pairs, design) - best) / unit
                if off.std() > 1.5 * ROW_ERROR:  # nor will another design be enough
                    break
                if math.sqrt(np.square(off).mean()) < ROW_ERROR:
                    means[design] = abs(off.mean())
            if means.min() < MEAN_ERROR:
                return n_pairs, int(means.argmin())
    return most, 0


def exact_pairs(latent_dim: int) -> int:
    """Pairs with which all second-order terms are exact, of up to ``MAX_PAIRS`` units.

    More where units are so few that terms of higher order would be left to one pair.
    """
    return max(UNTRIED_PAIRS, min(latent_dim, MAX_PAIRS))


class Codes(NamedTuple):
    """What the codes of training rows are worth: nats per row but for the units."""

    active_units: int
    rate: float
    shuffle_loss: float


@torch.no_grad()
def look_at_codes(network: VAE, likelihood: Likelihood, rows: TableDataset) -> Codes:
    """Look at the codes of some rows, and at what is lost if rows exchange them."""
    batch = some(rows, CALIBRATION_ROWS)
    generator = torch.Generator().manual_seed(_EXCHANGE_SEED)
    with threads_for(network, len(batch)):
        mean, log_var = network.encode(batch.inputs)
        active = int((mean.var(dim=0, correction=0) > ACTIVE_VARIANCE).sum())
        rate = kl_per_row(mean, log_var).mean().item()
        # Along a random cycle: neighbours, which may be alike, do not swap.
        kept = torch.randperm(len(batch), generator=generator, device="cpu")
        kept = kept[:EXCHANGED_ROWS].to(mean.device)
        part, own = batch[kept], Posterior(mean[kept], log_var[kept])
        noise = torch.randn(
            own.mean.shape, generator=generator, dtype=torch.float32, device="cpu"
        ).to(own.mean)
        others = Posterior(*(p.roll(1, dims=0) for p in own))
        loss = _nats(network, likelihood, part, others, noise) - _nats(
            network, likelihood, part, own, noise
        )
    return Codes(active, rate, loss)


def _nats(
    network, likelihood: Likelihood, batch: Minibatch, posterior: Posterior, noise
) -> float:
    """Mean ``-ln p(x | z)`` of two draws a row: ``noise`` (n, k) and its mirror."""
    total = 0.0
    for draw in (noise, -noise):
        z = draw_posterior(posterior.mean, posterior.log_var, draw)
        raw = network.decode(z, batch.covariates)
        nll = likelihood.nll(raw, batch.target, batch.mask)
        total += 0.5 * in_float64(nll).mean().item()
    return total


@torch.no_grad()
def gain_of_network(
    network: VAE, likelihood: Likelihood, rows: TableDataset
) -> np.ndarray:
    """Gain of the decoder around these rows' codes, (latent_dim,), in units of X."""
    batch = some(rows, max(16, GAIN_ROWS // network.latent_dim))
    with threads_for(network, len(batch)):
        mean = network.code(batch.inputs)
        gain = decoder_gain(network, likelihood, mean, batch.covariates)
    return gain.cpu().numpy().astype(np.float64) * likelihood.scale
