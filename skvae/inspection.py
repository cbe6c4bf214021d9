"""Choosing ``kld_weight`` before a fit, and judging the fit afterwards.

Both rest on the linear model, whose optimum is known in closed form: with one noise
variance, unit i is active while the i-th eigenvalue of the covariance exceeds
``kld_weight * D / 2``. Counts, bits and categories are compared with the model that has
no code.
"""

import math
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted

from ._data.moments import column_moments
from ._diagnosis import Diagnosis
from ._evaluation.advice import advise
from ._evaluation.information import (
    COMPARED_ROWS,
    evenly_spaced,
    exchanged_rows,
    mutual_information,
    shuffle_loss,
)
from ._evaluation.verdicts import Measured, guide_verdict, judge
from ._kernels.surroundings import public
from ._likelihoods.registry import LIKELIHOODS
from ._likelihoods.standardised import Standardised
from ._linear.baseline import cross_fitted_likelihood
from ._linear.spectrum import Spectrum, noise_grid, spectrum, weight_of_noise
from ._utils.device import inference_dtype
from ._utils.typing import RandomState, Table
from ._utils.validation import canonical, float_dtypes, from_torch
from .metrics import _vae, documented_given

__all__ = ["Diagnosis", "diagnose", "suggest_kld_weights"]

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


@public
@documented_given
def diagnose(
    estimator: Any,
    X: Table,
    *,
    conditions: Table | None = None,
    size_factor: Any = None,
) -> Diagnosis:
    """Judge a fitted model by what it does with rows, and say what to change.

    The verdict is the first of these that holds:

    - "diverged": training ended farther from the rows than their mean is.
    - "collapsed": no unit is active, or the ELBO falls by less than 0.1 nats, or a
      tenth of the rate, when rows exchange their codes, or the rate is what free bits
      grant where a linear model has no active unit.
    - "untrained": the same where a linear model has active units at this weight (of
      discrete likelihoods, where beta is up to 1.5), or an ELBO clearly below its, when
      training was short: steps times learning rate is under 0.1.
    - "nearly deterministic": beta is under 0.1, or the noise variance is rounding
      beside the variance of the training rows.
    - "worse than linear": the ELBO is more than a nat, and more than two standard
      errors, below that of the likelihood's linear model with as many units
      (probabilistic PCA, factor analysis), or, where it has none, of the model with no
      code.
    - "too few units": all units are active, the weakest has a KL of more than 0.5 nats
      (and of ``ln(1 / beta) / 2`` more, if beta is under 1), and there are fewer units
      than features.
    - "too many units": fewer than half of the units are active.
    - "healthy".

    The same rows give the same diagnosis: all draws have fixed seeds.

    Parameters
    ----------
    estimator : VAETransformer, or a Pipeline or search that ends in one
        Fitted.
    X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
        Rows, at least two, as the estimator takes them; held out, if there are any.
        Everything is measured in the units of what reaches the ``VAETransformer``.
    %(given)s

    Returns
    -------
    diagnosis : Diagnosis

    Raises
    ------
    TypeError
        If the estimator has no likelihood.
    ValueError
        If X does not fit the estimator, or has a single row.

    References
    ----------
    .. [1] Alemi et al. (2018). Fixing a Broken ELBO. ICML.
    .. [2] Hoffman and Johnson (2016). ELBO Surgery. NIPS workshop.
    .. [3] Burda, Grosse and Salakhutdinov (2016). Importance Weighted Autoencoders.
       ICLR.
    """
    estimator, X = _vae(estimator, X)
    check_is_fitted(estimator)
    rows = estimator._rows(X, conditions, size_factor, min_rows=2)
    n_features = rows.shape[1]
    found = _measured(estimator, rows)
    likelihood = estimator._fitted.state.likelihood
    theory = likelihood.theory(
        rows.X, found["latent_dim"], found["kld_weight"], rows.covariates.conditions
    )
    row_elbo, linear = found.pop("row_elbo"), _linear_likelihood(estimator, rows)
    gain = row_elbo - linear
    measured = Measured(
        **{key: found[key] for key in ("active_units", "latent_dim", "rate", "beta")},
        n_features=n_features,
        shuffle_loss=found["shuffle_loss"],
        expected_rate=theory.rate,
        noise_share=likelihood.noise_share(),
        weakest_kl=float(found["kl_per_unit"].min()),
        balanced_weight=likelihood.calibrated_weight(),
        gain=float(gain.mean()),
        gain_error=float(gain.std() / math.sqrt(len(gain))),
        baseline=likelihood.baseline,
    )
    training = estimator._training(theory.first_weight)
    verdict = judge(measured, training, theory.n_active)
    return Diagnosis(
        **found,
        verdict=verdict,
        advice=advise(verdict, measured, training),
        n_rows=rows.shape[0],
        n_features=n_features,
        expected_elbo=float(linear.mean()),
        expected_rate=theory.rate,
        expected_active_units=theory.n_active,
        likelihood=likelihood.name,
        guide=guide_verdict(found["rate"]),
    )


