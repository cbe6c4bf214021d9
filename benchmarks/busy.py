"""What a busy machine costs, and what the policy of threads costs a quiet one.

    python benchmarks/busy.py

First small work beside two neighbours, processes that multiply matrices all the time:
skvae as it is beside the same on one thread (SKVAE_NUM_THREADS=1, and one thread of
torch and BLAS), which is what the work itself costs there. Then large work without
neighbours: as it is beside one thread and beside all of them. Settings take turns, once
a round; ratios are of medians.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from _machine import machine
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from skvae import VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights

N_NEIGHBOURS = 2
VARIABLE = "SKVAE_NUM_THREADS"

Task = Callable[[], Any]


def multiply_for_ever() -> None:
    """A neighbour: one thread that never rests."""
    torch.set_num_threads(1)
    a = torch.rand(256, 256)
    while True:
        a = (a @ a).clamp_(0.0, 1.0)


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """So many busy processes inside."""
    context = multiprocessing.get_context("spawn")
    started = [
        context.Process(target=multiply_for_ever, daemon=True) for _ in range(number)
    ]
    for process in started:
        process.start()
    try:
        # Until they have imported torch, they are another kind of neighbour.
        time.sleep(5.0 if number else 0.0)
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """At most so many threads, whatever the work; None is skvae's own choice."""
    if number is None:
        yield
        return
    before = torch.get_num_threads()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {VARIABLE: str(number)}))
        stack.enter_context(threadpool_limits(number))
        torch.set_num_threads(number)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def tasks(X: np.ndarray, *, judged: bool, epochs: int | None = None) -> dict[str, Task]:
    """What users do with a table, by the name of the method."""
    params = {} if epochs is None else {"max_epochs": epochs, "early_stopping": False}
    vae = VAETransformer(8, random_state=0, **params).fit(X)
    found: dict[str, Task] = {
        "fit": lambda: VAETransformer(8, random_state=0, **params).fit(X),
        "transform": lambda: vae.transform(X),
        "reconstruct": lambda: vae.reconstruct(X),
        "score": lambda: vae.score(X),
    }
    if judged:
        found["diagnose"] = lambda: diagnose(vae, X)
        found["suggest_kld_weights"] = lambda: suggest_kld_weights(X, 8)
    return found


def small_tables() -> dict[str, np.ndarray]:
    generator = np.random.RandomState(0)
    return {
        "80 x 10": generator.randn(80, 10),
        "digits": load_digits().data / 16.0,
        "6,000 x 10": generator.randn(6000, 10),
    }


def large_table() -> np.ndarray:
    return np.random.RandomState(0).rand(10_000, 784).astype(np.float32)


def seconds(
    task: Task, settings: dict[str, int | None], rounds: int
) -> dict[str, list[float]]:
    """Seconds of a task in every setting, once a round, after one that is not kept."""
    found: dict[str, list[float]] = {name: [] for name in settings}
    for number in range(rounds + 1):
        for name, n_threads in settings.items():
            with threads(n_threads):
                start = time.perf_counter()
                task()
                taken = time.perf_counter() - start
            if number:
                found[name].append(taken)
    return found


def row(table: str, task: str, found: dict[str, list[float]]) -> str:
    """Milliseconds as it is, and ratios to every other setting."""
    own, *others = found.values()
    ratios = [
        f"{median(own) / median(other):.2f} ("
        f"{min(a / b for a, b in zip(own, other, strict=True)):.2f} to "
        f"{max(a / b for a, b in zip(own, other, strict=True)):.2f})"
        for other in others
    ]
    return f"| {table} | {task} | {1e3 * median(own):.0f} | {' | '.join(ratios)} |"


def compare(
    title: str,
    tables: dict[str, np.ndarray],
    settings: dict[str, int | None],
    rounds: int,
    **options,
) -> dict[str, Any]:
    """Print a table of all tasks of some tables; returns their seconds."""
    _, *others = settings
    print(f"\n{title}\n\n| table | | ms | {' | '.join(f'to {o}' for o in others)} |")
    print("|-|-|-|" + "-|" * len(others))
    whole: dict[str, Any] = {}
    for name, X in tables.items():
        for task, run in tasks(X, **options).items():
            found = seconds(run, settings, rounds)
            print(row(name, task, found), flush=True)
            whole.setdefault(name, {})[task] = found
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of fits; default: the estimator's")
    parser.add_argument("--only", choices=("small", "large"))
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be positive")
    whole: dict[str, Any] = {"machine": machine()}
    if args.only != "large":
        with neighbours(N_NEIGHBOURS):
            whole["small"] = compare(
                f"Small work beside {N_NEIGHBOURS} busy processes",
                small_tables(),
                {"as it is": None, "one thread": 1},
                args.rounds,
                judged=True,
                epochs=args.epochs,
            )
    if args.only != "small":
        whole["large"] = compare(
            "Large work on a quiet machine",
            {"10,000 x 784": large_table()},
            {"as it is": None, "one thread": 1, "all threads": os.cpu_count()},
            args.rounds,
            judged=False,
            epochs=args.epochs or 2,
        )
    if args.out is not None:
        Path(args.out).write_text(f"{json.dumps(whole, indent=2)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
