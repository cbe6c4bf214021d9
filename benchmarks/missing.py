"""Gaps of tables, filled by ``VAEImputer`` and by others.

    python benchmarks/missing.py --data DIR --out missing.json

Tables are three that ship with scikit-learn, and ``adbench_38_thyroid.npz``,
``adbench_10_cover.npz`` and ``adbench_25_musk.npz`` in DIR, of which up to 3,000 rows
are drawn; constant columns are left out, and columns standardised. Entries are taken
out at random, or in blocks: the same columns, a third of all, in rows that are as many
as it takes. Errors are root mean squares over what was taken out, in standard
deviations of the columns, means over seeds; the better of the linear ones is what
``VAEImputer`` has to be at or below. Intervals are of the middle 90 % of 50 draws.

"PPCA" and "FA" are probabilistic PCA and factor analysis with 10 units by EM, what
training begins at; "forest" is ``IterativeImputer`` with random forests, as missForest.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skvae import VAEImputer
from skvae._linear.gaps import ConditionalMean, factors_with_gaps

SHARES = (0.1, 0.3, 0.5)
PATTERNS = ("random", "blocks")
FILES = ("38_thyroid", "10_cover", "25_musk")
UNITS, MOST_ROWS, N_DRAWS = 10, 3000, 50
LINEAR = ("BayesianRidge", "PPCA", "FA")
Fill = Callable[[np.ndarray, int], np.ndarray]


def tables(folder: Path | None) -> dict[str, np.ndarray]:
    """Complete tables of standardised columns."""
    found = {
        "cancer": load_breast_cancer().data,
        "wine": load_wine().data,
        "diabetes": load_diabetes().data,
    }
    for name in FILES if folder is not None else ():
        with np.load(Path(folder, f"adbench_{name}.npz")) as data:
            X = data["X"].astype(np.float64)
        order = np.random.RandomState(0).permutation(len(X))[:MOST_ROWS]
        found[name.partition("_")[2]] = X[np.sort(order)]
    return {name: standardised(X) for name, X in found.items()}


def standardised(X: np.ndarray) -> np.ndarray:
    X = X[:, X.std(axis=0) > 0.0]
    return (X - X.mean(axis=0)) / X.std(axis=0)


def gaps(shape: tuple[int, int], share: float, pattern: str, seed: int) -> np.ndarray:
    """Which entries are taken out; one of every column, at least, stays."""
    rng = np.random.RandomState(seed)
    n_rows, n_columns = shape
    if pattern == "random":
        missing = rng.uniform(size=shape) < share
    else:
        missing = np.zeros(shape, dtype=bool)
        n_chosen = max(1, n_columns // 3)
        while missing.mean() < share:
            columns = rng.permutation(n_columns)[:n_chosen]
            rows = rng.permutation(n_rows)[: max(1, n_rows // 10)]
            missing[np.ix_(rows, columns)] = True
    missing[rng.randint(n_rows, size=n_columns), np.arange(n_columns)] = False
    return missing


def by_em(shared_noise: bool) -> Fill:
    def fill(X: np.ndarray, seed: int) -> np.ndarray:
        generator = np.random.RandomState(seed)
        factors = factors_with_gaps(
            X, UNITS, shared_noise=shared_noise, random_state=generator
        )
        x = torch.from_numpy(X)
        there = ~torch.isnan(x)
        return ConditionalMean(factors)(x.nan_to_num(), there).numpy()

    return fill


def of_imputer(make: Callable[[int], Any]) -> Fill:
    return lambda X, seed: make(seed).fit_transform(X)


def forests(kind: Any, n_trees: int) -> Callable[[int], Any]:
    def make(seed: int) -> Any:
        trees = kind(n_estimators=n_trees, min_samples_leaf=3, random_state=seed)
        return IterativeImputer(trees, max_iter=5, random_state=seed)

    return make


CONTENDERS: dict[str, Fill] = {
    "mean": of_imputer(lambda seed: SimpleImputer()),
    "neighbours": of_imputer(lambda seed: KNNImputer()),
    "BayesianRidge": of_imputer(lambda seed: IterativeImputer(random_state=seed)),
    "PPCA": by_em(shared_noise=True),
    "FA": by_em(shared_noise=False),
    "extra trees": of_imputer(forests(ExtraTreesRegressor, 10)),
    "forest": of_imputer(forests(RandomForestRegressor, 10)),
    "VAEImputer": of_imputer(lambda seed: VAEImputer(random_state=seed)),
}
SLOW = ("extra trees", "forest")


def covered(X: np.ndarray, with_gaps: np.ndarray, seed: int) -> dict[str, float]:
    """Share of what was taken out that intervals of 90 % of draws hold."""
    missing = np.isnan(with_gaps)
    imputer = VAEImputer(random_state=seed).fit(with_gaps)
    draws = [
        imputer.set_params(sample_posterior=True, random_state=i).transform(with_gaps)
        for i in range(N_DRAWS)
    ]
    found = {"VAEImputer": np.stack(draws)}
    ridge = IterativeImputer(sample_posterior=True, random_state=seed).fit(with_gaps)
    found["BayesianRidge"] = np.stack(
        [ridge.transform(with_gaps) for _ in range(N_DRAWS)]
    )
    shares = {}
    for name, drawn in found.items():
        low, high = np.quantile(drawn[:, missing], [0.05, 0.95], axis=0)
        shares[name] = float(((X[missing] >= low) & (X[missing] <= high)).mean())
    return shares


def rounds(X: np.ndarray, share: float, pattern: str, args) -> dict[str, Any]:
    """Errors, seconds and coverage, means over seeds."""
    errors: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    held: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        missing = gaps(X.shape, share, pattern, seed)
        with_gaps = np.where(missing, np.nan, X)
        for name in args.contenders:
            start = time.perf_counter()
            filled = CONTENDERS[name](with_gaps, seed)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            off = np.square(filled - X)[missing].mean()
            errors.setdefault(name, []).append(float(np.sqrt(off)))
        if args.coverage:
            for name, value in covered(X, with_gaps, seed).items():
                held.setdefault(name, []).append(value)
    return {
        key: {name: float(np.mean(values)) for name, values in found.items()}
        for key, found in (("error", errors), ("seconds", seconds), ("held", held))
    }


def as_table(results: dict[str, dict[str, Any]]) -> str:
    """Errors in Markdown, a line a table and share; best of the linear ones last."""
    first = next(iter(results.values()))
    heads = ["", *first["error"], "to the best linear"]
    lines = [f"| {' | '.join(heads)} |", "|-" * len(heads) + "|"]
    for name, found in results.items():
        errors = found["error"]
        cells = [f"{value:.3f}" for value in errors.values()]
        best = min((errors[k] for k in LINEAR if k in errors), default=float("nan"))
        ratio = errors.get("VAEImputer", float("nan")) / best
        lines.append(f"| {' | '.join([name, *cells, f'{ratio:.3f}'])} |")
    return "\n".join(lines)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="+")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--patterns", nargs="+", default=PATTERNS)
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    results = {}
    for name, X in tables(args.data).items():
        if args.tables and name not in args.tables:
            continue
        for pattern in args.patterns:
            for share in args.shares:
                label = f"{name}, {share:.0%}, {pattern}"
                results[label] = rounds(X, share, pattern, args)
                print(label, results[label], flush=True)
    print(f"\n{as_table(results)}")
    for name, found in results.items():
        if found["held"]:
            held = ", ".join(f"{k} {v:.2f}" for k, v in found["held"].items())
            print(f"{name}: {held}")
    if args.out is not None:
        report = {"machine": machine(1), "tables": results}
        args.out.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
