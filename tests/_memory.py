"""Memory that a test takes from the system."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def new_pages(n_bytes: int) -> Iterator[None]:
    """Hold pages that this process did not have before.

    An allocation would do only in a young process: it gets what a freed one has left
    behind, which was counted already.
    """
    with mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        for start in range(0, n_bytes, mmap.PAGESIZE):
            pages[start] = 1
        yield
