"""Memory of a block of code: with, and without, files that are mapped (Linux)."""

import threading
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
INTERVAL = 0.002


class Memory:
    """Megabytes above what there was at the beginning (Linux)."""

    def __init__(self):
        # The peak counts from here.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _megabytes()
        self._own = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()
        now = _megabytes()
        self.peak = now["VmHWM"] - self._before["VmRSS"]
        self.own_peak = self._own - self._before["RssAnon"]

    def _watch(self):
        while not self._ended.wait(INTERVAL):
            self._own = max(self._own, _megabytes()["RssAnon"])


def _megabytes():
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return {
        parts[0].rstrip(":"): int(parts[1]) * 1024 / 1e6
        for parts in lines
        if parts[-1:] == ["kB"]
    }
