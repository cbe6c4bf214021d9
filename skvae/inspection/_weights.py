"""Values of ``kld_weight`` to search, before any fit.

They rest on the linear model, whose optimum is known in closed form: with one noise
variance, unit i is active while the i-th eigenvalue of the covariance exceeds
``kld_weight * D / 2``.
"""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._data.moments import column_moments
from .._kernels.surroundings import public
from .._likelihoods.registry import LIKELIHOODS
from .._likelihoods.standardised import Standardised
from .._linear.spectrum import Spectrum, noise_grid, spectrum, weight_of_noise
from .._utils.typing import RandomState, Table
from .._utils.validation import canonical, float_dtypes, from_torch

# Betas to search where no theory says more.
LEAST_BETA, MOST_BETA = 0.125, 8.0


@validate_params(
    {
        "X": "no_validation",  # check_array does it
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "n": [Interval(Integral, 1, None, closed="left")],
        "likelihood": [StrOptions(set(LIKELIHOODS))],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
@public
def suggest_kld_weights(
    X: Table,
    latent_dim: int,
    n: int = 4,
    *,
    likelihood: str = "gaussian",
    random_state: RandomState = None,
) -> np.ndarray:
    """Values of ``kld_weight`` to search, from the eigenvalues of X's covariance.

    A weight is relative to the mean over elements of the squared error, in squared
    units of X, with "gaussian", and of the negative log-likelihood, in nats, with any
    other likelihood: there ``beta = kld_weight * D``, whatever the table, and weights
    of one likelihood mean nothing to another.

    With "gaussian" and D features, a linear VAE has as many active units as there are
    eigenvalues above ``kld_weight * D / 2`` [1]_. The grid runs from all ``latent_dim``
    units active, if X has so many components, to one. Half of it keeps all units
    active, beginning at an eighth of the weight that is maximum likelihood for PCA,
    since a non-linear decoder leaves less noise; the numbers of the other half fall
    geometrically to one, with every weight in the middle of a gap between eigenvalues.

    With a noise a feature ("gaussian_diag", "student_t") the same holds of the
    eigenvalues of factor analysis, in units of its noise, and ``kld_weight * D``.
    Discrete likelihoods have no such theory: their grid is beta from 1/8 to 8, around
    maximum likelihood. A search over ``beta``, with ``kld_weight="auto"``, is the same
    search and needs no X.

    Pass X as the model will see it: scaled, if a scaler stands in front.

    Parameters
    ----------
    X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
        Rows, at least two. Sparse X stays sparse; of large tables a random subset of
        the rows is used.
    latent_dim : int
        Number of latent units of the model.
    n : int, default=4
        Number of weights. One alone is the first of the longer grids.
    likelihood : str, default="gaussian"
        That of the model, by its name. A search over ``kld_weight`` has "gaussian" by
        default.
    random_state : int, RandomState instance or None, default=None
        Seed of the randomised decomposition of wide tables and of the subset of rows of
        large ones.

    Returns
    -------
    weights : ndarray of shape (n,)
        float64, ascending, in squared units of X per nat with "gaussian", and else
        without a unit. Where eigenvalues are equal, no weight tells their units apart.

    Raises
    ------
    ValueError
        If X is not a table of finite numbers with two rows or more, or is constant, or
        if a parameter is invalid.

    References
    ----------
    .. [1] Lucas, Tucker, Grosse and Norouzi (2019). Don't Blame the ELBO! A Linear VAE
       Perspective on Posterior Collapse. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae.inspection import suggest_kld_weights
    >>> X = load_digits().data / 16
    >>> suggest_kld_weights(X, latent_dim=10, random_state=0).round(5)
    array([9.000e-05, 6.300e-04, 1.461e-02, 2.089e-02])
    """
    X = from_torch(X)
    X = check_array(
        X,
        accept_sparse="csr",
        dtype=float_dtypes(X),
        ensure_min_samples=2,
        input_name="X",
    )
    X = canonical(X)
    kind = LIKELIHOODS[likelihood]
    if kind.is_discrete:
        return np.geomspace(LEAST_BETA, MOST_BETA, max(n, 2))[:n] / X.shape[1]
    model = kind(X.shape[1])
    # One more than there are units: the gap below the last.
    n_values = int(latent_dim) + 1
    if isinstance(model, Standardised):
        rows = _factor_spectrum(model, X, n_values)
    else:
        seed = np.random.RandomState() if random_state is None else random_state
        rows = spectrum(X, n_values, check_random_state(seed))
    if rows.total_variance == 0.0:
        raise ValueError("X is constant: no weight leaves a unit anything to say.")
    grid = noise_grid(rows, int(latent_dim), int(n))
    if isinstance(model, Standardised):
        return grid / X.shape[1]
    return np.array([weight_of_noise(noise, X.shape[1]) for noise in grid])


def _factor_spectrum(likelihood: Standardised, X, n_values: int) -> Spectrum:
    """Eigenvalues of factor analysis in units of its noise, those that stand out."""
    mean, variance = column_moments(X)
    if not variance.any():
        return Spectrum(np.empty(0), 0.0, X.shape[1])
    likelihood.fit_inputs(mean, variance, X)
    values = likelihood.factors(X, n_values).values
    values = values[values > 1.0] if (values > 1.0).any() else values[:1]
    # What no unit explains has the variance 1.
    total = float(values.sum()) + X.shape[1] - len(values)
    return Spectrum(values, total, X.shape[1])
