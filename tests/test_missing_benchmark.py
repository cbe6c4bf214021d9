"""benchmarks/missing.py: what it takes out, and that it prints what it found."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def missing(benchmarks):
    import missing

    return missing


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_entries_are_taken_out(missing, share):
    found = missing.gaps((200, 12), share, "random", 0)
    assert found.mean() == pytest.approx(share, abs=0.03)
    blocks = missing.gaps((200, 12), share, "blocks", 0)
    assert share - 0.01 <= blocks.mean() < share + 0.1
    # Rows of a block miss the same columns.
    _patterns, counts = np.unique(
        blocks[blocks.any(axis=1)], axis=0, return_counts=True
    )
    assert counts.max() >= 3
    for taken in (found, blocks):
        assert not taken.all(axis=0).any()


def test_linear_contenders_fill(missing):
    X = missing.tables(None)["diabetes"]
    taken = missing.gaps(X.shape, 0.3, "random", 0)
    with_gaps = np.where(taken, np.nan, X)
    errors = {
        name: np.sqrt(np.mean((missing.CONTENDERS[name](with_gaps, 0) - X)[taken] ** 2))
        for name in ("mean", "PPCA", "FA")
    }
    assert errors["FA"] < 0.85 * errors["mean"]
    assert errors["PPCA"] < 0.85 * errors["mean"]


def test_it_prints_a_line_a_table(missing, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(
        missing.CONTENDERS, "VAEImputer", missing.by_em(shared_noise=False)
    )
    contenders = ["mean", "FA", "VAEImputer"]
    missing.main(
        [
            "--tables",
            "wine",
            "--shares",
            "0.2",
            "--seeds",
            "1",
            "--contenders",
            *contenders,
            "--out",
            str(tmp_path / "found.json"),
        ]
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    assert len(lines) == 2 + 2
    assert lines[2].startswith("| wine, 20%, random |")
    assert lines[2].endswith("| 1.000 |")  # of itself to the best linear one
    found = json.loads((tmp_path / "found.json").read_text())["tables"]
    assert set(found["wine, 20%, blocks"]["error"]) == set(contenders)
