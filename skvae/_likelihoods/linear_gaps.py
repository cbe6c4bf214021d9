"""What a linear model makes of rows that have gaps."""

from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from .._linear.covariance import Regression
from .._linear.gaps import FactorCovariance, factors_with_gaps, given_observed
from .._utils.device import in_float64
from .linear_model import Affine


class HasUnits(Protocol):
    """What is asked of a likelihood here."""

    has_own_scales: ClassVar[bool]

    def linear_units(self) -> Affine | None: ...

    @property
    def noise_floor(self) -> float | np.ndarray: ...


class WithGaps(NamedTuple):
    """Of rows in model units, float64.

    Attributes
    ----------
    squares : tensor of shape (n, D)
        Expected squared residuals of what was observed; 0 elsewhere.
    kl : tensor of shape (n, k)
        KL of the posterior in nats, which is of all units together: what it has because
        they depend on each other is shared out evenly.
    """

    squares: Tensor
    kl: Tensor


def explained_with_gaps(
    target: Tensor, mask: Tensor, decode: Tensor, noise: Tensor
) -> WithGaps:
    """At the posterior of codes whose prior is standard normal, given what is there.

    ``decode`` (D, k) are the maps and ``noise`` (D,) the variances that posteriors are
    of. Where these are the density's own, the two terms add up to ``-ln p`` exactly.
    """
    maps, noise = in_float64(decode), in_float64(noise).to(decode.device)
    codes, covariance, _ = given_observed(
        target, mask, torch.zeros_like(noise), maps, noise
    )
    residual = in_float64(target) - codes @ maps.T
    spread = ((covariance @ maps.T) * maps.T).sum(dim=1)
    squares = (residual.square() + spread) * mask
    variance = covariance.diagonal(dim1=1, dim2=2)
    log_variance = variance.log()
    together = log_variance.sum(dim=1) - torch.linalg.slogdet(covariance)[1]
    kl = 0.5 * (variance + codes.square() - 1.0 - log_variance)
    n_units = max(1, maps.shape[1])
    return WithGaps(squares, kl + 0.5 * together[:, None] / n_units)


def covariance_with_gaps(
    X: np.ndarray,
    likelihood: HasUnits,
    n_units: int,
    random_state: np.random.RandomState,
    conditions: np.ndarray | None = None,
) -> FactorCovariance:
    """The covariance of rows in model units, of what conditions leave of them."""
    units = likelihood.linear_units()
    assert units is not None
    X, regression = _without_conditions(np.asarray(X, np.float64), conditions)
    factors = factors_with_gaps(
        _in(units, X),
        n_units,
        shared_noise=not likelihood.has_own_scales,
        floor=likelihood.noise_floor,
        random_state=random_state,
    )
    return FactorCovariance(factors, len(X), regression)


def _in(units: Affine, X: np.ndarray) -> np.ndarray:
    assert units.mean is not None
    return (X - units.mean) / units.scale


def _without_conditions(
    X: np.ndarray, conditions: np.ndarray | None
) -> tuple[np.ndarray, Regression | None]:
    """What a regression of every column, where it was observed, leaves of rows."""
    if conditions is None:
        return X, None
    mean = conditions.mean(axis=0, dtype=np.float64)
    given = conditions - mean
    weights = np.zeros((given.shape[1], X.shape[1]))
    for j, column in enumerate(X.T):
        there = ~np.isnan(column)
        centred = given[there] - given[there].mean(axis=0)
        weights[:, j] = np.linalg.lstsq(
            centred, column[there] - column[there].mean(), rcond=1e-8
        )[0]
    return X - given @ weights, Regression(weights, mean)
