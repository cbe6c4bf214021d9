"""Files that were damaged, or made to do harm, end in one clear error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "_fuzz.py"


@pytest.mark.parametrize(
    ("files", "seed"), [(200, 0), pytest.param(1000, 1, marks=pytest.mark.slow)]
)
def test_no_file_does_harm(files, seed):
    run = subprocess.run(
        [sys.executable, SCRIPT, "--files", str(files), "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert found["others"] == []
    assert found["refused"] + found["loaded"] == files
    assert found["refused"] > 0.8 * files
    assert len(found["by_kind"]) == 11
    assert found["longest"] < 1.0  # CPU seconds
    assert found["memory"] < 200.0  # MB
