"""benchmarks/linear_anchor.py, and what it is there to show, on tables that ship."""

import re

import numpy as np
import pytest
from scipy import sparse

SMALL = ("wine, quartiles", "drawn from a linear model", "noise")


@pytest.fixture(scope="module")
def linear_anchor(benchmarks):
    import linear_anchor

    return linear_anchor


@pytest.fixture(scope="module")
def tables(linear_anchor):
    made = linear_anchor.made_tables()
    return [table for table in made if table.name in SMALL]


def test_no_table_ends_below_its_linear_model_or_no_code(linear_anchor, tables):
    found = {
        (table.name, likelihood): linear_anchor.scores(table, likelihood, seed=0)
        for table in tables
        for likelihood in table.likelihoods
    }
    assert len(found) == 6
    for no_code, linear, default in found.values():
        assert default > linear - 1.0
        assert default >= no_code - 1e-3
    # They have something to find, and the linear model finds it.
    for name, likelihood in found:
        if name == SMALL[1]:
            no_code, linear, _ = found[name, likelihood]
            assert linear > no_code + 1.0


def test_quartiles_share_the_rows(linear_anchor, rng):
    codes = linear_anchor.quartiles(rng.normal(size=(400, 3)))
    for column in codes.T:
        np.testing.assert_array_equal(np.bincount(column.astype(int)), 4 * [100])


def test_it_prints_a_line_a_likelihood(linear_anchor, monkeypatch, tmp_path, capsys):
    X = np.random.RandomState(0).poisson(2.0, size=(60, 5)).astype(np.float32)
    csr = sparse.csr_matrix(X)
    parts = {name: getattr(csr, name) for name in ("data", "indices", "indptr")}
    np.savez(tmp_path / "pbmc3k_raw.npz", **parts, shape=csr.shape, y=np.zeros(60))
    monkeypatch.setattr(linear_anchor, "made_tables", lambda: iter(()))
    monkeypatch.setitem(linear_anchor.LINEAR, "max_epochs", 2)
    linear_anchor.main(["--data", str(tmp_path), "--seeds", "2"])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == 2 * len(linear_anchor.COUNTS)
    number = r"-?\d+\.\d"
    for line in lines:
        assert re.fullmatch(
            rf"\| \w+ \| pbmc3k[\w, ]* \| 60 x 5 \| {number} \| {number} \| {number} "
            r"\| [+-]\d+\.\d\d ± \d+\.\d\d \|",
            line,
        )
