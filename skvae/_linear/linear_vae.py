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
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.sparsefuncs import mean_variance_axis

from .._kernels.threads import threads_worth

# Entries of X that the decomposition looks at; above it, a random subset of the rows
# carries the leading components as well and costs a bounded time.
MAX_ENTRIES = 100_000_000
# Columns up to which a tall table's covariance is quickest, and rows and columns up to
# which an SVD is: as scikit-learn's PCA has it.
MOST_COVARIANCES = 1000
MOST_ROWS_OF_SVD = 500
# Steps between neighbouring floats, at the mean of a column, that its standard
# deviation has to exceed.
ROUNDING_STEPS = 4.0


class Components(NamedTuple):
    """Leading eigenpairs of a covariance (divisor n), and its trace.

    ``eigenvalues`` (k,), descending, ``eigenvectors`` (k, n_features).
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    total: float


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
    rows. Signs are those of ``PCA``: the largest loading of a component is positive.

    Functions, where scikit-learn's ``PCA`` would do: software that watches the fits of
    scikit-learn's estimators (MLflow's autologging) would take it for the model.
    """
    n_rows, n_features = X.shape
    # The solver for sparse rows gives no full decomposition.
    k = min(n_components, n_features - sparse.issparse(X), n_rows - 1)
    if k < 1:
        return np.empty(0), np.empty((0, n_features))
    if sparse.issparse(X):
        values, vectors = _sparse_components(X, k, random_state)
    else:
        values, vectors = _dense_components(X, k, random_state)
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(k), largest])
    return values.astype(np.float64), vectors.astype(np.float64) * signs[:, None]


def _dense_components(
    X: np.ndarray, k: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """By the covariance of tall tables, an SVD of small ones, a randomised one else."""
    n_rows, n_features = X.shape
    if X.size <= MAX_ENTRIES // 10:
        # The small eigenvalues, which are the noise, drown in float32's rounding.
        X = np.asarray(X, dtype=np.float64)
    # Solvers for tall tables lose a small spread around a large mean, and a float32 sum
    # of many rows loses the mean.
    X = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    unit = float(np.abs(X).max())  # float32 would overflow squares of large numbers
    X /= unit
    if n_features <= MOST_COVARIANCES and n_rows >= 10 * n_features:
        with threads_worth(n_rows * n_features**2):
            values, vectors = linalg.eigh(
                X.T @ X / n_rows, subset_by_index=(n_features - k, n_features - 1)
            )
        # Rounding can take an eigenvalue of a singular matrix below zero.
        return np.maximum(values[::-1], 0.0) * unit**2, vectors.T[::-1]
    if max(X.shape) <= MOST_ROWS_OF_SVD or k >= 0.8 * min(X.shape):
        with threads_worth(n_rows * n_features * min(X.shape)):
            _, lengths, vectors = linalg.svd(X, full_matrices=False)
    else:
        with threads_worth(n_rows * n_features * k):
            _, lengths, vectors = randomized_svd(
                X, k, random_state=random_state, flip_sign=False
            )
    return np.square(lengths[:k].astype(np.float64) * unit) / n_rows, vectors[:k]


def _sparse_components(
    X, k: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """By ARPACK, with rows that are centred in the products and never densified."""
    n_rows, _ = X.shape
    unit = float(np.abs(X.data).max(initial=0.0)) or 1.0
    X = X * X.dtype.type(1.0 / unit)  # a quotient would be in float64
    mean, _ = column_moments(X)
    mean = mean.astype(X.dtype)

    def transposed(u: np.ndarray) -> np.ndarray:
        u = u.reshape(n_rows, -1)
        return X.T @ u - np.outer(mean, u.sum(axis=0))

    def product(v: np.ndarray) -> np.ndarray:
        return X @ v - mean @ v

    centred = LinearOperator(
        X.shape,
        dtype=X.dtype,
        matvec=product,
        matmat=product,
        rmatvec=transposed,
        rmatmat=transposed,
    )
    start = random_state.uniform(-1.0, 1.0, min(X.shape)).astype(X.dtype)
    with threads_worth(X.nnz * k):
        _, lengths, vectors = svds(
            centred, k, v0=start, return_singular_vectors="vh", solver="arpack"
        )
    order = np.argsort(-lengths)
    lengths = lengths[order].astype(np.float64)
    return np.square(lengths * unit) / n_rows, vectors[order]


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
