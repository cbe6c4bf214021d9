"""benchmarks/busy.py: what it compares, and a run at a small size."""

import json
import os

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info


@pytest.fixture
def busy(benchmarks):
    """The script as a module."""
    import busy

    return busy


def test_settings_hold_inside_and_are_put_back(busy, monkeypatch):
    monkeypatch.delenv(busy.VARIABLE, raising=False)
    before = torch.get_num_threads(), threadpool_info()
    with busy.threads(1):
        assert os.environ[busy.VARIABLE] == "1"
        assert torch.get_num_threads() == 1
        assert {library["num_threads"] for library in threadpool_info()} == {1}
    with busy.threads(None):
        assert busy.VARIABLE not in os.environ
    assert (torch.get_num_threads(), threadpool_info()) == before


def test_settings_take_turns_and_the_first_round_does_not_count(busy):
    seen = []
    settings = {"as it is": None, "one thread": 1}
    found = busy.seconds(
        lambda: seen.append(os.environ.get(busy.VARIABLE)), settings, rounds=2
    )
    assert seen == [None, "1"] * 3
    assert [len(each) for each in found.values()] == [2, 2]


def test_a_row_has_ratios_of_medians(busy):
    found = {"as it is": [0.4, 0.2, 0.3], "one thread": [0.1, 0.2, 0.2]}
    line = busy.row("digits", "score", found)
    assert line == "| digits | score | 300 | 1.50 (1.00 to 4.00) |"


def test_neighbours_are_there_and_go(busy, monkeypatch):
    monkeypatch.setattr(busy.time, "sleep", lambda seconds: None)
    others = set(busy.multiprocessing.active_children())  # of tests before this one
    with busy.neighbours(1):
        (neighbour,) = set(busy.multiprocessing.active_children()) - others
        assert neighbour.is_alive()
    assert not neighbour.is_alive()


def test_a_small_run_writes_everything_down(busy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(busy, "N_NEIGHBOURS", 0)
    monkeypatch.setattr(busy, "small_tables", lambda: {"tiny": np.eye(40, 12)})
    monkeypatch.setattr(busy, "large_table", lambda: np.eye(40, 12))
    out = tmp_path / "busy.json"
    assert busy.main(["--rounds", "1", "--epochs", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    whole = json.loads(out.read_text())
    assert set(whole["small"]["tiny"]) == {
        *("fit", "transform", "reconstruct", "score"),
        *("diagnose", "suggest_kld_weights"),
    }
    assert set(whole["large"]["10,000 x 784"]["score"]) == {
        *("as it is", "one thread", "all threads")
    }
    assert printed.count("| tiny |") == 6
    assert whole["machine"]["cores"] == os.cpu_count()
