"""Outliers among the rows that are trained on: ``VAEOutlierDetector`` beside others.

    python benchmarks/outliers.py --data DIR --pyod PYTHON --out outliers.json

Tables are ADBench's, ``adbench_*.npz`` in DIR, with ``X`` and labels ``y`` (1 is an
outlier), up to ``--rows`` rows drawn at random. One half is trained on, as it is, with
its outliers; the other one is scored: ROC-AUC and average precision, which see the
labels first. Columns are standardised by the training half. ``--pyod`` names an
interpreter that has pyod (3) and torch; without it its contenders are left out.

"PCA" and "factor analysis" are scikit-learn's likelihoods with 10 components, or one
fewer than there are columns. Everything else is at its defaults.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from skvae import VAEOutlierDetector

FILES = ("10_cover", "24_mnist", "25_musk", "32_shuttle", "38_thyroid", "5_campaign")
PYOD = ("VAE", "AutoEncoder", "ECOD", "KNN")
UNITS = 10
HERE = Path(__file__).parent


def load(path: Path, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, Any, Any]:
    """Training and test rows, standardised, and their labels."""
    with np.load(path) as data:
        X, y = data["X"].astype(np.float64), data["y"]
    order = np.random.RandomState(seed).permutation(len(X))[:n_rows]
    X, y = X[order], y[order]
    half = len(X) // 2
    scale = X[:half].std(axis=0)
    X = (X - X[:half].mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
    return X[:half], X[half:], y[:half], y[half:]


def likelihood_of(model: Any) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    def odd(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
        n_units = min(UNITS, train.shape[1] - 1)
        return -model(n_units, random_state=seed).fit(train).score_samples(test)

    return odd


def of_detector(make: Callable[[int], Any]):
    def odd(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
        return -make(seed).fit(train).score_samples(test)

    return odd


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "skvae": of_detector(lambda seed: VAEOutlierDetector(random_state=seed)),
    "skvae, trim=0": of_detector(
        lambda seed: VAEOutlierDetector(trim=0.0, random_state=seed)
    ),
    "skvae, trim=0.1": of_detector(
        lambda seed: VAEOutlierDetector(trim=0.1, random_state=seed)
    ),
    "PCA": likelihood_of(PCA),
    "factor analysis": likelihood_of(FactorAnalysis),
    "IsolationForest": of_detector(lambda seed: IsolationForest(random_state=seed)),
    "LocalOutlierFactor": of_detector(lambda seed: LocalOutlierFactor(novelty=True)),
}


def of_pyod(python: str, train: np.ndarray, test: np.ndarray, seed: int, name: str):
    """Scores of a model of pyod, computed in its own environment, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "rows.npz"), Path(folder, "scores.npz")
        np.savez(given, train=train, test=test, seed=seed, name=name)
        worker = [python, str(HERE / "_pyod_worker.py"), str(given), str(made)]
        done = subprocess.run(worker, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
        with np.load(made) as found:
            return found["scores"], float(found["seconds"])


def measured(y: np.ndarray, odd: np.ndarray, seconds: float) -> dict[str, float]:
    return {
        "auc": float(roc_auc_score(y, odd)),
        "precision": float(average_precision_score(y, odd)),
        "seconds": seconds,
    }


def rounds(path: Path, args) -> dict[str, list[dict[str, float]]]:
    """Numbers of all contenders, one a seed."""
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        train, test, _, y = load(path, args.rows, seed)
        for name, odd in CONTENDERS.items():
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = odd(train, test, seed)
            seconds = time.perf_counter() - start
            found.setdefault(name, []).append(measured(y, scores, seconds))
        for name in PYOD if args.pyod else ():
            scores, seconds = of_pyod(args.pyod, train, test, seed, name)
            found.setdefault(f"pyod {name}", []).append(measured(y, scores, seconds))
        print(path.stem, seed, file=sys.stderr, flush=True)
    return found


def as_table(results: dict[str, dict[str, list[dict[str, float]]]], key: str) -> str:
    """Means over seeds, a column a table, in Markdown."""
    files = list(results)
    heads = ["", *(name.partition("_")[2] for name in files), "mean"]
    lines = [f"| {' | '.join(heads)} |", "|-" * len(heads) + "|"]
    digits = 1 if key == "seconds" else 3
    for name in results[files[0]]:
        means = [float(np.mean([r[key] for r in results[f][name]])) for f in files]
        cells = [f"{value:.{digits}f}" for value in [*means, np.mean(means)]]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pyod", help="interpreter that has pyod")
    parser.add_argument("--tables", nargs="+", default=FILES)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    results = {
        name: rounds(args.data / f"adbench_{name}.npz", args) for name in args.tables
    }
    for title, key in (
        ("ROC-AUC", "auc"),
        ("Average precision", "precision"),
        ("Seconds", "seconds"),
    ):
        print(f"\n{title}\n\n{as_table(results, key)}", flush=True)
    if args.out is not None:
        report = {"machine": machine(1), "tables": results}
        args.out.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
