import io
import sys
import time

import pytest

from skvae.cli.progress import advance, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, n_done, total):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("skvae.cli.progress.SECONDS_BETWEEN_LOOKS", 0.005)
    with progress_bar(total, quiet=False) as progress:
        for _ in range(n_done):
            time.sleep(0.02)
            advance(progress)
        time.sleep(0.1)
    return stream.getvalue()


def test_a_log_gets_a_line_a_quarter(monkeypatch):
    text = shown(monkeypatch, io.StringIO(), 40, 40)
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("40 of 40 fits, ")
    assert "\r" not in text
    assert text.isascii()


def test_a_log_gets_no_line_for_waiting(monkeypatch):
    assert shown(monkeypatch, io.StringIO(), 0, 40) == ""


def test_a_bar_does_not_repeat_itself(monkeypatch):
    text = shown(monkeypatch, Terminal(), 2, 4)
    assert text.count(" 0%|") == 1
    assert "2/4" in text


def test_without_tqdm_there_are_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "of 4 fits" in shown(monkeypatch, Terminal(), 4, 4)


def test_nothing_is_shown_on_demand(capsys):
    with progress_bar(4, quiet=True) as progress:
        advance(progress)
    assert progress is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_errors_end_the_bar(monkeypatch, error):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(error), progress_bar(4, quiet=False):
        raise error
