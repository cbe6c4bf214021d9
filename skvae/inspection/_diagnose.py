"""Judging a fit: by linear theory, and by the likelihood of the linear model.

Counts, bits and categories are compared with the model that has no code.
"""

import math
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from .._diagnosis import Diagnosis
from .._evaluation.advice import advise
from .._evaluation.information import (
    COMPARED_ROWS,
    evenly_spaced,
    exchanged_rows,
    mutual_information,
    shuffle_loss,
)
from .._evaluation.verdicts import Measured, guide_verdict, judge
from .._kernels.surroundings import public
from .._linear.baseline import cross_fitted_likelihood
from .._streams import spools_rows
from .._utils.device import inference_dtype
from .._utils.typing import Table
from ..metrics import _vae, documented_given


@public
@documented_given
@spools_rows
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
        given = rows.covariates.conditions
        return state.likelihood.linear_log_likelihood(state.linear_model, rows.X, given)
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
