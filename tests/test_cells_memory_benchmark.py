"""benchmarks/cells_memory.py: a run at a small size."""

import re
import sys

import pytest
from _memory import new_pages

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="it reads /proc"
)


@pytest.fixture(scope="module")
def cells_memory(benchmarks):
    """The script as a module."""
    import cells_memory

    return cells_memory


def test_the_peak_is_that_of_the_block(cells_memory):
    with cells_memory.Memory() as memory, new_pages(60_000_000):
        cells_memory.time.sleep(0.1)
    assert 55 < memory.peak < 90
    assert 55 < memory.own_peak < 90


def test_the_table_has_every_call(cells_memory, capsys):
    arguments = ["--cells", "60", "--genes", "20", "--epochs", "1", "--formats", "csc"]
    assert cells_memory.main(arguments) == 0
    out = capsys.readouterr().out
    number = r"-?\d+(\.\d)?"
    for mode in cells_memory.MODES:
        for task in cells_memory.TASKS:
            row = rf"\| csc \| {mode} \| {task} \| {number} \| {number} \| {number} \|"
            assert re.search(row, out)
