"""What a contender of ``single_cell.py`` is given, and what it gives back.

Files between processes of different environments: NumPy and SciPy are all that it asks
for.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

STATUS = Path("/proc/self/status")
PARTS = ("data", "indices", "indptr")


class Task(NamedTuple):
    """One fit.

    ``train`` and ``test`` are counts, CSR, float32; ``epochs`` is None for what a
    contender does by itself; ``n_draws`` a cell are those of the importance-weighted
    bound.
    """

    contender: str
    train: Any
    test: Any
    seed: int
    n_draws: int
    threads: int
    epochs: int | None = None

    def write(self, path: Path) -> None:
        arrays: dict[str, Any] = {
            "contender": self.contender,
            "numbers": np.array(
                [self.seed, self.n_draws, self.threads, self.epochs or 0]
            ),
        }
        for name in ("train", "test"):
            X = getattr(self, name)
            arrays[f"{name}_shape"] = np.array(X.shape)
            arrays |= {f"{name}_{part}": getattr(X, part) for part in PARTS}
        np.savez(path, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Task":
        with np.load(path) as file:
            arrays = dict(file)

        def rows(name: str):
            parts = tuple(arrays[f"{name}_{part}"] for part in PARTS)
            return sparse.csr_matrix(parts, shape=tuple(arrays[f"{name}_shape"]))

        seed, n_draws, threads, epochs = arrays["numbers"].tolist()
        return cls(
            str(arrays["contender"]),
            rows("train"),
            rows("test"),
            seed,
            n_draws,
            threads,
            epochs or None,
        )


class Outcome(NamedTuple):
    """Codes, and what held-out cells get.

    ``bound`` and ``elbo`` are nats a cell, (n_test,) each, empty where a model has no
    likelihood; ``own_elbo`` is the contender's own mean of the latter, NaN without one.
    """

    train_codes: np.ndarray
    test_codes: np.ndarray
    bound: np.ndarray
    elbo: np.ndarray
    own_elbo: float
    seconds: float
    cpu_seconds: float
    peak_mb: float

    def write(self, path: Path) -> None:
        np.savez(path, **self._asdict())

    @classmethod
    def read(cls, path: Path) -> "Outcome":
        with np.load(path) as file:
            return cls(*(file[name] if file[name].ndim else file[name].item()
                         for name in cls._fields))  # fmt: skip


class Cost(NamedTuple):
    """Of one call: by the clock, of all threads, and above the memory before it."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def measured(fit: Callable[[], Any]) -> tuple[Any, Cost]:
    """What ``fit`` returns, and its cost."""
    # Since Linux 4.0: the peak counts from here, and not from the imports.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _host_bytes("VmRSS")
    clock, cpu = time.perf_counter(), time.process_time()
    model = fit()
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    peak = (_host_bytes("VmHWM") - before) / 1e6
    return model, Cost(seconds, cpu_seconds, peak)


def _host_bytes(field: str) -> int:
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def work(run: Callable[[Task], Outcome]) -> None:
    """The body of a contender's script: ``script TASK OUTCOME``."""
    task, outcome = (Path(argument) for argument in sys.argv[1:3])
    run(Task.read(task)).write(outcome)
