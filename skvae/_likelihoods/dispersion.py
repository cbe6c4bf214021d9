"""Dispersions of counts that no code explains, at maximum likelihood.

With the mean ``mu = size * rate`` of a count given, the derivative of its negative
log-likelihood by ``ln r`` (see ``negative_binomial``) is summed over rows, and its zero
is found by bisection, a column beside the other. Rows of about the same size are taken
together, so that a step costs as much as a few rows do.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from .._data.dataset import rows_at_once
from .counts import Nonzeros, RisingFactorials

# Groups of rows of about the same size, and halvings of the range of ln r.
N_GROUPS, N_STEPS = 32, 30
# Large counts that are looked at one by one: further rows are left out.
MOST_LARGE = 4_194_304


def log_r_without_code(
    X, size: np.ndarray, rates: np.ndarray, low: float, high: float
) -> Tensor:
    """``ln r`` of every column, (D,), float64, between two bounds.

    Parameters
    ----------
    X : ndarray or CSR matrix/array of shape (n, D)
        Counts.
    size : ndarray of shape (n,)
        Of the rows; positive where a row has counts.
    rates : ndarray of shape (D,)
        Means at a size of 1.
    """
    gaps = np.zeros(X.shape[1], bool) if sparse.issparse(X) else np.isnan(X).any(axis=0)
    if gaps.any():
        return _log_r_with_gaps(X, size, rates, low, high, gaps)
    counts = _Counts(X, size)
    mean = counts.sizes[:, None] * torch.from_numpy(rates)
    least, most = (torch.full_like(mean[0], end) for end in (low, high))
    for _ in range(N_STEPS):
        log_r = 0.5 * (least + most)
        rises = counts.slope(mean, log_r) > 0.0
        # The loss rises with ln r where r is above the best one.
        most = torch.where(rises, log_r, most)
        least = torch.where(rises, least, log_r)
    return 0.5 * (least + most)


def _log_r_with_gaps(X, size, rates, low, high, gaps: np.ndarray) -> Tensor:
    """The same, of every column that has gaps from the rows where it has none."""
    found = torch.empty(X.shape[1], dtype=torch.float64)
    whole = np.flatnonzero(~gaps)
    if len(whole):
        found[whole] = log_r_without_code(X[:, whole], size, rates[whole], low, high)
    for j in np.flatnonzero(gaps):
        seen = ~np.isnan(X[:, j])
        own = X[seen][:, [j]], size[seen], rates[[j]]
        found[j] = log_r_without_code(*own, low, high)[0]
    return found


def crossed_with_sizes(X, size: np.ndarray) -> np.ndarray:
    """Sums over rows of counts times sizes, (D,); of gaps, what other rows have."""
    if sparse.issparse(X) or not np.isnan(X).any():
        return np.asarray(X.T @ size).ravel()
    observed = ~np.isnan(X)
    total = np.where(observed, X, 0.0).T @ size
    return total * (size.sum() / np.maximum(observed.T @ size, 1e-300))


class _Counts:
    """What the likelihood of dispersions needs to know of a table."""

    def __init__(self, X, size: np.ndarray) -> None:
        n_rows, n_columns = X.shape
        group = torch.from_numpy(_groups(size))
        # A copy: sizes that are the same for all rows are a read-only array.
        sizes = torch.tensor(np.asarray(size), dtype=torch.float64)
        self.n_rows, self.sizes = torch.zeros(2, N_GROUPS, dtype=torch.float64)
        self.totals = torch.zeros(N_GROUPS, n_columns, dtype=torch.float64)
        above: Tensor | float = 0.0
        large = []
        n_chunks = -(-n_rows // rows_at_once(n_columns))
        for first in range(n_chunks):
            # From everywhere in the table, should its rows be in some order.
            part = slice(first, None, n_chunks)
            x = X[part]
            x = torch.from_numpy(x.toarray() if sparse.issparse(x) else np.array(x))
            self.n_rows.index_add_(0, group[part], torch.ones_like(sizes[part]))
            self.sizes.index_add_(0, group[part], sizes[part])
            self.totals.index_add_(0, group[part], x.double())
            found = Nonzeros(x).rising
            above = above + found.above
            large.append((found.values, found.columns))
            if sum(len(values) for values, _ in large) > MOST_LARGE:
                break
        self.sizes /= self.n_rows.clamp(min=1.0)
        assert isinstance(above, Tensor)
        parts = (torch.cat(part) for part in zip(*large, strict=True))
        self._rising = RisingFactorials(above, *parts)

    def slope(self, mean: Tensor, log_r: Tensor) -> Tensor:
        """Derivative of the negative log-likelihood by ``ln r``, (D,)."""
        r = log_r.exp()
        t = mean.log() - log_r
        of_rows = r * (F.softplus(t) - torch.sigmoid(t))
        of_counts = self.totals * torch.sigmoid(-t)
        both = self.n_rows[:, None] * of_rows + of_counts
        return both.sum(dim=0) - r * self._rising.at(r)[1]


def _groups(size: np.ndarray) -> np.ndarray:
    """Which of ``N_GROUPS`` groups of about the same size rows are in, (n,)."""
    group = np.empty(len(size), dtype=np.int64)
    group[np.argsort(size, kind="stable")] = (
        np.arange(len(size)) * N_GROUPS // len(size)
    )
    return group
