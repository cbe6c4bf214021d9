"""Tables on disk: what the command line reads and writes."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from .._utils.optional import optional_import
from .frames import SEPARATORS, read_delimited, read_parquet
from .table import (
    Table,
    TableError,
    ending,
    refuse_repeated,
    some,
)

__all__ = [
    "CELLS",
    "READABLE",
    "WRITABLE",
    "Table",
    "TableError",
    "check_writable",
    "make_empty_folder",
    "read_table",
    "write_table",
]

CELLS = ".h5ad"
READABLE = (".npy", ".npz", *SEPARATORS, ".parquet", CELLS)
WRITABLE = (".npy", *SEPARATORS, ".parquet")


def read_table(
    path: str,
    *,
    label: str | None = None,
    index: str | None = None,
    numeric_only: bool = False,
    sep: str | None = None,
    decimal: str = ".",
    layer: str | None = None,
    conditions: Sequence[str] = (),
) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path : str
        A file whose ending, in capitals or not, is one of ``READABLE``.
    label : str, optional
        Column (or ``.npz`` array, or ``obs`` column) that holds labels, not features.
    index : str, optional
        Column (or array) that holds the names of the rows. By default a first column
        without a name, the index of a Parquet file, or ``obs_names``.
    numeric_only : bool
        Leave out columns that are not numbers instead of complaining.
    sep : str, optional
        Separator of a text file; by default a comma, or a tab in ``.tsv``.
    decimal : str
        Decimal point of a text file.
    layer : str, optional
        Layer of an ``.h5ad`` file to read in place of its X.
    conditions : sequence of str
        Columns of its ``obs`` that are conditions.

    Raises
    ------
    TableError
        If there is no such file, its kind is unknown or its contents are no table.
    """
    kind = _checked_ending(path)
    columns: dict[str, Any] = {"label": label, "index": index}
    if kind in SEPARATORS:
        columns |= {"numeric_only": numeric_only, "sep": sep, "decimal": decimal}
    elif sep is not None or decimal != ".":
        raise TableError(f"{path}: --sep and --decimal are for .csv and .tsv")
    elif kind == ".parquet":
        columns |= {"numeric_only": numeric_only}
    if kind == CELLS:
        columns |= {"layer": layer, "conditions": conditions}
    elif layer is not None or conditions:
        raise TableError(f"{path}: --layer and --condition are for {CELLS}")
    readers: dict[str, Callable[..., Table]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".parquet": read_parquet,
        CELLS: _read_h5ad,
        **dict.fromkeys(SEPARATORS, read_delimited),
    }
    try:
        return _checked(readers[kind](Path(path), **columns))
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    except UnicodeError as error:
        raise TableError(f"{path}: is not UTF-8; save it as UTF-8 text") from error
    except Exception as error:
        # Every reader has errors of its own for a file that is not what it says.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "pickle" in reason:  # numpy's advice would be to run the file's code
            reason = "it is no array of numbers"
        raise TableError(f"{path}: cannot be read ({reason})") from error


def _checked_ending(path: str) -> str:
    """The ending of a file that can be read, by what can be known from outside."""
    file = Path(path)
    if not file.exists():
        raise TableError(f"{path}: no such file")
    if file.is_dir():
        raise TableError(f"{path}: is a folder, not a file")
    if not file.is_file():
        raise TableError(
            f"{path}: is a pipe or a device, which can be read only once; write it to "
            "a file first"
        )
    kind = ending(file)
    if kind not in READABLE:
        raise TableError(
            f"{path}: cannot read {kind or 'a file without an ending'}; use one "
            f"of {', '.join(READABLE)}"
        )
    if file.stat().st_size == 0:
        raise TableError(f"{path}: is empty")
    return kind


def _checked(table: Table) -> Table:
    """The table, its rows in CSR if they are sparse, or why it is none."""
    X = table.X
    if getattr(X, "ndim", 0) != 2:
        raise TableError("holds no two-dimensional array")
    n_rows, n_columns = X.shape
    if n_rows == 0 or n_columns == 0:
        raise TableError(f"has {n_rows} rows and {n_columns} columns")
    if sparse.issparse(X):
        X = X.tocsr()
        # Entries of one place mean their sum, and statistics are taken of entries.
        X.sum_duplicates()
    try:
        check_array(X, accept_sparse="csr", ensure_min_samples=2)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "NaN" in reason or "infinity" in reason:
            reason += f"{_where(X, table.feature_names)} Fill in, clip or drop them."
        raise TableError(reason) from error
    for what, values in (("labels", table.labels), ("row names", table.row_names)):
        if values is not None and len(values) != n_rows:
            raise TableError(f"has {n_rows} rows but {len(values)} {what}")
    names = table.feature_names
    if names is not None and len(names) != n_columns:
        raise TableError(f"has {n_columns} columns but {len(names)} names of them")
    return table._replace(X=X)


