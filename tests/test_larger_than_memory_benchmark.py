"""benchmarks/larger_than_memory.py: a run at a small size."""

import re
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="it reads /proc"
)


KINDS = ["memmap", "hdf5", "zarr", "dask", "anndata"]


@pytest.mark.parametrize(
    "kinds", [["hdf5"], pytest.param(KINDS, marks=pytest.mark.slow)], ids=len
)
def test_the_table_has_every_call(kinds, benchmarks, capsys):
    import larger_than_memory

    arguments = ["--gb", "0.02", "--columns", "100", "--only", *kinds]
    assert larger_than_memory.main(arguments) == 0
    out = capsys.readouterr().out
    number = r"-?\d+(\.\d)?"
    for kind in kinds:
        for call in larger_than_memory.TASKS:
            row = rf"\| {kind} \| 0.02 \| {call}( \| {number}){{4}} \|"
            assert re.search(row, out), (kind, call)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(benchmarks, tmp_path):
    import larger_than_memory

    peaks = []
    for n_rows in (20_000, 160_000):
        larger_than_memory.make_file("hdf5", tmp_path, n_rows, 500)
        job = {"kind": "hdf5", "folder": str(tmp_path)}
        found = larger_than_memory.in_process(job)
        peaks.append({row["call"]: row["own_peak"] for row in found})
    # The larger table has 320 MB. A fit's linear start looks at up to a hundred million
    # entries, with two copies, which is more.
    for call in ("transform", "score_samples"):
        assert peaks[1][call] < peaks[0][call] + 80.0, call
    assert peaks[1]["fit"] < 1500.0
