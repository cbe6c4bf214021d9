"""How the time of an epoch grows with rows and with features, and what a disk costs.

    python benchmarks/scaling.py --out scaling.json

An epoch should take twice as long for twice the rows, and for twice the features once
they are what a step is busy with: a step also costs a constant, that of the hidden
layers and of Python, which decides at small widths. Both are measured with the default
model but without early stopping, as medians of ``history_``'s epoch times; a slope of 1
in the logarithms is linear growth.

Last, ``partial_fit`` on chunks of a file on disk, a memory map, beside ``fit`` of the
same rows in memory for as many passes, in rows per second: of the whole calls, and of
their epochs alone. What is measured is measured in alternating rounds.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from _machine import machine
from sklearn.utils import gen_batches

from skvae import VAETransformer

# An epoch of few rows is too short to be measured once.
ROWS_TO_TIME = 20_000


class Range(NamedTuple):
    """Sizes to go through, and the table on disk."""

    rows: tuple[int, ...]
    columns: int  # of the tables of many rows
    features: tuple[int, ...]
    height: int  # of the tables of many features
    disk_rows: int
    chunk: int


FULL = Range(
    rows=(1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000),
    columns=100,
    features=(100, 300, 1000, 3000, 10_000, 30_000),
    height=2000,
    disk_rows=200_000,
    chunk=10_000,
)
QUICK = FULL._replace(
    rows=(1000, 2000, 4000, 8000),
    features=(100, 400, 1600, 6400),
    height=500,
    disk_rows=16_000,
    chunk=2000,
)


def random_rows(n_rows: int, n_columns: int) -> np.ndarray:
    return np.random.RandomState(0).rand(n_rows, n_columns).astype(np.float32)


def estimator(epochs: int, device: str) -> VAETransformer:
    """The default, training for as long as it is told to."""
    return VAETransformer(
        max_epochs=epochs,
        early_stopping=False,
        lr_schedule="constant",  # as in partial_fit
        device=device,
        random_state=0,
    )


def epochs_of(vae: VAETransformer) -> list[float]:
    return [row["epoch_time"] for row in vae.history_]


# -- growth ----------------------------------------------------------------------------


def measure(X: np.ndarray, device: str) -> tuple[float, float]:
    """Seconds of an epoch, and of all else that a fit does."""
    vae = estimator(max(3, min(20, ROWS_TO_TIME // len(X))), device)
    start = time.perf_counter()
    vae.fit(X)
    whole = time.perf_counter() - start
    return median(epochs_of(vae)), whole - sum(epochs_of(vae))


def sweep(
    shapes: Sequence[tuple[int, int]], rounds: int, device: str
) -> list[dict[str, Any]]:
    """Every shape once a round; medians over rounds, and all of them."""
    epochs: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    rest: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    for _ in range(rounds):
        for shape in shapes:
            epoch, other = measure(random_rows(*shape), device)
            epochs[shape].append(epoch)
            rest[shape].append(other)
    return [
        {
            "rows": shape[0],
            "features": shape[1],
            "epoch": median(epochs[shape]),
            "rest": median(rest[shape]),
            "epochs": epochs[shape],
        }
        for shape in shapes
    ]


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Of a line through the logarithms: 1 is linear growth, 0 is none."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def constant_and_rate(
    sizes: Sequence[float], seconds: Sequence[float]
) -> tuple[float, float]:
    """``seconds = constant + rate * size``, with the least relative errors."""
    x, t = np.asarray(sizes, float), np.asarray(seconds, float)
    design = np.column_stack([1.0 / t, x / t])
    constant, rate = np.linalg.lstsq(design, np.ones_like(t), rcond=None)[0]
    return float(constant), float(rate)


def report_rows(found: list[dict[str, Any]]) -> dict[str, float]:
    """Print the table of growing rows; returns what was fitted to it."""
    print(f"\n{found[0]['features']} features\n")
    print("| rows | epoch, s | per row, us | rest of the fit, s |\n|-|-|-|-|")
    for row in found:
        each = 1e6 * row["epoch"] / row["rows"]
        print(
            f"| {row['rows']} | {row['epoch']:.3f} | {each:.1f} | {row['rest']:.3f} |"
        )
    sizes, seconds = [r["rows"] for r in found], [r["epoch"] for r in found]
    constant, rate = constant_and_rate(sizes, seconds)
    fitted = {
        "slope": slope(sizes, seconds),
        "constant_ms_per_epoch": 1e3 * constant,
        "us_per_row": 1e6 * rate,
    }
    print(
        f"\nSlope of the logarithms: {fitted['slope']:.2f}. An epoch is "
        f"{1e3 * constant:.1f} ms and {1e6 * rate:.1f} us per row."
    )
    return fitted


def report_features(found: list[dict[str, Any]]) -> dict[str, float]:
    """Print the table of growing features; returns what was fitted to it."""
    n_rows = found[0]["rows"]
    n_steps = -(-n_rows // VAETransformer().batch_size)
    sizes, seconds = [r["features"] for r in found], [r["epoch"] for r in found]
    constant, rate = constant_and_rate(sizes, seconds)
    print(f"\n{n_rows} rows, {n_steps} steps an epoch\n")
    print(
        "| features | epoch, s | per row, us | per row and 1,000 features, us | "
        "share of the constant | rest of the fit, s |\n|-|-|-|-|-|-|"
    )
    for row in found:
        each = 1e6 * row["epoch"] / n_rows
        print(
            f"| {row['features']} | {row['epoch']:.3f} | {each:.1f} | "
            f"{1e3 * each / row['features']:.1f} | {constant / row['epoch']:.0%} | "
            f"{row['rest']:.3f} |"
        )
    half = len(found) // 2
    fitted = {
        "slope": slope(sizes, seconds),
        "slope_of_upper_half": slope(sizes[half - 1 :], seconds[half - 1 :]),
        "constant_ms_per_step": 1e3 * constant / n_steps,
        "us_per_row_and_1000_features": 1e9 * rate / n_rows,
    }
    print(
        f"\nSlope of the logarithms: {fitted['slope']:.2f}, and "
        f"{fitted['slope_of_upper_half']:.2f} from {sizes[half - 1]} features on. A "
        f"step is {fitted['constant_ms_per_step']:.2f} ms whatever the features, and "
        f"{fitted['us_per_row_and_1000_features']:.1f} us per row and 1,000 features."
    )
    return fitted


# -- disk ------------------------------------------------------------------------------


def write_rows(path: Path, n_rows: int, n_columns: int, chunk: int) -> None:
    """A table on disk, written a chunk at a time, and not in the page cache."""
    table = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    generator = np.random.RandomState(0)
    for part in gen_batches(n_rows, chunk):
        table[part] = generator.rand(part.stop - part.start, n_columns)
    table.flush()


def forget(path: Path) -> bool:
    """Drop a file from the page cache, so that it is read from the disk."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def one_pass(vae: VAETransformer, path: Path, chunk: int) -> None:
    """Train on a file that is never in memory as a whole."""
    table = np.load(path, mmap_mode="r")
    for part in gen_batches(len(table), chunk):
        vae.partial_fit(table[part])


