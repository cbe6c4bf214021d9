"""Counts, whose rate is a size factor of the row times what the decoder says.

The decoder gives logarithms of rates, to which the logarithm of the size has been added
(``Decoder.sized``): with the size a row's sum, they are logarithms of expected shares.
The encoder sees logarithms of normalised counts, ``ln(1 + x / size * usual size)``, in
which zeros stay zeros.
"""

import math
from abc import abstractmethod
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, SMALLEST_SIZE, Covariates
from .._utils.device import in_float64
from .._utils.host import HostState
from .base import Likelihood
from .entries import refuse_entries
from .linear_model import Affine

# Logarithms of rates beyond which a rate is not followed: float32 ends at 88.
LARGEST_LOG_RATE = 60.0
# Counts that a column without any is taken to have had: its rate has a logarithm.
UNSEEN = 0.5
# Quantiles of the sizes of the training rows that samples draw from.
N_QUANTILES = 101
# Counts up to which log-gammas of a column's entries are added up as logarithms.
SMALL_COUNT = 16
# Counts up to which float32 adds up what a code costs: beyond, counts times logarithms
# are so much larger than their sum that it is lost.
EXACT_COUNT = 256.0
_LEVELS = np.linspace(0.0, 1.0, N_QUANTILES)


def _is_no_count(values: np.ndarray) -> np.ndarray:
    return (values < 0.0) | (values != np.floor(values))


