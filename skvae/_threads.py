"""How many threads a training step is worth on a CPU.

Small matrices gain nothing from a second thread, and waiting for one that a neighbour
keeps busy can make them ten times slower. The number that torch is set to
(``torch.set_num_threads``) is an upper bound and is put back afterwards; it belongs to
the calling thread.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

# Multiplications of a step that keep one thread busy for a few milliseconds.
WORK_PER_THREAD = 200_000_000
# The environment variable that overrules the choice.
OVERRIDE = "SKVAE_NUM_THREADS"


def worthwhile_threads(n_weights: int, batch_size: int) -> int:
    """Threads for a step: it takes three products per weight and row.

    Raises
    ------
    ValueError
        If the environment's ``SKVAE_NUM_THREADS`` is no positive whole number.
    """
    override = os.environ.get(OVERRIDE)
    if override is None:
        return max(1, 3 * n_weights * batch_size // WORK_PER_THREAD)
    if not override.isdecimal() or int(override) == 0:
        raise ValueError(
            f"The environment variable {OVERRIDE} is {override!r}; set it to a number "
            "of threads, or unset it."
        )
    return int(override)


@contextmanager
def at_most_threads(n_threads: int) -> Iterator[None]:
    """Use no more than ``n_threads`` of torch's threads inside."""
    before = torch.get_num_threads()
    if n_threads >= before:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(module: nn.Module, n_rows: int) -> AbstractContextManager[None]:
    """Use the threads inside that so many rows at once are worth."""
    n_weights = sum(p.numel() for p in module.parameters())
    return at_most_threads(worthwhile_threads(n_weights, n_rows))
