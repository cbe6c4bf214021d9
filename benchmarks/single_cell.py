"""Counts of single cells: ``VAETransformer`` beside SCVI, PCA and factor analysis.

    python benchmarks/single_cell.py --data DIR --scvi PYTHON --out single_cell.json

Tables are ``pbmc3k_raw.npz`` and ``worm_neuron.npz`` in DIR: CSR parts ``data``,
``indices``, ``indptr``, ``shape`` of raw counts, and labels ``y``, negative where there
is none. Of the labelled cells, a fifth is held out, another one with every seed, and
the 2,000 most variable genes are kept. ``--scvi`` names an interpreter that has
scvi-tools; without it those contenders are left out.

Every fit has a process of its own with ``--threads`` threads, and contenders take
turns, a fit each a seed. With ``--work DIR2`` what they give back is kept there, and is
not computed again by the next run.

Held-out likelihoods are of the counts given the size of the cell, the sum of its counts
of these genes, which decoders of skvae and of SCVI are both given: nats a cell,
importance-weighted with ``--draws`` draws from the posterior, and the ELBO. "no code"
is the negative binomial with one share and one dispersion a gene.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from _single_cell import code_scores, load_cells, no_code, split
from _single_cell_task import Outcome, Task

FILES = ("pbmc3k_raw", "worm_neuron")
HERE = Path(__file__).parent
SCVI = ("SCVI", "SCVI, NB", "SCVI, stopped")
CONTENDERS = (
    "negative_binomial",
    "zinb",
    "poisson",
    "gaussian_diag",
    "gaussian",
    "PCA",
    "FactorAnalysis",
    *SCVI,
)
NO_CODE = "no code"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
COLUMNS = {
    "bound": ("importance-weighted", 1),
    "elbo": ("ELBO", 1),
    "accuracy": ("15 neighbours", 3),
    "silhouette": ("silhouette", 3),
    "ari": ("ARI", 3),
    "seconds": ("seconds", 1),
    "cpu_seconds": ("CPU seconds", 1),
    "peak_mb": ("peak memory, MB", 0),
}

Row = dict[str, Any]


class Failed(Exception):
    """A contender could not do its work; the message is one line."""


def outcome(task: Task, python: str, path: Path) -> Outcome:
    """What a contender makes of a task, in a process of its own."""
    if not path.exists():
        worker = (
            "_scvi_worker.py" if task.contender in SCVI else "_single_cell_worker.py"
        )
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder, "task.npz"), Path(folder, "outcome.npz")
            task.write(given)
            done = subprocess.run(
                [python, str(HERE / worker), str(given), str(made)],
                capture_output=True,
                text=True,
                env={**os.environ, **dict.fromkeys(THREADS, str(task.threads))},
            )
            if done.returncode:
                raise Failed(done.stderr.strip().rpartition("\n")[2])
            path.write_bytes(made.read_bytes())
    return Outcome.read(path)


def measured_row(found: Outcome, parts, seed: int) -> Row:
    """Numbers of a fit for the table."""
    scores = code_scores(
        found.train_codes, found.test_codes, parts.train.y, parts.test.y, seed
    )
    row: Row = {
        **scores._asdict(),
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
        "peak_mb": found.peak_mb,
    }
    if len(found.bound):
        row |= {
            "bound": float(found.bound.mean()),
            "elbo": float(found.elbo.mean()),
            "own_elbo": found.own_elbo,
        }
    return row


def no_code_row(parts) -> Row:
    # Nothing is approximated: what bounds would bound.
    value = float(no_code(parts.train.X, parts.test.X).mean())
    return {"bound": value, "elbo": value}


def rounds(cells, name: str, args) -> dict[str, list[Row]]:
    """Rows of all contenders, one a seed."""
    rows: dict[str, list[Row]] = {name: [] for name in (NO_CODE, *args.contenders)}
    for seed in range(args.seeds):
        parts = split(cells, seed)
        rows[NO_CODE].append(no_code_row(parts))
        for contender in args.contenders:
            python = args.scvi if contender in SCVI else sys.executable
            if python is None:
                continue
            task = Task(
                contender,
                parts.train.X,
                parts.test.X,
                seed,
                args.draws,
                args.threads,
                args.epochs,
            )
            path = Path(args.work, f"{name}-{contender.replace(', ', '-')}-{seed}.npz")
            try:
                row = measured_row(outcome(task, python, path), parts, seed)
            except Failed as reason:
                print(f"{name}, {contender}, {seed}: {reason}", file=sys.stderr)
                continue
            rows[contender].append(row)
            print(name, contender, seed, row, file=sys.stderr, flush=True)
    return {name: found for name, found in rows.items() if found}


def cell(values: Iterable[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    values = list(values)
    if not values:
        return ""
    mean = f"{np.mean(values):,.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def as_table(rows: dict[str, list[Row]]) -> str:
    """In Markdown."""
    heads = ["model", "fits", *(head for head, _ in COLUMNS.values())]
    lines = [f"| {' | '.join(heads)} |", "|-" * len(heads) + "|"]
    for name, found in rows.items():
        cells = [
            cell((row[key] for row in found if key in row), digits)
            for key, (_, digits) in COLUMNS.items()
        ]
        lines.append(f"| {' | '.join([name, str(len(found)), *cells])} |")
    return "\n".join(lines)


def parsed(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scvi", help="interpreter that has scvi-tools")
    parser.add_argument("--tables", nargs="+", default=FILES)
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="in place of what defaults are")
    parser.add_argument("--work", help="folder that outcomes are kept in")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    unknown = sorted(set(args.contenders) - set(CONTENDERS))
    if unknown:
        parser.error(f"unknown contenders {unknown}; they are {list(CONTENDERS)}")
    return args


def main(arguments=None) -> None:
    args = parsed(arguments)
    with tempfile.TemporaryDirectory() as folder:
        args.work = args.work or folder
        Path(args.work).mkdir(parents=True, exist_ok=True)
        results = {}
        for name in args.tables:
            cells = load_cells(args.data / f"{name}.npz", args.genes)
            results[name] = rounds(cells, name, args)
            print(f"\n{name}: {cells.X.shape[0]} cells, {cells.X.shape[1]} genes\n")
            print(as_table(results[name]), flush=True)
    if args.out is not None:
        report = {"machine": machine(args.threads), "tables": results}
        args.out.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