def disk(r: Range, rounds: int, passes: int, device: str) -> dict[str, Any]:
    """Rows per second in memory and from disk, a list of rounds each."""
    rates: dict[str, list[float]] = {}
    n_trained = r.disk_rows * passes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, r.disk_rows, r.columns, r.chunk)
        X = np.load(path)

        def stream(vae: VAETransformer) -> None:
            for _ in range(passes):
                forget(path)
                one_pass(vae, path, r.chunk)

        calls = {"fit": lambda vae: vae.fit(X), "partial_fit": stream}
        for _ in range(rounds):
            for name, call in calls.items():
                vae = estimator(passes, device)
                start = time.perf_counter()
                call(vae)
                whole = time.perf_counter() - start
                rates.setdefault(name, []).append(n_trained / whole)
                alone = n_trained / sum(epochs_of(vae))
                rates.setdefault(f"{name}, epochs alone", []).append(alone)
        cold = forget(path)
    return {
        "rows": r.disk_rows,
        "features": r.columns,
        "chunk": r.chunk,
        "passes": passes,
        "from_cold_disk": cold,
        "rows_per_second": rates,
    }


def report_disk(found: dict[str, Any]) -> dict[str, float]:
    """Print rates and their ratios; returns the ratios."""
    rates = found["rows_per_second"]
    source = "a file" if found["from_cold_disk"] else "a file, perhaps cached,"
    print(
        f"\n{found['rows']} rows of {found['features']} features, {found['passes']} "
        f"passes; partial_fit reads {source} in chunks of {found['chunk']}\n"
    )
    print(
        "| rows per second | fit, in memory | partial_fit, from disk | ratio | "
        "of rounds |\n|-|-|-|-|-|"
    )
    ratios = {}
    for label, suffix in (("whole calls", ""), ("epochs alone", ", epochs alone")):
        memory, streamed = rates[f"fit{suffix}"], rates[f"partial_fit{suffix}"]
        each = [s / m for s, m in zip(streamed, memory, strict=True)]
        ratios[label] = median(streamed) / median(memory)
        print(
            f"| {label} | {median(memory):.0f} | {median(streamed):.0f} | "
            f"{ratios[label]:.2f} | {min(each):.2f} to {max(each):.2f} |"
        )
    return ratios


# -- the command -----------------------------------------------------------------------


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("rows", "features", "disk")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=2, help="over the file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a small range of sizes")
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args(argv)
    if min(args.rounds, args.passes) < 1:
        parser.error("--rounds and --passes must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parsed(argv)
    r = QUICK if args.quick else FULL
    # The first fit of a process also pays for what torch imports lazily.
    estimator(1, args.device).fit(random_rows(20, 3))
    whole: dict[str, Any] = {"machine": machine(), "device": args.device}
    for part in args.only:
        if part == "disk":
            found: Any = disk(r, args.rounds, args.passes, args.device)
            fitted = report_disk(found)
        elif part == "rows":
            shapes = [(n, r.columns) for n in r.rows]
            fitted = report_rows(found := sweep(shapes, args.rounds, args.device))
        else:
            shapes = [(r.height, n) for n in r.features]
            fitted = report_features(found := sweep(shapes, args.rounds, args.device))
        sys.stdout.flush()
        whole[part] = {"measured": found, "fitted": fitted}
        if args.out is not None:
            Path(args.out).write_text(f"{json.dumps(whole, indent=2)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
