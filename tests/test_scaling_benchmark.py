"""benchmarks/scaling.py: what is fitted, and a run at small sizes."""

import json
import re

import numpy as np
import pytest


@pytest.fixture(scope="module")
def scaling(benchmarks):
    """The script as a module."""
    import scaling

    return scaling


@pytest.fixture
def tiny(scaling, monkeypatch):
    """Sizes that take no time."""
    sizes = scaling.Range(
        rows=(40, 80),
        columns=5,
        features=(4, 8),
        height=40,
        disk_rows=50,
        chunk=20,
    )
    monkeypatch.setattr(scaling, "QUICK", sizes)
    return sizes


def test_a_slope_of_one_is_linear_growth(scaling):
    sizes = [10, 100, 1000]
    assert scaling.slope(sizes, [1.0, 10.0, 100.0]) == pytest.approx(1.0)
    assert scaling.slope(sizes, [2.0, 2.0, 2.0]) == pytest.approx(0.0)


def test_the_constant_is_told_from_the_growth(scaling):
    sizes = np.array([1.0, 10.0, 100.0, 1000.0])
    fitted = scaling.constant_and_rate(sizes, 0.5 + 0.02 * sizes)
    assert fitted == pytest.approx((0.5, 0.02))


def test_small_and_large_sizes_count_alike(scaling):
    """A large error at the largest size must not drown the constant."""
    sizes = np.array([1.0, 10.0, 100.0, 1000.0])
    seconds = 0.5 + 0.02 * sizes
    seconds[-1] *= 1.2
    constant, _ = scaling.constant_and_rate(sizes, seconds)
    assert constant == pytest.approx(0.5, rel=0.1)


def test_the_report_has_all_parts(scaling, tiny, tmp_path, capsys):
    out = tmp_path / "scaling.json"
    command = ["--quick", "--rounds", "2", "--passes", "1", "--out", str(out)]
    assert scaling.main(command) == 0
    report = json.loads(out.read_text())
    assert set(report) == {"machine", "device", "rows", "features", "disk"}
    assert report["machine"]["cores"] >= 1
    shapes = {
        part: [(row["rows"], row["features"]) for row in report[part]["measured"]]
        for part in ("rows", "features")
    }
    assert shapes == {"rows": [(40, 5), (80, 5)], "features": [(40, 4), (40, 8)]}
    for row in report["rows"]["measured"]:
        assert len(row["epochs"]) == 2
        assert row["rest"] > 0
    found = report["disk"]["measured"]
    assert found["rows"] == 50
    rates = found["rows_per_second"]
    assert {len(each) for each in rates.values()} == {2}
    for name in ("fit", "partial_fit"):
        # Epochs alone are faster than calls.
        assert np.all(np.greater(rates[f"{name}, epochs alone"], rates[name]))
    ratio = np.median(rates["partial_fit"]) / np.median(rates["fit"])
    assert report["disk"]["fitted"]["whole calls"] == pytest.approx(ratio)
    printed = capsys.readouterr().out
    first_cells = re.findall(r"^\| ([\w ]+?) \|", printed, re.MULTILINE)
    rows, features = ["rows", "40", "80"], ["features", "4", "8"]
    disk = ["rows per second", "whole calls", "epochs alone"]
    assert first_cells == [*rows, *features, *disk]
    assert printed.count("Slope of the logarithms") == 2


def test_a_chunk_is_read_from_the_file(scaling, tmp_path):
    path = tmp_path / "rows.npy"
    scaling.write_rows(path, 50, 3, 20)
    seen = []

    class Recorder:
        def partial_fit(self, X):
            assert isinstance(X, np.memmap)
            seen.append(np.array(X))

    scaling.forget(path)
    scaling.one_pass(Recorder(), path, 20)
    assert [len(X) for X in seen] == [20, 20, 10]
    np.testing.assert_array_equal(np.concatenate(seen), np.load(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "columns"], "invalid choice: 'columns'"),
        (["--rounds", "0"], "must be positive"),
    ],
)
def test_what_cannot_be_run_is_refused(scaling, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        scaling.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
