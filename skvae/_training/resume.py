"""Checkpoints on disk: a fit that was killed goes on where it was, to the same bits.

One file holds all that training is made of between two epochs: weights, what the
optimiser has learnt, generators, the history, what early stopping and schedules know,
and the best epoch's weights. What comes before (units, the split, the start) and after
(calibration) follows from the rows and the seeds, and is done anew.
"""

import errno
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.mixture import GaussianMixture

from .._utils.plain_data import NotPlainError, decoded, encoded
from .._utils.seeds import Seeds
from .._utils.tensor_file import read_tensor_file, write_tensor_file
from .early_stopping import BestEpoch, StopTraining
from .net import EpochNet
from .persistence import load_optimizer, moments_of
from .skorch_parts import Callback
from .state import to_array, to_tensor

FORMAT = 1
# Seconds between two checkpoints, at least, and times what the last one took: writing
# is then a twentieth of a fit at most.
SECONDS_BETWEEN, TIMES_COST = 1.0, 19.0
# Seconds after which the half of a file that a kill has left is nobody's.
STALE = 600.0
# Callbacks that only show training: what they know is of one process.
_SHOWING = ("skvae_progress", "skvae_epoch_tasks", "skvae_checkpoint")


class FitCheckpoint:
    """The checkpoint of one fit, in a directory that many fits may share.

    Parameters
    ----------
    directory : path-like
        Made if need be.
    fingerprint : str
        Of the fit: it names the file.
    verbose : bool
        Whether to tell of training that goes on.

    Attributes
    ----------
    path : Path
    header : dict or None
        Of what is there; None is nothing.

    Raises
    ------
    ValueError
        If there is a file that cannot be read.
    OSError
        If the directory cannot be written to.
    """

    def __init__(self, directory: Any, fingerprint: str, *, verbose: bool) -> None:
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(
                errno.EACCES, "checkpoint_dir cannot be written to", str(folder)
            )
        self.path = folder / f"fit-{fingerprint}.safetensors"
        self.verbose = verbose
        self.header: dict[str, Any] | None = None
        self._arrays: dict[str, np.ndarray] = {}
        self._seeds: Seeds | None = None
        self._remove_halves()
        if self.path.exists():
            self.header, self._arrays = self._read()

    def _remove_halves(self) -> None:
        for half in self.path.parent.glob(f".{self.path.name}.*"):
            if time.time() - half.stat().st_mtime > STALE:
                half.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            header, arrays = read_tensor_file(self.path)
            if header.get("format") != FORMAT:
                raise ValueError(f"its format is {header.get('format')!r}")
        except ValueError as error:
            raise ValueError(
                f"The checkpoint {self.path} cannot be read ({error}). Delete it, and "
                "the fit begins anew."
            ) from error
        return header, arrays

    @property
    def n_epochs(self) -> int:
        """How many epochs are in the file."""
        return 0 if self.header is None else int(self.header["n_epochs"])

    def seeds_of(self, seeds: Seeds) -> Seeds:
        """Those that the fit began with, or else these."""
        if self.header is not None:
            seeds = Seeds(*self.header["seeds"])
        self._seeds = seeds
        return seeds

    # -- what came of it ---------------------------------------------------------------

    @property
    def has_result(self) -> bool:
        """Whether the fit is at its end, and what it found is here."""
        return self.header is not None and "result" in self.header

    def result(self) -> dict[str, Any]:
        """What :meth:`write_result` was given."""
        assert self.header is not None
        if self.verbose:
            print(f"Nothing to fit: {self.path} holds the result.", flush=True)
        arrays, self._arrays = self._arrays, {}
        return decoded(self.header["result"], arrays, _mixture_of)

    def write_result(self, state: dict[str, Any]) -> None:
        """Replace what training was by what came of it: fitted attributes.

        Raises
        ------
        OSError
            If it cannot be written; the last checkpoint is left.
        """
        assert self._seeds is not None
        arrays: dict[str, np.ndarray] = {}
        header = {
            "format": FORMAT,
            "n_epochs": self.n_epochs,
            "seeds": [self._seeds.entropy, self._seeds.call],
            "result": encoded(state, "result", arrays, _node_of_mixture),
        }
        self._write(header, arrays)

    # -- writing -----------------------------------------------------------------------

    def write(self, net: EpochNet, best: BestEpoch | None, *, has_ended: bool) -> None:
        """Replace the file by what training is now.

        Raises
        ------
        OSError
            If it cannot be written; the last one is left.
        """
        assert self._seeds is not None
        arrays = _arrays_of(net, best)
        groups = net.optimizer_.state_dict()["param_groups"]
        header = {
            "format": FORMAT,
            "n_epochs": len(net.history),
            "n_steps": int(net.n_steps_),
            "has_ended": has_ended,
            "seeds": [self._seeds.entropy, self._seeds.call],
            "history": encoded(list(net.history), "history", arrays),
            "param_groups": encoded(groups, "param_groups", arrays),
            "callbacks": {
                name: _known_by(callback, name, arrays)
                for name, callback in net.callbacks_
                if name not in _SHOWING
            },
        }
        self._write(header, arrays)

    def _write(self, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        try:
            write_tensor_file(self.path, header, arrays)
        except OSError as error:
            raise OSError(*self._failure(error, header["n_epochs"])) from error
        self.header = header

    def _failure(self, error: OSError, epoch: int) -> tuple[int, str, str]:
        code = error.errno or errno.EIO
        n_epochs = self.n_epochs
        left = f"that of epoch {n_epochs} is left" if n_epochs else "there was none yet"
        reason = (
            f"{os.strerror(code)}: the checkpoint of epoch {epoch} could not be "
            f"written, and the fit was stopped. Make room, or name another "
            f"checkpoint_dir, and fit again ({left})"
        )
        return code, reason, str(self.path)

    # -- reading -----------------------------------------------------------------------

    def load_into(self, net: EpochNet, best: BestEpoch | None) -> None:
        """Put training back to where it was.

        Raises
        ------
        StopTraining
            If it had ended there.
        """
        header = self.header
        assert header is not None
        # Once: they are three times the weights, and more.
        arrays, self._arrays = self._arrays, {}
        tensors = {name: to_tensor(value) for name, value in arrays.items()}
        net.module_.load_state_dict(_below("module", tensors))
        net.criterion_.load_state_dict(_below("criterion", tensors))
        groups = decoded(header["param_groups"], arrays)
        load_optimizer(net, _below("moments", arrays), groups)
        net.run_.order.set_state(tensors["generator.order"])
        net.run_.noise.set_state(tensors["generator.noise"])
        net.run_.steps.go_on()
        net.n_steps_ = header["n_steps"]
        net.history[:] = decoded(header["history"], arrays)
        for name, callback in net.callbacks_:
            _take_up(callback, header["callbacks"].get(name, {}), arrays)
        if best is not None:
            assert best.checkpoint_ is not None
            kept = [_below(f"best.{i}", tensors) for i in range(2)]
            best.checkpoint_.take(kept)
        if header["has_ended"]:
            raise StopTraining


class Resume(Callback):
    """Goes on from a checkpoint as training begins, and writes one now and then.

    It has to be the last of the callbacks, which have then seen the epoch.
    """

    def __init__(self, checkpoint: FitCheckpoint, best: BestEpoch | None) -> None:
        self.checkpoint = checkpoint
        self.best = best

    def on_train_begin(self, net, X=None, y=None, **kwargs) -> None:
        self.cost_, self.written_ = 0.0, time.monotonic()
        if self.checkpoint.header is None:
            return
        if self.checkpoint.verbose:
            at = f"epoch {self.checkpoint.n_epochs} of {self.checkpoint.path}"
            print(f"Going on from {at}.", flush=True)
        self.checkpoint.load_into(net, self.best)

    def on_epoch_end(self, net, **kwargs) -> None:
        begun = time.monotonic()
        if begun - self.written_ < max(SECONDS_BETWEEN, TIMES_COST * self.cost_):
            return
        self.checkpoint.write(net, self.best, has_ended=False)
        self.written_ = time.monotonic()
        self.cost_ = self.written_ - begun


def _arrays_of(net: EpochNet, best: BestEpoch | None) -> dict[str, np.ndarray]:
    parts = {
        "module": net.module_.state_dict(),
        "criterion": net.criterion_.state_dict(),
    }
    if best is not None and best.checkpoint_ is not None:
        parts |= {f"best.{i}": s for i, s in enumerate(best.checkpoint_.states)}
    arrays = {
        f"{part}.{name}": to_array(value)
        for part, state in parts.items()
        for name, value in state.items()
    }
    arrays |= {f"moments.{name}": value for name, value in moments_of(net).items()}
    run = net.run_
    for name, generator in (("order", run.order), ("noise", run.noise)):
        arrays[f"generator.{name}"] = to_array(generator.get_state())
    return arrays


def _below(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """The entries whose names begin so, by the rest of their names."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in values.items() if k.startswith(start)}


def _node_of_mixture(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The density of an RAE: the only estimator inside another one."""
    if type(value) is not GaussianMixture:
        raise NotPlainError(f"{name} is {value!r}")
    return encoded(vars(value), name, arrays)


def _mixture_of(node: Any, arrays: dict[str, np.ndarray]) -> GaussianMixture:
    mixture = GaussianMixture()
    vars(mixture).update(decoded(node, arrays))
    return mixture


# -- what callbacks know: attributes that end in "_", as skorch has them ---------------


def _known_by(callback: Callback, name: str, arrays: dict[str, np.ndarray]) -> dict:
    """What can be written of it; tensors and arrays go to ``arrays``.

    Numbers, text, weights, and the state of what has one, such as a schedule. What is
    left, an open file say, a callback makes anew.
    """
    known = {}
    for key, value in vars(callback).items():
        if not key.endswith("_") or key.startswith("_"):
            continue
        if hasattr(value, "load_state_dict") and not isinstance(value, type):
            value = dict(value.state_dict())
        try:
            known[key] = encoded(value, f"callback.{name}.{key}", arrays)
        except NotPlainError:
            continue
    return known


def _take_up(callback: Callback, known: dict, arrays: dict[str, np.ndarray]) -> None:
    for key, written in known.items():
        value, own = decoded(written, arrays), getattr(callback, key, None)
        if own is not None and hasattr(own, "load_state_dict"):
            own.load_state_dict(value)
        else:
            setattr(callback, key, value)
