"""A virtual environment per library that has demands of its own.

An environment is made on first use and reused as long as what it was made from stays
the same: the requirement lines, the pinned versions and the Python.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
STAMP = "made-from.txt"


class EnvironmentFailed(Exception):
    """An environment could not be made; the message is one line."""


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    windows = sys.platform == "win32"
    return folder / ("Scripts/python.exe" if windows else "bin/python")


def environment(folder: Path, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment with the requirements, made if need be.

    Versions that ``constraints.txt`` pins are the pinned ones, torch above all: all
    contenders are to run on the same.

    Raises
    ------
    EnvironmentFailed
        If it cannot be made.
    """
    python = python_of(folder)
    stamp = folder / STAMP
    wanted = "\n".join([sys.version, *requirements, CONSTRAINTS.read_text()])
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Making {folder} for {requirements[0]} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run("-m", "venv", "--without-pip", str(folder))
    pip = ("-m", "pip", "--python", str(python), "install", "--quiet")
    _run(*pip, "--constraint", str(CONSTRAINTS), *requirements)
    # Written last: a half-made environment has none.
    stamp.write_text(wanted)
    return python


def _run(*arguments: str) -> None:
    """Run this Python."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise EnvironmentFailed(_reason(done.stderr) or f"status {done.returncode}")


def _reason(output: str) -> str:
    """The line that says why: pip's last error, or else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1]
