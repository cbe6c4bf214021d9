"""Likelihoods as ONNX operators: what encoders see, means, and densities."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._data.covariates import SMALLEST_SIZE
from .._likelihoods.base import Likelihood
from .._likelihoods.categorical import Categorical
from .._likelihoods.counts import LARGEST_LOG_RATE, Counts
from .._likelihoods.gaussian import Gaussian
from .._likelihoods.linear_model import LinearModel
from .graph import Value, lgamma

# A logit that no category has.
_NO_CATEGORY = -1e30


def target(X: Value, likelihood: Likelihood) -> Value:
    """Rows in model units, float32."""
    affine = likelihood.input_affine()
    if affine is None or likelihood.is_discrete:
        return X.cast(np.float32)
    assert affine.mean is not None
    # In the precision of X, whose mean may be large.
    return ((X - affine.mean) / affine.scale).cast(np.float32)


def inputs(rows: Value, likelihood: Likelihood, size: Value | None) -> Value:
    """What the encoder sees of rows in model units."""
    if isinstance(likelihood, Counts):
        if size is not None:
            rows = rows / size * likelihood.usual_size
        return (rows + 1.0).log()
    if isinstance(likelihood, Categorical):
        return _one_hot(rows, likelihood) - likelihood.frequencies.cpu().numpy()
    if likelihood.is_discrete:
        affine = likelihood.input_affine()
        assert affine is not None
        assert affine.mean is not None
        return rows - affine.mean
    return rows


def _one_hot(rows: Value, likelihood: Categorical) -> Value:
    owner, starts = (p.cpu().numpy() for p in (likelihood.owner, likelihood.starts))
    codes = np.arange(len(owner)) - starts[owner]
    return rows.graph.op(
        "Equal", rows.columns(owner), codes.astype(np.float32), dtype=bool
    ).cast(np.float32)


def row_sums(rows: Value) -> Value:
    return rows.sum(keep=True).maximum(SMALLEST_SIZE)


def sized(raw: Value, likelihood: Likelihood, size: Value | float | None) -> Value:
    """Raw outputs of rows of these sizes, (n, 1) or one for all."""
    if size is None:
        return raw
    log_size = math.log(size) if isinstance(size, float) else size.log()
    n_rates, n_outputs = likelihood.n_features, likelihood.n_outputs
    if n_rates == n_outputs:
        return raw + log_size
    of_rates = np.zeros(n_outputs)
    of_rates[:n_rates] = 1.0
    return raw + log_size * of_rates


def mean(raw: Value, likelihood: Likelihood, size: Value | float | None) -> Value:
    """E[x | z] in units of X, float32."""
    name = likelihood.name
    if name == "bernoulli":
        return raw.sigmoid()
    if name == "categorical":
        assert isinstance(likelihood, Categorical)
        found = raw.graph.op("ArgMax", _logits(raw, likelihood), axis=2, keepdims=0)
        return raw.graph.value(found.name, np.int64).cast(np.float32)
    if name == "multinomial":
        share = raw.graph.op("Softmax", raw, axis=1)
        return share if size is None else share * size
    if name == "zinb":
        log_mean, logit = _halves(raw, likelihood)
        return log_mean.minimum(LARGEST_LOG_RATE).exp() * (-logit).sigmoid()
    if isinstance(likelihood, Counts):
        return raw.minimum(LARGEST_LOG_RATE).exp()
    affine = likelihood.input_affine()
    assert affine is not None
    assert affine.mean is not None
    return raw * affine.scale + affine.mean


def _halves(raw: Value, likelihood: Likelihood) -> tuple[Value, Value]:
    n = likelihood.n_features
    return raw.columns(np.arange(n)), raw.columns(np.arange(n, 2 * n))


def _logits(raw: Value, likelihood: Categorical) -> Value:
    """Logits (n, D, K), K the most categories of any column."""
    sizes = np.asarray(likelihood.n_categories)
    starts = likelihood.starts.cpu().numpy()
    steps = np.arange(sizes.max())
    at = np.minimum(starts[:, None] + steps, likelihood.n_outputs - 1)
    missing = np.where(steps < sizes[:, None], 0.0, _NO_CATEGORY)
    return raw.columns(at.ravel()).reshape(0, len(sizes), len(steps)) + missing


# -- densities -------------------------------------------------------------------------


def nll(raw: Value, rows: Value, likelihood: Likelihood) -> Value:
    """``-ln p(x | z)`` of rows in model units, (n,), in nats."""
    return _NLL[likelihood.name](raw, rows, likelihood)


def _gaussian(raw: Value, rows: Value, likelihood: Any) -> Value:
    if isinstance(likelihood, Gaussian):
        noise = np.full(likelihood.n_features, likelihood.noise_variance)
    else:
        noise = likelihood.variance.double().cpu().numpy()
    log_norm = float(np.log(2.0 * np.pi * noise).sum())
    return (((raw - rows).square() / noise).sum() + log_norm) * 0.5


def _student_t(raw: Value, rows: Value, likelihood: Any) -> Value:
    dof = likelihood.log_dof.double().exp().cpu().numpy()
    scale = likelihood.log_scale.double().exp().cpu().numpy()
    q = ((raw - rows) / (np.sqrt(dof) * scale)).square()
    constant = float(likelihood._log_norm().sum())
    return ((q + 1.0).log() * (0.5 * (dof + 1.0))).sum() + constant


def _bernoulli(raw: Value, rows: Value, likelihood: Any) -> Value:
    return (raw.maximum(0.0) - rows * raw + raw.softplus_of_negative()).sum()


def _poisson(raw: Value, rows: Value, likelihood: Any) -> Value:
    raw, x = raw.cast(np.float64).minimum(LARGEST_LOG_RATE), rows.cast(np.float64)
    return (raw.exp() - x * raw + lgamma(x + 1.0)).sum()


def _multinomial(raw: Value, rows: Value, likelihood: Any) -> Value:
    raw, x = raw.cast(np.float64), rows.cast(np.float64)
    log_p = raw.graph.op("LogSoftmax", raw, axis=1)
    return (lgamma(x + 1.0) - x * log_p).sum() - lgamma(x.sum() + 1.0)


def _negative_binomial(raw: Value, rows: Value, likelihood: Any) -> Value:
    raw, x = raw.cast(np.float64), rows.cast(np.float64)
    log_r = likelihood.log_r.detach().double().cpu().numpy()
    t = raw - log_r
    nats = (x + np.exp(log_r)) * t.softplus_of_negative()
    nats = nats + t.maximum(0.0) * np.exp(log_r) - x * t.minimum(0.0)
    return (nats + _choices(x, log_r)).sum()


def _zinb(raw: Value, rows: Value, likelihood: Any) -> Value:
    raw, x = raw.cast(np.float64), rows.cast(np.float64)
    log_mean, logit = _halves(raw, likelihood)
    log_r = likelihood.log_r.detach().double().cpu().numpy()
    t = log_mean - log_r
    tail = t.softplus_of_negative()
    at_zero = (t.maximum(0.0) + tail) * np.exp(log_r)
    count = at_zero + x * (tail - t.minimum(0.0))
    zero = at_zero.minimum(-logit) - (at_zero + logit).softplus_of_negative()
    is_zero = raw.graph.op("Equal", x, 0.0, dtype=bool).cast(np.float64)
    nats = count + (zero - count) * is_zero + logit.softplus()
    return (nats + _choices(x, log_r)).sum()


def _choices(x: Value, log_r: np.ndarray) -> Value:
    """``ln(x!) - ln Gamma(x + r) + ln Gamma(r)`` of every entry."""
    r = x * 0.0 + np.exp(log_r)
    return lgamma(x + 1.0) - lgamma(x + r) + lgamma(r)


def _categorical(raw: Value, rows: Value, likelihood: Any) -> Value:
    logits = _logits(raw, likelihood)
    total = raw.graph.op("ReduceLogSumExp", logits, axes=[2], keepdims=0)
    own = (raw * _one_hot(rows, likelihood)).sum()
    return total.sum() - own


_NLL: dict[str, Callable[[Value, Value, Any], Value]] = {
    "gaussian": _gaussian,
    "gaussian_diag": _gaussian,
    "student_t": _student_t,
    "bernoulli": _bernoulli,
    "poisson": _poisson,
    "multinomial": _multinomial,
    "negative_binomial": _negative_binomial,
    "zinb": _zinb,
    "categorical": _categorical,
}


def background_elbo(rows: Value, model: LinearModel, given: Value | None) -> Value:
    """ELBO of rows in model units by a linear model, (n,)."""
    encode, log_var, decode = (p.double().cpu().numpy() for p in model.maps())
    noise = np.asarray(
        model.noise_variances
        if hasattr(model, "noise_variances")
        else model.noise_variance,  # type: ignore[attr-defined]
        dtype=np.float64,
    ) * np.ones(len(decode))
    regression = model.regression()
    if given is not None and regression is not None:
        weights, centre = (p.double().cpu().numpy() for p in regression)
        rows = rows - (given - centre) @ weights
    code = rows @ encode.T
    error = ((rows - code @ decode.T).square() / noise).sum()
    spread = float(((decode**2 / noise[:, None]).sum(axis=0) * np.exp(log_var)).sum())
    log_norm = float(np.log(2.0 * np.pi * noise).sum())
    kl = code.square().sum() * 0.5 + 0.5 * float((np.expm1(log_var) - log_var).sum())
    return -((error + (spread + log_norm)) * 0.5 + kl)
