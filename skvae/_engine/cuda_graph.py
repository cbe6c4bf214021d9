"""A training step as a CUDA graph: all its kernels by one launch.

A GPU waits for a small network's kernels to be launched. A graph records them once, on
memory that stays where it is, and replays them. Recording follows PyTorch's notes on
CUDA graphs: some steps on a side stream first, which are steps of the training; private
generators registered; a graph for every number of rows, from one pool of memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from .._data.covariates import Covariates
from .._data.dataset import Minibatch
from .._kernels.sparse import as_tensor

# Steps of a training run from which on recording, a tenth of a second, pays off.
WORTHWHILE = 300
# Steps before recording: libraries set themselves up, the optimiser makes its state.
WARM_UP = 3

Step = Callable[[Minibatch], Tensor]


def can_record(device: torch.device) -> bool:
    """Whether steps can be recorded there, and taken as they are if that fails.

    Before torch 2.13 a generator whose recording failed refuses to draw ever after.
    """
    return device.type == "cuda" and TorchVersion(torch.__version__) >= "2.13"


def worth_recording(device: torch.device, n_steps: int) -> bool:
    """Whether steps there can be recorded, and are enough for that to pay off."""
    return n_steps >= WORTHWHILE and can_record(device)


class _Recorded(NamedTuple):
    replay: Callable[[], Any]
    batch: Minibatch
    terms: Tensor


class CudaRecorder:
    """Records steps as CUDA graphs.

    Parameters
    ----------
    generator : torch.Generator
        Where the steps draw from; on the device.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._pool: Any = None
        # A stream keeps cuBLAS's workspace for as long as the process lives, so there
        # is one for all warm-ups. The other is for recording alone: the workspace of a
        # graph is cleared with the graphs of its stream, which may not be a stranger's.
        self._side = torch.cuda.Stream(generator.device)
        self._recording = torch.cuda.Stream(generator.device)

    def warm_up(self, step: Step, batch: Minibatch) -> Tensor:
        """Take a step on a side stream."""
        current = torch.cuda.current_stream(batch.target.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            terms = step(batch)
        current.wait_stream(self._side)
        return terms

    def record(self, step: Step, batch: Minibatch) -> _Recorded:
        """Record a step without taking it."""
        # A recording that fails would leave its stream the current one; and it is the
        # current device's, which the outer context makes that of the rows.
        with torch.cuda.stream(torch.cuda.current_stream(batch.target.device)):
            graph, batch = torch.cuda.CUDAGraph(), _copy_of(batch)
            graph.register_generator_state(self._generator)
            with torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._recording,
                # Other threads may allocate meanwhile.
                capture_error_mode="thread_local",
            ):
                terms = step(batch)
        self._pool = graph.pool()
        return _Recorded(graph.replay, batch, terms)

    def forget(self) -> None:
        """Leave the pool to the graphs that are gone: it is gone with them."""
        self._pool = None


class GraphedSteps:
    """Steps of a training run, replayed where they could be recorded.

    Parameters
    ----------
    recorder : CudaRecorder
    """

    def __init__(self, recorder: CudaRecorder) -> None:
        self._recorder = recorder
        self._recorded: dict[int, _Recorded] = {}
        self._sizes: set[int] = set()
        self._n_steps = 0
        self._refused = False

    def forget(self) -> None:
        """Record anew: something that steps work on is not where it was."""
        self._recorded.clear()
        self._recorder.forget()
        self._sizes.clear()
        self._n_steps = 0

    def take(self, step: Step, batch: Minibatch) -> Tensor:
        """Take a step on a minibatch; returns the terms of its loss."""
        if self._refused:
            return step(batch)
        self._n_steps += 1
        size = len(batch)
        # Another number of rows may go through other kernels, which load first.
        if self._n_steps <= WARM_UP or size not in self._sizes:
            self._sizes.add(size)
            return self._recorder.warm_up(step, batch)
        if size not in self._recorded:
            try:
                self._recorded[size] = self._recorder.record(step, batch)
            except RuntimeError:
                # A driver or a torch that cannot record this: only time is lost.
                self._refused = True
                return step(batch)
        recorded = self._recorded[size]
        for place, part in zip(_parts(recorded.batch), _parts(batch), strict=True):
            place.copy_(part)
        recorded.replay()
        return recorded.terms.clone()


def _parts(batch: Minibatch) -> list[Tensor]:
    """The tensors of a minibatch, each once."""
    parts = [batch.target]
    if batch.inputs is not batch.rows:
        parts.append(as_tensor(batch.inputs))
    parts += [part for part in batch.covariates if part is not None]
    return parts if batch.mask is None else [*parts, batch.mask]


def _copy_of(batch: Minibatch) -> Minibatch:
    """The same minibatch in memory of its own."""
    rows = batch.target.clone()
    same = batch.inputs is batch.rows
    inputs = rows if same else as_tensor(batch.inputs).clone()
    mask = None if batch.mask is None else batch.mask.clone()
    own = (None if part is None else part.clone() for part in batch.covariates)
    return Minibatch(inputs, rows, mask, Covariates(*own))
