"""Judging a fitted model: scorers for a search, and what lies behind the score.

A scorer is called as ``scorer(estimator, X, y=None)`` and is greater for the better
model, so ``GridSearchCV(..., scoring=elbo_scorer)`` takes it as it is. ``estimator``
may be a fitted :class:`~skvae.VAETransformer`, or a ``Pipeline`` or a search that ends
in one; densities are then those of the pipeline's transformed rows.

In the field's terms (Alemi et al., 2018, Fixing a Broken ELBO), per row and in nats,
``ELBO = -(distortion + rate)``.

Where the factors that made the data are known, functions of (codes, factors) say how
far the units of a model are these.
"""

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from ._base import BaseAutoencoder
from ._disentanglement import (
    beta_vae_score,
    dci,
    factor_vae_score,
    modularity,
    mutual_information_gap,
    sap_score,
    total_correlation,
)
from ._evaluation.disentanglement import DCI
from ._evaluation.evaluator import n_active
from ._evaluation.sparsity import NEAR_ZERO, near_zero_share
from ._evaluation.verdicts import ACTIVE_VARIANCE
from ._kernels.surroundings import public
from ._linear.ppca import corrected_ppca, ppca_log_likelihood
from ._utils.docs import filled
from ._utils.routing import requests
from ._utils.typing import Table
from ._utils.validation import canonical, checked_n_samples, from_torch
from .vae import VAETransformer

__all__ = [
    "DCI",
    "active_units",
    "beta_vae_score",
    "code_sparsity",
    "dci",
    "distortion",
    "elbo_scorer",
    "factor_vae_score",
    "kl_per_unit",
    "log_likelihood_scorer",
    "modularity",
    "mutual_information_gap",
    "pca_scorer",
    "rate",
    "rate_distortion_scorer",
    "reconstruction_scorer",
    "sap_score",
    "total_correlation",
]


#: Fills ``%(given)s`` into the docstring of what measures rows.
documented_given = filled(
    {
        "given": """
conditions : array-like or frame of shape (n_samples, n_conditions), optional
    Of the rows, if the model was fitted with some.
size_factor : array-like of shape (n_samples,), optional
    Of the rows, if the model was fitted with those of its own.
"""
    }
)


def _final(estimator, X=None):
    """The autoencoder at the end of pipelines and searches, and the rows it sees.

    None for rows where none are given.
    """
    if hasattr(estimator, "best_estimator_"):
        return _final(estimator.best_estimator_, X)
    if hasattr(estimator, "refit") and hasattr(estimator, "estimator"):  # a search
        if not hasattr(estimator, "cv_results_"):
            raise NotFittedError(f"This {type(estimator).__name__} is not fitted yet.")
        raise ValueError(
            f"This {type(estimator).__name__} keeps no model: it was fitted with "
            "refit=False."
        )
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        steps = estimator[:-1]
        if X is not None and len(steps):
            X = steps.transform(X)
        return _final(estimator[-1], X)
    return estimator, X


def _autoencoder(estimator, X=None) -> tuple[BaseAutoencoder, object]:
    """As :func:`_final`, and it must be one."""
    estimator, X = _final(estimator, X)
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"{type(estimator).__name__} is no autoencoder of skvae, nor a pipeline or "
            "a search that ends in one."
        )
    return estimator, X


def _vae(estimator, X) -> tuple[VAETransformer, object]:
    """As :func:`_final`, and it must have a likelihood."""
    estimator, X = _final(estimator, X)
    if not isinstance(estimator, VAETransformer):
        raise TypeError(
            f"{type(estimator).__name__} has no likelihood: this needs a "
            "VAETransformer, or a pipeline or a search that ends in one."
        )
    return estimator, X


def _refuse_mix(estimator: VAETransformer) -> None:
    """Refuse a candidate of a search over densities and probabilities."""
    if not estimator._is_of_another_kind:
        return
    is_discrete = estimator._likelihood_.is_discrete
    kinds = ("a density", "a probability mass")
    raise ValueError(
        f"likelihood={estimator.likelihood_!r} is {kinds[is_discrete]}, and the "
        f"estimator that was cloned for it is {kinds[not is_discrete]}: their scores "
        "do not compare. Search over likelihoods of one kind, and give the estimator "
        "that is searched one of them."
    )


