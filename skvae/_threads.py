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
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController
from torch import nn

# Multiplications, of what is done at once, that keep a thread busy for milliseconds.
WORK_PER_THREAD = 200_000_000
# The environment variable that overrules the choice.
OVERRIDE = "SKVAE_NUM_THREADS"


class _Bounds(threading.local):
    """Threads that the caller of the outermost entry allows, by library."""

    torch: int | None = None
    others: dict[str, int]


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
    _bounds.torch, _bounds.others = torch.get_num_threads(), _threads_of_others()
    try:
        with threads_worth(0):
            yield
    finally:
        _bounds.torch = None


@contextmanager
def threads_worth(work: int) -> Iterator[None]:
    """Use the threads inside that so many multiplications at once are worth."""
    before, n_threads = torch.get_num_threads(), worthwhile_threads(work)
    others = _threads_of_others() if _bounds.torch is None else _bounds.others
    limits = {api: min(bound, n_threads) for api, bound in others.items()}
    torch.set_num_threads(min(_bounds.torch or before, n_threads))
    try:
        with _other_libraries().limit(limits=limits):
            yield
    finally:
        torch.set_num_threads(before)


def threads_for(
    module: nn.Module, n_rows: int, *, trains: bool = False
) -> AbstractContextManager[None]:
    """Use the threads that so many rows at once are worth, one product a weight.

    Or three, where gradients are wanted.
    """
    n_weights = sum(p.numel() for p in module.parameters())
    return threads_worth((3 if trains else 1) * n_weights * n_rows)


@cache
def _other_libraries() -> ThreadpoolController:
    """BLAS of NumPy and SciPy, OpenMP of scikit-learn; torch's is torch's to set."""
    # What is not loaded yet would not be found; looking takes milliseconds.
    import scipy.linalg  # noqa: F401

    every = ThreadpoolController()
    paths = [library.filepath for library in every.lib_controllers]
    return every.select(filepath=[path for path in paths if "torch" not in path])


def _threads_of_others() -> dict[str, int]:
    found: dict[str, int] = {}
    for library in _other_libraries().lib_controllers:
        api, n_threads = library.user_api, library.num_threads
        found[api] = min(found.get(api, n_threads), n_threads)
    return found
