"""Bits, categories and counts: ``VAETransformer()`` beside its own linear model.

    python benchmarks/linear_anchor.py --data DIR

The Gaussian likelihoods begin at a linear model in closed form, and ``defaults.py``
shows what they make of it. The others have none, and begin at the model with no code.
So this asks whether they end below the linear model that they could have begun at: the
generalised PCA of the likelihood, which is a VAE of the same units without hidden
layers. It gets five times the epochs at ten times the learning rate, on a cosine, until
30 epochs have not helped.

Held-out ELBOs in nats per row, means over ``--seeds`` seeds that split the rows anew.
"no code" is the model that knows the columns' frequencies, or mean rates. Without
``--data`` the tables are those that need no file.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _single_cell import load_cells
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skvae import VAETransformer

BITS, CATEGORIES = ("bernoulli",), ("categorical",)
COUNTS = ("poisson", "negative_binomial", "multinomial")
LINEAR = {
    "hidden_dims": (),
    "lr": 1e-2,
    "max_epochs": 300,
    "n_iter_no_change": 30,
    "lr_schedule": "cosine",
}
N_UNITS = 10
HEAD = (
    "| likelihood | table | shape | no code | linear | default | default - linear |\n"
    "|-|-|-|-|-|-|-|"
)


class Table(NamedTuple):
    """Rows, and the likelihoods that take them."""

    name: str
    likelihoods: tuple[str, ...]
    X: Any


def quartiles(X: np.ndarray) -> np.ndarray:
    """The quarter that every entry is in among its column's: 0, 1, 2 or 3."""
    cuts = np.quantile(X, (0.25, 0.5, 0.75), axis=0)
    return (cuts[:, None] < X).sum(axis=0).astype(np.float32)


def made_tables() -> Iterator[Table]:
    """Tables that come with scikit-learn, or are drawn."""
    digits = load_digits().data
    yield Table("digits, bits", BITS, (digits > 8).astype(np.float32))
    yield Table("digits, 4 levels", CATEGORIES, (digits // 4.01).astype(np.float32))
    yield Table("cancer, quartiles", CATEGORIES, quartiles(load_breast_cancer().data))
    yield Table("wine, quartiles", CATEGORIES, quartiles(load_wine().data))
    rng = np.random.RandomState(0)
    # What linear models are of: nothing is left for a network to find.
    logits = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 40))
    bits = rng.uniform(size=logits.shape) < 1.0 / (1.0 + np.exp(-logits))
    yield Table("drawn from a linear model", BITS, bits.astype(np.float32))
    counts = rng.poisson(np.exp(0.5 * logits + 0.5)).astype(np.float32)
    yield Table("drawn from a linear model", COUNTS, sparse.csr_matrix(counts))
    noise = rng.uniform(size=(400, 30)) < 0.3
    yield Table("noise", BITS, noise.astype(np.float32))


def read_tables(folder: Path) -> Iterator[Table]:
    """Tables of files: those that are there."""
    rng = np.random.RandomState(0)
    if (path := folder / "mnist.npz").exists():
        pixels = np.load(path)["X"].reshape(70_000, -1)
        pixels = pixels[rng.permutation(len(pixels))[:4000]]
        bits = (rng.uniform(size=pixels.shape) < pixels / 255.0).astype(np.float32)
        yield Table("MNIST, 4,000 rows", BITS, bits)
        yield Table("MNIST, 500 rows", BITS, bits[:500])
    if (path := folder / "news20_bow2000.npz").exists():
        words = load_cells(path, 1000).X
        words = words[rng.permutation(words.shape[0])[:3000]]
        yield Table("words of 3,000 news", COUNTS, words)
        yield Table("words of 3,000 news", BITS, (words > 0).astype(np.float32))
    for name, label in (("pbmc3k_raw", "pbmc3k"), ("worm_neuron", "worm neurons")):
        if (path := folder / f"{name}.npz").exists():
            X = load_cells(path, 1000).X
            yield Table(label, COUNTS, X)
            yield Table(f"{label}, 400 cells", COUNTS, X[:400])
    if (path := folder / "adult.csv").exists():
        X = categories(path)
        yield Table("adult, 5,000 rows", CATEGORIES, X[:5000])
        yield Table("adult, 500 rows", CATEGORIES, X[:500])


def categories(path: Path) -> np.ndarray:
    """Codes of the columns of a CSV file that are no numbers."""
    import pandas as pd

    frame = pd.read_csv(path).select_dtypes(exclude="number").fillna("?")
    codes = frame.apply(lambda column: column.astype("category").cat.codes)
    return codes.to_numpy(dtype=np.float32)


def scores(table: Table, likelihood: str, seed: int) -> tuple[float, float, float]:
    """Held-out nats of no code, the linear model and the default."""
    n = table.X.shape[0]
    train, test = train_test_split(np.arange(n), test_size=0.2, random_state=seed)
    X, held_out = table.X[train], table.X[test]
    common = {"likelihood": likelihood, "latent_dim": N_UNITS, "random_state": seed}

    def score(**params) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UserWarning)  # collapse, of noise
            model = VAETransformer(**common, **params).fit(X)
        return float(model.score(held_out))

    # A step so small that the model with no code stays the best.
    no_code = score(max_epochs=1, lr=1e-12)
    return no_code, score(**LINEAR), score()


def line(table: Table, likelihood: str, found: np.ndarray) -> str:
    """A row of the printed table, from scores (n_seeds, 3)."""
    gain = found[:, 2] - found[:, 1]
    spread = f" ± {gain.std(ddof=1):.2f}" if len(gain) > 1 else ""
    shape = " x ".join(str(n) for n in table.X.shape)
    values = " | ".join(f"{value:,.1f}" for value in found.mean(axis=0))
    return (
        f"| {likelihood} | {table.name} | {shape} | {values} | "
        f"{gain.mean():+.2f}{spread} |"
    )


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(arguments)
    tables = list(made_tables())
    if args.data is not None:
        tables += read_tables(args.data)
    print(HEAD, flush=True)
    for table in sorted(tables, key=lambda table: table.likelihoods):
        for likelihood in table.likelihoods:
            found = [scores(table, likelihood, seed) for seed in range(args.seeds)]
            print(line(table, likelihood, np.array(found)), flush=True)


if __name__ == "__main__":
    main()
