"""Rows of X as minibatches on the device: (input, target, mask).

The dataset reads rows and brings them where they are needed; what becomes of them there
is the likelihood's.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import gen_batches
from torch import Tensor
from torch.utils.data import Dataset

from .._kernels.sparse import (
    Batch,
    SparseRows,
    as_tensor,
    multiplies_nonzeros,
    with_columns,
)
from .._utils.device import fits
from .covariates import NO_ROWS, NONE, Covariates, RowCovariates

# Values of rows that are looked at together: 32 MiB in float32, whatever their width.
CHUNK_ENTRIES = 8_388_608
# Rows of a chunk: enough for the products, few enough for a CPU's caches.
CHUNK_ROWS = 2048


class RowEncoder(Protocol):
    """What a dataset asks of a likelihood (see ``_likelihoods.base``)."""

    inputs_are_rows: ClassVar[bool]

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor: ...

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor: ...

    def encode_sparse(self, X, size: np.ndarray | None): ...

    def input_affine(self) -> tuple[np.ndarray | None, float | np.ndarray] | None: ...


class FillsGaps(Protocol):
    """What a dataset asks of whatever knows about gaps (see ``_nn.gap_inputs``)."""

    def filled(self, inputs: Tensor, mask: Tensor | None) -> Tensor: ...

    def beside(self, inputs: Tensor, mask: Tensor | None) -> Tensor: ...


def rows_at_once(n_features: int) -> int:
    """How many rows of this width may be in memory together."""
    return max(1, CHUNK_ENTRIES // n_features)


def chunk_rows(n_features: int) -> int:
    """How many rows an inference chunk of this width has."""
    return min(CHUNK_ROWS, rows_at_once(n_features))


def batch_bounds(n_rows: int, batch_size: int, min_rows: int) -> np.ndarray:
    """Bounds of nearly equal batches of at most ``batch_size`` rows.

    Equal sizes leave no short tail, which batch normalisation could not take;
    ``min_rows`` wins over ``batch_size``.
    """
    n_batches = max(1, min(-(-n_rows // batch_size), n_rows // min_rows))
    return np.linspace(0, n_rows, n_batches + 1).round().astype(int)


def is_memory_mapped(X: np.ndarray) -> bool:
    """Whether an array's values are on disk; validation hides that behind a view."""
    base: object = X
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Some rows, as a step or a measure needs them.

    ``inputs`` (n, n_inputs) is what the encoder sees, ``rows`` (n, D) what the
    likelihood explains, in model units, either left sparse where that is faster;
    ``mask`` (n, D) is true where the rows were observed, None everywhere;
    ``covariates`` is what is known of the rows beside.
    """

    inputs: Batch
    rows: Batch
    mask: Tensor | None = None
    covariates: Covariates = NONE

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def target(self) -> Tensor:
        """The rows with all their entries."""
        return as_tensor(self.rows)

    def dense(self) -> "Minibatch":
        """The same with all entries of inputs and rows."""
        return self if isinstance(self.inputs, Tensor) else self[:]

    def __getitem__(self, index: Tensor | slice) -> "Minibatch":
        """Some of them, with all their entries."""
        target = self.target[index]
        same = self.inputs is self.rows
        inputs = target if same else as_tensor(self.inputs)[index]
        mask = None if self.mask is None else self.mask[index]
        return Minibatch(inputs, target, mask, self.covariates.at(index))

    def repeated(self, n: int) -> "Minibatch":
        """What the likelihood explains, ``n`` times one after the other, for codes.

        With all entries; the encoder has seen the rows, and inputs are left out.
        """
        if n == 1:
            return self
        target = self.target.repeat(n, 1)
        mask = None if self.mask is None else self.mask.repeat(n, 1)
        return Minibatch(target, target, mask, self.covariates.repeated(n))


class TableDataset(Dataset):
    """A validated X of floats, handed out as a likelihood encodes it.

    With ``resident``, a dense array in memory moves to the device once, if it fits. A
    memory map and a sparse matrix stay where they are: only the rows of a minibatch are
    read, and densified on the device, if they are not better left sparse.

    Parameters
    ----------
    X : ndarray, memmap or CSR matrix/array of shape (n_rows, n_features)
    likelihood : Likelihood
        Encodes rows; its units must be fitted.
    dtype : torch.dtype
    device : torch.device
    resident : bool
    index : ndarray of int, optional
        Only these rows of X, in this order.
    covariates : RowCovariates
        Of all rows of X.
    encodes_conditions : bool
        Whether inputs have the conditions behind them.
    gaps : FillsGaps, optional
        Fills inputs where X is NaN, which it may then be.
    """

    def __init__(
        self,
        X,
        likelihood: RowEncoder,
        *,
        dtype: torch.dtype,
        device: torch.device,
        resident: bool,
        index: np.ndarray | None = None,
        covariates: RowCovariates = NO_ROWS,
        encodes_conditions: bool = False,
        gaps: FillsGaps | None = None,
    ) -> None:
        self.n_features = X.shape[1]
        self._n_rows = X.shape[0] if index is None else len(index)
        self.likelihood = likelihood
        self._dtype = dtype
        self.device = device
        self._source = X if index is None else _SelectedRows(X, index)
        self._is_sparse = sparse.issparse(X)
        self._affine = None
        # What tells of gaps stands behind inputs that have all their entries.
        stays = self._is_sparse and gaps is None
        if stays and device.type == "cpu" and dtype == torch.float32:
            affine = likelihood.input_affine()
            if affine is not None and multiplies_nonzeros(X, *affine):
                self._affine = affine
        self._of_rows = covariates if index is None else covariates.at(index)
        self._covariates = self._of_rows.on(device, dtype)
        self._encodes_conditions = encodes_conditions
        self._gaps = gaps
        self.has_gaps = gaps is not None and not self._is_sparse and has_nan(X)
        self._resident: Tensor | None = None
        self._seen: tuple[Tensor, Tensor] | None = None
        in_memory = not self._is_sparse and not is_memory_mapped(X)
        n_bytes = len(self) * self.n_features * dtype.itemsize
        if resident and in_memory and fits(n_bytes, device):
            self._resident = self._load()
            self._source = None
            if self.has_gaps:
                self._seen = self._look()

    def _load(self) -> Tensor:
        """All rows on the device, chunk by chunk: no second copy of X on the host."""
        resident = torch.empty(
            (len(self), self.n_features), dtype=self._dtype, device=self.device
        )
        for part in gen_batches(len(self), chunk_rows(self.n_features)):
            resident[part] = self._encoded(self._source[part])
        return resident

    def _look(self) -> tuple[Tensor, Tensor]:
        """Masks and inputs of all rows: filling gaps at every step would take long."""
        assert self._resident is not None
        mask = ~torch.isnan(self._resident)
        self._resident.nan_to_num_(nan=0.0)
        inputs = [
            self._inputs(self._resident[part], self._covariates.at(part), mask[part])
            for part in gen_batches(len(self), chunk_rows(self.n_features))
        ]
        return mask, torch.cat(inputs)

    def _encoded(self, X) -> Tensor:
        """Rows in model units as a tensor on the device."""
        if self._is_sparse:
            x = self._densified(X)
            x = self.likelihood.encode_target(x, out=x)
            return x.to(self.device, self._dtype)
        # torch does not take memory that is read-only, or reversed.
        if X.flags.writeable and min(X.strides) >= 0:
            # torch is faster than numpy by the threads it has.
            x = self.likelihood.encode_target(torch.from_numpy(X))
        else:
            x = torch.from_numpy(np.array(X))
            x = self.likelihood.encode_target(x, out=x)
        return self._send(x.to(self._dtype))

    def _densified(self, X) -> Tensor:
        if self.device.type != "cuda":
            return torch.from_numpy(X.toarray())
        return densified(X, self._send)

    def _send(self, x: Tensor) -> Tensor:
        """Through pinned memory to a GPU, which computes in the meantime."""
        if self.device.type != "cuda":
            return x.to(self.device)
        return x.pin_memory().to(self.device, non_blocking=True)

    def __len__(self) -> int:
        return self._n_rows

    @property
    def shape(self) -> tuple[int, int]:
        """As a tensor's: callbacks look at it."""
        return self._n_rows, self.n_features

    def __getitem__(self, index) -> Tensor:
        """Inputs at an index (int, slice or tensor), as a tensor on the device."""
        if isinstance(index, int):
            index = slice(index, index + 1)
        return as_tensor(self.batch(index).inputs)

    def batch(self, index) -> Minibatch:
        """Rows at an index."""
        at = index.to(self.device) if isinstance(index, Tensor) else index
        covariates = self._covariates.at(at)
        if self._affine is not None:
            return self._sparse_batch(_host_index(index), *self._affine, covariates)
        rows = self._rows(index)
        if not self.has_gaps:
            return Minibatch(self._inputs(rows, covariates), rows, None, covariates)
        if self._seen is not None:
            mask, inputs = (part[at] for part in self._seen)
            return Minibatch(inputs, rows, mask, covariates)
        mask = ~torch.isnan(rows)
        rows = rows.nan_to_num(nan=0.0)
        return Minibatch(self._inputs(rows, covariates, mask), rows, mask, covariates)

    def _rows(self, index) -> Tensor:
        if self._resident is None:
            return self._encoded(self._source[_host_index(index)])
        if isinstance(index, Tensor):
            return self._resident.index_select(0, index.to(self.device))
        return self._resident[index]

    def _inputs(
        self, rows: Tensor, covariates: Covariates, mask: Tensor | None = None
    ) -> Tensor:
        inputs = self.likelihood.encode_inputs(rows, mask, covariates)
        if self._gaps is not None:
            inputs = self._gaps.filled(inputs, mask)
        if self._encodes_conditions:
            inputs = covariates.beside(inputs)
        return inputs if self._gaps is None else self._gaps.beside(inputs, mask)

    def _sparse_batch(self, index, mean, scale, covariates: Covariates) -> Minibatch:
        """Rows of a CSR matrix whose inputs stay sparse."""
        X, of_rows = self._source[index], self._of_rows.at(index)
        rows = SparseRows(X, mean, scale, partial(self._encoded, X))
        encoded = self.likelihood.encode_sparse(X, of_rows.size)
        if self.likelihood.inputs_are_rows and not self._encodes_conditions:
            return Minibatch(rows, rows, None, covariates)
        if self._encodes_conditions:
            parts = with_columns(encoded, mean, scale, of_rows.conditions)
            encoded, mean, scale = parts

        def densify() -> Tensor:
            return self._inputs(rows.dense, covariates)

        inputs = SparseRows(encoded, mean, scale, densify)
        return Minibatch(inputs, rows, None, covariates)

    def n_batches(self, batch_size: int, min_rows: int = 1) -> int:
        """How many minibatches :meth:`shuffled` gives."""
        return len(batch_bounds(len(self), batch_size, min_rows)) - 1

    def shuffled(
        self, batch_size: int, generator: torch.Generator, min_rows: int = 1
    ) -> Iterator[Minibatch]:
        """One epoch: every row once, in an order drawn from ``generator`` (on CPU)."""
        order = torch.randperm(len(self), generator=generator, device="cpu")
        if self._resident is not None:
            order = order.to(self.device)
        sizes = np.diff(batch_bounds(len(self), batch_size, min_rows)).tolist()
        for index in order.split(sizes):
            yield self.batch(index)

    def batches(self) -> Iterator[Minibatch]:
        """The rows in order, in chunks of bounded size."""
        for part in gen_batches(len(self), chunk_rows(self.n_features)):
            yield self.batch(part)


