"""What a ``kld_weight`` stands for, and whether the suggested ones hold the best.

    python benchmarks/kld_weights.py --data DIR

First a table: what fixed weights from 1e-6 to 1e-2 are in terms of beta, for tables
with different numbers of features D, and what ``skvae.inspection.diagnose`` says of the
fits. Then another: the held-out ELBO of ``VAETransformer()`` at the weights that
``suggest_kld_weights`` gives and at two more on either side, a factor of 4 apart, and
whether the best of the eight is within the suggested four. All numbers are of rows that
were held out; features are standardised, log counts only centred. Without ``--data``
the tables that ship with scikit-learn are used; DIR is as in ``defaults.py``.
"""

import argparse

import numpy as np
from defaults import SHIPPED, load, split

from skvae import VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights

MEANING = ("digits", "mnist", "pbmc3k")
BRACKET = ("digits", "breast cancer", "wine", "diabetes", "musk", "adbench mnist")
WEIGHTS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
FACTOR = 4.0
MAX_ROWS = 3000


def held_out_split(name, folder, seed=0):
    """Training and test rows of at most ``MAX_ROWS`` rows of a table."""
    X, y = load(name, folder)
    kept = np.sort(np.random.RandomState(0).permutation(len(X))[:MAX_ROWS])
    return split(name, X[kept], None if y is None else y[kept], seed)[:2]


def meaning(name, folder):
    """Rows of the first table: one a weight."""
    train, test = held_out_split(name, folder)
    for weight in WEIGHTS:
        vae = VAETransformer(kld_weight=weight, random_state=0).fit(train)
        found = diagnose(vae, test)
        yield (
            f"| {weight:.0e} | {name} | {found.n_features} | {found.beta:.2g} | "
            f"{found.rate:.1f} | {found.active_units} of {found.latent_dim} | "
            f"{found.elbo:.1f} | {found.verdict} | {found.guide} |"
        )


def bracket(name, folder, n_splits):
    """Row of the second table: the best weight of a wide grid, and where it is."""
    splits = [held_out_split(name, folder, seed) for seed in range(n_splits)]
    n_features = splits[0][0].shape[1]
    latent_dim = min(10, n_features - 1)
    suggested = suggest_kld_weights(splits[0][0], latent_dim, random_state=0)
    below = suggested[0] * FACTOR ** np.array([-2.0, -1.0])
    above = suggested[-1] * FACTOR ** np.array([1.0, 2.0])
    weights = np.concatenate([below, suggested, above])
    elbos = [
        np.mean(
            [
                VAETransformer(latent_dim, kld_weight=weight, random_state=0)
                .fit(train)
                .score(test)
                for train, test in splits
            ]
        )
        for weight in weights
    ]
    best = int(np.argmax(elbos))
    inside = len(below) <= best < len(below) + len(suggested)
    grid = ", ".join(f"{weight:.2g}" for weight in suggested)
    scores = ", ".join(f"{elbo:.1f}" for elbo in elbos)
    return (
        f"| {name} | {n_features} | {grid} | {scores} | {weights[best]:.2g} | "
        f"{'yes' if inside else 'no'} |"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="folder with the .npz files")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="some of the tables")
    parser.add_argument("--splits", type=int, default=2, help="of the second table")
    args = parser.parse_args()
    unknown = set(args.only or ()) - {*MEANING, *BRACKET}
    if unknown:
        parser.error(f"unknown tables: {', '.join(sorted(unknown))}")
    first, second = (
        [n for n in names if n in (args.only or names) and (args.data or n in SHIPPED)]
        for names in (MEANING, BRACKET)
    )
    print(
        "| kld_weight | table | D | beta | KL | active | ELBO | verdict | old guide |"
    )
    print("|-|-|-|-|-|-|-|-|-|")
    for name in first:
        for line in meaning(name, args.data):
            print(line, flush=True)
    print(
        "\n| table | D | suggested | ELBO at 2 below, 4 suggested, 2 above | ", end=""
    )
    print("best | within |\n|-|-|-|-|-|-|")
    for name in second:
        print(bracket(name, args.data, args.splits), flush=True)


if __name__ == "__main__":
    main()
