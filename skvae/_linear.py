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
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.utils.sparsefuncs import mean_variance_axis

# Entries of X that the decomposition looks at; above it, a random subset of the rows
# carries the leading components as well and costs a bounded time.
MAX_ENTRIES = 100_000_000
# Steps between neighbouring floats, at the mean of a column, that its standard
# deviation has to exceed.
ROUNDING_STEPS = 4.0


class LinearMap(NamedTuple):
    """A linear autoencoder on centred rows: ``encode`` (k, n), ``decode`` (n, k)."""

    encode: np.ndarray
    decode: np.ndarray


class LinearVAE(NamedTuple):
    """Maps of a linear VAE on rows that are centred.

    ``encode`` (k, n_features), ``log_var`` (k,), ``decode`` (n_features, k).
    """

    encode: np.ndarray
    log_var: np.ndarray
    decode: np.ndarray
    noise_variance: float


def column_moments(X) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (divisor n) of every column, in float64; X may be sparse.

    Sparse X must be canonical. The variance of a column that is constant but for
    rounding is 0: its values, or their mean, are no more precise.
    """
    mean, variance = (_sparse_moments if sparse.issparse(X) else _dense_moments)(X)
    eps = np.finfo(X.dtype if X.dtype.kind == "f" else np.float64).eps
    rounding = ROUNDING_STEPS * eps * np.abs(mean)
    variance[np.sqrt(variance) <= rounding] = 0.0
    return mean, variance


def _sparse_moments(X) -> tuple[np.ndarray, np.ndarray]:
    # It adds up in float64, and returns what X is in, where squares may overflow.
    with np.errstate(over="ignore"):
        moments = mean_variance_axis(X, axis=0)
    if not np.isfinite(moments[1]).all():
        moments = mean_variance_axis(X.astype(np.float64), axis=0)
    mean, variance = (part.astype(np.float64) for part in moments)
    return mean, variance


def _dense_moments(X) -> tuple[np.ndarray, np.ndarray]:
    mean = np.asarray(X.mean(axis=0, dtype=np.float64))
    # Two passes and no centred copy: X may be a memory map.
    step = max(1, 500_000 // max(1, X.shape[1]))
    squares, drift = np.zeros_like(mean), np.zeros_like(mean)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is the answer then
        for start in range(0, len(X), step):
            centred = X[start : start + step] - mean
            drift += centred.sum(axis=0)
            squares += np.square(centred, out=centred).sum(axis=0)
        # The first pass's mean is off by its rounding, which grows with the rows: the
        # second one measures by how much, and takes it out of the squares.
        drift /= len(X)
        variance = squares / len(X) - np.square(drift)
    return mean + drift, np.maximum(variance, 0.0)


def principal_components(
    X, n_components: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvalues (divisor n) and eigenvectors (k, n_features) of X.

    X must not be constant. There are no more components than features, and fewer than
    rows. scikit-learn's ``PCA`` picks the solver: a randomised SVD for wide tables,
    implicit centring for sparse ones.
    """
    n_rows, n_features = X.shape
    # The solver for sparse rows gives no full decomposition.
    k = min(n_components, n_features - sparse.issparse(X), n_rows - 1)
    if k < 1:
        return np.empty(0), np.empty((0, n_features))
    if not sparse.issparse(X) and X.size <= MAX_ENTRIES // 10:
        # The small eigenvalues, which are the noise, drown in float32's rounding.
        X = np.asarray(X, dtype=np.float64)
    if not sparse.issparse(X):
        # PCA's solver for tall tables loses a small spread around a large mean.
        X = X - X.mean(axis=0)
    pca = PCA(k, copy=False, random_state=random_state).fit(X)
    eigenvalues = pca.explained_variance_.astype(np.float64) * (n_rows - 1) / n_rows
    return eigenvalues, pca.components_.astype(np.float64)


def bounded_index(X, index: np.ndarray, n_components: int) -> np.ndarray:
    """As many of ``index`` as the decomposition should look at, in ascending order."""
    per_row = X.nnz / X.shape[0] if sparse.issparse(X) else X.shape[1]
    n_kept = max(4 * n_components, int(MAX_ENTRIES / max(per_row, 1.0)))
    return np.sort(index[:n_kept])


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


def linear_vae(
    eigenvalues: np.ndarray, eigenvectors: np.ndarray, noise_variance: float
) -> LinearVAE:
    """The optimal linear VAE at a decoder variance; idle units are zero."""
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
