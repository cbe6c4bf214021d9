"""A contender's process: started by ``speed.py``, in the contender's environment.

It loads the table, pays for lazy imports with a small fit, says that it is ready, and
then fits once for every line on its standard input. Every answer is a line of JSON.
"""

import gc
import importlib.metadata
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import torch
from _contenders import CONTENDERS, Contender
from _workloads import Workload, load_table, make_table, small_one

STATUS = Path("/proc/self/status")


def private_stdout() -> TextIO:
    """The pipe to the parent; whatever libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return replies


class Memory:
    """Megabytes that fits need above what there was when the first one began."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return
        # Since Linux 4.0: the peak counts from here, and not from the imports.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _host_bytes("VmRSS")

    def peak_mb(self) -> float:
        peak = torch.cuda.max_memory_allocated() if self._cuda else _host_bytes("VmHWM")
        return round((peak - self._before) / 1e6, 1)


def _host_bytes(field: str) -> int:
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def timed(fit: Callable[[], Any], device: str) -> float:
    """Seconds from the table to the fitted model."""
    cuda = device == "cuda"
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    model = fit()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    # What is left behind is not to weigh on the next fit, nor on other processes.
    del model
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    return seconds


def versions(contender: Contender) -> dict[str, str]:
    """Of everything that a difference could come from."""
    found = {"python": platform.python_version()}
    for package in (*contender.packages, "torch", "numpy"):
        found[package] = importlib.metadata.version(package)
    return found


def main() -> None:
    replies = private_stdout()

    def reply(**fields: Any) -> None:
        print(json.dumps(fields), file=replies)

    job = json.loads(sys.argv[1])
    device = job["device"]
    try:
        contender = CONTENDERS[job["contender"]]
        w = Workload.from_json(job["workload"])
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} of it sees no GPU")
        X = load_table(Path(job["table"]))
        small = small_one(w)
        contender.fit(make_table(small), small, device)
        reply(versions=versions(contender))
        memory = None
        for _ in sys.stdin:
            memory = memory or Memory(device)
            seconds = timed(lambda: contender.fit(X, w, device), device)
            reply(seconds=seconds, peak_mb=memory.peak_mb())
    except Exception as error:
        traceback.print_exc()
        first = str(error).strip().partition("\n")[0]
        reply(error=f"{type(error).__name__}: {first}")


if __name__ == "__main__":
    main()
