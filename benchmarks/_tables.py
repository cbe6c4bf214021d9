"""The tables of the benchmarks, ready to be split into training and test rows."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvae.cli.files import TableError, read_table

SCALES = ("none", "centre", "standardise")


def log_counts(counts, n_columns=2000):
    """Library-size normalised log counts of the most variable columns, dense.

    Rows without a count are left out. With ``n_columns=None`` they are of all columns,
    as they are ordered, and sparse: dense they might not fit into memory.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    counts = counts[counts.sum(axis=1).A1 > 0]
    counts = sparse.csr_matrix(counts.multiply(1e4 / counts.sum(axis=1)))
    counts.data = np.log1p(counts.data)
    if n_columns is None:
        return counts
    return counts[:, most_variable(counts, n_columns)].toarray()


def most_variable(X, n_columns):
    """Indices of the columns of largest variance, largest first."""
    X = sparse.csr_matrix(X, dtype=np.float64)
    variance = X.multiply(X).mean(axis=0).A1 - X.mean(axis=0).A1 ** 2
    return np.argsort(-variance)[:n_columns]


def load_table(
    *,
    name: str,
    path: str | None,
    label: str | None,
    label_names: str | None,
    unlabelled: int | None,
    divide_by: float,
    log_normalise: bool,
    n_rows: int | None,
    n_columns: int | None,
    scale: str,
) -> tuple[Any, np.ndarray | None]:
    """Read a table as ``conf/data`` describes it.

    Returns
    -------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        float32: what training is in, and scoring is twice as quick.
    y : ndarray of shape (n_samples,) or None
        Labels.

    Raises
    ------
    TableError
        If there is no such table, or not what the configuration says of it.
    """
    if scale not in SCALES:
        raise TableError(f"data.scale={scale!r} is not one of {', '.join(SCALES)}")
    if name == "digits":
        X, y = load_digits(return_X_y=True)
    else:
        table = read_table(str(path), label=label)
        X, y = table.X, table.labels
    X = X.tocsr() if sparse.issparse(X) else np.asarray(X)
    if y is not None and label_names is not None:
        y = _named(y, str(path), label_names, unlabelled)
    if log_normalise:
        if X.min() < 0:
            raise TableError(f"{path}: log_normalise is for counts; some are negative")
        filled = np.asarray(X.sum(axis=1)).ravel() > 0
        X, y = log_counts(X, n_columns), None if y is None else y[filled]
    elif n_columns is not None:
        X = X[:, np.sort(most_variable(X, n_columns))]
    X = X.astype(np.float32)
    if sparse.issparse(X):
        X.data /= np.float32(divide_by)  # a quotient would be in float64
    else:
        X /= np.float32(divide_by)
    kept = _kept(X.shape[0], y, unlabelled, n_rows)
    return X[kept], None if y is None else y[kept]


def _named(y, path: str, label_names: str, unlabelled):
    """Names in the place of labels that index them."""
    with np.load(path) as parts:
        if label_names not in parts:
            raise TableError(f"{path}: no array {label_names!r}")
        names = parts[label_names]
    missing = np.zeros(len(y), bool) if unlabelled is None else y == unlabelled
    # The label of unlabelled rows stays what it is, and is known by it later.
    return np.where(missing, str(unlabelled), names[np.where(missing, 0, y)])


def _kept(n: int, y, unlabelled, n_rows) -> np.ndarray:
    """Labelled rows, or some of them: the same for every seed of a run."""
    kept = np.arange(n)
    if y is not None and unlabelled is not None:
        kept = kept[y.astype(str) != str(unlabelled)]
    if n_rows is not None and n_rows < len(kept):
        kept = np.sort(np.random.RandomState(0).permutation(kept)[:n_rows])
    return kept


def scaled(estimator, scale: str, X):
    """The estimator behind the scaler that ``data.scale`` names."""
    if scale == "none":
        return estimator
    scaler = StandardScaler(
        with_mean=not sparse.issparse(X), with_std=scale == "standardise"
    )
    return Pipeline([("scale", scaler), ("model", estimator)])
