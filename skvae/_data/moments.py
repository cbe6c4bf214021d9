"""Means and variances of columns."""

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

# Steps between neighbouring floats, at the mean of a column, that its standard
# deviation has to exceed.
ROUNDING_STEPS = 4.0


def column_moments(X) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (divisor n) of every column, in float64; X may be sparse.

    Of what was observed: entries of dense X that are NaN are left out. Sparse X must be
    canonical. The variance of a column that is constant but for rounding is 0: its
    values, or their mean, are no more precise.
    """
    mean, variance = (_sparse_moments if sparse.issparse(X) else _dense_moments)(X)
    if np.isnan(mean).any():
        mean, variance = _observed_moments(X)
    return mean, without_rounding(mean, variance, X.dtype)


def column_kurtosis(X, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Fourth moment over the squared variance (D,), at least 1; 1 where it is constant.

    Sparse X must be canonical; ``mean`` and ``variance`` are those of its columns.
    """
    scale = np.sqrt(np.where(variance > 0.0, variance, 1.0))
    total = np.zeros(X.shape[1])
    step = max(1, 500_000 // max(1, X.shape[1]))
    with np.errstate(over="ignore"):
        if sparse.issparse(X):
            zero = (mean / scale) ** 4
            off = ((X.data - mean[X.indices]) / scale[X.indices]) ** 4
            total += np.bincount(X.indices, off - zero[X.indices], X.shape[1])
            total += X.shape[0] * zero
        else:
            for start in range(0, len(X), step):
                z = (X[start : start + step] - mean) / scale
                total += np.square(np.square(z, out=z), out=z).sum(axis=0)
    n_rows: int | np.ndarray = X.shape[0]
    if np.isnan(total).any():
        n_rows, total = np.maximum(n_observed_rows(X), 1), np.zeros(X.shape[1])
        for start in range(0, len(X), step):
            z = (X[start : start + step] - mean) / scale
            total += np.nansum(np.square(np.square(z)), axis=0)
    return np.where(variance > 0.0, np.maximum(total / n_rows, 1.0), 1.0)


def n_observed_rows(X) -> np.ndarray:
    """How many rows every column of dense X was observed in, (D,)."""
    return X.shape[0] - np.isnan(X).sum(axis=0)


def without_rounding(
    mean: np.ndarray, variance: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Variances (D,) of columns of a dtype, 0 where they are only rounding."""
    eps = np.finfo(dtype if dtype.kind == "f" else np.float64).eps
    constant = np.sqrt(variance) <= ROUNDING_STEPS * eps * np.abs(mean)
    return np.where(constant, 0.0, variance)


def _sparse_moments(X) -> tuple[np.ndarray, np.ndarray]:
    # It adds up in float64, and returns what X is in, where squares may overflow.
    with np.errstate(over="ignore"):
        moments = mean_variance_axis(X, axis=0)
    if not np.isfinite(moments[1]).all():
        moments = mean_variance_axis(X.astype(np.float64), axis=0)
    mean, variance = (part.astype(np.float64) for part in moments)
    return mean, variance


def _observed_moments(X) -> tuple[np.ndarray, np.ndarray]:
    """Of entries that are not NaN; 0 where a column has none."""
    step = max(1, 500_000 // max(1, X.shape[1]))
    parts = [slice(start, start + step) for start in range(0, len(X), step)]
    n_rows = sum(n_observed_rows(X[part]) for part in parts)
    n_rows = np.maximum(n_rows, 1)
    mean = sum(np.nansum(X[part], axis=0, dtype=np.float64) for part in parts) / n_rows
    squares, drift = np.zeros_like(mean), np.zeros_like(mean)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in parts:
            centred = X[part] - mean
            drift += np.nansum(centred, axis=0)
            squares += np.nansum(np.square(centred), axis=0)
        drift /= n_rows
        variance = squares / n_rows - np.square(drift)
    return mean + drift, np.maximum(variance, 0.0)


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
