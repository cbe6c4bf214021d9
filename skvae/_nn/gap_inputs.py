"""What an encoder sees of rows that have gaps: expected values, and where gaps are.

A gap is filled with what the rest of the row leads a linear model to expect, so that
the linear path of an encoder has no need of other weights (see ``_linear.gaps``); and a
column that had gaps in training tells beside it whether this is one.
"""

import numpy as np
import torch
from torch import Tensor

from .._linear.gaps import ConditionalMean, GappyFactors
from .._utils.host import HostState


class GapInputs(HostState):
    """Fills inputs (n, n_inputs) of rows whose ``mask`` (n, D) has gaps.

    Attributes
    ----------
    shares : buffer of shape (D,)
        Of training rows, those that every column of X was observed in.
    at : buffer of int of shape (n_inputs,)
        Which column of the target, and so of the mask, every input is of.
    told : buffer of int of shape (n_told,)
        Columns of the mask that the encoder is told of.
    told_mean, told_scale : buffer of shape (n_told,)
        Of gaps in them.
    mean, scale : buffer of shape (n_inputs,)
        Of inputs, in units of which ``expected`` works.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expected = ConditionalMean()
        self._on: dict = {}

    @classmethod
    def of(
        cls,
        factors: GappyFactors,
        mean: np.ndarray,
        scale: np.ndarray,
        *,
        at: np.ndarray,
        shares: np.ndarray,
        target_order: np.ndarray,
    ) -> "GapInputs":
        """From a factor analysis of standardised inputs.

        ``target_order`` (D,) are the columns of X in the order of the target.
        """
        made = cls()
        made.expected = ConditionalMean(factors)
        made.hold("shares", shares)
        made.hold("at", at.astype(np.int64))
        made.hold("mean", mean)
        made.hold("scale", scale)
        missing = 1.0 - shares[target_order]
        told = np.flatnonzero(missing > 0.0)
        made.hold("told", told.astype(np.int64))
        made.hold("told_mean", missing[told])
        spread = np.sqrt(missing[told] * (1.0 - missing[told]))
        made.hold("told_scale", np.where(spread > 0.0, spread, 1.0))
        return made

    @property
    def n_told(self) -> int:
        """Number of columns that stand behind the inputs."""
        return len(self._held("told"))

    def filled(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """Inputs (n, n_inputs) with expected values in their gaps."""
        if mask is None:
            return inputs
        at, mean, scale, *_ = self._parts(inputs)
        rows = (~mask).any(dim=1).nonzero().flatten()
        if not len(rows):
            return inputs
        some, there = inputs[rows], mask[rows].index_select(1, at)
        standardised = (some.double() - mean) / scale
        found = self.expected(standardised, there) * scale + mean
        return inputs.index_copy(0, rows, torch.where(there, some, found.to(some)))

    def beside(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """Inputs with the gaps of the columns that had some in training behind them."""
        if not self.n_told:
            return inputs
        *_, told, mean, scale = self._parts(inputs)
        gaps = inputs.new_zeros((len(inputs), len(told)), dtype=torch.float64)
        if mask is not None:
            gaps += ~mask.index_select(1, told)
        return torch.cat([inputs, ((gaps - mean) / scale).to(inputs)], dim=1)

    def _parts(self, like: Tensor) -> list[Tensor]:
        names = ("at", "mean", "scale", "told", "told_mean", "told_scale")
        if like.device not in self._on:
            self._on = {like.device: [self._held(n).to(like.device) for n in names]}
        return self._on[like.device]
