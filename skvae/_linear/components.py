"""Leading eigenpairs of a covariance, by whichever decomposition is quickest."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.utils.extmath import randomized_svd

from .._data.moments import column_moments, without_rounding
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
) -> Components:
    """Leading eigenpairs of the covariance of X; none if it is constant, or overflows.

    There are no more components than features, and fewer than rows. Signs are those of
    ``PCA``: the largest loading of a component is positive.

    Functions, where scikit-learn's ``PCA`` would do: software that watches the fits of
    scikit-learn's estimators (MLflow's autologging) would take it for the model.
    """
    if is_tall(X):
        return components_of(scatter_of(X), n_components)
    n_rows, n_features = X.shape
    # The solver for sparse rows gives no full decomposition.
    k = min(n_components, n_features - sparse.issparse(X), n_rows - 1)
    if sparse.issparse(X):
        return _sparse_components(X, k, random_state)
    return _dense_components(X, k, random_state)


def is_tall(X) -> bool:
    """Whether the covariance of X is quickest to decompose."""
    n_rows, n_features = X.shape
    tall = n_features <= MOST_COVARIANCES and n_rows >= 10 * n_features
    return tall and n_rows > 1 and not sparse.issparse(X)


class Scatter(NamedTuple):
    """Of rows around their mean: what merges where tables do.

    ``mean`` (D,); ``products`` (D, D), the sum of outer products of centred rows, in
    squared units of ``unit``; ``variance`` (D,), 0 for columns that are constant but
    for rounding.
    """

    n_rows: int
    mean: np.ndarray
    products: np.ndarray
    unit: float
    variance: np.ndarray


def scatter_of(X: np.ndarray) -> Scatter:
    """The scatter of dense rows, from one copy of them."""
    centred, mean, unit = _centred(X)
    with threads_worth(X.shape[0] * X.shape[1] ** 2):
        products = centred.T @ centred
    squares = np.diag(products).astype(np.float64)
    mean, variance = _moments(centred, mean, unit, squares, X.dtype)
    return Scatter(len(X), mean, products, unit, variance)


def merged(a: Scatter, b: Scatter) -> Scatter:
    """The scatter of both tables' rows (Chan, Golub & LeVeque, 1979)."""
    n_rows = a.n_rows + b.n_rows
    apart = (b.mean - a.mean) / a.unit
    share = a.n_rows * b.n_rows / n_rows
    products = a.products + b.products * (b.unit / a.unit) ** 2
    products = products + share * np.outer(apart, apart)
    mean = a.mean + (b.mean - a.mean) * (b.n_rows / n_rows)
    # A column that is constant in both, at the same value, is constant.
    varies = (a.variance > 0.0) | (b.variance > 0.0) | (apart != 0.0)
    variance = np.diag(products) / n_rows * a.unit**2
    return Scatter(n_rows, mean, products, a.unit, np.where(varies, variance, 0.0))


def components_of(scatter: Scatter, n_components: int) -> Components:
    """Leading eigenpairs of the covariance that a scatter gives."""
    n_features = len(scatter.mean)
    k = min(n_components, n_features, scatter.n_rows - 1)
    total = float(scatter.variance.sum())
    if k < 1 or total == 0.0 or not np.isfinite(total):
        return _none(n_features, total)
    with threads_worth(n_features**3):
        values, vectors = linalg.eigh(
            scatter.products / scatter.n_rows,
            subset_by_index=(n_features - k, n_features - 1),
        )
    # Rounding can take an eigenvalue of a singular matrix below zero.
    values = np.maximum(values[::-1], 0.0) * scatter.unit**2
    return with_signs(values, vectors.T[::-1], total)


def _none(n_features: int, total: float) -> Components:
    return Components(np.empty(0), np.empty((0, n_features)), total)


def with_signs(values: np.ndarray, vectors: np.ndarray, total: float) -> Components:
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return Components(
        values.astype(np.float64), vectors.astype(np.float64) * signs[:, None], total
    )


def _centred(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.float64]:
    """Centred rows in a unit that squares do not overflow in, the mean, the unit."""
    if X.size <= MAX_ENTRIES // 10:
        # The small eigenvalues, which are the noise, drown in float32's rounding.
        X = np.asarray(X, dtype=np.float64)
    # Solvers for tall tables lose a small spread around a large mean, and a float32 sum
    # of many rows loses the mean.
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X - mean.astype(X.dtype)
    unit = np.float64(np.abs(centred).max()) or np.float64(1.0)
    centred /= unit
    return centred, mean, unit


def _moments(
    centred: np.ndarray,
    mean: np.ndarray,
    unit: np.float64,
    squares: np.ndarray,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of columns, from sums of squares of their centred rows.

    The mean was off by its rounding, which grows with the rows.
    """
    drift = centred.mean(axis=0, dtype=np.float64)
    with np.errstate(over="ignore"):  # infinity is the answer then
        variance = (squares / len(centred) - np.square(drift)) * unit**2
        mean = mean + drift * unit
    return mean, without_rounding(mean, np.maximum(variance, 0.0), dtype)


def _dense_components(
    X: np.ndarray, k: int, random_state: np.random.RandomState
) -> Components:
    """By an SVD of small tables, a randomised one of others."""
    n_rows, n_features = X.shape
    centred, mean, unit = _centred(X)
    squares = np.einsum("ij,ij->j", centred, centred, dtype=np.float64)
    _, variance = _moments(centred, mean, unit, squares, X.dtype)
    total = float(variance.sum())
    if k < 1 or total == 0.0 or not np.isfinite(total):
        return _none(n_features, total)
    if max(X.shape) <= MOST_ROWS_OF_SVD or k >= 0.8 * min(X.shape):
        with threads_worth(n_rows * n_features * min(X.shape)):
            _, lengths, vectors = linalg.svd(centred, full_matrices=False)
    else:
        with threads_worth(n_rows * n_features * k):
            _, lengths, vectors = randomized_svd(
                centred, k, random_state=random_state, flip_sign=False
            )
    values = np.square(lengths[:k].astype(np.float64) * unit) / n_rows
    return with_signs(values, vectors[:k], total)


def _sparse_components(X, k: int, random_state: np.random.RandomState) -> Components:
    """By ARPACK, with rows that are centred in the products and never densified."""
    n_rows, n_features = X.shape
    unit = np.float64(np.abs(X.data).max(initial=0.0)) or np.float64(1.0)
    # A product of the matrix would copy the indices, too.
    scaled = X.data * X.dtype.type(1.0 / unit)  # a quotient would be in float64
    X = type(X)((scaled, X.indices, X.indptr), shape=X.shape)
    mean, variance = column_moments(X)
    total = float(variance.sum()) * unit**2
    if k < 1 or total == 0.0 or not np.isfinite(total):
        return _none(n_features, total)
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
    return with_signs(np.square(lengths * unit) / n_rows, vectors[order], total)


def bounded_index(X, index: np.ndarray, n_components: int) -> np.ndarray:
    """As many of ``index`` as the decomposition should look at, in ascending order."""
    per_row = X.nnz / X.shape[0] if sparse.issparse(X) else X.shape[1]
    n_kept = max(4 * n_components, int(MAX_ENTRIES / max(per_row, 1.0)))
    return np.sort(index[:n_kept])
