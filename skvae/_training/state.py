"""The fitted state: all that a fit has learnt, as one module.

Pickles, copies, warm starts, ``partial_fit`` and a move to another device are its
``state_dict``: tensors by name, and nothing that could run.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._data.dataset import Minibatch
from .._evaluation.calibration import Codes
from .._evaluation.evaluator import Density
from .._evaluation.explained_variance import Explained
from .._likelihoods.base import Likelihood
from .._likelihoods.linear_model import LinearModel
from .._nn.autoencoder import VAE, Autoencoder
from .._nn.gap_inputs import GapInputs
from .._objectives.criterion import Criterion
from .._utils.device import in_float64
from .._utils.host import HostState


class Record(NamedTuple):
    """What a verdict asks of the training that has just ended.

    ``best_epoch`` is the one whose weights were kept; ``diverged`` says that training
    ended farther from the rows than their mean is, ``stopped_early`` that it ended for
    want of patience; ``fitted`` that the weight of the KL follows the likelihood's,
    ``beta`` times. ``lr``, ``free_bits``, ``background_weight`` and these two were
    those of the last call.
    """

    best_epoch: int = 0
    n_steps: int = 0
    diverged: bool = False
    stopped_early: bool = False
    lr: float = 0.0
    free_bits: float = 0.0
    background_weight: float = 0.0
    fitted: bool = False
    beta: float = 1.0


class Split(NamedTuple):
    """Which of ``n_rows`` rows are held out, and what share of them was asked for."""

    held_out: np.ndarray
    n_rows: int
    fraction: float | None


class FittedState(nn.Module):
    """Network, criterion with its likelihood, and what was calibrated afterwards.

    Parameters
    ----------
    network : Autoencoder
    criterion : Criterion

    Attributes
    ----------
    linear_model : LinearModel or None
        The likelihood's own, of the training rows: what a fit is judged by.
    gaps : GapInputs or None
        What an encoder sees of rows with gaps, if there may be some.
    host : HostState
        ``code_scale`` (latent_dim,), in units of X per unit of code; the split, which
        the next fit holds out again; the seeds; ``n_pairs`` of the cubature, 0 for what
        it has by itself, and their ``design``; whether training left the linear model,
        so that it explains what the network does not.
    record : Record
    codes : Codes or None
        What codes are worth, where a fit looked. Not kept with the state.
    explained : Explained or None
        What the units explain of the rows of the last call. Not kept with the state.
    total_variance : float
        Of the first call's rows, summed over features. Not kept with the state.
    """

    linear_model: LinearModel | None
    gaps: GapInputs | None

    def __init__(self, network: Autoencoder, criterion: Criterion) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.host = HostState()
        self.set_linear_model(None)
        self.gaps = None
        scale = criterion.likelihood.scale
        self.code_scale = np.full(network.latent_dim, scale)
        self.split = None
        self.set_seeds(0, 0)
        self.host.hold("n_pairs", 0)
        self.host.hold("design", 0)
        self.record = Record()
        self.codes: Codes | None = None
        self.explained: Explained | None = None
        self.total_variance = 0.0

    @property
    def likelihood(self) -> Likelihood:
        return self.criterion.likelihood

    def set_linear_model(
        self, model: LinearModel | None, *, is_background: bool = False
    ) -> None:
        """Keep a linear model; ``is_background`` says that training left it."""
        self.linear_model = model
        # Of rows that are all the same, a linear model has no units: -1 is none.
        self.host.hold("n_linear_units", -1 if model is None else model.n_units)
        self.host.hold("is_background", int(is_background))

    @property
    def is_background(self) -> bool:
        """Whether training left the linear model that it began at."""
        return bool(self.host.number("is_background"))

    @property
    def background(self) -> LinearModel | None:
        """The second component of the density that is scored, if there is one."""
        mixes = self.is_background and self.record.background_weight > 0.0
        return self.linear_model if mixes else None

    @property
    def began_linear(self) -> bool:
        """Whether the network has a linear path, which training began at."""
        return self.network.encoder.linear is not None

    @property
    def start(self) -> str:
        """What training began at, in words: epoch 0 of early stopping."""
        if self.began_linear:
            return self.likelihood.linear_start
        if self.likelihood.no_code() is not None:
            return "the model with no code"
        return "the untrained network"

    def density(self) -> Density:
        """What is scored, sampled and diagnosed."""
        network = self.network
        assert isinstance(network, VAE)
        weight = self.record.background_weight
        n_pairs = int(self.host.number("n_pairs")) or None
        points = n_pairs, int(self.host.number("design"))
        return Density(network, self.likelihood, self.background, weight, *points)

    def without_code(self) -> Callable[[Minibatch], Tensor]:
        """What measures ln p of rows of X, nats, in the best model with no code."""
        likelihood = deepcopy(self.likelihood)
        log_det = likelihood.log_det()
        bias = likelihood.without_code()
        assert bias is not None

        def measure(batch: Minibatch) -> Tensor:
            target = batch.target
            raw = torch.as_tensor(bias, dtype=target.dtype, device=target.device)
            raw = raw.expand(len(target), -1).clone()
            raw = self.network.decoder.sized(raw, batch.covariates)
            nats = -in_float64(likelihood.nll(raw, target, batch.mask))
            return nats + (log_det + likelihood.log_det_beyond(target, batch.mask))

        return measure

    @property
    def code_scale(self) -> np.ndarray:
        """Gain of the decoder, (latent_dim,): units of X per unit of code."""
        return self.host.array("code_scale")

    @code_scale.setter
    def code_scale(self, value: np.ndarray) -> None:
        self.host.hold("code_scale", value)

    @property
    def split(self) -> Split | None:
        """What early stopping held out."""
        n_rows = self.host.number("split_rows")
        if n_rows == 0:
            return None
        fraction = self.host.number("split_fraction")
        kept = None if np.isnan(fraction) else fraction
        return Split(self.host.array("held_out"), n_rows, kept)

    @split.setter
    def split(self, value: Split | None) -> None:
        held_out, n_rows, fraction = value or (np.empty(0, np.int64), 0, None)
        self.host.hold("held_out", np.asarray(held_out, dtype=np.int64))
        self.host.hold("split_rows", n_rows)
        self.host.hold("split_fraction", np.nan if fraction is None else fraction)

    @property
    def seeds(self) -> tuple[int, int]:
        """The entropy of all seeds, and the number of calls that took some."""
        low, high, n_calls = self.host.array("seeds").tolist()
        return low + (high << 32), n_calls

    def set_seeds(self, entropy: int, n_calls: int) -> None:
        parts = [entropy & 0xFFFFFFFF, entropy >> 32, n_calls]
        self.host.hold("seeds", np.array(parts, dtype=np.int64))

    def take_gaps(self, gaps: GapInputs) -> None:
        """Have rows with gaps: what fills them, and how many there are."""
        self.gaps = gaps
        self.likelihood.set_observed(gaps.array("shares"))

    def learnt(self) -> list[float]:
        """Norms of what the network has learnt: equal for the same weights."""
        values = self.network.state_dict().values()
        norms = [torch.linalg.vector_norm(value.float()) for value in values]
        return torch.stack(norms).tolist()

    # -- as plain data -----------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, as arrays of its own."""
        return {name: to_array(value) for name, value in self.state_dict().items()}

    def load_arrays(self, arrays: dict[str, Any]) -> None:
        """Take everything from arrays, of whatever size they are."""
        n_units = int(arrays["host.n_linear_units"])
        if n_units >= 0:
            model = self.likelihood.empty_linear_model(n_units)
            for name in ("given_weights", "given_mean"):
                if f"linear_model.{name}" in arrays:
                    model.hold(name, np.asarray(arrays[f"linear_model.{name}"]))
            self.set_linear_model(model)
        self.host.hold("held_out", np.asarray(arrays["host.held_out"]))
        of_gaps = {n: a for n, a in arrays.items() if n.startswith(_GAPS)}
        if of_gaps:
            self.take_gaps(_gaps_of(of_gaps))
        tensors = {name: to_tensor(value) for name, value in arrays.items()}
        self.load_state_dict(tensors)


_GAPS, _EXPECTED = "gaps.", "expected."


def _gaps_of(arrays: dict[str, Any]) -> GapInputs:
    """What fills gaps, from its arrays by name."""
    gaps = GapInputs()
    for name, array in arrays.items():
        own = name.removeprefix(_GAPS)
        holder = gaps.expected if own.startswith(_EXPECTED) else gaps
        holder.hold(own.removeprefix(_EXPECTED), np.asarray(array))
    return gaps


def to_array(value: Tensor) -> np.ndarray:
    """A tensor of any device as an array of its own."""
    return value.detach().cpu().numpy().copy()


def to_tensor(value: np.ndarray) -> Tensor:
    """An array, which may be read-only, as a tensor of its own."""
    return torch.tensor(np.asarray(value), device="cpu")
