"""How far a search is, on the terminal or in a log."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Lines that a log gets, whatever the number of fits: one a quarter.
LINES = 4
SECONDS_BETWEEN_LOOKS = 0.2


def advance(progress: str | None) -> None:
    """Note that a fit is done.

    Workers of whatever joblib backend on this machine append to the same file.
    """
    if progress is not None:
        with open(progress, "ab") as file:
            file.write(b".")


@contextmanager
def progress_bar(total: int, *, quiet: bool) -> Iterator[str | None]:
    """Show how many fits are done; yields what :func:`advance` takes.

    A bar on a terminal, if tqdm is there; elsewhere a few lines, since a log keeps
    every state of a bar.
    """
    if quiet:
        yield None
        return
    handle, path = tempfile.mkstemp(prefix="skvae-progress-")
    os.close(handle)
    done = threading.Event()
    with _shown(total) as show:

        def follow():
            shown, finished = 0, False
            while not finished:
                finished = done.wait(SECONDS_BETWEEN_LOOKS)
                n_done = os.path.getsize(path)
                if n_done > shown:
                    show(n_done)
                    shown = n_done

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            done.set()
            thread.join()
            os.unlink(path)


@contextmanager
def _shown(total: int) -> Iterator[Callable[[int], object]]:
    """What to call with the number of fits that are done."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        yield _lines(total)
        return
    with tqdm(total=total, unit="fit") as bar:
        yield lambda n_done: bar.update(n_done - bar.n)


def _lines(total: int) -> Callable[[int], object]:
    start, written = time.monotonic(), 0

    def show(n_done: int) -> None:
        nonlocal written
        if n_done * LINES // total > written:
            written = n_done * LINES // total
            seconds = time.monotonic() - start
            print(f"{n_done} of {total} fits, {seconds:.0f} s", file=sys.stderr)

    return show
