"""What comes of bad input, kills, damaged files, lost workers and large tables.

    python benchmarks/robustness.py
    python benchmarks/robustness.py --only input files

prints one table: what was done, how often, what came of it, and the seconds. A row that
is not as it should be is marked, and the exit status is then 1.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer

QUICK = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 2, "random_state": 0}
HEAD = "| what | times | outcome | seconds | |\n|-|-|-|-|-|"
# Seconds that an error about a small table may take: no training comes before it.
SOON = 1.0
SCORE = "mean_test_score"


class Outcome(NamedTuple):
    """A row of the table."""

    what: str
    times: int
    outcome: str
    is_good: bool


# -- bad input -------------------------------------------------------------------------


def bad_tables() -> Iterator[tuple[str, Callable[[], Any], str]]:
    """What is wrong, a fit that meets it, and a word that the error has to say."""
    rng = np.random.RandomState(0)
    X, counts = rng.randn(60, 5), rng.poisson(3.0, (60, 5)).astype(float)

    def changed(table: np.ndarray, value: Any) -> np.ndarray:
        other = table.astype(object) if isinstance(value, str) else table.copy()
        other[3, 2] = value
        return other

    def fit(table: Any, likelihood: str = "auto", **given: Any) -> Callable[[], Any]:
        model = VAETransformer(**QUICK, likelihood=likelihood)
        return lambda: model.fit(table, **given)

    yield "NaN", fit(changed(X, np.nan)), "NaN"
    yield "infinity", fit(changed(X, np.inf)), "infinity"
    yield "NaN in sparse rows", fit(sparse.csr_array(changed(X, np.nan))), "NaN"
    yield "text", fit(changed(X, "a")), "'a'"
    frame = pd.DataFrame(X, columns=list("abcde"))
    yield "a column of text", fit(frame.assign(c="x")), "Column 'c'"
    yield "a column of dates", fit(frame.assign(d=pd.Timestamp(0))), "Column 'd'"
    yield "names that repeat", fit(frame.set_axis(list("aabcd"), axis=1)), "once: a"
    yield "complex numbers", fit(X + 1j), "Complex"
    yield "no rows", fit(X[:0]), "minimum of 2"
    yield "one row", fit(X[:1]), "minimum of 2"
    yield "no columns", fit(X[:, :0]), "0 feature"
    yield "one dimension", fit(X[0]), "Expected 2D"
    yield "three dimensions", fit(X[None]), "dim 3"
    yield "the name of a file", fit("rows.csv"), "read it first"
    yield "variances that overflow", fit(1e300 * X), "StandardScaler"
    yield "variances that underflow", fit(1e-300 * X), "StandardScaler"
    yield "negative counts", fit(changed(counts, -1), "poisson"), "column 2"
    yield "fractions of counts", fit(changed(counts, 0.5), "zinb"), "Column 2"
    yield "bits beyond 1", fit(counts, "bernoulli"), "pixels"
    yield "fractions of codes", fit(changed(counts, 0.5), "categorical"), "Encoder"
    yield "a likelihood that is none", fit(X, "gausian"), "'likelihood'"
    yield "conditions of other rows", fit(X, conditions=["a"] * 7), "7 rows"
    yield "missing conditions", fit(X, conditions=[None] * 60), "missing"
    yield "sizes of no counts", fit(X, size_factor=np.ones(60)), "of counts"
    yield "sizes of 0", fit(counts, "poisson", size_factor=np.zeros(60)), "positive"
    fitted = VAETransformer(**QUICK).fit(X)
    yield "other columns", lambda: fitted.transform(X[:, :3]), "5 features"
    yield "codes of other units", lambda: fitted.inverse_transform(X), "5 columns"
    yield "not fitted", lambda: VAETransformer().transform(X), "not fitted"


def bad_input() -> Iterator[Outcome]:
    for what, call, word in bad_tables():
        start = time.perf_counter()
        outcome, said = _caught(call)
        in_time = time.perf_counter() - start < SOON
        yield Outcome(what, 1, outcome, word in said and in_time)


def _caught(call: Callable[[], Any]) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:
            said = " ".join(str(error).split())
            return f"{type(error).__name__}: {said[:60]}", said
    return "no error", ""


# -- kills, files, workers, memory -----------------------------------------------------


def kills() -> Iterator[Outcome]:
    from _kills import kill_fits

    found = kill_fits(20)
    same = f"{found.same} of {found.ended} fits end at the same bits"
    good = found.same == found.ended
    yield Outcome("a process that fits is killed", found.kills, same, good)
    yield _killed_search()


def _killed_search(least_kills: int = 5) -> Outcome:
    from _kills import in_a_process

    X, grid = load_digits().data[:400], {"latent_dim": [2, 4, 8]}
    model = VAETransformer(hidden_dims=(64,), max_epochs=20, random_state=0)
    start = time.perf_counter()
    expected = GridSearchCV(model, grid, cv=2, refit=False).fit(X)
    whole = time.perf_counter() - start
    rng, n_kills, n_same, number = np.random.RandomState(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.npy"

        def search() -> None:
            found = GridSearchCV(model, grid, cv=2, refit=False)
            found.fit(X, checkpoint_dir=f"{folder}/{number}")
            np.save(out, found.cv_results_[SCORE])

        while n_kills < least_kills:
            number += 1
            while not in_a_process(search, rng.uniform(0.0, 1.2 * whole)):
                n_kills += 1
            n_same += np.array_equal(np.load(out), expected.cv_results_[SCORE])
    outcome = f"{n_same} of {number} searches end with the same scores"
    return Outcome("a search is killed", n_kills, outcome, n_same == number)


def files() -> Iterator[Outcome]:
    from _fuzz import fuzz

    found = fuzz(1000)
    for kind, (refused, loaded) in sorted(found.by_kind.items()):
        outcome = f"{refused} are refused, {loaded} load"
        name = f"a model file: {kind.replace('_', ' ')}"
        yield Outcome(name, refused + loaded, outcome, not found.others)
    outcome = f"{found.longest:.2f} s, {found.memory:.0f} MB at most"
    good = not found.others and found.longest < 1.0 and found.memory < 200.0
    yield Outcome("all of these files", 1000, outcome, good)


def workers() -> Iterator[Outcome]:
    X, grid = load_digits().data[:400], {"latent_dim": [2, 4], "beta": [1.0, 2.0]}
    model = VAETransformer(hidden_dims=(32,), max_epochs=4, random_state=0)
    searched = GridSearchCV(model, grid, cv=2, refit=False)
    expected = searched.fit(X).cv_results_[SCORE]

    def compared(what: str) -> Outcome:
        same = np.array_equal(searched.cv_results_[SCORE], expected)
        return Outcome(what, 1, "the same scores" if same else "other scores", same)

    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend, n_jobs=2):
            searched.fit(X)
        yield compared(f"joblib, {backend}")
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        yield Outcome("joblib, Dask", 0, "skvae[dask] is not installed", True)
        return
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options, silence_logs=50) as local, Client(local) as client:
        with joblib.parallel_config("dask"):
            searched.fit(X)
        yield compared("joblib, Dask")
        with tempfile.TemporaryDirectory() as folder:
            killer = threading.Thread(
                target=_kill_worker, args=(client, client.run(os.getpid))
            )
            killer.start()
            with joblib.parallel_config("dask"):
                with contextlib.suppress(Exception):
                    searched.fit(X, checkpoint_dir=folder)
                killer.join()
                searched.fit(X, checkpoint_dir=folder)
        yield compared("a worker of Dask is killed")
        client.wait_for_workers(2, timeout=60)
        client.restart(timeout=60)
        with joblib.parallel_config("dask"):
            searched.fit(X)
        yield compared("Dask's scheduler restarts its workers")


def _kill_worker(client: Any, pids: dict[str, int]) -> None:
    for _ in range(2000):
        busy = [w for w, tasks in client.processing().items() if tasks]
        if busy:
            os.kill(pids[busy[0]], signal.SIGKILL)
            return
        time.sleep(0.005)


def memory() -> Iterator[Outcome]:
    from larger_than_memory import in_process, make_file

    n_rows, n_columns = 100_000, 500
    size = n_rows * n_columns * 4 / 1e6
    for kind in ("memmap", "hdf5", "zarr"):
        with tempfile.TemporaryDirectory() as folder:
            make_file(kind, Path(folder), n_rows, n_columns)
            rows = in_process({"kind": kind, "folder": folder})
        for row in rows[1:]:
            outcome = f"{row['own_peak']:.0f} MB for {size:.0f} MB of rows"
            what = f"{row['call']} of a table on disk ({kind})"
            yield Outcome(what, 1, outcome, row["own_peak"] < size)


SECTIONS: dict[str, Callable[[], Iterator[Outcome]]] = {
    "input": bad_input,
    "kills": kills,
    "files": files,
    "workers": workers,
    "memory": memory,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    args = parser.parse_args(argv)
    print(HEAD)
    good, start = True, time.perf_counter()
    for section in args.only:
        for row in SECTIONS[section]():
            seconds, start = time.perf_counter() - start, time.perf_counter()
            good = good and row.is_good
            mark = "" if row.is_good else "not as it should be"
            outcome = row.outcome.replace("|", "/")
            print(
                f"| {row.what} | {row.times} | {outcome} | {seconds:.2f} | {mark} |",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
