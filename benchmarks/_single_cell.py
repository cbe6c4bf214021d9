"""Tables, scores and the reference model of ``single_cell.py``."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _tables import most_variable
from scipy import sparse
from scipy.special import gammaln
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

# What sizes of cells are brought to before logarithms, as is usual.
USUAL_SIZE = 1e4
TEST_SIZE = 0.2
# Logarithms of inverse dispersions that are searched, and how finely.
LOG_R, N_STEPS = (-9.0, 14.0), 24
GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


class Cells(NamedTuple):
    """Counts (n, D), CSR, float32, and integer labels (n,)."""

    X: Any
    y: np.ndarray


class Split(NamedTuple):
    """Training and test cells of a seed, the same for all contenders."""

    train: Cells
    test: Cells


def load_cells(path: Path, n_genes: int) -> Cells:
    """Labelled cells of a file, and their most variable genes.

    Cells with a negative label or without a count are left out, before and after genes
    are.
    """
    with np.load(path) as file:
        parts = (file["data"].astype(np.float32), file["indices"], file["indptr"])
        X = sparse.csr_matrix(parts, shape=tuple(file["shape"]))
        y = file["y"].astype(int)
    cells = _kept(Cells(X, y), y >= 0)
    cells = _kept(cells, sizes(cells.X) > 0)
    chosen = most_variable(log_counts(cells.X), n_genes)
    X = cells.X[:, np.sort(chosen)]
    return _kept(cells._replace(X=X), sizes(X) > 0)


def _kept(cells: Cells, which: np.ndarray) -> Cells:
    return Cells(cells.X[which], cells.y[which])


def sizes(X) -> np.ndarray:
    """Sums of the rows, (n,), float64."""
    return np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()


def log_counts(X):
    """``ln(1 + x / size * USUAL_SIZE)``, CSR as X is."""
    relative = np.repeat(USUAL_SIZE / sizes(X), np.diff(X.indptr))
    values = np.log1p(X.data * relative).astype(np.float32)
    return sparse.csr_matrix((values, X.indices, X.indptr), shape=X.shape)


def split(cells: Cells, seed: int) -> Split:
    """A fifth of the cells held out, whose labels are in proportion."""
    train, test = train_test_split(
        np.arange(len(cells.y)),
        test_size=TEST_SIZE,
        random_state=seed,
        stratify=cells.y,
    )
    return Split(_kept(cells, np.sort(train)), _kept(cells, np.sort(test)))


class CodeScores(NamedTuple):
    """What codes say of labels.

    ``accuracy`` of 15 nearest training cells, for test cells; ``silhouette`` of the
    labels, and the adjusted Rand index of as many clusters by k-means, of test cells.
    """

    accuracy: float
    silhouette: float
    ari: float


def code_scores(train_codes, test_codes, train_y, test_y, seed: int) -> CodeScores:
    neighbours = KNeighborsClassifier(15).fit(train_codes, train_y)
    n_labels = len(np.unique(train_y))
    # Clusters are sought among all codes: rare labels have few test cells.
    clusters = KMeans(n_labels, n_init=10, random_state=seed)
    with warnings.catch_warnings():
        # Codes of 0 are one cluster, and are to have scores.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters.fit(train_codes)
    found = clusters.predict(test_codes)
    return CodeScores(
        neighbours.score(test_codes, test_y),
        float(silhouette_score(test_codes, test_y)),
        adjusted_rand_score(test_y, found),
    )


def no_code(train, test) -> np.ndarray:
    """ln p(counts | size) of test cells, (n,) nats, of a model that has no code.

    Every gene is negative binomial with a rate that is the same share of every cell's
    size, and a dispersion of its own, both the training cells' at maximum likelihood
    (the share as a Poisson's). A gene that no training cell has gets half a count.
    """
    of_train, of_test = sizes(train), sizes(test)
    totals = np.asarray(train.sum(axis=0, dtype=np.float64)).ravel()
    rates = np.maximum(totals, 0.5) / of_train.sum()

    def loss(log_r: np.ndarray) -> np.ndarray:
        return -_log_mass(train, of_train, rates, log_r, axis=0)

    log_r = golden_section(loss, *(np.full(len(rates), end) for end in LOG_R))
    return _log_mass(test, of_test, rates, log_r, axis=1)


def _log_mass(X, size, rates, log_r, axis: int) -> np.ndarray:
    """Log-probabilities of counts, summed over an axis."""
    r = np.exp(log_r)
    # ln NB(0) of all entries, and what nonzeros have beside.
    shares = np.log1p(size[:, None] * (rates / r))
    zeros = -(shares * r).sum(axis=axis)
    entries = X.tocoo()
    x, rows, columns = entries.data.astype(np.float64), entries.row, entries.col
    log_mean = np.log(size[rows] * rates[columns])
    beside = (
        gammaln(x + r[columns])
        - gammaln(r[columns])
        - gammaln(x + 1.0)
        + x * (log_mean - log_r[columns] - shares[rows, columns])
    )
    index = (columns, rows)[axis]
    return zeros + np.bincount(index, beside, minlength=len(zeros))


def golden_section(loss, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Minimum of a function with one, element by element, between two bounds."""
    for _ in range(N_STEPS):
        width = GOLDEN * (high - low)
        left, right = high - width, low + width
        lower = loss(left) < loss(right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    return 0.5 * (low + high)
