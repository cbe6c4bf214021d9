"""Factor analysis of rows that have gaps, by maximum likelihood of what is there.

With ``x = mean + W z + e``, z standard normal and e of the diagonal covariance Psi,
what was observed of a row, o, is Gaussian again, and so is z given it. With r what x_o
is beyond the mean,

    A = I + W_o' Psi_o^-1 W_o,    E z = A^-1 W_o' Psi_o^-1 r,    cov z = A^-1,
    ln p(x_o) = -1/2 (ln |2 pi Psi_o| + ln |A| + r' Psi_o^-1 r - (E z)' A (E z)).

Turns of EM (Ghahramani & Jordan, 1994; Ilin & Raiko, 2010): a column's loadings and
mean are its regression on the codes of the rows where it is there. The codes' own mean
and covariance are then taken into the loadings, which makes turns longer (parameter
expansion: Liu, Rubin & Wu, 1998). Nothing is ever as large as columns squared.

A row's gaps are expected at ``mean + W E z``. So by the law of total expectation the
posterior mean of a whole row, applied to a row that is filled so, is that given what
was observed: whatever is linear needs no other treatment of gaps.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from .._utils.device import in_float64
from .._utils.host import HostState
from .components import Components
from .covariance import Regression
from .factor_analysis import FactorAnalysis

# Turns, and the gain in nats per row below which they end.
MAX_TURNS, TOLERANCE = 300, 1e-3
# Products of entries and codes that a turn looks at, and rows that it does at least.
MOST_PRODUCTS, FEWEST_ROWS = 200_000_000, 1000
# The same of what is in memory at once.
PRODUCTS_AT_ONCE = 20_000_000
# Least noise variance of a column, as a share of its variance, where none is given.
NOISE_FLOOR = 1e-3


class GappyFactors(NamedTuple):
    """A factor analysis and the mean of rows in some units.

    ``W = sqrt(noise) * vectors' * sqrt(values - 1)``, as ``FactorAnalysis`` has it;
    ``mean`` (D,).
    """

    mean: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    noise: np.ndarray

    @property
    def loadings(self) -> np.ndarray:
        """W, (D, k)."""
        gain = np.sqrt(np.maximum(self.values - 1.0, 0.0))
        return np.sqrt(self.noise)[:, None] * self.vectors.T * gain


class GivenObserved(NamedTuple):
    """Codes of rows, given what was observed: means (n, k), covariances (n, k, k).

    ``log_likelihood`` (n,) is ln p of that, in nats.
    """

    mean: Tensor
    covariance: Tensor
    log_likelihood: Tensor


def given_observed(
    x: Tensor, observed: Tensor, mean: Tensor, loadings: Tensor, noise: Tensor
) -> GivenObserved:
    """Codes of rows (n, D), given their entries where ``observed`` (n, D) is true.

    In float64, whatever x is in; ``mean`` (D,), ``loadings`` (D, k), ``noise`` (D,).
    """
    seen = in_float64(observed)
    residual = torch.where(observed, in_float64(x) - mean, 0.0)
    weighted = loadings / noise[:, None]
    k = loadings.shape[1]
    products = (weighted[:, :, None] * loadings[:, None]).flatten(1)
    precision = (seen @ products).view(-1, k, k)
    precision.diagonal(dim1=1, dim2=2).add_(1.0)
    pull = residual @ weighted
    factor = torch.linalg.cholesky(precision)
    codes = torch.cholesky_solve(pull[:, :, None], factor)[:, :, 0]
    log_det = 2.0 * factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    log_norm = seen @ torch.log(2.0 * math.pi * noise)
    distance = (residual.square() / noise).sum(dim=1) - (pull * codes).sum(dim=1)
    return GivenObserved(
        codes,
        torch.cholesky_inverse(factor),
        -0.5 * (log_norm + log_det + distance),
    )


def factors_with_gaps(
    X: np.ndarray,
    n_units: int,
    *,
    shared_noise: bool = False,
    floor: float | np.ndarray = NOISE_FLOOR,
    random_state: np.random.RandomState,
    max_turns: int = MAX_TURNS,
    tolerance: float = TOLERANCE,
) -> GappyFactors:
    """Maximum likelihood factor analysis of rows with gaps, or probabilistic PCA.

    Parameters
    ----------
    X : ndarray of shape (n, D)
        Rows in model units, NaN where nothing was observed. Of many, some are looked
        at, evenly spaced.
    n_units : int
    shared_noise : bool
        Whether all columns have one noise variance.
    floor : float or ndarray of shape (D,)
        Least noise variances.
    random_state : RandomState
        Of the decomposition that the first turn begins at.
    max_turns : int
    tolerance : float
        Nats per row.
    """
    k = max(1, min(n_units, X.shape[1], len(X) - 1))
    x = torch.from_numpy(np.array(X[rows_looked_at(X.shape, k)], dtype=np.float64))
    observed = ~torch.isnan(x)
    x = torch.where(observed, x, 0.0)
    least = torch.as_tensor(np.broadcast_to(floor, X.shape[1]).copy())
    mean, loadings, noise = _start(x, observed, k, least, random_state)
    if shared_noise:
        noise = torch.full_like(noise, float(noise.mean()))
    mark = -math.inf
    for turn in range(max_turns):
        sums = _Sums.of(x, observed, mean, loadings, noise)
        if sums.log_likelihood < mark + tolerance and turn:
            break
        mark = sums.log_likelihood
        mean, loadings, noise = sums.best(least, shared_noise=shared_noise)
    return _canonical(mean, loadings, noise)


def rows_looked_at(shape: tuple[int, ...], k: int) -> np.ndarray:
    """Indices of rows, evenly spaced, that :func:`factors_with_gaps` looks at."""
    n_rows, n_features = shape
    most = max(FEWEST_ROWS, MOST_PRODUCTS // (n_features * (k + 1) ** 2))
    return np.linspace(0, n_rows - 1, min(n_rows, most)).round().astype(int)


def _start(
    x: Tensor,
    observed: Tensor,
    k: int,
    floor: Tensor,
    random_state: np.random.RandomState,
) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components of rows whose gaps are at the mean."""
    n_rows = observed.sum(dim=0).clamp(min=1)
    mean = x.sum(dim=0) / n_rows
    centred = torch.where(observed, x - mean, 0.0)
    variance = centred.square().sum(dim=0) / n_rows
    _, lengths, vectors = randomized_svd(
        centred.numpy(), k, random_state=random_state, n_iter=4
    )
    gain = torch.from_numpy(lengths / math.sqrt(len(x)))
    loadings = torch.from_numpy(vectors.T.copy()) * gain
    left = variance - loadings.square().sum(dim=1)
    return mean, loadings, torch.maximum(left, floor.clamp(min=1e-12))


