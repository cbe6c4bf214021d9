"""Products of sparse rows that are centred and scaled, and never densified.

With the means m of the columns and a scale s, of all of them or of each, such rows are
``(X - 1 m') / s``, so

    rows @ W   =  X/s W  -  1 (m'/s W)
    rows' @ G  =  (X/s)' G  -  m/s (1' G)

and only the nonzeros of X, with m' as one more row, are multiplied. torch's
``embedding_bag`` does that: it adds up weighted rows of a table, faster than a sparse
product of scipy. Columns are taken block by block, so that their part of W, or of the
result, is in a CPU's cache meanwhile.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.utils import gen_batches
from torch import Tensor

# Share of nonzeros up to which their products are clearly faster than those of all
# entries, on a Zen 4; benchmarks/inference.py shows it at 8 %.
MOST_FILLED = 1 / 8
# Entries of W in a block of columns: 4 MiB.
BLOCK_ENTRIES = 1_048_576
# Entries of W up to which taking nonzeros together takes longer than a product.
SMALL = 262_144


def _has_fbgemm() -> bool:
    """Whether torch has the library that makes ``embedding_bag`` fast, as on x86."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def multiplies_nonzeros(X, mean: np.ndarray | None, scale: float | np.ndarray) -> bool:
    """Whether products with CSR rows are faster, and as exact, if they stay sparse.

    What is subtracted behind the product may not be larger than what is left, or
    float32 would lose it. A table with few nonzeros has small means, unless a column of
    large numbers is among its columns.
    """
    return (
        _has_fbgemm()
        and X.nnz <= MOST_FILLED * X.shape[0] * X.shape[1]
        and (mean is None or bool(np.square(mean / scale).mean() <= 1.0))
    )


class SparseRows:
    """Rows of a CSR matrix, centred and scaled, on the CPU, in float32.

    Parameters
    ----------
    X : CSR matrix/array of shape (n_rows, n_features)
    mean : ndarray of shape (n_features,) or None
        None: the rows are not centred.
    scale : float or ndarray of shape (n_features,)
    densify : callable
        The same rows as a tensor, for what needs all entries.
    """

    def __init__(
        self,
        X,
        mean: np.ndarray | None,
        scale: float | np.ndarray,
        densify: Callable[[], Tensor],
    ) -> None:
        self.shape = X.shape
        self._X, self._mean, self._scale = X, mean, scale
        self._densify = densify

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @cached_property
    def dense(self) -> Tensor:
        """The rows as a tensor (n_rows, n_features)."""
        return self._densify()

    @cached_property
    def _columns(self):
        """The nonzeros by columns, in units of the scale, with any mean as last row."""
        rows = self._X
        if self._mean is not None:
            rows = sparse.vstack([rows, sparse.csr_matrix(self._mean)], format="csr")
        columns = rows.tocsc()
        unit = self._scale
        if isinstance(unit, np.ndarray):
            unit = np.repeat(unit, np.diff(columns.indptr))
        parts = (columns.data / unit, columns.indices, columns.indptr)
        return sparse.csc_matrix(parts, shape=columns.shape).astype(np.float32)

    def __matmul__(self, weight: Tensor) -> Tensor:
        """Rows times a weight of shape (n_features, n_out)."""
        if weight.numel() <= SMALL:
            return self.dense @ weight
        n_rows = len(self) + (self._mean is not None)
        product = weight.new_zeros(n_rows, weight.shape[1])
        parts = _by_blocks(self._columns, _block_columns(weight))
        # One call for all parts would hold the product once a block.
        for block in gen_batches(parts.shape[0], len(product)):
            product += _sums(parts[block], weight)
        return product if self._mean is None else product[:-1] - product[-1]

    def transposed_product(self, g: Tensor, out: Tensor) -> None:
        """Write the transposed rows times ``g``, (n_rows, n_out), into ``out``."""
        if out.numel() <= SMALL:
            torch.mm(self.dense.T, g, out=out)
            return
        table = g
        if self._mean is not None:
            table = torch.cat([g, -g.sum(dim=0, keepdim=True)])
        for columns in gen_batches(len(out), _block_columns(out)):
            out[columns] = _sums(self._columns[:, columns], table)


def with_columns(X, mean: np.ndarray | None, scale: float | np.ndarray, others):
    """CSR rows with a few columns (n, c) behind them that are not centred nor scaled.

    Returns the rows, and the means and scales of all columns.
    """
    n_others = others.shape[1]
    rows = sparse.hstack([X, sparse.csr_matrix(others)], format="csr")
    if mean is not None:
        mean = np.concatenate([mean, np.zeros(n_others)])
    units = np.broadcast_to(scale, X.shape[1])
    return rows, mean, np.concatenate([units, np.ones(n_others)])


def _block_columns(weight: Tensor) -> int:
    """Columns of X in a block: rows of a weight (n_features, n_out)."""
    return max(1, BLOCK_ENTRIES // weight.shape[1])


def _by_blocks(columns, size: int):
    """A CSC matrix as CSR rows that each end with a block of ``size`` columns.

    All rows have their part in the first block, then all have one in the second.
    """
    n_rows, n_columns = columns.shape
    n_blocks = -(-n_columns // size)
    block = np.repeat(np.arange(n_columns) // size, np.diff(columns.indptr))
    parts = (columns.data, columns.indices + n_rows * block, columns.indptr)
    return sparse.csc_matrix(parts, shape=(n_rows * n_blocks, n_columns)).tocsr()


def _sums(compressed, table: Tensor) -> Tensor:
    """A CSR matrix times a table; of a CSC matrix, its transpose times it."""
    return F.embedding_bag(
        torch.from_numpy(compressed.indices),
        table,
        torch.from_numpy(compressed.indptr),
        mode="sum",
        per_sample_weights=torch.from_numpy(compressed.data),
        include_last_offset=True,
    )


Batch = Tensor | SparseRows


def as_tensor(rows: Batch) -> Tensor:
    """Rows with all their entries."""
    return rows.dense if isinstance(rows, SparseRows) else rows
