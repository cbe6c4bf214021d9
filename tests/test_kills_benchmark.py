"""Processes that are killed in the middle of a fit, and the next ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "_kills.py"


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_fits_end_at_the_same_bits(kills):
    run = subprocess.run(
        [sys.executable, SCRIPT, "--kills", str(kills), "--seed", str(kills)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["kills"] == kills
    assert found["same"] == found["ended"] >= 1
    assert found["left_one"] >= 1
