"""Fits of tables that stay on disk: memory and time, by what keeps them.

    python benchmarks/larger_than_memory.py --gb 10 --only memmap hdf5

writes a table of float32 (2,000 columns of ten factors and noise) in every format, and
fits, codes and scores it, each in a process of its own, for one epoch. Memory is
counted above what the process had after its imports and a small fit: at its peak, all
of it, and without pages of files that are mapped into memory. Those are counted as long
as they lie in the system's cache, and make way where memory is short. A matrix that is
unpacked for a fit takes as much space of TMPDIR as the table has; it is gone at the
end. The first row is what loading all of the table takes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _process_memory import Memory

KINDS = ("in memory", "memmap", "hdf5", "zarr", "dask", "anndata")
TASKS = ("fit", "transform", "score_samples")
CHUNK = 4096  # rows of a chunk of a file
HEAD = (
    "| table | GB | call | seconds | MB/s | peak, MB | without mapped files, MB |\n"
    "|-|-|-|-|-|-|-|"
)


def parts(n_rows: int, n_columns: int) -> Iterator[np.ndarray]:
    """Rows of ten factors and noise, a chunk at a time."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((10, n_columns), dtype=np.float32)
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        z = rng.standard_normal((n, 10), dtype=np.float32)
        yield z @ weights + rng.standard_normal((n, n_columns), dtype=np.float32)


def make_file(kind: str, folder: Path, n_rows: int, n_columns: int) -> None:
    """Write the table as something that :func:`opened` opens."""
    shape = (n_rows, n_columns)
    if kind in ("hdf5", "anndata"):
        import h5py

        with h5py.File(folder / "x.h5", "w") as file:
            chunks = (min(CHUNK, n_rows), n_columns)
            _fill(file.create_dataset("X", shape, np.float32, chunks=chunks), shape)
            if kind == "anndata":
                _as_h5ad(file, shape)
    elif kind in ("zarr", "dask"):
        import zarr

        chunks = (min(CHUNK, n_rows), n_columns)
        options = {"shape": shape, "chunks": chunks, "dtype": "float32"}
        _fill(zarr.create_array(str(folder / "x.zarr"), **options), shape)
    else:
        array = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, shape)
        _fill(array, shape)
        array.flush()


def _fill(array: Any, shape: tuple[int, int]) -> None:
    start = 0
    for part in parts(*shape):
        array[start : start + len(part)] = part
        start += len(part)


def _as_h5ad(file: Any, shape: tuple[int, int]) -> None:
    """Name rows and columns as anndata does: it writes what is in memory only."""
    file["X"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    version = {"encoding-type": "anndata", "encoding-version": "0.1.0"}
    file.attrs.update(version)
    for name, size in zip(("obs", "var"), shape, strict=True):
        group = file.create_group(name)
        group.attrs.update(
            {
                "encoding-type": "dataframe",
                "encoding-version": "0.2.0",
                "_index": "_index",
                "column-order": np.array([], dtype="S1"),
            }
        )
        index = group.create_dataset("_index", data=np.arange(size).astype("S"))
        index.attrs.update(
            {"encoding-type": "string-array", "encoding-version": "0.2.0"}
        )


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Any]:
    """The table as an estimator takes it."""
    if kind == "in memory":
        yield np.load(folder / "x.npy")
    elif kind == "memmap":
        yield np.load(folder / "x.npy", mmap_mode="r")
    elif kind == "hdf5":
        import h5py

        with h5py.File(folder / "x.h5") as file:
            yield file["X"]
    elif kind == "anndata":
        import anndata

        cells = anndata.read_h5ad(folder / "x.h5", backed="r")
        yield cells.X
        cells.file.close()
    else:
        import zarr

        array = zarr.open_array(str(folder / "x.zarr"), mode="r")
        if kind == "dask":
            import dask.array

            array = dask.array.from_zarr(str(folder / "x.zarr"))
        yield array


def measured(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Seconds and memory of every call, in this process."""
    from skvae import VAETransformer

    options = {"hidden_dims": (128,), "batch_size": 256, "random_state": 0}
    VAETransformer(2, max_epochs=1, **options).fit(np.random.rand(50, 8))
    model = VAETransformer(10, max_epochs=1, **options)
    calls: dict[str, Callable] = {name: getattr(model, name) for name in TASKS}
    found = []
    for name, call in calls.items():
        start = time.perf_counter()
        with Memory() as memory, opened(job["kind"], Path(job["folder"])) as X:
            call(X)
        found.append(
            {
                "call": name,
                "seconds": time.perf_counter() - start,
                "peak": memory.peak,
                "own_peak": memory.own_peak,
            }
        )
    return found


def in_process(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The same in a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(job)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=1.0)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parsed(argv)
    if args.job is not None:
        print(json.dumps(measured(json.loads(args.job))))
        return 0
    n_rows = max(64, round(args.gb * 1e9 / 4 / args.columns))
    size = n_rows * args.columns * 4 / 1e9
    print(HEAD)
    for kind in args.only:
        with tempfile.TemporaryDirectory(prefix="skvae-benchmark-") as folder:
            make_file(kind, Path(folder), n_rows, args.columns)
            for row in in_process({"kind": kind, "folder": folder}):
                rate = size * 1000.0 / row["seconds"]
                print(
                    f"| {kind} | {size:.3g} | {row['call']} | {row['seconds']:.1f} | "
                    f"{rate:.0f} | {row['peak']:.0f} | {row['own_peak']:.0f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
