"""Memory of ``skvae.anndata`` on cells that a file backs, beside cells in memory.

    python benchmarks/cells_memory.py

makes a sparse .h5ad file (100,000 x 2,000, 5 % nonzero), by rows and by columns, and
measures, each in a process of its own, from opening the file to the codes. What a
process needs is counted above what it had after its imports and a small fit: at its
peak, all of it, and without pages of files that are mapped into memory. Those are
counted as long as they lie in the system's cache, and make way where memory is short.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _process_memory import STATUS, Memory

MODES = ("in memory", "backed")
TASKS = ("fit_transform", "transform")
FORMATS = ("csr", "csc", "dense")
HEAD = (
    "| file | cells | call | seconds | peak, MB | without mapped files, MB |\n"
    "|-|-|-|-|-|-|"
)


def make_file(path, *, cells, genes, filled, kind, seed=0):
    """Log counts with an entry in a share of the places, written to a file."""
    import anndata
    import numpy as np
    from scipy import sparse

    rng = np.random.RandomState(seed)
    per_cell = rng.binomial(genes, filled, cells)
    indptr = np.concatenate([[0], np.cumsum(per_cell)])
    indices = np.concatenate(
        [np.sort(rng.permutation(genes)[:n]) for n in per_cell]
    ).astype(np.int32)
    data = np.log1p(rng.poisson(3.0, indptr[-1]) + 1).astype(np.float32)
    X = sparse.csr_matrix((data, indices, indptr), shape=(cells, genes))
    X = X.toarray() if kind == "dense" else X.asformat(kind)
    table = anndata.AnnData(X)
    table.var_names = [f"gene{i}" for i in range(genes)]
    table.write_h5ad(path)


def measured(job):
    """Seconds and memory of one call, in this process."""
    import anndata
    import joblib
    import numpy as np

    import skvae.anndata
    from skvae import VAETransformer

    options = {"hidden_dims": (64,), "max_epochs": job["epochs"], "random_state": 0}
    if job["no_linear_path"]:
        options["linear_path"] = None
    small = anndata.AnnData(np.random.RandomState(0).rand(50, 8).astype(np.float32))
    skvae.anndata.fit_transform(VAETransformer(2, **options), small)
    path, model = job["path"], Path(job["model"])
    backed = "r" if job["mode"] == "backed" else None
    estimator = VAETransformer(10, **options)
    if job["task"] == "transform":
        estimator = joblib.load(model)
    start = time.perf_counter()
    with Memory() as memory:
        cells = anndata.read_h5ad(path, backed=backed)
        getattr(skvae.anndata, job["task"])(estimator, cells)
    seconds = time.perf_counter() - start
    if job["task"] == "fit_transform":
        joblib.dump(estimator, model)
    return {"seconds": seconds, "peak": memory.peak, "own_peak": memory.own_peak}


def in_process(job):
    """The same in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def parser():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--filled", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS[:2])
    parser.add_argument("--no-linear-path", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


def main(arguments=None):
    args = parser().parse_args(arguments)
    if args.job is not None:
        print(json.dumps(measured(json.loads(args.job))))
        return 0
    if not STATUS.exists():
        print("this needs /proc, as Linux has it", file=sys.stderr)
        return 1
    print(f"{args.cells:,} x {args.genes:,}, {args.filled:.0%} nonzero\n\n{HEAD}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.formats:
            path = Path(folder) / f"{kind}.h5ad"
            make_file(
                path, cells=args.cells, genes=args.genes, filled=args.filled, kind=kind
            )
            for task in TASKS:
                for mode in MODES:
                    job = {
                        "path": str(path),
                        "model": str(Path(folder) / "model.joblib"),
                        "epochs": args.epochs,
                        "no_linear_path": args.no_linear_path,
                        "mode": mode,
                        "task": task,
                    }
                    found = in_process(job)
                    print(
                        f"| {kind} | {mode} | {task} | {found['seconds']:.1f} | "
                        f"{found['peak']:.0f} | {found['own_peak']:.0f} |",
                        flush=True,
                    )
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
