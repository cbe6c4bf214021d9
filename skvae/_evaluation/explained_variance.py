"""What every unit explains, in the terms of principal component analysis.

With the gain g of a unit (root mean square of how far the reconstruction moves per unit
of code) and the variance v of its code, that of a draw from the posterior where there
is one, a unit carries the variance ``g^2 v`` of the reconstruction. Summed over units,
that is the reconstruction's variance where a decoder's columns are orthogonal, and more
where it bends: the Poincare inequality bounds the variance of a function of Gaussian
codes by it (Chernoff, 1981). So units share the variance that the reconstruction has,
in proportion to ``g^2 v``.

In a linear autoencoder that is the eigenvalue of the covariance itself. A linear VAE at
the noise variance s has, for an eigenvalue l > s (``_linear.linear_vae``),

    g^2 = l - s,    v = (l - s) / l + s / l = 1,

since over the rows posteriors add up to the prior. So ``g^2 v + s = l``: what its units
carry, together with the noise that lies along every direction, is the eigenvalue
(Tipping & Bishop, 1999), whatever the weight of the KL was. The posterior's mean alone
would have ``(l - s)^2 / l``, its shrinkage on the way there and on the way back. A unit
at the prior has no direction of its own that the noise could lie along: it explains
what its mean carries, next to nothing.
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import TableDataset, rows_at_once
from .._kernels.threads import threads_for
from .._likelihoods.base import Likelihood
from .._nn.autoencoder import VAE, Autoencoder, Decoder
from .._nn.posterior import Posterior, draw_posterior
from .._nn.readout import Readout
from .._utils.device import in_float64
from .bounds import EMBEDDED_ROWS, GAIN_STEP
from .calibration import CALIBRATION_ROWS, GAIN_ROWS, some
from .verdicts import ACTIVE_VARIANCE

# The same as GAIN_ROWS, where rows have to be decoded since their mean is not affine.
DECODED_ROWS = 1024
# Loadings, and variances, whose order is rounding: relative.
ROUNDING = 1e-5
_EXCHANGE_SEED = 19_810_101


class Spread(NamedTuple):
    """Of codes over rows, (latent_dim,) each, in squared units of code.

    ``means`` is the variance of the code (divisor n), ``posteriors`` the mean variance
    of its posterior, 0 where a code is a point.
    """

    means: np.ndarray
    posteriors: np.ndarray


class Explained(NamedTuple):
    """What every unit explains of rows.

    Attributes
    ----------
    jacobian : ndarray of shape (latent_dim, n_features)
        Mean of d reconstruction / d code, in units of X per unit of the network's code.
    variance : ndarray of shape (latent_dim,)
        In squared units of X, divisor n - 1.
    ratio : ndarray of shape (latent_dim,)
        Share of the rows' variance; 0 where they have none.
    """

    jacobian: np.ndarray
    variance: np.ndarray
    ratio: np.ndarray


class Carried(NamedTuple):
    """What every unit carries of the reconstruction of rows.

    Attributes
    ----------
    jacobian : ndarray of shape (latent_dim, n_features)
        As in :class:`Explained`.
    variance : ndarray of shape (latent_dim,)
        In squared units of X, divisor n.
    active : ndarray of bool of shape (latent_dim,)
        Whether the unit's posterior has left the prior; false without posteriors.
    """

    jacobian: np.ndarray
    variance: np.ndarray
    active: np.ndarray

    def principal_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Units by variance, descending, and the sign of each: as ``PCA`` has them.

        Active units first. In the new order, a unit's sign makes its largest loading
        positive. An order, or a sign, that is right but for rounding is left alone.
        """
        order = np.lexsort((-self.variance, ~self.active))
        kept = (1.0 + ROUNDING) * self.variance[:-1] >= self.variance[1:]
        same, falls = (
            f(self.active[:-1], self.active[1:]) for f in (np.equal, np.greater)
        )
        if ((same & kept) | falls).all():
            order = np.arange(len(order))
        largest, least = self.jacobian.max(axis=1), self.jacobian.min(axis=1)
        signs = np.where((1.0 + ROUNDING) * largest < -least, -1.0, 1.0)
        return order, signs[order]

    def reordered(self, order: np.ndarray, signs: np.ndarray) -> "Carried":
        """The same of a network whose units were put into an order, with signs."""
        jacobian = self.jacobian[order] * signs[:, None]
        return Carried(jacobian, self.variance[order], self.active[order])

    def explained(self, noise: float, n_rows: int, total_variance: float) -> Explained:
        """What units explain of ``n_rows`` rows, at least two.

        ``noise`` is what the optimal decoder leaves out of the eigenvalue of an active
        unit, ``total_variance`` the sum of the features' variances (divisor n): both in
        squared units of X.
        """
        variance = self.variance + noise * self.active
        ratio = variance / total_variance if total_variance > 0.0 else 0.0 * variance
        return Explained(self.jacobian, variance * (n_rows / (n_rows - 1)), ratio)


