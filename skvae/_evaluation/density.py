"""A density of codes: the Gaussian mixture that ``RAETransformer`` draws from."""

import copy
import warnings

import numpy as np
from scipy import linalg
from scipy.cluster.vq import kmeans2
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

# Codes that the density is fitted to.
MAX_CODES = 10_000


def fit_density(
    codes: np.ndarray, n_components: int, scale: float, random_state
) -> GaussianMixture:
    """Gaussian mixture of codes (n, latent_dim).

    A full covariance takes more rows than units: there are fewer components where there
    are too few rows for them.
    """
    n_rows, n_units = codes.shape
    kept = np.linspace(0, n_rows - 1, min(n_rows, MAX_CODES)).round().astype(int)
    codes = codes[kept].astype(np.float64)
    n_components = max(1, min(n_components, n_rows // (n_units + 1)))
    floor = 1e-6 * scale**2
    with warnings.catch_warnings():
        # A mixture that could still be improved is a density all the same, and so is
        # one with a component that no code is next to.
        warnings.simplefilter("ignore", (ConvergenceWarning, UserWarning))
        weights, means, precisions = _clusters(codes, n_components, floor, random_state)
        mixture = GaussianMixture(
            n_components,
            reg_covar=floor,
            # The default would fit a public KMeans.
            init_params="random_from_data",
            weights_init=weights,
            means_init=means,
            precisions_init=precisions,
            random_state=random_state,
        )
        # The method of the base class, since whatever watches estimators (autologging,
        # profilers) replaces that of GaussianMixture, and would take the mixture for
        # the user's model.
        super(GaussianMixture, mixture).fit_predict(codes)
    return mixture.set_params(weights_init=None, means_init=None, precisions_init=None)


def _clusters(codes: np.ndarray, n: int, floor: float, random_state):
    """Weights (n,), means (n, k) and precisions (n, k, k) of clusters of codes."""
    centres, _ = kmeans_plusplus(codes, n, random_state=random_state)
    centres, labels = kmeans2(codes, centres, iter=30, minit="matrix")
    # A cluster that lost all its codes keeps its centre, and a trace of weight.
    sizes = np.bincount(labels, minlength=n) + 1e-3
    precisions = []
    for label, centre in enumerate(centres):
        off = codes[labels == label] - centre
        covariance = off.T @ off / sizes[label] + floor * np.eye(codes.shape[1])
        precision = linalg.inv(covariance)
        precisions.append((precision + precision.T) / 2.0)
    return sizes / sizes.sum(), centres, np.stack(precisions)


def draw_codes(density: GaussianMixture, n_samples: int, scale: float, generator):
    """Codes (n_samples, latent_dim) from a mixture, in random order.

    Drawn in units of ``scale``, since numpy checks covariances to absolute tolerances.
    """
    unitless = copy.copy(density).set_params(random_state=generator)
    unitless.means_ = density.means_ / scale
    unitless.covariances_ = density.covariances_ / scale**2
    codes, _ = unitless.sample(n_samples)
    # The mixture gives its components one after the other.
    return scale * generator.permutation(codes)
