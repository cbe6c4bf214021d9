"""Rows of X as minibatches on the device, centred and scaled.

The scale is one number for the whole table, so the model of isotropic noise is the
same as on the raw data, in other units; and training does not depend on those units.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import gen_batches
from torch import Tensor
from torch.utils.data import Dataset

from .._kernels.sparse import Batch, SparseRows, as_tensor, multiplies_nonzeros
from .._utils.device import fits

# Values of rows that are looked at together: 32 MiB in float32, whatever their width.
CHUNK_ENTRIES = 8_388_608
# Rows of a chunk: enough for the products, few enough for a CPU's caches.
CHUNK_ROWS = 2048


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


class TableDataset(Dataset):
    """A validated X of floats, handed out as centred and scaled tensors.

    With ``resident``, a dense array in memory moves to the device once, if it fits. A
    memory map and a sparse matrix stay where they are: only the rows of a minibatch are
    read, and densified on the device, if they are not better left sparse.

    Parameters
    ----------
    X : ndarray, memmap or CSR matrix/array of shape (n_rows, n_features)
    mean : ndarray of shape (n_features,)
    scale : float
    dtype : torch.dtype
    device : torch.device
    resident : bool
    index : ndarray of int, optional
        Only these rows of X, in this order.
    """

    def __init__(
        self,
        X,
        mean: np.ndarray,
        scale: float,
        *,
        dtype: torch.dtype,
        device: torch.device,
        resident: bool,
        index: np.ndarray | None = None,
    ) -> None:
        self.n_features = X.shape[1]
        self._n_rows = X.shape[0] if index is None else len(index)
        self._mean = mean
        # Rows are centred in their precision: float32 could lose a small spread around
        # a large mean.
        self._centre = mean.astype(X.dtype)
        self._scale = scale
        self._dtype = dtype
        self.device = device
        self._source = X if index is None else _SelectedRows(X, index)
        self._is_sparse = sparse.issparse(X)
        self._stays_sparse = (
            self._is_sparse
            and device.type == "cpu"
            and dtype == torch.float32
            and multiplies_nonzeros(X, mean, scale)
        )
        self._resident: Tensor | None = None
        in_memory = not self._is_sparse and not is_memory_mapped(X)
        n_bytes = len(self) * self.n_features * dtype.itemsize
        if resident and in_memory and fits(n_bytes, device):
            self._resident = self._load()
            self._source = None

    def _load(self) -> Tensor:
        """All rows on the device, chunk by chunk: no second copy of X on the host."""
        resident = torch.empty(
            (len(self), self.n_features), dtype=self._dtype, device=self.device
        )
        for part in gen_batches(len(self), chunk_rows(self.n_features)):
            resident[part] = self._normalise(self._source[part])
        return resident

    def _normalise(self, X, buffer: np.ndarray | None = None) -> Tensor:
        """Rows as a tensor, in ``buffer`` if one is given."""
        out = None if buffer is None else buffer[: X.shape[0]]
        if self._is_sparse:
            x = self._densified(X, out).sub_(self._densified_centre).div_(self._scale)
            return x.to(self.device, self._dtype)
        if X.flags.writeable and min(X.strides) >= 0:
            # torch is faster than numpy by the threads it has.
            into = None if out is None else torch.from_numpy(out)
            x = torch.sub(torch.from_numpy(X), torch.from_numpy(self._centre), out=into)
        else:  # which torch does not take
            x = torch.from_numpy(np.subtract(X, self._centre, out=out))
        return self._to_device(x.div_(self._scale).to(self._dtype))

    @cached_property
    def _densified_centre(self) -> Tensor:
        """Where sparse rows are densified, once: a GPU waits for what it is sent."""
        centre = torch.from_numpy(self._centre)
        return centre.to(self.device) if self.device.type == "cuda" else centre

    def _densified(self, X, out: np.ndarray | None) -> Tensor:
        if self.device.type != "cuda":
            return torch.from_numpy(X.toarray(out=out))
        return densified(X, self._to_device)

    def _buffer(self, n_rows: int) -> np.ndarray | None:
        """Memory for so many rows, where using it again is faster."""
        if self._resident is not None or self.device.type == "cuda":
            return None
        return np.empty((n_rows, self.n_features), self._source.dtype)

    def _to_device(self, x: Tensor) -> Tensor:
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
        """Rows at an index (int, slice or tensor), as a tensor on the device."""
        if isinstance(index, int):
            index = slice(index, index + 1)
        return as_tensor(self.batch(index))

    def batch(self, index, buffer: np.ndarray | None = None) -> Batch:
        """The same for an encoder: left sparse where that is faster.

        With a ``buffer``, it is valid until that is used again.
        """
        if self._resident is not None:
            if isinstance(index, Tensor):
                return self._resident.index_select(0, index.to(self.device))
            return self._resident[index]
        X = self._source[_host_index(index)]
        if not self._stays_sparse:
            return self._normalise(X, buffer)
        densify = partial(self._normalise, X, buffer)
        return SparseRows(X, self._mean, self._scale, densify)

    def n_batches(self, batch_size: int, min_rows: int = 1) -> int:
        """How many minibatches :meth:`shuffled` gives."""
        return len(batch_bounds(len(self), batch_size, min_rows)) - 1

    def shuffled(
        self, batch_size: int, generator: torch.Generator, min_rows: int = 1
    ) -> Iterator[Batch]:
        """One epoch: every row once, in an order drawn from ``generator`` (on CPU).

        A minibatch is valid until the next one is asked for.
        """
        order = torch.randperm(len(self), generator=generator, device="cpu")
        if self._resident is not None:
            order = order.to(self.device)
        sizes = np.diff(batch_bounds(len(self), batch_size, min_rows)).tolist()
        buffer = self._buffer(max(sizes))
        for index in order.split(sizes):
            yield self.batch(index, buffer)

    def chunks(self) -> Iterator[Tensor]:
        """The rows in order, in chunks of bounded size.

        A chunk is valid until the next one is asked for.
        """
        return map(as_tensor, self.batches())

    def batches(self) -> Iterator[Batch]:
        """The same for an encoder: left sparse where that is faster."""
        step = min(len(self), chunk_rows(self.n_features))
        buffer = self._buffer(step)
        for part in gen_batches(len(self), step):
            yield self.batch(part, buffer)


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
