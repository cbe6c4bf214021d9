"""What ``verbose=1`` shows of training: one live line, or a few plain ones."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .history import rate_and_distortion
from .skorch_parts import Callback

# Seconds between two states of the live line: a terminal is slower than an epoch.
SECONDS_BETWEEN = 0.1
# Plain lines behind the one of the first epoch: one a quarter.
LINES = 4
# Erases what an earlier, longer line has left behind.
_TO_THE_END = "\x1b[K"


def net_verbosity(verbose: int) -> int:
    """What skorch is told: its rows come with ``verbose=2``."""
    return max(0, int(verbose) - 1)


@contextmanager
def live_progress(
    verbose: int, n_epochs: int | None
) -> Iterator[list[tuple[str, Callback]]]:
    """Callbacks that show training, by name: one with ``verbose=1``, or none.

    Leaves the cursor on a line of its own, also where training fails. ``n_epochs`` is
    None where epochs come one a call.
    """
    if verbose != 1:
        yield []
        return
    progress = Progress(n_epochs)
    try:
        yield [("skvae_progress", progress)]
    finally:
        progress.end_line()


class Progress(Callback):
    """Shows epoch, loss, rate, distortion and the time that is left at most.

    On standard output: on a terminal one line that is written over, elsewhere (a log, a
    notebook, a worker) the first epoch, one a quarter, and the last one.

    Parameters
    ----------
    n_epochs : int or None
        Where training ends at the latest; None: with this epoch.
    """

    def __init__(self, n_epochs: int | None) -> None:
        self.n_epochs = n_epochs

    def initialize(self):
        self.is_live_ = self.n_epochs is not None and sys.stdout.isatty()
        self.shown_at_ = time.monotonic()
        self.begun_: float | None = None
        self.first_ = 0  # rows of the history that are of earlier calls
        self.resumed_ = 0  # epochs of this one that were there when it went on
        self.shown_ = 0
        self.cursor_moved_ = False
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs) -> None:
        self.first_ = len(net.history)

    def on_epoch_begin(self, net, **kwargs) -> None:
        if self.begun_ is None:
            self.begun_ = time.monotonic()
            self.resumed_ = len(net.history) - 1 - self.first_

    def on_epoch_end(self, net, **kwargs) -> None:
        done = len(net.history) - self.first_
        if self._is_due(done):
            self._show(net, done)

    def on_train_end(self, net, X=None, y=None, **kwargs) -> None:
        done = len(net.history) - self.first_
        if done > self.shown_:
            self._show(net, done)
        self.end_line()

    def end_line(self) -> None:
        if self.cursor_moved_:
            print(flush=True)
            self.cursor_moved_ = False

    def _is_due(self, done: int) -> bool:
        if self.n_epochs is None or self.shown_ == 0:
            return True
        if self.is_live_:
            return time.monotonic() - self.shown_at_ >= SECONDS_BETWEEN
        return done * LINES // self.n_epochs > self.shown_ * LINES // self.n_epochs

    def _show(self, net, done: int) -> None:
        self.shown_, self.shown_at_ = done, time.monotonic()
        line = self._line(net, done)
        if self.is_live_:
            print(f"\r{line}{_TO_THE_END}", end="", flush=True)
            self.cursor_moved_ = True
        else:
            print(line, flush=True)

    def _line(self, net, done: int) -> str:
        row = net.history[-1]
        of_all = "" if self.n_epochs is None else f"/{self.n_epochs}"
        parts = [f"epoch {row['epoch']}{of_all}"]
        if "train_loss" in row:
            parts.append(f"loss {row['train_loss']:.4g}")
        if "valid_loss" in row:
            parts.append(f"held out {row['valid_loss']:.4g}")
        found = rate_and_distortion(row, net.criterion_)
        if found is not None:
            parts.append(f"rate {found.rate:.1f}, distortion {found.distortion:.1f}")
        left = self._seconds_left(done)
        if left is not None:
            parts.append(f"{clock(left)} left at most")
        return "  ".join(parts)

    def _seconds_left(self, done: int) -> float | None:
        """None at the end, and where no epoch was trained: a fit that had ended."""
        if self.n_epochs is None or self.begun_ is None or done >= self.n_epochs:
            return None
        elapsed = time.monotonic() - self.begun_
        return elapsed / (done - self.resumed_) * (self.n_epochs - done)


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours if there are any."""
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
