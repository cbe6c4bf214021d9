"""Matrices of a file, or of a plan to compute one, which are read a part at a time.

What is trained on is read in random order, epoch after epoch, and compressed files do
not serve that. So their rows are unpacked once, into files that are mapped into memory:
an array, or the three parts of a CSR matrix.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from .._utils.containers import kinds_of
from .._utils.validation import float_dtypes
from .dataset import chunk_rows, rows_at_once

# Entries of a sparse matrix that are looked at together, with some copies: 8 MiB each.
PART_ENTRIES = 1_048_576

_COMPRESSED = ("anndata", "BaseCompressedSparseDataset")
_DENSE = (("h5py", "Dataset"), ("zarr", "Array"), ("dask", "Array"))
# Bytes of a chunk of a file that is read as a whole, so that it is unpacked once.
LARGEST_CHUNK = 256_000_000


def is_on_disk(X) -> bool:
    """Whether X is read in parts: of HDF5, zarr or Dask, or anndata's sparse one."""
    kinds = kinds_of(X)
    return _is_compressed(X) or any(kind in kinds for kind in _DENSE)


def is_by_columns(X) -> bool:
    """Whether it is sparse, and by columns: no rows can be read but by reading all."""
    return _is_compressed(X) and X.format == "csc"


def row_parts(X) -> Iterator[tuple[slice, Any]]:
    """The rows of a matrix on disk that is not by columns, in parts of bounded size.

    They are of a dtype that the estimators take as it is.
    """
    dtype = _dtype(X)
    for rows in _row_slices(X):
        part = X[rows]
        if not _is_compressed(X):
            part = np.asarray(part)  # Dask computes here
        yield rows, part.astype(dtype, copy=False)


