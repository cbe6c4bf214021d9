"""``search --out DIR --resume`` after a kill."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skvae._training import resume
from skvae.cli.commands import main

GRID = ["--kld-weights", "1e-3", "1e-2", "--latent-dims", "2", "3", "--folds", "2"]
QUICK = [*GRID, "--max-epochs", "4", "--hidden-dims", "16", "--quiet", "--jobs", "1"]


class KilledError(BaseException):
    """What a test ends a search with, as a kill would."""


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", load_digits().data[:150])
    return ["search", "x.npy", *QUICK, "-o", "p.png", "--out"]


@pytest.fixture
def whole(command, capsys):
    """What is printed by a search that nobody disturbed."""
    assert main([*command, "whole"]) == 0
    return capsys.readouterr().out.replace("whole", "DIR")


@pytest.fixture
def fits(monkeypatch):
    """Notes fits that train, and ends the search as one begins, if told to."""
    noted = {"trained": 0, "last": None}
    begin = resume.Resume.on_train_begin

    def on_train_begin(self, net, **kwargs):
        if noted["trained"] == noted["last"]:
            raise KilledError
        noted["trained"] += 1
        begin(self, net, **kwargs)

    monkeypatch.setattr(resume.Resume, "on_train_begin", on_train_begin)
    return noted


@pytest.mark.parametrize("last", [0, 3, 8])
def test_finished_fits_are_not_repeated(last, command, whole, fits, capsys):
    fits["last"] = last
    with pytest.raises(KilledError):
        main([*command, "d"])
    fits.update(trained=0, last=None)
    assert main([*command, "d", "--resume"]) == 0
    assert fits["trained"] == 2 * 2 * 2 + 1 - last  # with the winner on all rows
    assert capsys.readouterr().out.split("grid, 2 folds")[-1].replace(
        "into d", "into DIR"
    ) == whole.split("grid, 2 folds")[-1].replace("into whole", "into DIR")
    names = sorted(os.listdir("d"))
    assert names == sorted(os.listdir("whole"))
    assert "checkpoints" not in names


def test_a_search_that_ended_only_fits_what_it_does_not_keep(command, whole, capsys):
    assert main([*command, "whole", "--resume"]) == 0
    assert capsys.readouterr().out.replace("whole", "DIR") == whole


def test_another_search_is_refused(command, whole, capsys):
    np.save("y.npy", load_digits().data[150:300])
    other = ["search", "y.npy", *command[2:]]
    for arguments, reason in (
        ([*other, "whole", "--resume"], "of another search (rows differ)"),
        ([*command, "whole", "--resume", "--seed", "1"], "(params differ)"),
        ([*command, "whole", "--resume", "--folds", "3"], "(folds differ)"),
        ([*command, ".", "--resume"], "holds no search"),
        ([*command, "whole"], "is not empty"),
        ([*command[:-1], "--resume"], "--resume is for a search"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2
        assert reason in capsys.readouterr().err


def test_a_process_that_is_killed(command, whole, capsys):
    """By SIGKILL, once some of its fits have ended."""
    run = [sys.executable, "-m", "skvae", *command, "d"]
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120.0
    while time.monotonic() < until and process.poll() is None:
        folder = "d/checkpoints"
        if os.path.isdir(folder) and len(os.listdir(folder)) >= 3:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert main([*command, "d", "--resume"]) == 0
    assert capsys.readouterr().out.replace("into d", "into DIR") == whole.replace(
        "into whole", "into DIR"
    )
