"""Ordered levels: a logistic variable around raw, cut by thresholds.

A column has levels ``v_0 < ... < v_(K-1)``, the values that its training rows had, and
``p(x <= v_i | z) = sigmoid(t_i - raw)`` (McCullagh, 1980, the proportional odds model).
With u and l the thresholds above and below a level, both less raw,

    p = sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)),

so that ``-ln p = softplus(-u) + softplus(l) - ln(1 - exp(l - u))``, whose last term no
code changes, and whose derivative by raw is ``sigmoid(-u) - sigmoid(l)``. Thresholds
are a column's first, and steps that are exponentials, times a spread: what a code
explains takes steps wider, all at once. They begin where the levels have the
frequencies of the training rows, so that the model with no code has these exactly,
whatever they are: it is also that of numbers whose distribution has no name (Harrell,
2015, chapter 13).
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from scipy.special import ndtri
from torch import Tensor, nn

from .._data.covariates import NONE, Covariates
from .._nn.autoencoder import PRECISION
from .._utils.device import in_float64
from .._utils.host import HostState
from .._utils.validation import name_of
from .base import Likelihood, n_observed

# Levels of a column from which on it is measured, not ordered.
MOST_LEVELS = 1000
# A threshold that is never passed.
FAR = 1e4
# How many times as far as a weight a threshold's logarithm goes in a step.
PACE = 5.0
# Logarithms of steps and spreads beyond which they are not followed.
MOST_LOG = 30.0
# The least step between thresholds.
LEAST_STEP = 1e-9


def levels_of(column: np.ndarray) -> list[float]:
    """The values of a column that are there, in order."""
    return [float(v) for v in np.unique(column[~np.isnan(column)])]


class Ordinal(Likelihood):
    """A cumulative logit of every column's levels; one raw output a column.

    A value between two levels, or beyond them, is taken for the nearest.

    Parameters
    ----------
    n_features : int
    levels : sequence of sequence of float, (n_features,), optional
        Of every column, ascending; by default 0 and 1.

    Attributes
    ----------
    first : parameter of shape (D,)
        The lowest threshold of every column, at a spread of 1.
    log_steps : parameter of shape (n_steps,)
        ``ln(step) / PACE`` from a threshold to the next, all columns' side by side.
    log_spread : parameter of shape (D,)
        Logarithm, over ``PACE``, of what thresholds are multiplied with.
    """

    name = "ordinal"
    is_discrete = True
    has_own_scales = True
    inputs_are_rows = False
    starts: Tensor
    frequencies: Tensor
    _owner: Tensor
    _edges: Tensor
    _inner: Tensor
    _is_step: Tensor
    _first_of: Tensor
    _lower: Tensor
    _level_owner: Tensor

    def __init__(
        self, n_features: int, levels: Sequence[Sequence[float]] | None = None
    ) -> None:
        super().__init__(n_features)
        self.levels = [[0.0, 1.0]] * n_features if levels is None else levels
        sizes = np.array([len(of) for of in self.levels])
        starts = np.cumsum(sizes) - sizes
        self.units = HostState()
        self.units.hold("values", np.concatenate([np.asarray(v) for v in self.levels]))
        self.units.hold("scores", np.zeros(sizes.sum()))
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        shares = 1.0 / sizes.repeat(sizes)
        self.register_buffer("frequencies", torch.from_numpy(shares).to(PRECISION))
        self._lay_out(sizes)
        zeros = torch.zeros(n_features, dtype=PRECISION, device="cpu")
        n_steps = int(np.maximum(sizes - 2, 0).sum())
        self.first = nn.Parameter(zeros.clone())
        steps = torch.zeros(n_steps, dtype=PRECISION, device="cpu")
        self.log_steps = nn.Parameter(steps)
        self.log_spread = nn.Parameter(zeros.clone())
        self._begin()

    def _lay_out(self, sizes: np.ndarray) -> None:
        """Note whose every threshold is, and where it stands between the edges.

        A column of K levels has K - 1 thresholds, and an edge on both sides: the bounds
        of its level i are entries i and i + 1 of its K + 1.
        """
        owner = np.arange(self.n_features).repeat(sizes - 1)
        edges = np.cumsum(sizes + 1) - (sizes + 1)
        within = np.arange(len(owner)) - (np.cumsum(sizes - 1) - (sizes - 1))[owner]
        parts = {
            "owner": owner,
            "edges": edges,
            "inner": edges[owner] + 1 + within,
            "is_step": within > 0,
            "first_of": np.arange(len(owner)) - within,
            "lower": (edges.repeat(sizes) + _places(sizes)),
            "level_owner": np.arange(self.n_features).repeat(sizes),
        }
        for name, value in parts.items():
            tensor = torch.from_numpy(np.asarray(value))
            self.register_buffer(f"_{name}", tensor, persistent=False)
        self._n_bounds = int((sizes + 1).sum())

    @classmethod
    def of_rows(cls, X) -> Self:
        X = X.toarray() if sparse.issparse(X) else X
        # Too many are refused by check, which knows the columns' names.
        levels = [levels_of(column)[: MOST_LEVELS + 1] for column in X.T]
        return cls(X.shape[1], levels)

    @property
    def params(self) -> dict[str, Any]:
        return {**super().params, "levels": [list(of) for of in self.levels]}

    # -- data --------------------------------------------------------------------------

    def check(self, X, feature_names=None) -> None:
        for j, levels in enumerate(self.levels):
            if len(levels) > MOST_LEVELS:
                raise ValueError(
                    f"Column {name_of(j, feature_names)} of X has more than "
                    f"{MOST_LEVELS} different values, and likelihood={self.name!r} is "
                    "of few levels: use likelihood='gaussian_diag' for numbers."
                )

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        assert X is not None
        X = X.toarray() if sparse.issparse(X) else X
        found, scores = [], []
        for j, (column, levels) in enumerate(zip(X.T, self.levels, strict=True)):
            seen = torch.from_numpy(np.array(column[~np.isnan(column)]))[:, None]
            counts = np.bincount(self._nearest(seen, [j])[:, 0], minlength=len(levels))
            # Half a row of each kind more (Jeffreys).
            shares = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
            found.append(shares)
            # Normal scores: a level is where its rows would be in a Gaussian.
            normal = ndtri(np.cumsum(shares) - 0.5 * shares)
            spread = np.sqrt(shares @ normal**2 - (shares @ normal) ** 2)
            scores.append((normal - shares @ normal) / (spread or 1.0))
        self.units.hold("scores", np.concatenate(scores))
        self.frequencies.copy_(torch.from_numpy(np.concatenate(found)))
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """Thresholds at which levels have the training rows' frequencies."""
        shares = self.frequencies.double().cpu().numpy()
        firsts, steps = np.zeros(self.n_features), []
        for j, (start, levels) in enumerate(zip(self.starts, self.levels, strict=True)):
            if len(levels) < 2:
                continue
            below = np.cumsum(shares[int(start) : int(start) + len(levels)])[:-1]
            below = np.clip(below, 1e-12, 1.0 - 1e-12)
            at = np.log(below) - np.log1p(-below)
            firsts[j] = at[0]
            steps.append(np.log(np.maximum(np.diff(at), LEAST_STEP)))
        self.first.copy_(torch.from_numpy(firsts))
        if steps:
            self.log_steps.copy_(torch.from_numpy(np.concatenate(steps)) / PACE)
        self.log_spread.zero_()

    def _nearest(self, x: Tensor, columns: Sequence[int]) -> Tensor:
        """Numbers of the levels that entries (n, m) of columns are nearest to."""
        found = []
        for entries, j in zip(x.unbind(dim=1), columns, strict=True):
            levels = torch.tensor(self.levels[j], dtype=x.dtype, device=x.device)
            if len(levels) < 2:
                found.append(torch.zeros_like(entries, dtype=torch.int64))
                continue
            between = 0.5 * (levels[1:] + levels[:-1])
            found.append(torch.bucketize(entries.contiguous(), between, right=True))
        return torch.stack(found, dim=1)

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Numbers of levels; gaps stay gaps."""
        level = self._nearest(x, range(self.n_features)).to(x.dtype)
        level = torch.where(torch.isnan(x), x, level)
        return level if out is None else out.copy_(level)

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor:
        """Normal scores of the levels, standardised."""
        scores = self.units.get_buffer("scores").to(target.device, target.dtype)
        return scores[target.long() + self.starts]

    def input_affine(self) -> None:
        return None

    def to_units_of_X(self, target: Tensor) -> Tensor:
        values = self.units.get_buffer("values").to(target.device, target.dtype)
        return values[target.long() + self.starts]

    def no_code(self) -> np.ndarray:
        return np.zeros(self.n_features)

    def without_code(self) -> Tensor:
        self._begin()
        return torch.from_numpy(self.no_code())

    # -- the mass ----------------------------------------------------------------------

    def thresholds(self) -> Tensor:
        """Of all columns, side by side, ascending in each, (n_thresholds,), float64."""
        steps = torch.zeros(len(self._owner), dtype=torch.float64, device=self._device)
        widths = _bounded_exp(self.log_steps).clamp(min=LEAST_STEP)
        above = steps.masked_scatter(self._is_step, widths).cumsum(0)
        above = above - above[self._first_of]
        at = self.first[self._owner] + above
        return at * _bounded_exp(self.log_spread)[self._owner]

    @property
    def _device(self) -> torch.device:
        return self.first.device

    def bounds(self) -> Tensor:
        """Thresholds with an edge on both sides of every column's, (n_bounds,)."""
        found = torch.full(
            (self._n_bounds,), FAR, dtype=torch.float64, device=self._device
        )
        found[self._edges] = -FAR
        return found.scatter(0, self._inner, self.thresholds())

    def _elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """``-ln p`` of every entry, (n, D)."""
        bounds = self.bounds()
        at = target.long() + self._edges
        lower, upper = bounds[at], bounds[at + 1]
        # In float64: of narrow levels the difference is next to nothing.
        width = (upper - lower).clamp(min=LEAST_STEP)
        nats = F.softplus(raw - upper.to(raw)) + F.softplus(lower.to(raw) - raw)
        return nats - torch.log(-torch.expm1(-width)).to(raw)

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        nats = self._elementwise(raw.to(target.dtype), target)
        return (nats if mask is None else nats * mask).sum(dim=1)

    @torch.no_grad()
    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            bounds = self.bounds()
        at = target.long() + self._edges
        lower, upper = bounds[at], bounds[at + 1]
        width = (upper - lower).clamp(min=LEAST_STEP)
        u, v = upper.to(raw) - raw, raw - lower.to(raw)
        log_width = torch.log(-torch.expm1(-width)).to(raw)
        nats = F.softplus(-u) + F.softplus(-v) - log_width
        above, below = torch.sigmoid(-u), torch.sigmoid(-v)
        by_width = torch.expm1(width.clamp(max=60.0)).reciprocal().to(raw)
        parts = [nats, above - below, -above - by_width, below + by_width]
        n_seen: int | Tensor = target.numel()
        if mask is not None:
            parts = [part * mask for part in parts]
            n_seen = n_observed(mask)
        nats, gradient, of_upper, of_lower = parts
        of_bounds = torch.zeros_like(bounds)
        of_bounds.index_add_(0, (at + 1).flatten(), in_float64(of_upper).flatten())
        of_bounds.index_add_(0, at.flatten(), in_float64(of_lower).flatten())
        own = list(self.parameters())
        with torch.enable_grad():
            found = torch.autograd.grad(bounds, own, of_bounds / n_seen)
        for parameter, slope in zip(own, found, strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(slope)
        return nats.sum() / n_seen, gradient.div_(n_seen)

    def _below_and_upto(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of less than every level, and of no more, (n, n_levels)."""
        bounds, raw_of = self.bounds().to(raw), raw.index_select(1, self._level_owner)
        below = torch.sigmoid(bounds[self._lower] - raw_of)
        return below, torch.sigmoid(bounds[self._lower + 1] - raw_of)

    def level_probabilities(self, raw: Tensor) -> Tensor:
        """Of every level, columns' side by side, (n, n_levels)."""
        below, upto = self._below_and_upto(raw)
        return upto - below

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """The mean level, in units of X."""
        values = self.units.get_buffer("values").to(raw.device, raw.dtype)
        weighted = self.level_probabilities(raw) * values
        found = raw.new_zeros(raw.shape)
        return found.index_add_(1, self._level_owner, weighted)

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        noise = torch.from_numpy(random_state.logistic(size=tuple(raw.shape))).to(raw)
        thresholds = self.thresholds().to(raw)
        passed = (raw + noise).index_select(1, self._owner) > thresholds
        level = raw.new_zeros(raw.shape)
        level.index_add_(1, self._owner, passed.to(raw.dtype))
        return self.to_units_of_X(level)

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """``-2 ln p`` of every entry's level."""
        return self._elementwise(raw, target).mul_(2.0)

    def output_metric(self, raw: Tensor) -> Tensor:
        """Fisher's: the mean square of the derivative by raw."""
        below, upto = self._below_and_upto(raw)
        weighted = (upto - below) * (1.0 - upto - below).square()
        found = raw.new_zeros(raw.shape)
        return found.index_add_(1, self._level_owner, weighted)


def _bounded_exp(logs: Tensor) -> Tensor:
    """``exp(PACE * logs)`` in float64, as far as training may take it that goes off."""
    return (PACE * in_float64(logs)).clamp(-MOST_LOG, MOST_LOG).exp()


def _places(sizes: np.ndarray) -> np.ndarray:
    """0, 1, ..., n - 1 for every n."""
    return np.arange(sizes.sum()) - (np.cumsum(sizes) - sizes).repeat(sizes)
