"""Whether X is a table of counts, which a Gaussian likelihood does not fit."""

import numpy as np
from scipy import sparse

from .._utils.warn import warn_user

# Entries that are looked at, in rows that are evenly spaced.
_ENTRIES = 2_000_000
_MAX_ROWS = 200
# Counts come in many columns: of words, genes, products.
_MIN_COLUMNS = 20
# Up to which whole numbers may as well be grades or answers.
_SMALL = 10
# Nonzeros that a column needs for a skewness, and a skewness that means a long tail.
# Columns of counts of single cells and of words have 1.5 to 2.6 in the median; of
# images -0.6 to -0.2, of census columns 0.5.
_MIN_NONZEROS = 8
_LONG_TAIL = 1.0


def looks_like_counts(X) -> bool:
    """Whether X (n_rows, n_columns), dense or CSR, is of counts.

    Whole numbers, none negative, some large, and in most columns a long tail of those
    that are not 0. Pixels are whole numbers, too, but have no such tail.
    """
    n_rows, n_columns = X.shape
    if n_columns < _MIN_COLUMNS:
        return False
    n_kept = min(n_rows, _MAX_ROWS, max(_MIN_NONZEROS, _ENTRIES // n_columns))
    part = X[np.linspace(0, n_rows - 1, n_kept).round().astype(int)]
    if not sparse.issparse(part) and (part[:1] != np.floor(part[:1])).any():
        return False  # most tables, at the cost of a row
    columns = sparse.csc_array(part)
    values = columns.data.astype(np.float64)
    if not values.size or values.min() < 0.0 or values.max() <= _SMALL:
        return False
    if (values != np.floor(values)).any():
        return False
    where = np.repeat(np.arange(n_columns), np.diff(columns.indptr))
    skewness = _skewness(values, where, n_columns)
    return len(skewness) > 0 and float(np.median(skewness)) >= _LONG_TAIL


def _skewness(values: np.ndarray, where: np.ndarray, n_groups: int) -> np.ndarray:
    """Skewness of every group that has enough values, and not all the same."""
    number = np.bincount(where, minlength=n_groups)

    def mean_of(x: np.ndarray) -> np.ndarray:
        return np.bincount(where, x, n_groups) / np.maximum(number, 1)

    centred = values - mean_of(values)[where]
    variance = mean_of(centred**2)
    usable = (number >= _MIN_NONZEROS) & (variance > 0.0)
    return mean_of(centred**3)[usable] / variance[usable] ** 1.5


def warn_if_counts(X) -> None:
    """Warn if X is of counts, and say what to make of them."""
    if looks_like_counts(X):
        warn_user(
            "X looks like counts: whole numbers with long tails. The likelihood is "
            "Gaussian, so the largest of them would decide the fit; use "
            "likelihood='negative_binomial' of VAETransformer, or normalise rows and "
            "take logarithms first: numpy.log1p(1e4 * X / X.sum(axis=1)), or "
            "scanpy.pp.normalize_total and scanpy.pp.log1p."
        )
