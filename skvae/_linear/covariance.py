"""The covariance of rows, as linear models ask for it: a matrix, or products."""

from typing import NamedTuple

import numpy as np

from .._data.moments import column_moments
from .._kernels.threads import threads_worth
from .components import (
    Components,
    Scatter,
    components_of,
    principal_components,
    with_signs,
)
from .factor_analysis import FIRST_PRODUCTS, OVERSAMPLING, leading

# Share of the largest singular value below which conditions repeat each other, as the
# columns of all categories do.
RANK = 1e-8


class Regression(NamedTuple):
    """What conditions explain of rows: ``mean + (conditions - their mean) @ weights``.

    ``weights`` (n_conditions, n_features), ``mean`` (n_conditions,).
    """

    weights: np.ndarray
    mean: np.ndarray


class Covariance:
    """Of rows (divisor n), from their scatter if it is there, or else from the rows.

    With conditions, of what a linear regression on them leaves.

    Parameters
    ----------
    X : ndarray or CSR matrix/array of shape (n_rows, n_features)
    scatter : Scatter, optional
        Of the rows, with their conditions behind them.
    conditions : ndarray of shape (n_rows, n_conditions), optional

    Attributes
    ----------
    regression : Regression or None
    """

    def __init__(
        self,
        X,
        scatter: Scatter | None = None,
        conditions: np.ndarray | None = None,
    ) -> None:
        self._X, self._scatter = X, scatter
        self.n_rows, self.n_features = X.shape
        self.regression: Regression | None = None
        if scatter is not None:
            self.n_rows = scatter.n_rows
            if conditions is not None:
                self._scatter, self.regression = partialled(scatter, X.shape[1])
            assert self._scatter is not None
            self.mean, self.variance = self._scatter.mean, self._scatter.variance
            return
        self.mean, self.variance = column_moments(X)
        self._explained: np.ndarray | None = None
        if conditions is not None:
            self._regress(conditions.astype(np.float64))

    def _regress(self, conditions: np.ndarray) -> None:
        """Take what conditions explain out of the covariance."""
        mean = conditions.mean(axis=0)
        centred = conditions - mean
        within = centred.T @ centred / self.n_rows
        across = np.asarray((self._X.T @ centred).T) / self.n_rows
        weights = np.linalg.pinv(within, rcond=RANK, hermitian=True) @ across
        self.regression = Regression(weights, mean)
        # Of which the explained covariance is the product with its transpose.
        values, vectors = np.linalg.eigh(within)
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        self._explained = root @ weights
        left = self.variance - np.square(self._explained).sum(axis=0)
        self.variance = np.maximum(left, 0.0)

    def components(
        self, k: int, random_state: np.random.RandomState, scale: float = 1.0
    ) -> Components:
        """Up to k leading eigenpairs, of rows divided by ``scale``."""
        if self._scatter is not None:
            found = components_of(self._scatter, k)
        elif self.regression is not None:
            found = self._iterated(k, random_state)
        else:
            found = principal_components(self._X, k, random_state)
        values, vectors, total = found
        return Components(values / scale**2, vectors, total / scale**2)

    def _iterated(self, k: int, random_state: np.random.RandomState) -> Components:
        """By subspace iteration: products are all there is."""
        k = min(k, self.n_features, self.n_rows - 1)
        width = min(k + OVERSAMPLING, self.n_features)
        basis = random_state.standard_normal((self.n_features, width))
        product = self.standardised(np.ones(self.n_features))
        values, vectors = leading(product, basis, FIRST_PRODUCTS)
        values = np.maximum(values[:k], 0.0)
        return with_signs(values, vectors[:, :k].T, float(self.variance.sum()))

    def standardised(self, scale: np.ndarray):
        """What multiplies columns (n_features, m) with the covariance.

        Of rows whose columns are divided by ``scale`` (n_features,).
        """
        if self._scatter is not None:
            unit = np.sqrt(self._scatter.n_rows) / self._scatter.unit
            rows = scale * unit
            matrix = self._scatter.products / rows[:, None] / rows
            return lambda v: matrix @ v
        X, dtype = self._X, self._X.dtype
        unit = (1.0 / scale).astype(dtype)
        mean = self.mean.astype(dtype)

        def product(v: np.ndarray) -> np.ndarray:
            w = unit[:, None] * v.astype(dtype)
            with threads_worth(X.size * v.shape[1]):
                codes = X @ w - mean @ w
                back = X.T @ codes - np.outer(mean, codes.sum(axis=0))
            back = back / X.shape[0]
            if self._explained is not None:
                back = back - self._explained.T @ (self._explained @ w)
            return unit[:, None] * back

        return product


def partialled(scatter: Scatter, n_features: int) -> tuple[Scatter, Regression]:
    """The scatter of the first columns without what the others explain of them."""
    own, given = slice(0, n_features), slice(n_features, None)
    products = scatter.products.astype(np.float64)
    inverse = np.linalg.pinv(products[given, given], rcond=RANK, hermitian=True)
    weights = inverse @ products[given, own]
    left = products[own, own] - products[own, given] @ weights
    variance = np.maximum(np.diag(left) / scatter.n_rows, 0.0) * scatter.unit**2
    variance = np.where(scatter.variance[own] > 0.0, variance, 0.0)
    parts = (scatter.n_rows, scatter.mean[own], left, scatter.unit, variance)
    return Scatter(*parts), Regression(weights, scatter.mean[given])