@torch.no_grad()
def carried_by_units(
    network: Autoencoder,
    likelihood: Likelihood,
    rows: TableDataset,
    spread: Spread | None = None,
) -> Carried:
    """Look at the codes of some rows, and at the decoder around them.

    ``spread`` is that of all rows' codes, where it is known.
    """
    batch = some(rows, CALIBRATION_ROWS)
    with threads_for(network, len(batch)):
        if isinstance(network, VAE):
            posterior = network.encode(batch.inputs)
        else:  # a code is a point
            code = network.code(batch.inputs)
            posterior = Posterior(code, torch.full_like(code, -torch.inf))
        code = posterior.mean
        spread = spread or _spread(*posterior)
        total = spread.means + spread.posteriors
        step = GAIN_STEP * np.sqrt(np.where(total > 0.0, total, 1.0))
        given = batch.covariates
        jacobian, gain = linearised(network, likelihood, code, step, given)
        share = _common_share(network, likelihood, posterior, gain, given)
        share = np.square(gain) * share
    active = np.zeros(len(share), dtype=bool)
    if isinstance(network, VAE):
        active = spread.means > ACTIVE_VARIANCE
    variance = share * np.where(active, total, spread.means)
    return Carried(jacobian, variance, active)


def _spread(code: Tensor, log_var: Tensor) -> Spread:
    means = in_float64(code).var(dim=0, correction=0).cpu().numpy()
    return Spread(means, in_float64(log_var).exp().mean(dim=0).cpu().numpy())


