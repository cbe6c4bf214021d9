"""Log-likelihood of probabilistic PCA, where scikit-learn's own is wrong, too.

With k components and D features, probabilistic PCA (Tipping & Bishop, 1999) spreads the
variance that the components leave over ``D - k`` directions. scikit-learn's ``PCA``
averages it over the ``min(n_rows, D) - k`` directions that the training rows span.
Where there are fewer rows than features its noise is too large, and ``PCA.score`` is
hundreds of nats below the maximum likelihood that its documentation promises.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.utils import gen_batches

# Values of X that are centred at once.
_CHUNK_ENTRIES = 8_388_608


class ProbabilisticPCA(NamedTuple):
    """A Gaussian density whose covariance is of rank k, plus noise.

    ``mean`` (n_features,), ``components`` (k, n_features) orthonormal,
    ``explained_variance`` (k,) the eigenvalues, noise included, and ``noise_variance``
    that of each direction beside them.
    """

    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    noise_variance: float


def corrected_ppca(pca: PCA) -> ProbabilisticPCA:
    """The model that a fitted ``PCA`` stands for, its noise over all directions.

    Where there are as many rows as features it is scikit-learn's own.

    Raises
    ------
    ValueError
        If the components leave directions without any variance: the density has no
        upper bound then.
    """
    k, n_features = pca.components_.shape
    n_spanned = min(pca.n_samples_, n_features)
    noise = 0.0
    if k < n_features:
        noise = float(pca.noise_variance_) * (n_spanned - k) / (n_features - k)
        if noise <= 0.0:
            raise ValueError(
                f"The {k} components of this PCA leave no variance for its noise, so "
                "it has no likelihood; lower n_components."
            )
    return ProbabilisticPCA(
        pca.mean_.astype(np.float64),
        pca.components_.astype(np.float64),
        # As scikit-learn has it: no direction has less than the noise.
        np.maximum(pca.explained_variance_.astype(np.float64), noise),
        noise,
    )


def ppca_log_likelihood(model: ProbabilisticPCA, X) -> np.ndarray:
    """ln p(x) of every row in nats, float64, (n_rows,); X may be sparse, and stays so.

    In the k directions of the components, and by the squared length of the rest: no
    matrix of n_features squared, which ``PCA.score_samples`` inverts.
    """
    k, n_features = model.components.shape
    n_left = n_features - k
    log_det = float(np.log(model.explained_variance).sum())
    if n_left:
        log_det += n_left * math.log(model.noise_variance)
    log_norm = n_features * math.log(2.0 * math.pi) + log_det
    step = max(1, _CHUNK_ENTRIES // n_features)
    parts = []
    for at in gen_batches(X.shape[0], step):
        codes, squared_length = _projected(model, X[at])
        distance = np.square(codes) @ (1.0 / model.explained_variance)
        if n_left:
            left = squared_length - np.square(codes).sum(axis=1)
            # Rounding can take a row within the components' span below zero.
            distance += np.maximum(left, 0.0) / model.noise_variance
        parts.append(-0.5 * (log_norm + distance))
    return np.concatenate(parts)


def _projected(model: ProbabilisticPCA, X) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n_rows, k) of centred rows, and the rows' squared lengths."""
    if not sparse.issparse(X):
        centred = np.asarray(X, dtype=np.float64) - model.mean
        lengths = np.einsum("ni,ni->n", centred, centred)
        return centred @ model.components.T, lengths
    X = X.astype(np.float64)
    codes = X @ model.components.T - model.components @ model.mean
    squares = np.asarray(X.multiply(X).sum(axis=1)).ravel()
    lengths = squares - 2.0 * (X @ model.mean) + model.mean @ model.mean
    return codes, lengths
