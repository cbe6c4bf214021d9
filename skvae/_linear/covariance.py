"""The covariance of rows, as linear models ask for it: a matrix, or products."""

import numpy as np
from scipy import sparse

from .._data.moments import column_moments
from .._kernels.threads import threads_worth
from .components import (
    Components,
    Scatter,
    components_of,
    principal_components,
)


class Covariance:
    """Of rows (divisor n), from their scatter if it is there, or else from the rows.

    Parameters
    ----------
    X : ndarray or CSR matrix/array of shape (n_rows, n_features)
    scatter : Scatter, optional
        Of the rows.
    """

    def __init__(self, X, scatter: Scatter | None = None) -> None:
        self._X, self._scatter = X, scatter
        self.n_rows, self.n_features = X.shape
        self._moments: tuple[np.ndarray, np.ndarray] | None = None
        if scatter is not None:
            self.n_rows = scatter.n_rows
            self._moments = scatter.mean, scatter.variance

    @property
    def mean(self) -> np.ndarray:
        return self._of_columns()[0]

    @property
    def variance(self) -> np.ndarray:
        """Its diagonal, (n_features,)."""
        return self._of_columns()[1]

    def _of_columns(self) -> tuple[np.ndarray, np.ndarray]:
        if self._moments is None:
            self._moments = column_moments(self._X)
        return self._moments

    def components(
        self, k: int, random_state: np.random.RandomState, scale: float = 1.0
    ) -> Components:
        """Up to k leading eigenpairs, of rows divided by ``scale``."""
        if self._scatter is not None:
            found = components_of(self._scatter, k)
        else:
            found = principal_components(self._X, k, random_state)
        values, vectors, total = found
        return Components(values / scale**2, vectors, total / scale**2)

    def standardised(self, scale: np.ndarray):
        """What multiplies columns (n_features, m) with the covariance.

        Of rows whose columns are divided by ``scale`` (n_features,).
        """
        if self._scatter is not None:
            unit = np.sqrt(self._scatter.n_rows) / self._scatter.unit
            rows = scale * unit
            matrix = self._scatter.products / rows[:, None] / rows
            return lambda v: matrix @ v
        X, mean = self._X, self.mean
        dtype = X.dtype
        unit = (1.0 / scale).astype(dtype)
        mean = mean.astype(dtype)

        def product(v: np.ndarray) -> np.ndarray:
            w = unit[:, None] * v.astype(dtype)
            with threads_worth(X.size * v.shape[1]):
                codes = X @ w - mean @ w
                back = X.T @ codes - np.outer(mean, codes.sum(axis=0))
            return unit[:, None] * back / X.shape[0]

        return product

    @property
    def is_sparse(self) -> bool:
        return sparse.issparse(self._X)
