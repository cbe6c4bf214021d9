"""Leading eigenpairs of a covariance, by whichever decomposition is quickest."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.utils.extmath import randomized_svd

from .._data.moments import column_moments
from .._kernels.threads import threads_worth

# Entries of X that the decomposition looks at; above it, a random subset of the rows
# carries the leading components as well and costs a bounded time.
MAX_ENTRIES = 100_000_000
# Columns up to which a tall table's covariance is quickest, and rows and columns up to
# which an SVD is: as scikit-learn's PCA has it.
MOST_COVARIANCES = 1000
MOST_ROWS_OF_SVD = 500


class Components(NamedTuple):
    """Leading eigenpairs of a covariance (divisor n), and its trace.

    ``eigenvalues`` (k,), descending, ``eigenvectors`` (k, n_features).
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    total: float


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
