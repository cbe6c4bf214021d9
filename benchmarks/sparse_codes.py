"""How sparse are codes, and at what price? ``SAETransformer`` beside scikit-learn.

    python benchmarks/sparse_codes.py --data DIR [--designs] [--slow]

For every table and weight, of held-out rows: the share of codes that are zero and of
those within a hundredth and a tenth of their root mean square; the error, as a share of
the variance; the accuracy of 15 nearest neighbours on the codes; the seconds of the
fit; and the units without a code that is not zero. Weights are multiples of the default
one, and ``alpha`` of the dictionaries is the threshold that the weight stands for: the
loss is then the same one, for a linear decoder. Without ``--data`` the table is the
digits; with it also pbmc3k (log counts of the 1,000 most variable genes) and 4,000 rows
of mnist, from files as in ``defaults.py``. ``--designs`` adds other ways to make codes
sparse; ``--slow`` adds scikit-learn's full-batch methods.
"""

import argparse
import sys
import time
import warnings

import numpy as np
from _sparse_designs import DESIGNS, make
from defaults import load
from sklearn.datasets import load_digits
from sklearn.decomposition import (
    PCA,
    DictionaryLearning,
    MiniBatchDictionaryLearning,
    MiniBatchSparsePCA,
    SparsePCA,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import SAETransformer

FILES = ("pbmc3k", "mnist")
FACTORS = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)
# Where something happens.
FEW_FACTORS = (0.3, 1.0, 3.0)
N_GENES = 1000
MAX_ROWS = 4000

HEADER = (
    "| model | weight | zero | within 1 % | within 10 % | error | neighbours | seconds "
    "| inactive units |\n|-|-|-|-|-|-|-|-|-|"
)


def table(name, folder):
    """Training and test rows and labels."""
    X, y = load_digits(return_X_y=True) if name == "digits" else load(name, folder)
    if name == "pbmc3k":
        X = X[:, np.argsort(-X.var(axis=0))[:N_GENES]]
    kept = np.random.RandomState(0).permutation(len(X))[:MAX_ROWS]
    return train_test_split(X[kept], y[kept], test_size=0.2, random_state=0)


def measured(model, split, restore=None):
    """What there is to say of a model of the rows; it is fitted here."""
    X, test, y, y_test = split
    start = time.perf_counter()
    codes = model.fit(X).transform(X)
    seconds = time.perf_counter() - start
    of_test = model.transform(test)
    restore = model.inverse_transform if restore is None else restore
    error = np.square(test - restore(of_test)).mean()
    sizes = np.abs(of_test)
    rms = np.sqrt(np.square(of_test).mean())
    return {
        "zero": (sizes == 0.0).mean(),
        "within 1 %": (sizes <= 0.01 * rms).mean(),
        "within 10 %": (sizes <= 0.1 * rms).mean(),
        "error": error / np.square(test - X.mean(axis=0)).mean(),
        "neighbours": KNeighborsClassifier(15).fit(codes, y).score(of_test, y_test),
        "seconds": seconds,
        "inactive": int((~codes.any(axis=0)).sum()),
    }


def line(model, weight, found):
    """A row of the Markdown table."""
    zero, near, nearer = (found[key] for key in ("zero", "within 1 %", "within 10 %"))
    return (
        f"| {model} | {weight} | {zero:.0%} | {near:.0%} | {nearer:.0%} | "
        f"{found['error']:.3f} | {found['neighbours']:.3f} | {found['seconds']:.1f} | "
        f"{found['inactive']} |"
    )


def autoencoders(split, latent_dim, max_epochs, designs):
    """Rows of ``SAETransformer``, and of designs that were not taken."""
    X = split[0]
    scale = float(np.sqrt(X.var(axis=0).mean()))
    usual = scale / (2.0 * np.sqrt(X.shape[1] * latent_dim))
    params = {"max_epochs": max_epochs, "random_state": 0}
    for penalty in ("soft_threshold", "l1"):
        for factor in FACTORS:
            options = {"code_penalty": penalty, "reg_weight": factor * usual}
            sae = SAETransformer(latent_dim, **options, **params)
            yield f"SAE, {penalty}", f"{factor:g}", measured(sae, split)
    for name in DESIGNS if designs else ():
        for factor in FEW_FACTORS:
            sae = make(name, latent_dim=latent_dim, reg_weight=factor * usual, **params)
            yield name, f"{factor:g}", measured(sae, split)


def of_scikit_learn(split, latent_dim, slow):
    """Rows of scikit-learn's ways to the same, on centred rows."""
    X, test, y, y_test = split
    mean = X.mean(axis=0)
    centred = X - mean, test - mean, y, y_test
    yield "PCA", "", measured(PCA(latent_dim, random_state=0), centred)
    size = np.sqrt(X.var(axis=0).sum() / latent_dim)
    dictionaries = (MiniBatchDictionaryLearning, *((DictionaryLearning,) * slow))
    for kind in dictionaries:
        for factor in FEW_FACTORS:
            alpha = 0.25 * factor * size
            model = kind(
                latent_dim,
                alpha=alpha,
                transform_alpha=alpha,
                # several times as fast as "lars", to the same error
                fit_algorithm="cd",
                transform_algorithm="lasso_cd",
                max_iter=100,
                random_state=0,
            )
            found = measured(model, centred, lambda Z, m=model: Z @ m.components_)
            yield kind.__name__, f"{factor:g}", found
    for kind in (MiniBatchSparsePCA, *((SparsePCA,) * slow)):
        model = kind(latent_dim, random_state=0, max_iter=100)
        yield kind.__name__, "alpha=1", measured(model, centred)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="folder with the .npz files")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="some of the tables")
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--max-epochs", type=int, default=60)
    parser.add_argument("--designs", action="store_true")
    parser.add_argument("--slow", action="store_true")
    args = parser.parse_args(argv)
    names = args.only or ["digits", *(FILES if args.data else ())]
    unknown = set(names) - {"digits", *(FILES if args.data else ())}
    if unknown:
        parser.error(f"unknown tables, or no --data: {', '.join(sorted(unknown))}")
    # scikit-learn's lasso says so of single rows.
    warnings.simplefilter("ignore", ConvergenceWarning)
    # The first fit of a process also pays for what torch imports lazily.
    SAETransformer(2, max_epochs=1).fit(np.random.RandomState(0).randn(20, 3))
    for name in names:
        split = table(name, args.data)
        shape = f"{len(split[0])} x {split[0].shape[1]}"
        print(f"\n{name}, {shape}, {args.latent_dim} units\n\n{HEADER}")
        models = autoencoders(split, args.latent_dim, args.max_epochs, args.designs)
        for row in models:
            print(line(*row))
            sys.stdout.flush()
        for row in of_scikit_learn(split, args.latent_dim, args.slow):
            print(line(*row))
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