@torch.no_grad()
def linearised(
    network: Autoencoder,
    likelihood: Likelihood,
    code: Tensor,
    step: np.ndarray,
    covariates: Covariates = NONE,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean Jacobian of the reconstruction, (k, D), and its gain, (k,), in units of X.

    Around some of the codes (n, k), by central differences of ``step`` (k,); the gain
    is the root of the mean squared length of d reconstruction / d code.
    """
    changes, n_rows = _changes_of_rows, DECODED_ROWS
    if likelihood.mean_is_affine:
        changes, n_rows = _changes_behind_readout, GAIN_ROWS
    n_kept = min(len(code), max(16, n_rows // network.latent_dim))
    kept = np.linspace(0, len(code) - 1, n_kept).round().astype(int)
    steps = torch.from_numpy(step).to(code.dtype).to(code.device)
    at = torch.from_numpy(kept).to(code.device)
    codes, given = code[at], covariates.at(at)
    mean, squares = changes(network.decoder, likelihood, codes, steps, given)
    # Rounding can take the square of an inactive unit below zero.
    gain = in_float64(squares).clamp(min=0.0).sqrt().cpu().numpy()
    width = 2.0 * step
    return in_float64(mean).cpu().numpy() / width[:, None], gain / width


def _common_share(
    network: Autoencoder,
    likelihood: Likelihood,
    posterior: Posterior,
    gain: np.ndarray,
    covariates: Covariates,
) -> float:
    """Variance of the reconstruction, as a share of ``g^2 v`` summed over units.

    1 for a linear decoder whose columns are orthogonal. ``gain`` (k,) is in units of X.
    Of posterior means where the mean is affine in the code: a linear decoder's share is
    then exact. Of draws elsewhere, and half of what changes if rows exchange their
    codes, but not their size and conditions: what these explain is no unit's.
    """
    spread = _spread(*posterior)
    if likelihood.mean_is_affine and covariates.conditions is None:
        u = network.decoder.embed(posterior.mean, covariates)
        lengths = Readout(network.decoder, u.dtype).squared_length(u - u.mean(dim=0))
        variance = in_float64(lengths).mean().item() * likelihood.scale**2
        of_codes = spread.means
    else:
        variance = _variance_by_exchange(network, likelihood, posterior, covariates)
        of_codes = spread.means + spread.posteriors
    carried = float(np.square(gain) @ of_codes)
    return variance / carried if carried > 0.0 else 1.0


def _variance_by_exchange(
    network: Autoencoder,
    likelihood: Likelihood,
    posterior: Posterior,
    covariates: Covariates,
) -> float:
    """Variance of the reconstruction by codes alone, summed over features."""
    generator = torch.Generator().manual_seed(_EXCHANGE_SEED)
    means = posterior.mean
    order = torch.randperm(len(means), generator=generator, device="cpu")
    noise = torch.randn(
        means.shape, generator=generator, dtype=torch.float32, device="cpu"
    )
    codes = draw_posterior(means, posterior.log_var, noise.to(means))
    # Along a random cycle, so that every row has the code of another one.
    others = torch.empty_like(codes)
    others[order.to(codes.device)] = codes[order.roll(1).to(codes.device)]
    total = 0.0
    for part in gen_batches(len(codes), rows_at_once(likelihood.n_features)):
        given = covariates.at(part)
        own, other = (
            likelihood.response(network.decoder(z[part], given), given)
            for z in (codes, others)
        )
        total += 0.5 * in_float64(own - other).square().sum().item()
    return total / len(codes)


def _changes_behind_readout(
    decoder: Decoder,
    likelihood: Likelihood,
    code: Tensor,
    steps: Tensor,
    covariates: Covariates,
) -> tuple[Tensor, Tensor]:
    """Mean change (k, D) of the reconstruction, and mean squared length of it, (k,).

    The decoder ends in a linear map A of an embedding u, and the mean is affine: the
    mean change is that of A times the mean change of u.
    """
    readout = Readout(decoder, code.dtype)
    means, squares = [], []
    for ahead, behind in _moved(code, steps, EMBEDDED_ROWS):
        given = covariates.repeated(len(ahead) // len(code))
        change = decoder.embed(ahead, given) - decoder.embed(behind, given)
        squares.append(readout.squared_length(change).view(-1, len(code)).mean(dim=1))
        means.append(change.view(-1, len(code), change.shape[1]).mean(dim=1))
    unit = likelihood.scale
    # In float64, since the square of a unit of X can be large.
    squared = in_float64(torch.cat(squares)) * unit**2
    return readout.product(torch.cat(means)) * unit, squared


def _changes_of_rows(
    decoder: Decoder,
    likelihood: Likelihood,
    code: Tensor,
    steps: Tensor,
    covariates: Covariates,
) -> tuple[Tensor, Tensor]:
    """The same for any mean, of rows that are decoded."""
    means, squares = [], []
    for ahead, behind in _moved(code, steps, rows_at_once(likelihood.n_features)):
        given = covariates.repeated(len(ahead) // len(code))
        rows, others = (
            likelihood.response(decoder(z, given), given) for z in (ahead, behind)
        )
        change = rows - others
        change = change.view(-1, len(code), change.shape[1])
        squares.append(in_float64(change).square().sum(dim=2).mean(dim=1))
        means.append(change.mean(dim=1))
    return torch.cat(means), torch.cat(squares)


def _moved(code: Tensor, steps: Tensor, n_rows: int):
    """Codes moved along some units at once, ahead and behind: (units * n, k) each."""
    # Many units at once, for the products, and not all, for the memory.
    for some_units in torch.diag(steps)[:, None].split(max(1, n_rows // len(code))):
        yield (code + some_units).flatten(0, 1), (code - some_units).flatten(0, 1)
