"""The one policy of threads on a CPU: one, unless the work at hand is worth more.

Small matrices gain nothing from a second thread, and waiting for one that a neighbour
keeps busy can make them a hundred times slower. So every public method starts on one
thread (``_surroundings``), and work that is large asks for more where it begins, by its
number of multiplications. What torch is set to (``torch.set_num_threads``) is an upper
bound and is put back afterwards; it belongs to the calling thread. NumPy's and SciPy's
BLAS, and the OpenMP of scikit-learn, are held to the same by threadpoolctl, which comes
with scikit-learn.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import NamedTuple

import torch
from threadpoolctl import LibController, ThreadpoolController
from torch import nn

# Multiplications, of what is done at once, that keep a thread busy for milliseconds.
WORK_PER_THREAD = 200_000_000
# The environment variable that overrules the choice.
OVERRIDE = "SKVAE_NUM_THREADS"


class _Bounds(threading.local):
    """Threads that the caller of the outermost entry allows: torch's and OpenMP's."""

    torch: int | None = None
    openmp: list[int]


_bounds = _Bounds()


def worthwhile_threads(work: int) -> int:
    """Threads for so many multiplications at once.

    Raises
    ------
    ValueError
        If the environment's ``SKVAE_NUM_THREADS`` is no positive whole number.
    """
    override = os.environ.get(OVERRIDE)
    if override is None:
        return max(1, work // WORK_PER_THREAD)
    if not override.isdecimal() or int(override) == 0:
        raise ValueError(
            f"The environment variable {OVERRIDE} is {override!r}; set it to a number "
            "of threads, or unset it."
        )
    return int(override)


@contextmanager
def entry_policy() -> Iterator[None]:
    """Compute on one thread inside, but for what :func:`threads_worth` finds large.

    The outermost entry takes the bounds: inside it, libraries are set to less.
    """
    if _bounds.torch is not None:
        with threads_worth(0):
            yield
        return
    _bounds.torch, _bounds.openmp = torch.get_num_threads(), _openmp_threads()
    try:
        with threads_worth(0):
            yield
    finally:
        _bounds.torch = None


@contextmanager
def threads_worth(work: int) -> Iterator[None]:
    """Use the threads inside that so many multiplications at once are worth."""
    n_threads = worthwhile_threads(work)
    before, openmp = torch.get_num_threads(), _openmp_threads()
    inside = _bounds.torch is not None
    torch.set_num_threads(min(_bounds.torch or before, n_threads))
    _set_openmp(min(n, n_threads) for n in (_bounds.openmp if inside else openmp))
    _blas.add(n_threads)
    try:
        yield
    finally:
        _blas.remove(n_threads)
        _set_openmp(openmp)
        torch.set_num_threads(before)


def threads_for(
    module: nn.Module, n_rows: int, *, trains: bool = False
) -> AbstractContextManager[None]:
    """Use the threads that so many rows at once are worth, one product a weight.

    Or three, where gradients are wanted.
    """
    n_weights = sum(p.numel() for p in module.parameters())
    return threads_worth((3 if trains else 1) * n_weights * n_rows)


# -- NumPy, SciPy, scikit-learn --------------------------------------------------------


class _Libraries(NamedTuple):
    """Those whose number of threads is the process's, and the calling thread's."""

    blas: list[LibController]
    openmp: list[LibController]


@cache
def _libraries() -> _Libraries:
    # What is not loaded yet would not be found; looking takes milliseconds.
    import scipy.linalg  # noqa: F401

    found = ThreadpoolController().lib_controllers
    # torch's own OpenMP is torch's to set.
    others = [library for library in found if "torch" not in library.filepath]
    return _Libraries(
        [library for library in others if library.user_api == "blas"],
        [library for library in others if library.user_api == "openmp"],
    )


def _openmp_threads() -> list[int]:
    return [library.num_threads for library in _libraries().openmp]


def _set_openmp(numbers: Iterable[int]) -> None:
    for library, number in zip(_libraries().openmp, numbers, strict=True):
        library.set_num_threads(number)


class _SharedLimit:
    """The limit of BLAS, whose number of threads is the whole process's.

    Threads that compute at once share it: the largest wish holds, and the last one out
    puts back what the first one found. Each for itself would find what another has
    set, and leave that behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: list[int] = []
        self._found: list[int] = []

    def add(self, n_threads: int) -> None:
        with self._lock:
            if not self._wishes:
                self._found = [library.num_threads for library in _libraries().blas]
            self._wishes.append(n_threads)
            self._apply(max(self._wishes))

    def remove(self, n_threads: int) -> None:
        with self._lock:
            self._wishes.remove(n_threads)
            self._apply(max(self._wishes or self._found, default=1))

    def _apply(self, most: int) -> None:
        for library, found in zip(_libraries().blas, self._found, strict=True):
            # From 3.8 on, only the thread that was first may set OpenBLAS.
            release = getattr(library, "clear_controlling_thread", lambda force: None)
            release(force=True)
            library.set_num_threads(min(found, most))
            release(force=True)


_blas = _SharedLimit()
