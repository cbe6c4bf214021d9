"""Are the defaults any good? ``VAETransformer()`` beside ``PCA``, on held-out rows.

    python benchmarks/defaults.py --data DIR

For every table: the held-out score in nats per row (PCA's by ``pca_scorer``; that of
``PCA.score``, whose noise is wrong where there are fewer rows than columns, behind it
where it differs), and the accuracy of 15 nearest
neighbours and of a logistic regression on the codes where there are labels, as means
over splits; and the seconds that a fit takes. Features are standardised, log counts
only centred. Without ``--data`` the tables that ship with scikit-learn are used; DIR
holds ``.npz`` files with ``X`` (or the parts of a CSR matrix) and ``y``.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from _tables import log_counts
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.metrics import pca_scorer

SHIPPED = {
    "digits": load_digits,
    "breast cancer": load_breast_cancer,
    "wine": load_wine,
    "diabetes": load_diabetes,
}
# name: (file, largest number of rows)
FILES = {
    "musk": ("adbench_25_musk", None),
    "campaign": ("adbench_5_campaign", None),
    "adbench mnist": ("adbench_24_mnist", None),
    "thyroid": ("adbench_38_thyroid", None),
    "shuttle": ("adbench_32_shuttle", 20_000),
    "cover": ("adbench_10_cover", 20_000),
    "pbmc68k": ("pbmc68k_reduced", None),
    "frey faces": ("frey_faces", None),
    "olivetti": ("olivetti", None),
    "mnist": ("mnist", 10_000),
    "worm neurons": ("worm_neuron", None),
    "pbmc3k": ("pbmc3k_raw", None),
    "news20": ("news20_bow2000", None),
}
LOG_COUNTS = {"worm neurons", "pbmc3k", "news20"}
BLOCKS = {"frey faces"}  # a film: neighbouring rows are near copies


def load(name, folder):
    """X as float64 and y, or None where there are no labels."""
    if name in SHIPPED:
        data = SHIPPED[name]()
        return data.data, None if name == "diabetes" else data.target
    stem, n_rows = FILES[name]
    parts = np.load(Path(folder) / f"{stem}.npz")
    if "X" in parts:
        X = parts["X"]
    elif "X_scaled" in parts:
        X = parts["X_scaled"]
    else:
        csr = (parts["data"], parts["indices"], parts["indptr"])
        X = sparse.csr_matrix(csr, shape=parts["shape"])
    y = parts.get("y")
    if name in LOG_COUNTS:
        empty = np.asarray(X.sum(axis=1)).ravel() == 0
        X, y = log_counts(X), y[~empty]
        X, y = X[y >= 0], y[y >= 0]
    if n_rows is not None and n_rows < len(X):
        kept = np.random.RandomState(0).permutation(len(X))[:n_rows]
        X, y = X[kept], y[kept]
    return X.astype(np.float64), y


def split(name, X, y, seed):
    """Standardised training and test rows with their labels."""
    index = np.arange(len(X))
    if name in BLOCKS:
        start = seed * len(X) // 5
        test = index[start : start + len(X) // 5]
        train = np.setdiff1d(index, test)
    else:
        train, test = train_test_split(index, test_size=0.2, random_state=seed)
    scaler = StandardScaler(with_std=name not in LOG_COUNTS).fit(X[train])
    labels = (None, None) if y is None else (y[train], y[test])
    return scaler.transform(X[train]), scaler.transform(X[test]), *labels


def accuracies(codes, y, test_codes, y_test):
    """Accuracy of neighbours and of a logistic regression on codes."""
    neighbours = KNeighborsClassifier(15).fit(codes, y).score(test_codes, y_test)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return neighbours, logistic.fit(codes, y).score(test_codes, y_test)


def compare(name, X, y, seed, **params):
    """One split: scores, accuracies and seconds of PCA and of the VAE."""
    X_train, X_test, y_train, y_test = split(name, X, y, seed)
    vae = VAETransformer(random_state=seed, **params)
    k = min(vae.latent_dim, X.shape[1] - 1)
    pca = PCA(k, random_state=0).fit(X_train)
    start = time.perf_counter()
    vae.set_params(latent_dim=k).fit(X_train)
    seconds = time.perf_counter() - start
    row = {
        "k": k,
        "pca": pca_scorer(pca, X_test),
        "pca_own": pca.score(X_test),
        "vae": vae.score(X_test),
        "seconds": seconds,
        "epoch": vae.best_epoch_,
    }
    if y is not None:
        for label, model in (("pca", pca), ("vae", vae)):
            codes, test_codes = model.transform(X_train), model.transform(X_test)
            knn, logistic = accuracies(codes, y_train, test_codes, y_test)
            row |= {f"knn_{label}": knn, f"logistic_{label}": logistic}
    return row


def compare_splits(name, folder, n_splits, **params):
    """Means over splits."""
    X, y = load(name, folder)
    rows = [compare(name, X, y, seed, **params) for seed in range(n_splits)]
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    gain = [row["vae"] - row["pca"] for row in rows]
    return {
        "rows": X.shape[0],
        "columns": X.shape[1],
        "least": min(gain),
        "code": mean.get("knn_vae", np.nan) - mean.get("knn_pca", np.nan),
        **mean,
    }


def line(name, r):
    """A row of the Markdown table."""
    codes = " | ".join(
        f"{r[f'{kind}_pca']:.3f} / {r[f'{kind}_vae']:.3f}" if f"{kind}_pca" in r else ""
        for kind in ("knn", "logistic")
    )
    pca = f"{r['pca']:.1f}"
    if abs(r["pca_own"] - r["pca"]) > 0.05:
        pca += f" ({r['pca_own']:.1f})"
    return (
        f"| {name} | {r['rows']} x {r['columns']} | {r['k']:.0f} | {pca} | "
        f"{r['vae']:.1f} | {r['least']:+.2f} | {codes} | {r['seconds']:.1f} |"
    )


HEADER = (
    "| table | shape | units | PCA (its own score) | VAE | least gain | "
    "neighbours PCA / VAE | logistic PCA / VAE | seconds |\n|-|-|-|-|-|-|-|-|-|"
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="folder with the .npz files")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="some of the tables")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--latent-dim", type=int, help="other than the default")
    args = parser.parse_args()
    names = args.only or [*SHIPPED, *(FILES if args.data else ())]
    unknown = set(names) - {*SHIPPED, *FILES}
    if unknown:
        parser.error(f"unknown tables: {', '.join(sorted(unknown))}")
    params = {} if args.latent_dim is None else {"latent_dim": args.latent_dim}
    # The first fit of a process also pays for what torch imports lazily.
    VAETransformer(2, max_epochs=1).fit(np.random.RandomState(0).randn(20, 3))
    print(HEADER)
    for name in names:
        print(line(name, compare_splits(name, args.data, args.splits, **params)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