def _row_slices(X) -> Iterator[slice]:
    """Slices of rows, along the chunks that they are kept in."""
    n_rows, step = X.shape[0], _at_once(X, by=0)
    # Chunks that are computed on are then those of rows in memory.
    chunk = chunk_rows(X.shape[1])
    step = max(1, step // chunk) * chunk
    chunks = None if _is_compressed(X) else getattr(X, "chunks", None)
    if chunks is None:
        yield from gen_batches(n_rows, step)
        return
    row_bytes = max(1, X.shape[1] * X.dtype.itemsize)
    if isinstance(chunks[0], tuple):  # Dask's, each of its own length
        start = 0
        for length in chunks[0]:
            most = length if length * row_bytes <= LARGEST_CHUNK else step
            for part in gen_batches(length, max(1, most)) if length else ():
                yield slice(start + part.start, start + part.stop)
            start += length
        return
    if chunks[0] * row_bytes <= LARGEST_CHUNK:
        step = max(1, step // chunks[0]) * chunks[0]
    yield from gen_batches(n_rows, step)


def check_on_disk(X) -> None:
    """Refuse a matrix on disk that is no table of numbers, before any of it is read.

    Raises
    ------
    ValueError
        If it has other than two dimensions, or not numbers, or is of unknown length.
    """
    if not is_on_disk(X) or _is_compressed(X):
        return
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got a {type(X).__name__} of shape {tuple(X.shape)}: "
            "X has one row per sample."
        )
    if any(size != size for size in X.shape):
        raise ValueError(
            "X is a Dask array of unknown length; call X.compute_chunk_sizes() first."
        )
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has the dtype {X.dtype}, which is not of numbers.")


@contextmanager
def spooled(X) -> Iterator:
    """A matrix on disk as one that is mapped into memory; another as it is.

    Its files are in a folder of their own where the system has temporary ones (the
    environment variable TMPDIR says where), and gone at the end, however that comes.

    Raises
    ------
    OSError
        If they do not fit there.
    """
    if not is_on_disk(X):
        yield X
        return
    check_on_disk(X)
    if not _n_entries(X):  # nothing can be mapped
        kind = sparse.csr_matrix if _is_compressed(X) else np.zeros
        yield kind(X.shape, dtype=_dtype(X))
        return
    # Where an open file cannot be removed, the estimator may still hold the rows.
    with tempfile.TemporaryDirectory(
        prefix="skvae-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        _refuse_full(folder, X)
        if not _is_compressed(X):
            yield _dense(X, folder)
        elif is_by_columns(X):
            yield _from_columns(X, folder)
        else:
            yield _from_rows(X, folder)


def _is_compressed(X) -> bool:
    return _COMPRESSED in kinds_of(X)


def _dtype(X) -> np.dtype:
    taken = [np.dtype(kind) for kind in float_dtypes(X)]
    return X.dtype if X.dtype in taken else taken[0]


def _n_entries(X) -> int:
    return X.group["indices"].shape[0] if _is_compressed(X) else X.shape[0] * X.shape[1]


def _index_dtype(X) -> np.dtype:
    """For indices and bounds alike: scipy would copy what has two types."""
    largest = max(_n_entries(X), *X.shape)
    return np.dtype(np.int32 if largest <= np.iinfo(np.int32).max else np.int64)


def _at_once(X, *, by: int) -> int:
    """Rows (0) or columns (1) that may be in memory together."""
    if not _is_compressed(X):
        return rows_at_once(X.shape[1 - by])
    return max(1, PART_ENTRIES * X.shape[by] // max(1, _n_entries(X)))


def _refuse_full(folder: Path, X) -> None:
    """A mapped file that a full disk cuts short would end the process, not raise."""
    item = _dtype(X).itemsize
    if _is_compressed(X):
        item += _index_dtype(X).itemsize
    needed, free = item * _n_entries(X), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"the rows need {needed / 1e9:.1f} GB of temporary files, and "
            f"{folder.parent} has {free / 1e9:.1f} GB left; name another folder in the "
            "environment variable TMPDIR."
        )


def _mapped(file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A file in memory; what is written to it stays there."""
    return np.memmap(file, dtype, mode="c", shape=shape)


def _dense(X, folder: Path) -> np.ndarray:
    with (folder / "rows").open("wb") as file:
        for _, part in row_parts(X):
            np.ascontiguousarray(part).tofile(file)
    return _mapped(folder / "rows", _dtype(X), X.shape)


def _from_rows(X, folder: Path) -> sparse.csr_matrix:
    index_dtype, n_entries = _index_dtype(X), _n_entries(X)
    indptr = np.zeros(X.shape[0] + 1, index_dtype)
    with (folder / "data").open("wb") as data, (folder / "indices").open("wb") as index:
        for rows, part in row_parts(X):
            part.sort_indices()
            ends = indptr[rows.start] + part.indptr[1:]
            indptr[rows.start + 1 : rows.stop + 1] = ends
            part.data.tofile(data)
            part.indices.astype(index_dtype, copy=False).tofile(index)
    values = _mapped(folder / "data", _dtype(X), (n_entries,))
    indices = _mapped(folder / "indices", index_dtype, (n_entries,))
    return sparse.csr_matrix((values, indices, indptr), shape=X.shape)


def _from_columns(X, folder: Path) -> sparse.csr_matrix:
    """Rows of a matrix by columns, which are read twice: to count, and to deal out.

    Columns come in ascending order, so the entries of a row are in order, too.
    """
    dtype, index_dtype, n_entries = _dtype(X), _index_dtype(X), _n_entries(X)
    count = np.zeros(X.shape[0], np.int64)
    for part in gen_batches(n_entries, PART_ENTRIES):
        count += np.bincount(X.group["indices"][part], minlength=len(count))
    indptr = np.concatenate([[0], np.cumsum(count)]).astype(index_dtype)
    values = _zeros(folder / "data", dtype, n_entries)
    indices = _zeros(folder / "indices", index_dtype, n_entries)
    filled = indptr[:-1].astype(np.int64)  # where the next entry of each row goes
    for columns in gen_batches(X.shape[1], _at_once(X, by=1)):
        part = X[:, columns].tocsr()
        counts = np.diff(part.indptr)
        at = np.arange(part.nnz) + np.repeat(filled - part.indptr[:-1], counts)
        values[at] = part.data
        indices[at] = part.indices + columns.start
        filled += counts
    return sparse.csr_matrix((values, indices, indptr), shape=X.shape)


def _zeros(file: Path, dtype: np.dtype, n: int) -> np.ndarray:
    """A mapped file of zeros that is written in full, so that its space is taken."""
    with file.open("wb") as opened:
        for part in gen_batches(n, PART_ENTRIES):
            np.zeros(part.stop - part.start, dtype).tofile(opened)
    return np.memmap(file, dtype, mode="r+", shape=(n,))
