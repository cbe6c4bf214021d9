"""What linear theory says of rows: eigenvalues of their covariance against the noise.

In a linear VAE with D features, trained with the noise variance ``s``, which is what
``kld_weight * D / 2`` stands for, unit i is active exactly when the i-th eigenvalue
exceeds s, and then carries ``ln(l_i / s) / 2`` nats (Lucas et al., 2019).
"""

import math
from typing import NamedTuple

import numpy as np

from .components import bounded_index, principal_components
from .linear_vae import residual_variance

# Eigenvalues below this share of the largest are rounding in float32.
RANK_TOLERANCE = 1e-6
# The grid begins at this share of PCA's noise variance: a non-linear decoder leaves
# less than PCA. On seven tables of benchmarks/defaults.py the best weight stood for
# 1/16 (diabetes), 1/8 (musk) and otherwise 1/4 to 2 times PCA's noise.
LEAST_NOISE = 1 / 8
# A gap of eigenvalues is preferred to its neighbour if it is this many times wider.
CLEARLY_WIDER = 2.0


class Spectrum(NamedTuple):
    """Leading eigenvalues (divisor n), descending and positive; their sum over all."""

    eigenvalues: np.ndarray
    total_variance: float
    n_features: int


def spectrum(X, n_components: int, random_state: np.random.RandomState) -> Spectrum:
    """Up to ``n_components`` eigenvalues of the covariance of X; none if X is constant.

    Raises
    ------
    ValueError
        If the variance of X overflows.
    """
    n_rows, n_features = X.shape
    index = bounded_index(X, random_state.permutation(n_rows), n_components)
    subset = X if len(index) == n_rows else X[index]
    with np.errstate(over="ignore", invalid="ignore"):
        eigenvalues, _, total = principal_components(subset, n_components, random_state)
    if not math.isfinite(total):
        raise ValueError(
            "X has values so large that their variance overflows; divide X by its "
            "largest absolute value, or put a StandardScaler in front."
        )
    if total == 0.0:
        return Spectrum(np.empty(0), 0.0, n_features)
    if len(eigenvalues) == 0:  # one sparse column
        eigenvalues = np.array([total])
    kept = eigenvalues > RANK_TOLERANCE * eigenvalues.max()
    return Spectrum(eigenvalues[kept], total, n_features)


def active_by_theory(eigenvalues: np.ndarray, noise: float) -> int:
    """Number of units that a linear VAE has active at a noise variance."""
    return int((eigenvalues > noise).sum())


def rate_by_theory(eigenvalues: np.ndarray, noise: float) -> float:
    """KL of a linear VAE in nats per row; infinite without noise."""
    active = eigenvalues[eigenvalues > noise]
    if noise <= 0.0:
        return math.inf if len(active) else 0.0
    return float(0.5 * np.log(active / noise).sum())


def noise_grid(spectrum: Spectrum, latent_dim: int, n: int) -> np.ndarray:
    """Noise variances, ascending, from all units of a linear VAE active to one.

    The number of active units does not change below the last eigenvalue, and the best
    likelihood is there: half of the grid is, evenly in the logarithm from
    ``LEAST_NOISE`` of PCA's noise variance. The others lie in the geometric middle of a
    gap between eigenvalues, for numbers of units that fall geometrically to one.
    """
    eigenvalues = spectrum.eigenvalues
    k = min(latent_dim, len(eigenvalues))
    n_fewer = min(n - max(1, n // 2), k - 1)
    n_all = n - n_fewer
    numbers = fewer_units(eigenvalues, k, n_fewer)
    middles = [math.sqrt(eigenvalues[m - 1] * eigenvalues[m]) for m in numbers]
    weakest = float(eigenvalues[k - 1])
    left = residual_variance(
        spectrum.total_variance, eigenvalues[:k], spectrum.n_features, 0.0
    )
    # Nothing left out: half of the smallest eigenvalue, as the linear start has it.
    if left <= RANK_TOLERANCE * weakest:
        left = 0.5 * weakest
    lowest = LEAST_NOISE * min(left, weakest)
    return np.array([*np.geomspace(lowest, weakest, n_all + 1)[:-1], *middles])


def fewer_units(eigenvalues: np.ndarray, k: int, n: int) -> list[int]:
    """``n`` numbers of active units below k, descending to 1 about geometrically.

    A number in a narrow gap of the eigenvalues gives way to one nearby whose gap is
    clearly wider: there a model has that many units with some certainty.
    """
    targets = np.geomspace(k, 1, n + 1)[1:].round().astype(int)
    gaps = np.log(eigenvalues[: k - 1] / eigenvalues[1:k])
    numbers: list[int] = []
    above = k
    for i, target in enumerate(targets):
        still_to_come = n - 1 - i
        m = min(max(target, still_to_come + 1), above - 1)
        if still_to_come:
            reach = max(1, m // 4)
            low = max(m - reach, int(targets[i + 1]) + 1, still_to_come + 1)
            near = np.arange(min(low, m), min(m + reach, above - 1) + 1)
            widest = int(near[gaps[near - 1].argmax()])
            if gaps[widest - 1] > CLEARLY_WIDER * gaps[m - 1]:
                m = widest
        numbers.append(int(m))
        above = numbers[-1]
    return numbers


def weight_of_noise(noise_variance: float, n_features: float) -> float:
    """The ``kld_weight`` that is maximum likelihood (beta = 1) at a noise variance."""
    return 2.0 * noise_variance / n_features


def noise_of_weight(kld_weight: float, n_features: float) -> float:
    """The noise variance at which ``kld_weight`` is maximum likelihood (beta = 1)."""
    return 0.5 * kld_weight * n_features