class Counts(Likelihood):
    """p(x | z) of counts, and how they are encoded.

    Attributes
    ----------
    log_rates : ndarray of shape (D,)
        Logarithm of the mean rate of every column, at a size of 1.
    """

    is_discrete = True
    is_nonnegative = True
    is_whole = True
    takes_size = True
    has_own_scales = True
    inputs_are_rows = False

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.units = HostState()
        self.units.hold("log_rates", np.zeros(n_features))
        self.units.hold("sizes", np.ones(N_QUANTILES))

    # -- data --------------------------------------------------------------------------

    def check(self, X, feature_names=None) -> None:
        takes = (
            "counts: 0, 1, 2, ... Pass the counts as they are, without normalising or "
            "scaling, or use likelihood='gaussian_diag' for such numbers."
        )
        refuse_entries(X, _is_no_count, self.name, takes, feature_names)

    @property
    def log_rates(self) -> np.ndarray:
        return self.units.array("log_rates")

    @property
    def usual_size(self) -> float:
        sizes = self.units.array("sizes")
        # Where most rows are empty, the median one has no size.
        return float(sizes[N_QUANTILES // 2] or sizes.mean() or 1.0)

    def draw_sizes(self, n: int, random_state: np.random.RandomState) -> np.ndarray:
        levels = random_state.uniform(size=n)
        drawn = np.interp(levels, _LEVELS, self.units.array("sizes"))
        return np.maximum(drawn, SMALLEST_SIZE)

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        assert X is not None
        sizes = np.ones(X.shape[0]) if size is None else size
        total = float(sizes.sum()) or 1.0
        counts = np.maximum(mean * X.shape[0], UNSEEN)
        self.units.hold("log_rates", np.log(counts / total))
        self.units.hold("sizes", np.quantile(sizes, _LEVELS))
        self._fit_noise(np.exp(self.log_rates), mean, variance, X, sizes)

    def _fit_noise(self, rates: np.ndarray, mean, variance, X, size) -> None:
        """Begin with shared parameters from moments of the columns."""

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor:
        if covariates.log_size is None:
            return torch.log1p(target)
        relative = torch.exp(np.log(self.usual_size) - covariates.log_size)
        return (target * relative.to(target.dtype)).log1p_()

    def encode_sparse(self, X, size: np.ndarray | None):
        values = X.data
        if size is not None:
            relative = self.usual_size / np.maximum(size, SMALLEST_SIZE)
            values = values * np.repeat(relative, np.diff(X.indptr)).astype(X.dtype)
        parts = (np.log1p(values), X.indices, X.indptr)
        return type(X)(parts, shape=X.shape)

    def input_affine(self) -> Affine:
        return Affine(None, 1.0)

    def no_code(self) -> np.ndarray:
        return self.log_rates

    # -- the mass ----------------------------------------------------------------------

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        return raw.clamp_(max=LARGEST_LOG_RATE).exp_()

    @abstractmethod
    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor: ...

    @abstractmethod
    def nll_constant(self, target: Tensor, mask: Tensor | None = None) -> Tensor: ...

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        of_code = self.nll_of_code(raw, target, mask)
        return of_code + self.nll_constant(target, mask)


def in_precision(raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 where counts are large."""
    if target.dtype == torch.float32 and target.amax() > EXACT_COUNT:
        return in_float64(raw), in_float64(target)
    return raw, target


class Nonzeros:
    """The entries of a minibatch (n, D) that are not 0: all that log-gammas are of.

    ``values`` (m,) and where they are.
    """

    def __init__(self, target: Tensor, mask: Tensor | None = None) -> None:
        kept = (target if mask is None else target * mask).flatten()
        self.shape = target.shape
        if kept.device.type == "cpu":
            # torch takes six times as long to find them.
            where = np.flatnonzero((kept != 0).numpy())
            self._at = torch.from_numpy(where)
        else:
            self._at = kept.nonzero().flatten()
        self.values = kept.index_select(0, self._at)

    @cached_property
    def columns(self) -> Tensor:
        """Of the entries, (m,)."""
        return self._at % self.shape[1]

    def of(self, x: Tensor) -> Tensor:
        """Entries (m,) of another table (n, D), or of its columns (D,)."""
        if x.dim() == 1:
            return x.index_select(0, self.columns)
        return x.flatten().index_select(0, self._at)

    def per_row(self, entries: Tensor) -> Tensor:
        """Sums over the entries of every row, (n,)."""
        rows = torch.div(self._at, self.shape[1], rounding_mode="floor")
        return entries.new_zeros(self.shape[0]).index_add_(0, rows, entries)

    def log_choices(self, r: Tensor | None = None) -> Tensor:
        """``ln(x!)`` of the entries, (m,), float64, less ``ln G(x + r) - ln G(r)``.

        For r (D,), in float64; None leaves that away. Most counts are small, and are
        looked up in a table of every column's.
        """
        x = self.values.double()
        steps = torch.arange(SMALL_COUNT, dtype=x.dtype, device=x.device)
        logs = (steps + 1.0).log()
        if r is not None:
            logs = logs - (r[:, None] + steps).log()
        at = self.values.clamp(max=SMALL_COUNT).long().sub_(1)
        if r is not None:
            at.add_(self.columns, alpha=SMALL_COUNT)
        nats = logs.cumsum(dim=-1).flatten().index_select(0, at)
        beyond = (x > SMALL_COUNT).nonzero().flatten()
        upper, last = x.index_select(0, beyond), float(SMALL_COUNT)
        more = torch.lgamma(upper + 1.0) - math.lgamma(last + 1.0)
        if r is not None:
            own = r.index_select(0, self.columns.index_select(0, beyond))
            more += torch.lgamma(own + last) - torch.lgamma(own + upper)
        return nats.index_add_(0, beyond, more)

    @cached_property
    def rising(self) -> "RisingFactorials":
        """What products of ``r (r + 1) ... (r + x - 1)`` are made of."""
        width = SMALL_COUNT + 1
        bins = self.values.clamp(max=SMALL_COUNT).long().add_(self.columns * width)
        equal = torch.bincount(bins, minlength=self.shape[1] * width).view(-1, width)
        above = equal.flip(1).cumsum(1).flip(1)[:, 1:].double()
        beyond = (self.values > SMALL_COUNT).nonzero().flatten()
        values = self.values.index_select(0, beyond).double()
        return RisingFactorials(above, values, self.columns.index_select(0, beyond))


class RisingFactorials(NamedTuple):
    """``ln G(x + r) - ln G(r)`` of many counts x, summed over those of a column.

    Most counts are small, and theirs is the sum of ``ln(r + i)`` for i < x: a few
    logarithms a column take the place of two log-gammas a count.

    Attributes
    ----------
    above : tensor of shape (D, SMALL_COUNT), float64
        How many counts of a column are above i.
    values, columns : tensor of shape (m,), float64 and int64
        The counts that are above SMALL_COUNT.
    """

    above: Tensor
    values: Tensor
    columns: Tensor

    def at(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (D,), and their derivative by r, for r (D,) in float64."""
        steps = r[:, None] + torch.arange(SMALL_COUNT, dtype=r.dtype, device=r.device)
        total = (self.above * steps.log()).sum(dim=1)
        slope = (self.above / steps).sum(dim=1)
        own = r.index_select(0, self.columns)
        upper, lower = self.values + own, SMALL_COUNT + own
        logs = torch.lgamma(upper) - torch.lgamma(lower)
        slopes = torch.digamma(upper) - torch.digamma(lower)
        return (
            total.index_add_(0, self.columns, logs),
            slope.index_add_(0, self.columns, slopes),
        )

    def log_factorials(self) -> Tensor:
        """Sum of ``ln(x!)`` over all counts, float64."""
        steps = torch.arange(1, SMALL_COUNT + 1, device=self.values.device).double()
        logs = torch.lgamma(self.values + 1.0) - torch.lgamma(steps[-1] + 1.0)
        return (self.above.sum(dim=0) * steps.log()).sum() + logs.sum()
