"""Kills of fits: real processes, at random moments, until so many have died.

    python benchmarks/_kills.py --kills 20

A fit with ``checkpoint_dir`` is begun in a process of its own, which is killed by
SIGKILL after a part of the time that a whole fit takes. The next process begins the
same fit. One that is not killed in time ends it, and what it found is compared, bit by
bit, with a fit that nobody disturbed; then the directory makes way for a new one.
Prints JSON.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from skvae import VAETransformer
from skvae._training import resume

PARAMS = {
    "latent_dim": 8,
    "hidden_dims": (64,),
    "max_epochs": 80,
    "dropout_rate": 0.1,
    "lr_schedule": "cosine",
    "random_state": 0,
}
# Seconds between two checkpoints: so that kills meet every part of writing one.
SECONDS_BETWEEN = 0.02


@dataclass
class Killed:
    """What came of it.

    Attributes
    ----------
    kills : int
        Processes that were killed while they fitted.
    ended : int
        Fits that ended, each after the kills before it.
    same : int
        Of these, how many found the same bits as a fit that nobody disturbed.
    left_one : int
        Of the kills, how many left a checkpoint behind.
    seconds : float
    """

    kills: int = 0
    ended: int = 0
    same: int = 0
    left_one: int = 0
    seconds: float = 0.0


def found_by(model: VAETransformer, X: np.ndarray) -> dict[str, np.ndarray]:
    """What a fit can be told by."""
    history = [[row["train_loss"], row["valid_loss"]] for row in model.history_]
    return {
        "codes": model.transform(X),
        "score": np.array(model.score(X)),
        "sample": model.sample(10, random_state=0, noise=True),
        "history": np.array(history),
        "best_epoch": np.array(model.best_epoch_),
    }


def in_a_process(work: Callable[[], None], seconds: float | None = None) -> bool:
    """Do it in a process of its own, killed after some seconds; whether it ended.

    Raises
    ------
    RuntimeError
        If it failed by itself.
    """
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if until is not None and time.monotonic() >= until:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.001)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        raise RuntimeError("the process failed by itself")
    return True


def kill_fits(n_kills: int, seed: int = 0) -> Killed:
    """Kill so many processes that fit the same."""
    resume.SECONDS_BETWEEN, resume.TIMES_COST = SECONDS_BETWEEN, 0.0
    X = load_digits().data
    rng = np.random.RandomState(seed)
    result, begun = Killed(), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "found.npz"

        def fit(directory: Path | None) -> None:
            model = VAETransformer(**PARAMS).fit(X, checkpoint_dir=directory)
            np.savez(out, **found_by(model, X))

        def found() -> dict[str, np.ndarray]:
            with np.load(out) as arrays:
                return dict(arrays)

        start = time.monotonic()
        in_a_process(lambda: fit(Path(scratch) / "whole"))
        whole = time.monotonic() - start
        in_a_process(lambda: fit(None))
        expected = found()
        number = 0
        while result.kills < n_kills:
            number += 1
            directory = Path(scratch) / str(number)
            while not in_a_process(
                lambda: fit(directory),  # noqa: B023
                rng.uniform(0.0, 1.2 * whole) if result.kills < n_kills else None,
            ):
                result.kills += 1
                result.left_one += any(directory.glob("fit-*"))
            result.ended += 1
            same = (np.array_equal(found()[k], v) for k, v in expected.items())
            result.same += all(same)
    result.seconds = time.monotonic() - begun
    return result


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    result = kill_fits(args.kills, args.seed)
    print(json.dumps(asdict(result)))
    return 0 if result.same == result.ended else 1


if __name__ == "__main__":
    sys.exit(main())
