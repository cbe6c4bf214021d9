"""What `score` costs, in epochs of training on the same table, for every likelihood.

    python benchmarks/score_cost.py

A table for each likelihood is drawn here, from five factors. The model that is scored
was fitted with the defaults, which choose the number of points of its cubature. Epochs
are those of fits on all rows, without early stopping, and are timed by a callback, so
that what comes before and after them does not count. Fits and scores take turns, once
a round, on one thread; seconds are those of the CPU, and ratios are of medians.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _machine import machine
from busy import threads
from scipy import sparse
from skorch.callbacks import Callback

from skvae import VAETransformer
from skvae._likelihoods.registry import LIKELIHOODS, likelihood_named

N_FACTORS = 5
# Mean of a count where no factor is at work, in tables of counts: most entries are 0.
MEAN_COUNT = 0.3
# Of the fits whose epochs are timed.
EPOCHS = 3


def make_table(name: str, n_rows: int, n_columns: int, dtype: str) -> Any:
    """Rows that a likelihood can explain; of counts in CSR."""
    rng = np.random.RandomState(0)
    maps = rng.randn(N_FACTORS, n_columns) / np.sqrt(N_FACTORS)
    eta = rng.randn(n_rows, N_FACTORS) @ maps
    kind = likelihood_named(name)
    if kind.takes_size:
        rates = MEAN_COUNT * np.exp(eta) * rng.gamma(2.0, 0.5, eta.shape)
        return sparse.csr_matrix(rng.poisson(rates), dtype=dtype)
    if kind.name == "log_normal":
        return np.exp(0.5 * eta).astype(dtype)
    if not kind.is_discrete:
        return (eta + 0.5 * rng.standard_t(5.0, eta.shape)).astype(dtype)
    if kind.is_whole or kind.name == "ordinal":
        noisy = eta + rng.logistic(size=eta.shape)
        return np.digitize(noisy, [-1.0, 0.0, 1.0]).astype(dtype)
    bits = rng.uniform(size=eta.shape) < 1.0 / (1.0 + np.exp(-3.0 * eta))
    return bits.astype(dtype)


class EpochSeconds(Callback):
    """CPU seconds of every epoch of a fit."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, net, **kwargs) -> None:
        self._start = time.process_time()

    def on_epoch_end(self, net, **kwargs) -> None:
        self.seconds.append(time.process_time() - self._start)


def seconds_of_epoch(name: str, X) -> float:
    """CPU seconds of an epoch on all rows: the median of a short fit's."""
    clock = EpochSeconds()
    VAETransformer(
        likelihood=name,
        max_epochs=EPOCHS,
        early_stopping=False,
        callbacks=[clock],
        random_state=0,
    ).fit(X)
    return median(clock.seconds)


def seconds_of_score(model: VAETransformer, X) -> float:
    start = time.process_time()
    model.score(X)
    return time.process_time() - start


def measure(name: str, X, epochs: int, rounds: int) -> dict[str, Any]:
    """Seconds of epochs and scores, once a round after one that does not count."""
    model = VAETransformer(likelihood=name, max_epochs=epochs, random_state=0).fit(X)
    found: dict[str, list[float]] = {"epoch": [], "score": []}
    for number in range(rounds + 1):
        each = seconds_of_epoch(name, X), seconds_of_score(model, X)
        if number:
            found["epoch"].append(each[0])
            found["score"].append(each[1])
    return {**found, "pairs": int(model._fitted.state.host.number("n_pairs"))}


def ratio(found: dict[str, Any]) -> float:
    """Epochs that a score costs."""
    return median(found["score"]) / median(found["epoch"])


def row(name: str, found: dict[str, Any]) -> str:
    each = [s / e for s, e in zip(found["score"], found["epoch"], strict=True)]
    return (
        f"| {name} | {found['pairs']} | {median(found['epoch']):.3f} | "
        f"{median(found['score']):.3f} | {ratio(found):.2f} | "
        f"{min(each):.2f} to {max(each):.2f} |"
    )


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--epochs", type=int, default=20, help="of the scored model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=LIKELIHOODS, default=LIKELIHOODS)
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args(argv)
    for option in ("rows", "columns", "epochs", "rounds"):
        if getattr(args, option) < 1:
            parser.error(f"--{option} must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parsed(argv)
    whole: dict[str, Any] = {"machine": machine(), "likelihoods": {}}
    print(f"{args.rows} rows of {args.columns} columns, {args.dtype}\n")
    print("| likelihood | pairs | s an epoch | s a score | ratio | of rounds |")
    print("|-|-|-|-|-|-|")
    with threads(1):
        for name in args.only:
            X = make_table(name, args.rows, args.columns, args.dtype)
            found = measure(name, X, args.epochs, args.rounds)
            print(row(name, found), flush=True)
            whole["likelihoods"][name] = found
    if args.out is not None:
        Path(args.out).write_text(f"{json.dumps(whole, indent=2)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
