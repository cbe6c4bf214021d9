"""Whether units are the factors that made the data, as beta rises: dSprites.

    python benchmarks/disentanglement.py --data dsprites_grid46k.npz --out found.json

``imgs`` (n, 64, 64) of bits and ``latents_classes`` (n, 5): shape, scale, orientation
and both positions. A Bernoulli VAE with 10 units and hidden layers of 1200 and 1200,
as Higgins et al. (2017), is fitted for every beta and seed; every measure of
``skvae.metrics`` is of the codes of a fifth of the rows, which are not trained on. The
held-out ELBO, at beta = 1, is what a search would choose by: the last row of the table
says how it ranks the fits beside every measure (Spearman), and the line below it what
it would have chosen. ``--picture`` draws what the units of the fit with the best gap
do.

``--rows`` (to train on), ``--pool`` (pixels along an edge that become one, lit if any
is), ``--hidden`` and ``--epochs`` make it smaller. What is held out stays the same:
mutual informations of few rows are mostly chance, 0.2 nats of orientation with 1,600.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _machine import machine
from scipy.stats import spearmanr

from skvae import VAETransformer
from skvae.metrics import (
    active_units,
    beta_vae_score,
    dci,
    factor_vae_score,
    modularity,
    mutual_information_gap,
    sap_score,
    total_correlation,
)

BETAS = (1, 2, 4, 8, 16, 32)
UNITS = 10
HELD_OUT = 0.2
# Rows that estimators of the measures are fitted to.
MOST_MEASURED = 4000
MEASURES = (
    "elbo",
    "active",
    "mig",
    "disentanglement",
    "completeness",
    "informativeness",
    "sap",
    "beta_vae",
    "factor_vae",
    "modularity",
    "total_correlation",
    "seconds",
)


class Images(NamedTuple):
    """Bits (n, pixels) of images to train on, and others with their factors (n, 5)."""

    train: np.ndarray
    test: np.ndarray
    factors: np.ndarray


def load(path: Path, n_rows: int | None, pool: int) -> Images:
    """A fifth of the images to measure, and ``n_rows`` of the others, or all."""
    with np.load(path) as data:
        images, factors = data["imgs"], data["latents_classes"]
    order = np.random.RandomState(0).permutation(len(images))
    n_held = int(HELD_OUT * len(images))
    held, others = order[:n_held], order[n_held:][:n_rows]
    n, height, width = images.shape
    blocks = images.reshape(n, height // pool, pool, width // pool, pool)
    bits = blocks.max(axis=(2, 4)).reshape(n, -1)
    train, test = (bits[rows].astype(np.float32) for rows in (others, held))
    return Images(train, test, factors[held])


def measured(codes: np.ndarray, factors: np.ndarray, seed: int) -> dict[str, float]:
    Z, F = codes[:MOST_MEASURED], factors[:MOST_MEASURED]
    found = dci(Z, F, random_state=seed)
    return {
        "mig": mutual_information_gap(codes, factors),
        "disentanglement": found.disentanglement,
        "completeness": found.completeness,
        "informativeness": found.informativeness,
        "sap": sap_score(Z, F, random_state=seed),
        "beta_vae": beta_vae_score(codes, factors, random_state=seed),
        "factor_vae": factor_vae_score(codes, factors, random_state=seed),
        "modularity": modularity(codes, factors),
        "total_correlation": total_correlation(codes),
    }


def fit(X: np.ndarray, beta: float, seed: int, args) -> VAETransformer:
    return VAETransformer(
        UNITS,
        hidden_dims=args.hidden,
        likelihood="bernoulli",
        beta=beta,
        max_epochs=args.epochs,
        lr=1e-3,
        random_state=seed,
    ).fit(X)


def rounds(images: Images, args) -> dict[str, list[dict[str, Any]]]:
    """Numbers of every beta, one a seed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    best = (-np.inf, None)
    for beta in args.betas:
        for seed in range(args.seeds):
            start = time.perf_counter()
            vae = fit(images.train, beta, seed, args)
            seconds = time.perf_counter() - start
            found = {
                "elbo": vae.score(images.test),
                "active": float(active_units(vae, images.test)),
                **measured(vae.transform(images.test), images.factors, seed),
                "seconds": seconds,
            }
            rows.setdefault(f"{beta:g}", []).append(found)
            print(beta, seed, found, file=sys.stderr, flush=True)
            if found["mig"] > best[0]:
                best = found["mig"], vae
    if args.picture is not None:
        draw(best[1], images.train, args.picture)
    return rows


def draw(vae: Any, X: np.ndarray, path: Path) -> None:
    """What every unit changes, of a fit."""
    from skvae.inspection import TraversalDisplay

    edge = int(np.sqrt(X.shape[1]))
    display = TraversalDisplay.from_estimator(vae, X, image_shape=(edge, edge))
    display.figure_.savefig(path, dpi=100)


def as_table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Means over seeds in Markdown, and how the ELBO ranks the fits beside each."""
    lines = [f"| beta | {' | '.join(MEASURES)} |", "|-" * (1 + len(MEASURES)) + "|"]
    for beta, found in rows.items():
        cells = []
        for key in MEASURES:
            digits = 1 if key in ("elbo", "seconds", "active") else 3
            cells.append(f"{np.mean([row[key] for row in found]):.{digits}f}")
        lines.append(f"| {' | '.join([beta, *cells])} |")
    ranks = agreement(rows)
    cells = [f"{ranks[key]:.2f}" if key in ranks else "" for key in MEASURES]
    lines.append(f"| rank with elbo | {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(rows: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Rank correlation of the held-out ELBO and every measure, over all fits."""
    fits = [row for found in rows.values() for row in found]
    elbos = [row["elbo"] for row in fits]
    return {
        key: float(spearmanr(elbos, [row[key] for row in fits])[0])
        for key in MEASURES
        if key not in ("elbo", "seconds") and len(fits) > 2
    }


def choice(rows: dict[str, list[dict[str, Any]]]) -> str:
    """What the ELBO chooses, beside the best gap that there was."""
    fits = [(beta, row) for beta, found in rows.items() for row in found]
    chosen = max(fits, key=lambda fit: fit[1]["elbo"])
    best = max(fits, key=lambda fit: fit[1]["mig"])
    return (
        f"By ELBO: beta {chosen[0]}, a gap of {chosen[1]['mig']:.3f}; the best gap is "
        f"{best[1]['mig']:.3f}, of beta {best[0]}."
    )


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--pool", type=int, default=1)
    parser.add_argument("--hidden", nargs="+", type=int, default=[1200, 1200])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--betas", nargs="+", type=float, default=BETAS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = rounds(load(args.data, args.rows, args.pool), args)
    print(f"{as_table(rows)}\n\n{choice(rows)}")
    if args.out is not None:
        args.out.write_text(json.dumps({"machine": machine(1), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
