"""Contenders in turn: a process each that waits while another one computes."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from _workloads import Workload

WORKER = Path(__file__).with_name("_worker.py")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Job(NamedTuple):
    """What a contender's process needs to know."""

    python: Path
    contender: str
    workload: Workload
    table: Path
    device: str


class Failed(Exception):
    """A contender could not do its work; the message is one line."""


class Worker:
    """A contender's process, which gets ready while others do."""

    def __init__(self, job: Job, log: Path, threads: int | None) -> None:
        fields = {
            "contender": job.contender,
            "workload": job.workload._asdict(),
            "table": str(job.table),
            "device": job.device,
        }
        limits = {} if threads is None else dict.fromkeys(THREADS, str(threads))
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [str(job.python), str(WORKER), json.dumps(fields)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **limits},
            )

    def ready(self) -> dict[str, str]:
        """Wait until it can fit; returns versions of its packages."""
        return self._answer()["versions"]

    def fit(self) -> dict[str, float]:
        """Seconds of one fit, and the peak of the memory so far."""
        assert self._process.stdin is not None
        # Where nobody listens, there is no answer, either, and that says why.
        with suppress(BrokenPipeError):
            print("go", file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            last = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise Failed(f"died with status {status}: {last}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


class Results(NamedTuple):
    """Of one workload, by contender."""

    seconds: dict[str, list[float]]
    peak_mb: dict[str, float]
    versions: dict[str, dict[str, str]]
    failures: dict[str, str]


@contextmanager
def _processes(
    jobs: list[Job], folder: Path, threads: int | None, failures: dict[str, str]
) -> Iterator[dict[str, Worker]]:
    """Processes of the contenders that could be started."""
    workers: dict[str, Worker] = {}
    try:
        for number, job in enumerate(jobs):
            try:
                log = folder / f"{number}.log"
                workers[job.contender] = Worker(job, log, threads)
            except OSError as error:
                failures[job.contender] = str(error)
        yield workers
    finally:
        for worker in workers.values():
            worker.stop()


def alternate(
    jobs: list[Job],
    rounds: int,
    folder: Path,
    *,
    threads: int | None,
    failures: Mapping[str, str],
) -> Results:
    """Fit every contender once a round; one that fails is out, with the reason."""
    results = Results({}, {}, {}, dict(failures))
    with _processes(jobs, folder, threads, results.failures) as workers:
        # All are ready before the first fit: nothing else runs beside one.
        for name, worker in workers.items():
            try:
                results.versions[name] = worker.ready()
            except Failed as error:
                results.failures[name] = str(error)
        for _ in range(rounds):
            for name, worker in workers.items():
                if name not in results.failures:
                    _fit_once(name, worker, results)
    return results


def _fit_once(name: str, worker: Worker, results: Results) -> None:
    try:
        answer = worker.fit()
    except Failed as error:
        results.failures[name] = str(error)
        return
    results.seconds.setdefault(name, []).append(answer["seconds"])
    results.peak_mb[name] = answer["peak_mb"]
