"""Closed-form linear VAE, which is probabilistic PCA.

With covariance eigenvalues l_i, eigenvectors u_i and decoder variance s, the optimum of
a linear VAE (Tipping & Bishop, 1999; Lucas et al., 2019) is, for units with l_i > s,

    posterior mean      sqrt(l_i - s) / l_i  *  u_i' x
    posterior variance  s / l_i
    reconstruction      sqrt(l_i - s) u_i z_i

and units with l_i <= s stay at the prior. Its ELBO is tight: it is the log-likelihood
of probabilistic PCA.
"""

from typing import NamedTuple

import numpy as np

from .components import Components


class LinearMap(NamedTuple):
    """A linear autoencoder on centred rows: ``encode`` (k, n), ``decode`` (n, k).

    ``variance`` (k,) is that of its codes over the rows that it was made of; ``given``
    is what conditions add, if there are any: weights (n_conditions, n) and their mean.
    """

    encode: np.ndarray
    decode: np.ndarray
    variance: np.ndarray
    given: tuple[np.ndarray, np.ndarray] | None = None


class LinearVAE(NamedTuple):
    """Maps of a linear VAE on rows that are centred.

    ``encode`` (k, n_features), ``log_var`` (k,), ``decode`` (n_features, k).
    """

    encode: np.ndarray
    log_var: np.ndarray
    decode: np.ndarray
    noise_variance: float


def residual_variance(
    total_variance: float, eigenvalues: np.ndarray, n_features: int, floor: float
) -> float:
    """Mean of the eigenvalues that were left out: the noise variance of PPCA.

    With none left out, the covariance is exact with any variance up to the smallest
    eigenvalue; half of it leaves every unit active.
    """
    if len(eigenvalues) == n_features:
        return max(0.5 * float(eigenvalues.min()), floor)
    left = total_variance - float(eigenvalues.sum())
    return max(left / (n_features - len(eigenvalues)), floor)


def noise_of_beta(
    components: Components, n_features: int, beta: float, floor: float
) -> float:
    """``beta * s2`` of the linear VAE whose KL weighs ``beta`` and whose s2 is fitted.

    A unit is active where its eigenvalue exceeds it. With k units active, a posterior
    draw leaves ``beta * s2`` of each and all of the other eigenvalues, so that s2, the
    mean squared error, is their sum over ``D - beta k``: as many units as that agrees
    with. With beta = 1 it is the noise variance of probabilistic PCA.
    """
    eigenvalues, _, total = components
    if beta == 1.0 or len(eigenvalues) == n_features:
        return residual_variance(total, eigenvalues, n_features, floor)
    for k in range(len(eigenvalues), 0, -1):
        left, n_left = total - float(eigenvalues[:k].sum()), n_features - beta * k
        if n_left > 0.0 and eigenvalues[k - 1] > beta * left / n_left:
            return max(beta * left / n_left, floor)
    return max(beta * total / n_features, floor)


def linear_vae(
    eigenvalues: np.ndarray, eigenvectors: np.ndarray, noise_variance: float
) -> LinearVAE:
    """The optimal linear VAE at a decoder variance; inactive units are zero."""
    active = eigenvalues > noise_variance
    kept = np.where(active, eigenvalues, noise_variance)
    gain = np.sqrt(kept - noise_variance)
    return LinearVAE(
        encode=(gain / kept)[:, None] * eigenvectors,
        log_var=np.log(noise_variance / kept),
        decode=gain * eigenvectors.T,
        noise_variance=noise_variance,
    )


def estimation_loss(n_components: int, n_features: int, n_rows: int) -> float:
    """Nats per row that PPCA is expected to lose on new rows by being estimated.

    Half the number of free parameters (without the mean) over the number of rows, as in
    Akaike's criterion.
    """
    k, d = n_components, n_features
    n_parameters = d * k - k * (k - 1) / 2 + 1
    return n_parameters / (2.0 * n_rows)


def prediction_error(n_components: int, n_rows: int) -> float:
    """What the residual of PPCA grows by from its own rows to new ones.

    Akaike's final prediction error, ``(n + p) / (n - p)`` with p = k + 1 for the
    components and the mean; 1 where there are too few rows to tell.
    """
    p = n_components + 1
    return (n_rows + p) / (n_rows - p) if n_rows > 4 * p else 1.0
