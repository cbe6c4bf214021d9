"""How many threads a training step is worth on a CPU.

Small matrices gain nothing from a second thread, and waiting for one that a neighbour
keeps busy can make them ten times slower. The number that torch is set to
(``torch.set_num_threads``) is an upper bound and is put back afterwards; it belongs to
the calling thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Multiplications of a step that keep one thread busy for a few milliseconds.
WORK_PER_THREAD = 200_000_000


def worthwhile_threads(n_weights: int, batch_size: int) -> int:
    """Threads for a step: it takes three products per weight and row."""
    return max(1, 3 * n_weights * batch_size // WORK_PER_THREAD)


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
