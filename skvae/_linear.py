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
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.utils.extmath import randomized_svd, svd_flip
from sklearn.utils.sparsefuncs import mean_variance_axis

# Entries of X that the decomposition looks at; above it, a random subset of the rows
# carries the leading components as well and costs a bounded time.
MAX_ENTRIES = 100_000_000


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
    """Mean and variance (divisor n) of every column, in float64; X may be sparse."""
    if sparse.issparse(X):
        # It adds up in float64, and returns what X is in.
        mean, variance = mean_variance_axis(X, axis=0)
        return mean.astype(np.float64), variance.astype(np.float64)
    mean = X.mean(axis=0, dtype=np.float64)
    # Two passes and no centred copy: X may be a memory map.
    step = max(1, 500_000 // max(1, X.shape[1]))
    total = np.zeros_like(mean)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is the answer then
        for start in range(0, len(X), step):
            centred = X[start : start + step] - mean
            total += np.square(centred, out=centred).sum(axis=0)
    return np.asarray(mean), np.asarray(total / len(X))


def principal_components(
    X, n_components: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvalues (divisor n) and eigenvectors (k, n_features) of X.

    X must not be constant. There are no more components than features, and fewer than
    rows. The solvers are those that scikit-learn's ``PCA`` would pick, but functions:
    whatever watches estimators (autologging, profilers) would take a ``PCA`` that is
    fitted inside another fit for the user's model.
    """
    n_rows, n_features = X.shape
    # The solver for sparse rows gives no full decomposition.
    k = min(n_components, n_features - sparse.issparse(X), n_rows - 1)
    if k < 1:
        return np.empty(0), np.empty((0, n_features))
    if sparse.issparse(X):
        squares, vectors = _sparse_components(X, k, random_state)
    else:
        if X.size <= MAX_ENTRIES // 10:
            # Small eigenvalues, which are the noise, drown in float32's rounding.
            X = np.asarray(X, dtype=np.float64)
        # float32 adds up the rows of a tall table to three digits.
        mean = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        squares, vectors = _dense_components(X - mean, k, random_state)
    _, vectors = svd_flip(None, vectors, u_based_decision=False)
    return squares.astype(np.float64) / n_rows, vectors.astype(np.float64)


def _dense_components(
    X: np.ndarray, k: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Squares of the k largest singular values of X, and its right singular vectors."""
    n_rows, n_features = X.shape
    if n_features <= 1_000 and n_rows >= 10 * n_features:
        squares, vectors = linalg.eigh(
            X.T @ X,
            subset_by_index=(n_features - k, n_features - 1),
            overwrite_a=True,
            check_finite=False,
        )
        return np.maximum(squares[::-1], 0.0), vectors[:, ::-1].T
    if max(X.shape) > 500 and k < 0.8 * min(X.shape):
        _, values, vectors = randomized_svd(
            X, k, flip_sign=False, random_state=random_state
        )
        return np.square(values), vectors
    _, values, vectors = linalg.svd(
        X, full_matrices=False, overwrite_a=True, check_finite=False
    )
    return np.square(values[:k]), vectors[:k]


def _sparse_components(
    X, k: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The same of sparse rows, which are centred without being densified."""
    mean = mean_variance_axis(X, axis=0)[0].astype(X.dtype)
    transposed = X.T
    centred = LinearOperator(
        dtype=X.dtype,
        shape=X.shape,
        matvec=lambda v: X @ v - mean @ v,
        matmat=lambda V: X @ V - mean @ V,
        rmatvec=lambda u: transposed @ u - mean * u.sum(),
        rmatmat=lambda U: transposed @ U - np.outer(mean, U.sum(axis=0)),
    )
    start = random_state.uniform(-1, 1, min(X.shape))
    _, values, vectors = svds(centred, k=k, v0=start)
    return np.square(values[::-1]), vectors[::-1]


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