def _linear_likelihood(estimator, rows) -> np.ndarray:
    """ln p of every row in the linear model, nats; NaN where there is none to fit.

    Of a likelihood without one, in the model with no code.
    """
    state = estimator._fitted.state
    if state.likelihood.no_code() is not None:
        return estimator._over_chunks(rows, state.without_code())
    if state.linear_model is not None:
        units = state.likelihood.input_affine()
        given = rows.covariates.conditions
        return state.linear_model.log_likelihood(rows.X, units, given)
    if state.likelihood.has_own_scales or rows.covariates.conditions is not None:
        return np.full(rows.shape[0], np.nan)
    found = cross_fitted_likelihood(rows.X, estimator.module_.latent_dim)
    return np.full(rows.shape[0], np.nan) if found is None else found


def _measured(estimator, rows) -> dict[str, Any]:
    """The attributes of a :class:`Diagnosis` that take the network to find."""
    evaluation = estimator._evaluate_rows(rows)
    kl = evaluation.kl.mean(axis=0)
    kl.setflags(write=False)
    compared = evenly_spaced(rows.shape[0], COMPARED_ROWS)
    posteriors = (
        torch.from_numpy(part[compared])
        for part in (evaluation.mean, evaluation.log_var)
    )
    likelihood = estimator._fitted.state.likelihood
    nll = float(evaluation.network_distortion.mean()) + likelihood.log_det()
    return {
        "latent_dim": len(kl),
        "row_elbo": evaluation.elbo,
        "elbo": float(evaluation.elbo.mean()),
        "rate": float(evaluation.rate.mean()),
        "distortion": float(evaluation.distortion.mean()),
        "kl_per_unit": kl,
        "kl_of_choice": float(evaluation.choice.mean()),
        "squared_error": _squared_error(estimator, rows, nll),
        "active_units": evaluation.active_units,
        "mutual_information": mutual_information(*posteriors),
        "shuffle_loss": _shuffle_loss(estimator, rows),
        "beta": float(estimator.beta_),
        "kld_weight": float(estimator.kld_weight_),
        "noise_variance": float(np.mean(getattr(estimator, "noise_variance_", np.nan))),
    }


def _squared_error(estimator, rows, nll: float) -> float:
    """Per element; where it does not follow from the nats, of means, by deviance."""
    likelihood = estimator._fitted.state.likelihood
    if likelihood.loss_exponent == 2:
        return likelihood.loss_of_nats(nll) * likelihood.loss_unit
    return float(estimator._errors(rows, per_feature=False).mean())


def _shuffle_loss(estimator, rows) -> float:
    rows = rows[exchanged_rows(*rows.shape)]
    fit = estimator._fitted
    dtype = inference_dtype(rows.dtype, fit.device)
    with estimator._inference(rows.shape[0]):
        dataset = fit.rows(rows, dtype=dtype, resident=False)
        batch = dataset.batch(slice(None))
        posterior = fit.state.network.encode(batch.inputs)
        return shuffle_loss(fit.state.density(), batch, posterior)
