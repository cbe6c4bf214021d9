"""The parts of a mixed likelihood: which there are, and what is asked of each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._nn.autoencoder import Decoder
from .._utils.device import in_float64
from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .gaussian_diag import GaussianDiag
from .log_normal import LogNormal
from .negative_binomial import NegativeBinomial
from .ordinal import Ordinal
from .poisson import Poisson
from .standardised import Standardised
from .student_t import StudentT
from .zinb import ZeroInflatedNegativeBinomial

#: What columns can have: the likelihoods whose loss is in nats, column by column.
PARTS: dict[str, type[Likelihood]] = {
    kind.name: kind
    for kind in (
        GaussianDiag,
        StudentT,
        LogNormal,
        Bernoulli,
        Categorical,
        Ordinal,
        Poisson,
        NegativeBinomial,
        ZeroInflatedNegativeBinomial,
    )
}


def make_part(part: dict[str, Any]) -> Likelihood:
    others = ("likelihood", "columns", "weight")
    params = {k: v for k, v in part.items() if k not in others}
    return PARTS[part["likelihood"]](len(part["columns"]), **params)


def by_column(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A group as groups of one column, where their pulls may differ."""
    if issubclass(PARTS[part["likelihood"]], Standardised):
        yield part
        return
    own = {k: v for k, v in part.items() if k not in ("likelihood", "columns")}
    for i, j in enumerate(part["columns"]):
        params = {name: [values[i]] for name, values in own.items()}
        yield {"likelihood": part["likelihood"], "columns": [j], **params}


def no_code_of(part: Likelihood) -> np.ndarray:
    bias = None if part.has_linear_model else part.no_code()
    return np.zeros(part.n_outputs) if bias is None else bias


def metric_of(part: Likelihood, raw: Tensor) -> Tensor:
    metric = part.output_metric(raw)
    assert metric is not None
    return metric


def pull_of(part: Likelihood) -> float:
    """Root mean square gradient of a column's nats, at the model with no code."""
    if isinstance(part, Standardised):
        return 1.0
    raw = torch.from_numpy(no_code_of(part))[None]
    return float(metric_of(part, raw).sum().sqrt())


def response_of(part: Likelihood, raw: Tensor, spread: np.ndarray) -> Tensor:
    """One number a column that codes move, in standard deviations of the column."""
    if isinstance(part, Standardised):
        return raw
    if isinstance(part, Categorical):
        p = part.log_p(raw).exp()[:, part.most_frequent]
        usual = part.frequencies.to(raw)[part.most_frequent]
        return p / (usual * (1.0 - usual)).clamp(min=1e-12).sqrt()
    return part.mean(raw.clone()) / torch.from_numpy(spread).to(raw)


def outputs_of(decoder: Decoder, at: slice) -> Any:
    """A decoder of some outputs alone."""

    def decode(z: Tensor, covariates: Covariates = NONE) -> Tensor:
        return decoder(z, covariates)[:, at]

    return decode


def total_of_parts(parts: Iterator[Tensor]) -> Tensor:
    return torch.stack([in_float64(p) for p in parts]).sum(dim=0)
