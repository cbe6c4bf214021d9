"""Are the defaults any good? ``VAETransformer()`` beside linear models and a mixture.

    python benchmarks/defaults.py --data DIR

For every table: held-out scores in nats per row of ``PCA`` (by ``pca_scorer``, without
the error of ``PCA.score`` where rows are fewer than columns), of ``FactorAnalysis``, of
a Gaussian with a full covariance (``LedoitWolf``), of ``GaussianMixture`` (5 or 20 full
components, whichever scores more on a tenth of the training rows; up to 200 columns),
and of the VAE by default and with other likelihoods; the accuracy of 15 nearest
neighbours and of a logistic regression on codes where there are labels; and the seconds
that a fit by default takes. All as means over splits, with as many units.

Columns that are constant in the training rows are left out; features are standardised,
log counts only centred. The noise of ``FactorAnalysis`` has the floor that the default
likelihood has, since without one the density of collinear columns has no bound, and so
have the variances of a mixture's components in every direction. Without ``--data``
the tables that ship with scikit-learn are used; DIR holds ``.npz`` files with ``X``
(or the parts of a CSR matrix) and ``y``.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from _tables import log_counts
from scipy import sparse
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
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


def floor_of_noise(X):
    """Least noise variance of every feature, as the default likelihood has it."""
    mean, variance = X.mean(axis=0), X.var(axis=0)
    kurtosis = ((X - mean) ** 4).mean(axis=0) / variance**2
    return np.clip(kurtosis / len(X), 1e-3, 1.0) * variance


def factor_analysis_score(X, X_test, k):
    """Held-out log-likelihood of factor analysis, whose noise has a floor."""
    model = FactorAnalysis(k, max_iter=300, random_state=0).fit(X)
    model.noise_variance_ = np.maximum(model.noise_variance_, floor_of_noise(X))
    return model.score(X_test)


def mixture_score(X, X_test):
    """Held-out log-likelihood of a mixture; its size by a tenth of the rows."""
    if X.shape[1] > MIXTURE_COLUMNS:
        return np.nan
    some, others = train_test_split(X, test_size=0.1, random_state=0)
    n = max(
        (n for n in MIXTURE_SIZES if n * X.shape[1] < len(some)),
        key=lambda n: _floored_mixture(n, some, others),
        default=1,
    )
    return _floored_mixture(n, X, X_test)


def _floored_mixture(n, X, X_test):
    # In units of the floor, no direction of a component has a variance below 1.
    unit = np.sqrt(floor_of_noise(X))
    model = GaussianMixture(n, reg_covar=1e-3, random_state=0).fit(X / unit)
    values, vectors = np.linalg.eigh(model.covariances_)
    precisions = vectors / np.maximum(values, 1.0)[:, None] @ vectors.mT
    model.precisions_cholesky_ = np.linalg.cholesky(precisions)
    return model.score(X_test / unit) - np.log(unit).sum()


def compare(name, X, y, seed, **params):
    """One split: scores, accuracies and seconds."""
    X_train, X_test, y_train, y_test = split(name, X, y, seed)
    varying = VarianceThreshold(1e-12).fit(X_train)
    X_train, X_test = (varying.transform(part) for part in (X_train, X_test))
    k = min(params.pop("latent_dim", VAETransformer().latent_dim), X_train.shape[1] - 1)
    pca = PCA(k, random_state=0).fit(X_train)
    full = LedoitWolf().fit(X_train)
    row = {
        "k": k,
        "pca": pca_scorer(pca, X_test),
        "factors": factor_analysis_score(X_train, X_test, k),
        "full": full.score(X_test),
        "mixture": mixture_score(X_train, X_test),
    }
    models = {"pca": pca}
    for likelihood in LIKELIHOODS:
        start = time.perf_counter()
        vae = VAETransformer(k, likelihood=likelihood, random_state=seed, **params)
        models[likelihood] = vae.fit(X_train)
        row[f"seconds_{likelihood}"] = time.perf_counter() - start
        row[likelihood] = vae.score(X_test)
    if y is not None:
        for label, model in models.items():
            codes, test_codes = model.transform(X_train), model.transform(X_test)
            knn, logistic = accuracies(codes, y_train, test_codes, y_test)
            row |= {f"knn_{label}": knn, f"logistic_{label}": logistic}
    return row


def compare_splits(name, folder, n_splits, **params):
    """Means over splits."""
    X, y = load(name, folder)
    rows = [compare(name, X, y, seed, **params) for seed in range(n_splits)]
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    gains = [row["auto"] - max(row["pca"], row["factors"]) for row in rows]
    return {"rows": X.shape[0], "columns": X.shape[1], "least": min(gains), **mean}


def line(name, r):
    """A row of the Markdown table."""
    scores = [r[key] for key in ("pca", "factors", "full", "mixture", *LIKELIHOODS)]
    best = np.nanmax(scores)
    scores = [_score(score, best) for score in scores]
    codes = []
    for kind in ("knn", "logistic"):
        found = [r.get(f"{kind}_{label}") for label in ("pca", *LIKELIHOODS)]
        codes.append("" if None in found else " / ".join(f"{a:.3f}" for a in found))
    parts = [
        name,
        f"{r['rows']} x {r['columns']}",
        f"{r['k']:.0f}",
        *scores,
        f"{r['least']:+.1f}",
        *codes,
        f"{r['seconds_auto']:.1f}",
    ]
    return f"| {' | '.join(parts)} |"


def _score(score, best):
    if np.isnan(score):
        return "-"
    return f"**{score:.1f}**" if score == best else f"{score:.1f}"


LIKELIHOODS = ("auto", "gaussian", "student_t")
MIXTURE_COLUMNS = 200
MIXTURE_SIZES = (5, 20)
COLUMNS = (
    "table",
    "shape",
    "units",
    "PCA",
    "FactorAnalysis",
    "full Gaussian",
    "mixture",
    "VAE",
    "gaussian",
    "student_t",
    "least gain",
    "neighbours",
    "logistic",
    "seconds",
)
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'-|' * len(COLUMNS)}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="folder with the .npz files")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="some of the tables")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--latent-dim", type=int, help="other than the default")
    parser.add_argument(
        "--epochs", type=int, help="other than the default, and patient"
    )
    args = parser.parse_args()
    names = args.only or [*SHIPPED, *(FILES if args.data else ())]
    unknown = set(names) - {*SHIPPED, *FILES}
    if unknown:
        parser.error(f"unknown tables: {', '.join(sorted(unknown))}")
    params = {} if args.latent_dim is None else {"latent_dim": args.latent_dim}
    if args.epochs is not None:
        patience = max(1, args.epochs // 10)
        params |= {"max_epochs": args.epochs, "n_iter_no_change": patience}
    # The first fit of a process also pays for what torch imports lazily.
    VAETransformer(2, max_epochs=1).fit(np.random.RandomState(0).randn(20, 3))
    print(HEADER)
    for name in names:
        print(line(name, compare_splits(name, args.data, args.splits, **params)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