@requests("conditions", "size_factor")
@documented_given
def elbo_scorer(
    estimator: Any,
    X: Table,
    y: Any = None,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> float:
    """Mean held-out evidence lower bound, in nats per row.

    The score to choose ``kld_weight``, ``latent_dim`` and architectures by: the decoder
    is calibrated and beta is 1, whatever weight trained the model.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    y : Ignored
    %(given)s

    Returns
    -------
    score : float
        Nats per row.

    Raises
    ------
    ValueError
        If a search mixes likelihoods of numbers, which are densities, with those of
        counts, bits or categories, which are probabilities: their scores do not
        compare.
    """
    estimator, X = _vae(estimator, X)
    _refuse_mix(estimator)
    return estimator.score(X, conditions=conditions, size_factor=size_factor)


@requests("conditions", "size_factor")
@documented_given
def rate_distortion_scorer(
    estimator: Any,
    X: Table,
    y: Any = None,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> dict[str, float]:
    """Held-out ELBO, its two terms and the number of active units, in one pass.

    For ``GridSearchCV(..., scoring=rate_distortion_scorer, refit="elbo")``: the columns
    ``mean_test_rate`` and ``mean_test_distortion`` of ``cv_results_`` are what
    :class:`skvae.inspection.RateDistortionDisplay` draws.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    y : Ignored
    %(given)s

    Returns
    -------
    scores : dict of float
        ``elbo``, which is what :func:`elbo_scorer` gives, ``distortion`` and ``rate``,
        in nats per row, with ``elbo = -(distortion + rate)``; ``active_units``.

    Raises
    ------
    ValueError
        As :func:`elbo_scorer`.
    """
    estimator, X = _vae(estimator, X)
    _refuse_mix(estimator)
    found = estimator._evaluate(X, conditions, size_factor)
    return {
        "elbo": float(found.elbo.mean()),
        "distortion": float(found.distortion.mean()),
        "rate": float(found.rate.mean()),
        "active_units": float(found.active_units),
    }


@requests("conditions", "size_factor")
@documented_given
def log_likelihood_scorer(
    estimator: Any,
    X: Table,
    y: Any = None,
    *,
    n_samples: int = 64,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> float:
    """Mean importance-weighted bound of the log-likelihood, in nats per row.

    That of ``VAETransformer.log_likelihood``, which gives it row by row. Tighter than
    the ELBO, and the tighter the more samples (Burda et al., 2016). The
    draws are fixed: the same rows score the same. For another number of samples pass
    ``functools.partial(log_likelihood_scorer, n_samples=512)`` to a search.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    y : Ignored
    n_samples : int, default=64
        Importance samples per row.
    %(given)s

    Returns
    -------
    score : float
        Nats per row.
    """
    n_samples = checked_n_samples(n_samples)
    estimator, X = _vae(estimator, X)
    _refuse_mix(estimator)
    given = {"conditions": conditions, "size_factor": size_factor}
    return float(estimator.log_likelihood(X, n_samples, **given).mean())


@public
def pca_scorer(estimator: Any, X: Table, y: Any = None) -> float:
    """Mean log-likelihood of a scikit-learn ``PCA``, in nats per row.

    What :func:`elbo_scorer` compares with. ``PCA.score`` is the same where there are as
    many training rows as features. Where there are fewer it averages the left-over
    variance over ``min(n_rows, n_features) - k`` directions in place of
    ``n_features - k``, which is not the maximum of the likelihood: hundreds or
    thousands of nats too low. Here it is averaged over all of them (Tipping & Bishop,
    1999, Probabilistic Principal Component Analysis).

    Parameters
    ----------
    estimator : sklearn.decomposition.PCA, or a Pipeline or search that ends in one
        Fitted.
    X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
    y : Ignored

    Returns
    -------
    score : float
        Nats per row.

    Raises
    ------
    TypeError
        If the estimator is no PCA.
    ValueError
        If the components leave no variance for the noise.
    """
    estimator, X = _final(estimator, X)
    if not isinstance(estimator, PCA):
        raise TypeError(
            f"{type(estimator).__name__} is no sklearn.decomposition.PCA, nor a "
            "pipeline or a search that ends in one."
        )
    check_is_fitted(estimator)
    X = validate_data(
        estimator,
        from_torch(X),
        reset=False,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
    )
    density = ppca_log_likelihood(corrected_ppca(estimator), canonical(X))
    return float(density.mean())


@requests("conditions", "size_factor")
@documented_given
def reconstruction_scorer(
    estimator: Any,
    X: Table,
    y: Any = None,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> float:
    """Minus the mean squared error of the reconstruction from posterior means.

    Blind to the KL term, so the smallest ``kld_weight`` and the largest ``latent_dim``
    win on training rows; for comparing models of like size, or with plain autoencoders.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    y : Ignored
    %(given)s

    Returns
    -------
    score : float
        Squared units of X, mean over elements, negative.
    """
    estimator, X = _autoencoder(estimator, X)
    given = {"conditions": conditions, "size_factor": size_factor}
    return -float(estimator.reconstruction_error(X, **given).mean())


@documented_given
def rate(
    estimator: Any,
    X: Table,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> np.ndarray:
    """KL of every row's posterior from the prior.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    %(given)s

    Returns
    -------
    rate : ndarray of shape (n_samples,)
        Nats per row, summed over units. With a background, it includes the choice
        between the network and that (see ``VAETransformer.score_samples``).
    """
    estimator, X = _vae(estimator, X)
    return estimator._evaluate(X, conditions, size_factor).rate


@documented_given
def distortion(
    estimator: Any,
    X: Table,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> np.ndarray:
    """Minus the expected log-likelihood of every row given its code.

    ``-E_q ln p(x | z)`` under the calibrated decoder.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    %(given)s

    Returns
    -------
    distortion : ndarray of shape (n_samples,)
        Nats per row.
    """
    estimator, X = _vae(estimator, X)
    return estimator._evaluate(X, conditions, size_factor).distortion


@documented_given
def kl_per_unit(
    estimator: Any,
    X: Table,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> np.ndarray:
    """Mean KL of every latent unit's posterior from the prior.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    %(given)s

    Returns
    -------
    kl : ndarray of shape (latent_dim,)
        Nats per row. An inactive unit's is near 0. Their sum is the mean :func:`rate`,
        less the choice between the network and a background, if there is one (0.01
        nats for most rows).
    """
    estimator, X = _vae(estimator, X)
    return estimator._evaluate(X, conditions, size_factor).kl.mean(axis=0)


@documented_given
def active_units(
    estimator: Any,
    X: Table,
    *,
    threshold: float = ACTIVE_VARIANCE,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> int:
    """Number of latent units that carry information about the rows.

    A unit is active if the variance over rows of its posterior mean, in units of the
    prior, exceeds ``threshold`` (Burda et al., 2016).

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    threshold : float, default=0.01
    %(given)s

    Returns
    -------
    n_active : int
    """
    estimator, X = _vae(estimator, X)
    given = {"conditions": conditions, "size_factor": size_factor}
    return n_active(estimator._posterior_means(X, **given), threshold)


@documented_given
def code_sparsity(
    estimator: Any,
    X: Table,
    *,
    threshold: float = NEAR_ZERO,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> float:
    """Share of zero or near-zero entries among the codes of X.

    Only a soft threshold brings codes to zero, other training seldom quite: an entry
    counts if it is at most ``threshold`` times the root mean square of all entries.

    Parameters
    ----------
    estimator : any autoencoder, or a Pipeline or search that ends in one
    X : array-like of shape (n_samples, n_features)
    threshold : float, default=0.01
    %(given)s

    Returns
    -------
    share : float
        In [0, 1].
    """
    estimator, X = _autoencoder(estimator, X)
    given = {"conditions": conditions, "size_factor": size_factor}
    codes = estimator.transform(X, **given)
    return near_zero_share(np.asarray(codes), threshold)
