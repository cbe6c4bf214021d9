"""The linear model that a fit is judged by: probabilistic PCA with as many units."""

import numpy as np
from scipy import sparse
from sklearn.model_selection import KFold

from .._data.moments import column_moments
from .components import Components, bounded_index, principal_components
from .gaps import factors_with_gaps, log_likelihood_with_gaps
from .linear_vae import residual_variance
from .ppca import ProbabilisticPCA, ppca_log_likelihood

# Noise variance, as a share of the mean variance, that is rounding.
_ROUNDING = 1e-9
_FOLDS = 5
# Rows that every unit of a cross-fitted model should have, at least.
_ROWS_PER_UNIT = 4


def ppca_of(components: Components, mean: np.ndarray, scale: float) -> ProbabilisticPCA:
    """Probabilistic PCA from the components of rows ``(X - mean) / scale``, of X."""
    n_features = components.eigenvectors.shape[1]
    floor = _ROUNDING * components.total / n_features
    noise = residual_variance(
        components.total, components.eigenvalues, n_features, floor
    )
    kept = np.maximum(components.eigenvalues, noise)
    return ProbabilisticPCA(
        mean, components.eigenvectors, kept * scale**2, noise * scale**2
    )


def cross_fitted_likelihood(X, n_components: int) -> np.ndarray | None:
    """ln p(x) of every row in nats, in a linear model of the other rows.

    Of folds of the rows, where nothing is known of those that a fit was trained on. No
    more units than half of the features. None where there is too little to fit.
    """
    n_rows, n_features = X.shape
    if n_rows < 2 * _FOLDS:
        return None
    generator = np.random.RandomState(0)
    found = np.empty(n_rows)
    gaps = not sparse.issparse(X) and bool(np.isnan(X).any())
    folds = KFold(_FOLDS, shuffle=True, random_state=generator)
    for train, test in folds.split(np.empty(n_rows)):
        # With a unit for every feature, rounding would be all that is left as noise.
        most = min(len(train) // _ROWS_PER_UNIT, n_features // 2)
        k = min(n_components, max(1, most))
        part = X[bounded_index(X, generator.permutation(train), k)]
        if gaps:
            found[test] = _with_gaps(part, X[test], k, generator)
            continue
        components = principal_components(part, k, generator)
        if not len(components.eigenvalues):
            return None
        model = ppca_of(components, column_moments(part)[0], 1.0)
        found[test] = ppca_log_likelihood(model, X[test])
    return found


def _with_gaps(
    X: np.ndarray, others: np.ndarray, k: int, random_state: np.random.RandomState
) -> np.ndarray:
    """ln p of other rows in the probabilistic PCA of rows, both with gaps."""
    mean, variance = column_moments(X)
    scale = float(np.sqrt(variance.mean())) or 1.0
    factors = factors_with_gaps(
        (X - mean) / scale, k, shared_noise=True, random_state=random_state
    )
    standardised = (others - mean) / scale
    n_seen = (~np.isnan(others)).sum(axis=1)
    found = log_likelihood_with_gaps(factors, standardised)
    return found - n_seen * np.log(scale)
