"""Maximum-likelihood factor analysis: a linear model with one noise variance a feature.

``x = W z + e`` with z standard normal and e of the diagonal covariance Psi. At a given
Psi the best W has a closed form, probabilistic PCA in units of the noise (Barber, 2012,
section 21.2.2): with the leading eigenpairs (l_i, u_i) of ``Psi^-1/2 S Psi^-1/2``,

    W = Psi^1/2 u_i sqrt(l_i - 1)  for l_i > 1,    Psi = diag(S - W W').

The two are taken in turns. Every turn raises the likelihood.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg

# Turns, and the gain in nats per row below which they end.
MAX_TURNS = 200
TOLERANCE = 1e-3
# Columns that a subspace has beyond the units that are asked for, and products that it
# takes in the first turn; later ones begin where the last one ended.
OVERSAMPLING = 8
FIRST_PRODUCTS = 6


class FactorAnalysis(NamedTuple):
    """Of rows in some units: ``W = sqrt(noise) * vectors' * sqrt(values - 1)``.

    ``values`` (k,), descending, of which those above 1 are active units, ``vectors``
    (k, D) with orthonormal rows, ``noise`` (D,).
    """

    values: np.ndarray
    vectors: np.ndarray
    noise: np.ndarray


def factor_analysis(
    product: Callable[[np.ndarray], np.ndarray],
    variance: np.ndarray,
    n_components: int,
    floor: float | np.ndarray,
    random_state: np.random.RandomState,
) -> FactorAnalysis:
    """Factor analysis from products with a covariance whose diagonal is ``variance``.

    Parameters
    ----------
    product : callable
        Multiplies columns (D, m) with the covariance.
    variance : ndarray of shape (D,)
    n_components : int
    floor : float or ndarray of shape (D,)
        Least noise variance.
    random_state : RandomState
        Of the subspace that the first turn begins at.
    """
    n_features = len(variance)
    k = min(n_components, n_features)
    width = min(k + OVERSAMPLING, n_features)
    basis = random_state.standard_normal((n_features, width))
    noise = np.maximum(variance, floor)
    best, mark = -np.inf, -np.inf
    values, vectors = np.empty(0), np.empty((0, n_features))
    for turn in range(MAX_TURNS):
        root = np.sqrt(noise)

        def scaled(v: np.ndarray, root=root) -> np.ndarray:
            return product(v / root[:, None]) / root[:, None]

        n_products = FIRST_PRODUCTS if turn == 0 else 1
        values, basis = leading(scaled, basis, n_products)
        kept, vectors = values[:k], basis[:, :k].T
        active = np.maximum(kept, 1.0)
        # ln p per row, but for its constant: the trace, the eigenvalues, the noise.
        trace = float((variance / noise).sum())
        shrunk = (kept - 1.0 - np.log(active))[kept > 1.0].sum()
        best = -0.5 * (float(np.log(noise).sum()) + trace - shrunk)
        if best < mark + TOLERANCE or turn == MAX_TURNS - 1:
            break
        mark = best
        explained = ((active - 1.0)[:, None] * vectors**2).sum(axis=0) * noise
        noise = np.maximum(variance - explained, floor)
        basis = root[:, None] * basis / np.sqrt(noise)[:, None]
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return FactorAnalysis(values[:k], vectors * signs[:, None], noise)


def leading(
    product: Callable[[np.ndarray], np.ndarray], basis: np.ndarray, n_products: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenpairs of a symmetric matrix in the span of its products.

    Subspace iteration (Halko, Martinsson & Tropp, 2011): values (m,), descending, and
    vectors (D, m), from a basis (D, m).
    """
    for _ in range(n_products):
        basis, _ = linalg.qr(product(basis), mode="economic")
    image = product(basis)
    values, rotation = linalg.eigh(basis.T @ image)
    return values[::-1], basis @ rotation[:, ::-1]