class _Sums(NamedTuple):
    """What a turn adds up over rows, with 1 behind the codes.

    Attributes
    ----------
    log_likelihood : float
        Nats per row.
    outer : tensor of shape (D, k + 1, k + 1)
        Expected products of codes, over rows where the column was observed.
    crossed : tensor of shape (D, k + 1)
        The same of codes and the column.
    squares, n_rows : tensor of shape (D,)
        Of the column.
    codes : tensor of shape (k,)
        Mean code of all rows.
    spread : tensor of shape (k, k)
        Covariance of all rows' codes.
    """

    log_likelihood: float
    outer: Tensor
    crossed: Tensor
    squares: Tensor
    n_rows: Tensor
    codes: Tensor
    spread: Tensor

    @classmethod
    def of(
        cls, x: Tensor, observed: Tensor, mean: Tensor, loadings: Tensor, noise: Tensor
    ) -> "_Sums":
        n_features, k = loadings.shape
        step = max(1, PRODUCTS_AT_ONCE // max(n_features, (k + 1) ** 2))
        outer = x.new_zeros(n_features, (k + 1) ** 2)
        crossed = x.new_zeros(n_features, k + 1)
        total, codes, products = 0.0, x.new_zeros(k), x.new_zeros(k, k)
        for rows, there in zip(x.split(step), observed.split(step), strict=True):
            found = given_observed(rows, there, mean, loadings, noise)
            ones = found.mean.new_ones(len(rows), 1)
            z = torch.cat([found.mean, ones], dim=1)
            each = z[:, :, None] * z[:, None]
            each[:, :k, :k] += found.covariance
            outer += in_float64(there).T @ each.flatten(1)
            crossed += rows.T @ z
            codes += found.mean.sum(dim=0)
            products += each[:, :k, :k].sum(dim=0)
            total += float(found.log_likelihood.sum())
        n = len(x)
        codes /= n
        return cls(
            total / n,
            outer.view(n_features, k + 1, k + 1),
            crossed,
            x.square().sum(dim=0),
            observed.sum(dim=0),
            codes,
            products / n - torch.outer(codes, codes),
        )

    def best(
        self, floor: Tensor, *, shared_noise: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, loadings and noise that maximise the expected likelihood."""
        k = len(self.codes)
        ridge = 1e-9 * torch.eye(k + 1, dtype=self.outer.dtype, device="cpu")
        weights = torch.linalg.solve(self.outer + ridge, self.crossed[:, :, None])
        weights = weights[:, :, 0]
        left = self.squares - (weights * self.crossed).sum(dim=1)
        n_rows = self.n_rows.clamp(min=1)
        if shared_noise:
            left = (left.sum() / n_rows.sum()).expand_as(left)
            noise = torch.maximum(left, floor)
        else:
            noise = torch.maximum(left / n_rows, floor)
        values, vectors = torch.linalg.eigh(self.spread)
        root = vectors * values.clamp(min=1e-12).sqrt()
        loadings, mean = weights[:, :k], weights[:, k]
        return mean + loadings @ self.codes, loadings @ root, noise.clamp(min=1e-12)


def _canonical(mean: Tensor, loadings: Tensor, noise: Tensor) -> GappyFactors:
    """Units by what they explain, in units of the noise, with signs as PCA has them."""
    scaled = (loadings / noise.sqrt()[:, None]).numpy()
    left, lengths, _ = np.linalg.svd(scaled, full_matrices=False)
    largest = np.abs(left).argmax(axis=0)
    signs = np.sign(left[largest, np.arange(left.shape[1])])
    return GappyFactors(
        mean.numpy(), 1.0 + lengths**2, (left * signs).T, noise.numpy().copy()
    )


def log_likelihood_with_gaps(factors: GappyFactors, X: np.ndarray) -> np.ndarray:
    """ln p of what was observed of rows (n, D), in nats of model units, (n,).

    0 of a row with nothing.
    """
    parts = (factors.mean, factors.loadings, factors.noise)
    tensors = [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]
    x = torch.from_numpy(np.array(X, dtype=np.float64))
    return given_observed(x, ~torch.isnan(x), *tensors).log_likelihood.numpy()


class ConditionalMean(HostState):
    """What gaps of rows are expected to be, given what was observed of them.

    Parameters
    ----------
    factors : GappyFactors, optional
        None waits for a ``state_dict``.
    """

    def __init__(self, factors: GappyFactors | None = None) -> None:
        super().__init__()
        self._on: dict = {}
        if factors is not None:
            self.hold("mean", factors.mean)
            self.hold("loadings", factors.loadings)
            self.hold("noise", factors.noise)

    def posterior(self, x: Tensor, observed: Tensor) -> GivenObserved:
        """Codes of rows (n, D), given what was observed of them, in float64."""
        return given_observed(x, observed, *self._parts(x.device))

    def __call__(self, x: Tensor, observed: Tensor) -> Tensor:
        """Rows (n, D), their own where ``observed`` is true and expected elsewhere."""
        mean, loadings, _ = self._parts(x.device)
        codes = self.posterior(x, observed).mean
        return torch.where(observed, x, (mean + codes @ loadings.T).to(x.dtype))

    def _parts(self, device: torch.device) -> list[Tensor]:
        names = ("mean", "loadings", "noise")
        if device not in self._on:
            self._on = {device: [self._held(name).to(device) for name in names]}
        return self._on[device]


class FactorCovariance:
    """The covariance that a factor analysis of rows in model units stands for.

    What linear models ask of a ``Covariance``, where rows have gaps.

    Attributes
    ----------
    factors : FactorAnalysis
        In model units.
    regression : Regression or None
        In units of X.
    """

    def __init__(
        self,
        factors: GappyFactors,
        n_rows: int,
        regression: Regression | None = None,
    ) -> None:
        self.n_rows, self.n_features = n_rows, len(factors.noise)
        self.factors = FactorAnalysis(*factors[1:])
        self.regression = regression

    def components(
        self, k: int, random_state: np.random.RandomState, scale: float = 1.0
    ) -> Components:
        """Up to k leading eigenpairs in model units, of one noise variance."""
        values, vectors, noise = self.factors
        total = float(
            noise @ (1.0 + ((values - 1.0)[:, None] * vectors**2).sum(axis=0))
        )
        return Components(noise[0] * values[:k], vectors[:k], total)
