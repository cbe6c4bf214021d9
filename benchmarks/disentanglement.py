"""Whether units are the factors that made the data, as beta rises: dSprites.

    python benchmarks/disentanglement.py --data dsprites_grid46k.npz --out found.json

``imgs`` (n, 64, 64) of bits and ``latents_classes`` (n, 5): shape, scale, orientation
and both positions. A Bernoulli VAE with 10 units and hidden layers of 1200 and 1200,
as Higgins et al. (2017), is fitted for every beta and seed; every measure of
``skvae.metrics`` is of the codes of rows that were not trained on. The held-out ELBO,
at beta = 1, is what a search would choose by: the last line says how it ranks the fits
beside the mutual information gap (Spearman). ``--picture`` draws what the units of the
fit with the best gap do.

``--rows``, ``--pool`` (pixels along an edge that become one, lit if any is),
``--hidden`` and ``--epochs`` make it smaller.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from scipy.stats import spearmanr

from skvae import VAETransformer
from skvae.metrics import (
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


def load(path: Path, n_rows: int | None, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """Bits (n, pixels) and factors (n, 5), in random order."""
    with np.load(path) as data:
        images, factors = data["imgs"], data["latents_classes"]
    order = np.random.RandomState(0).permutation(len(images))[:n_rows]
    images, factors = images[order], factors[order]
    n, height, width = images.shape
    blocks = images.reshape(n, height // pool, pool, width // pool, pool)
    return blocks.max(axis=(2, 4)).reshape(n, -1).astype(np.float32), factors


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


def rounds(X: np.ndarray, factors: np.ndarray, args) -> dict[str, list[dict[str, Any]]]:
    """Numbers of every beta, one a seed."""
    n_held = int(HELD_OUT * len(X))
    rows: dict[str, list[dict[str, Any]]] = {}
    best = (-np.inf, None)
    for beta in args.betas:
        for seed in range(args.seeds):
            start = time.perf_counter()
            vae = fit(X[n_held:], beta, seed, args)
            seconds = time.perf_counter() - start
            codes = vae.transform(X[:n_held])
            found = {
                "elbo": vae.score(X[:n_held]),
                "active": float((vae._posterior_means(X[:n_held]).var(0) > 0.01).sum()),
                **measured(codes, factors[:n_held], seed),
                "seconds": seconds,
            }
            rows.setdefault(f"{beta:g}", []).append(found)
            print(beta, seed, found, flush=True)
            if found["mig"] > best[0]:
                best = found["mig"], vae
    if args.picture is not None:
        draw(best[1], X, args.picture)
    return rows


def draw(vae: Any, X: np.ndarray, path: Path) -> None:
    """What every unit changes, of a fit."""
    from skvae.inspection import TraversalDisplay

    edge = int(np.sqrt(X.shape[1]))
    display = TraversalDisplay.from_estimator(vae, X, image_shape=(edge, edge))
    display.figure_.savefig(path, dpi=100)


def as_table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Means over seeds in Markdown."""
    lines = [f"| beta | {' | '.join(MEASURES)} |", "|-" * (1 + len(MEASURES)) + "|"]
    for beta, found in rows.items():
        cells = []
        for key in MEASURES:
            digits = 1 if key in ("elbo", "seconds", "active") else 3
            cells.append(f"{np.mean([row[key] for row in found]):.{digits}f}")
        lines.append(f"| {' | '.join([beta, *cells])} |")
    return "\n".join(lines)


def agreement(rows: dict[str, list[dict[str, Any]]]) -> float:
    """Rank correlation of the held-out ELBO and the gap, over all fits."""
    fits = [row for found in rows.values() for row in found]
    if len(fits) < 3:
        return float("nan")
    return float(spearmanr([f["elbo"] for f in fits], [f["mig"] for f in fits])[0])


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
    X, factors = load(args.data, args.rows, args.pool)
    rows = rounds(X, factors, args)
    print(f"\n{as_table(rows)}\n")
    print(f"Rank correlation of ELBO and gap: {agreement(rows):.2f}")
    if args.out is not None:
        args.out.write_text(json.dumps({"machine": machine(1), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