def has_nan(X: np.ndarray) -> bool:
    """Whether an array has a gap; it may be a memory map."""
    step = rows_at_once(X.shape[1])
    return any(np.isnan(X[i : i + step]).any() for i in range(0, len(X), step))


def densified(X, send: Callable[[Tensor], Tensor]) -> Tensor:
    """A CSR matrix as a dense tensor, from parts that ``send`` takes to its device."""
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    entries = send(torch.from_numpy(rows * X.shape[1] + X.indices))
    values = send(torch.from_numpy(X.data))
    x = values.new_zeros(X.shape[0] * X.shape[1])
    # Entries that are stored twice add up, as scipy has it.
    return x.index_add_(0, entries, values).view(X.shape)


def stacked(parts: Iterable[np.ndarray], n_rows: int) -> np.ndarray:
    """Results of chunks as one array of ``n_rows``, without holding them twice."""
    whole: np.ndarray | None = None
    start = 0
    for part in parts:
        if whole is None:
            whole = np.empty((n_rows, *part.shape[1:]), part.dtype)
        whole[start : start + len(part)] = part
        start += len(part)
    assert whole is not None
    return whole


class _SelectedRows:
    """Some rows of a table, which stays where it is until they are read."""

    def __init__(self, source, index: np.ndarray) -> None:
        self.dtype = source.dtype
        self._source = source
        self._index = index

    def __getitem__(self, index):
        return self._source[self._index[index]]


def _host_index(index):
    return index.numpy() if isinstance(index, Tensor) else index
