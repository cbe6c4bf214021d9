"""The room of callbacks: what importing it takes, and its examples."""

import doctest
import subprocess
import sys

import pytest

from skvae.callbacks import guide_logger, optuna_pruning


def test_it_imports_no_tracker():
    code = (
        "import sys, skvae, skvae.callbacks\n"
        "names = {'wandb', 'mlflow', 'tensorboard', 'optuna', 'matplotlib'}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", [guide_logger, optuna_pruning])
def test_examples_run(module):
    pytest.importorskip("tensorboard")
    pytest.importorskip("optuna")
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 3
    assert found.failed == 0
