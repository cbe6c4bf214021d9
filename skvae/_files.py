"""Tables on disk: what the command line reads and writes."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

READABLE = (".npy", ".npz", ".csv", ".parquet", ".h5ad")
WRITABLE = (".npy", ".csv", ".parquet")


class TableError(ValueError):
    """A file that cannot be used, in one line that says what to do."""


class Table(NamedTuple):
    """Rows, the names of their features if the file has any, and labels if it has."""

    X: Any
    feature_names: list[str] | None
    labels: np.ndarray | None


def optional_import(module: str, extra: str):
    """Import an optional dependency, or say which extra brings it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TableError(
            f"this needs {module}: pip install 'skvae[{extra}]'"
        ) from error


def read_table(path: str, *, label: str | None = None, numeric_only=False) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path : str
        A file whose ending is one of ``READABLE``.
    label : str, optional
        Column (or ``.npz`` array, or ``obs`` column) that holds labels, not features.
    numeric_only : bool
        Leave out columns that are not numbers instead of complaining.

    Raises
    ------
    TableError
        If there is no such file, its kind is unknown or its contents are no table.
    """
    file = Path(path)
    if not file.is_file():
        raise TableError(f"{path}: no such file")
    readers = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".csv": _read_frame,
        ".parquet": _read_frame,
        ".h5ad": _read_h5ad,
    }
    if file.suffix not in readers:
        raise TableError(
            f"{path}: cannot read {file.suffix or 'a file without an ending'}; use one "
            f"of {', '.join(READABLE)}"
        )
    try:
        table = readers[file.suffix](file, label, numeric_only)
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    except Exception as error:
        # Every reader has errors of its own for a file that is not what it says.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "pickle" in reason:  # numpy's advice would be to run the file's code
            reason = "it is no array of numbers"
        raise TableError(f"{path}: cannot be read ({reason})") from error
    if getattr(table.X, "ndim", 0) != 2:
        raise TableError(f"{path}: holds no two-dimensional array")
    try:
        check_array(table.X, accept_sparse="csr", ensure_min_samples=2)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "NaN" in reason:
            reason += " Fill in or drop the rows or columns with missing values."
        raise TableError(f"{path}: {reason}") from error
    return table


def write_table(path: str, X: np.ndarray, columns) -> None:
    """Write codes; the ending of the file says how.

    Raises
    ------
    TableError
        If the kind is not one of ``WRITABLE``, or the folder does not exist.
    """
    file = Path(path)
    if file.suffix == ".npy":
        np.save(file, X)
        return
    frame = optional_import("pandas", "frames").DataFrame(X, columns=list(columns))
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_parquet(file)


def check_writable(path: str, endings: tuple[str, ...]) -> None:
    """Complain about an output before the work, not after it.

    Raises
    ------
    TableError
        If the ending is not one of ``endings``, or the folder does not exist.
    """
    file = Path(path)
    if file.suffix not in endings:
        raise TableError(f"{path}: end the name in one of {', '.join(endings)}")
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


def _read_npy(file: Path, label, numeric_only) -> Table:
    if label is not None:
        raise TableError("an .npy file has no labels; use .npz, .csv or .parquet")
    return Table(np.load(file, mmap_mode="r"), None, None)


def _read_npz(file: Path, label, numeric_only) -> Table:
    with file.open("rb") as opened, np.load(opened) as parts:
        labels = parts.get(label)
        if label is not None and labels is None:
            raise TableError(f"no array {label!r}; it has {', '.join(parts)}")
        if "X" in parts:
            return Table(parts["X"], None, labels)
        if {"data", "indices", "indptr", "shape"} <= set(parts):
            csr = (parts["data"], parts["indices"], parts["indptr"])
            X = sparse.csr_array(csr, shape=tuple(parts["shape"]))
            return Table(X, None, labels)
        tables = [name for name in parts if parts[name].ndim == 2 and name != label]
        if len(tables) != 1:
            raise TableError(
                "needs an array named X, a CSR matrix, or a single two-dimensional "
                f"array; it has {', '.join(parts)}"
            )
        return Table(parts[tables[0]], None, labels)


def _read_frame(file: Path, label, numeric_only) -> Table:
    pandas = optional_import("pandas", "frames")
    read = pandas.read_csv if file.suffix == ".csv" else pandas.read_parquet
    frame = read(file)
    labels = None
    if label is not None:
        if label not in frame:
            columns = ", ".join(map(str, frame.columns))
            raise TableError(f"no column {label!r}; it has {columns}")
        labels = frame.pop(label).to_numpy()
    numbers = frame.select_dtypes(["number", "bool"])
    others = [str(c) for c in frame.columns if c not in numbers]
    if others and not numeric_only:
        raise TableError(
            f"columns {', '.join(others)} are not numbers; encode them, or leave them "
            "out (--numeric-only of python -m skvae)"
        )
    if numbers.shape[1] == 0:
        raise TableError("no column holds numbers")
    return Table(numbers, list(map(str, numbers.columns)), labels)


def _read_h5ad(file: Path, label, numeric_only) -> Table:
    data = optional_import("anndata", "anndata").read_h5ad(file)
    labels = None
    if label is not None:
        if label not in data.obs:
            raise TableError(f"no obs column {label!r}; it has {', '.join(data.obs)}")
        labels = data.obs[label].to_numpy()
    return Table(data.X, list(map(str, data.var_names)), labels)