def _where(X, names: list[str] | None) -> str:
    """Which columns hold what is no number."""
    if sparse.issparse(X):
        bad = np.unique(X.indices[~np.isfinite(X.data)])
    else:
        bad = np.flatnonzero(~np.isfinite(np.asarray(X, float)).all(axis=0))
    shown = some(bad if names is None else [names[i] for i in bad])
    return f" Columns with missing or infinite values: {shown}."


def _read_npy(file: Path, *, label, index) -> Table:
    for what, name in (("labels", label), ("row names", index)):
        if name is not None:
            raise TableError(f"an .npy file has no {what}; use .npz, .csv or .parquet")
    return Table(np.load(file, mmap_mode="r"), None, None)


def _read_npz(file: Path, *, label, index) -> Table:
    with file.open("rb") as opened, np.load(opened) as parts:
        beside = {}
        for name in (label, index):
            if name is not None and name not in parts:
                raise TableError(f"no array {name!r}; it has {some(parts, 20)}")
            beside[name] = parts[name] if name is not None else None
        names = None
        if "feature_names" in parts:
            names = list(map(str, parts["feature_names"]))
            refuse_repeated(names, "rename or drop them")
        X = _array_of(parts, file, {label, index})
    return Table(X, names, beside[label], beside[index])


def _array_of(parts, file: Path, taken: set) -> Any:
    """The table among the arrays of an .npz file."""
    if "X" in parts and "X" not in taken:
        return parts["X"]
    # What scipy writes says its format; a square matrix by columns has the very parts
    # of its transpose by rows.
    if "format" in parts:
        return sparse.load_npz(file)
    if {"data", "indices", "indptr", "shape"} <= set(parts):
        csr = (parts["data"], parts["indices"], parts["indptr"])
        return sparse.csr_array(csr, shape=tuple(parts["shape"]))
    tables = [name for name in parts if name not in taken and parts[name].ndim == 2]
    if len(tables) != 1:
        raise TableError(
            "needs an array named X, a matrix of scipy's save_npz, or a single "
            f"two-dimensional array; it has {some(parts, 20)}"
        )
    return parts[tables[0]]


def _read_h5ad(file: Path, *, label, index, layer, conditions) -> Table:
    anndata = optional_import("anndata", "anndata")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that repeat are looked for below
        data = anndata.read_h5ad(file)
    if layer is not None and layer not in data.layers:
        has = some(data.layers, 20) or "none"
        raise TableError(f"no layer {layer!r}; it has {has}")
    X = data.X if layer is None else data.layers[layer]
    if X is None:
        raise TableError("has no X")
    for name in (label, index, *conditions):
        if name is not None and name not in data.obs:
            raise TableError(f"no obs column {name!r}; it has {some(data.obs, 20)}")
    labels = None if label is None else data.obs[label].to_numpy()
    row_names = data.obs_names if index is None else data.obs.set_index(index).index
    names = None if _counted(data.var_names) else list(map(str, data.var_names))
    if names is not None:
        refuse_repeated(names, "make them unique (AnnData.var_names_make_unique)")
    if _counted(row_names):
        row_names = None
    beside = data.obs[list(conditions)] if conditions else None
    return Table(X, names, labels, row_names, conditions=beside, cells=data)


def _counted(names) -> bool:
    """Whether these are the 0, 1, 2, ... that anndata puts where there are no names."""
    return list(names) == [str(i) for i in range(len(names))]


def write_table(path: str, X: np.ndarray, columns, row_names=None) -> None:
    """Write codes; the ending of the file says how.

    Parameters
    ----------
    path : str
    X : ndarray of shape (n_rows, n_columns)
    columns : sequence of str
        Names; ``.npy`` has no place for them.
    row_names : array-like of shape (n_rows,), optional
        First column of a text file, index of a Parquet file; not in ``.npy``.

    Raises
    ------
    TableError
        If the kind is not one of ``WRITABLE``, or the folder does not exist.
    """
    kind = ending(path)
    if kind == ".npy":
        with open(path, "wb") as file:  # numpy would add .npy to .NPY
            np.save(file, X)
        return
    pandas = optional_import("pandas", "frames")
    frame = pandas.DataFrame(X, index=row_names, columns=list(columns))
    if kind == ".parquet":
        frame.to_parquet(path)
        return
    frame.to_csv(
        path,
        index=row_names is not None,
        sep=SEPARATORS[kind],
        compression="gzip" if kind.endswith(".gz") else None,
    )


def check_writable(path: str, endings: tuple[str, ...]) -> None:
    """Complain about an output before the work, not after it.

    Raises
    ------
    TableError
        If the ending is not one of ``endings``, or the folder does not exist.
    """
    file = Path(path)
    if ending(file) not in endings:
        raise TableError(f"{path}: end the name in one of {', '.join(endings)}")
    if file.is_dir():
        raise TableError(f"{path}: is a folder, not a file")
    if not file.resolve().parent.is_dir():
        raise TableError(f"{path}: the folder does not exist")


def make_empty_folder(path: str) -> None:
    """Make a folder for outputs before the work, so that nothing can be in the way.

    Raises
    ------
    TableError
        If there is something in it, or it is a file.
    OSError
        If it cannot be made.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise TableError(f"{path}: is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise TableError(f"{path}: is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
