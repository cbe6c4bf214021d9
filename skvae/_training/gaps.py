"""What a fit learns of the gaps of its rows before it learns anything else."""

import numpy as np
import torch

from .._data.rows import Rows
from .._likelihoods.base import Likelihood
from .._linear.gaps import factors_with_gaps, rows_looked_at
from .._nn.gap_inputs import GapInputs


def observed_shares(X) -> np.ndarray:
    """Of rows of X, dense, those that every column was observed in, (D,)."""
    step = max(1, 500_000 // max(1, X.shape[1]))
    parts = range(0, len(X), step)
    n_gaps = sum(np.isnan(X[start : start + step]).sum(axis=0) for start in parts)
    return 1.0 - np.asarray(n_gaps) / len(X)


def gap_inputs_of(
    rows: Rows,
    likelihood: Likelihood,
    n_units: int,
    random_state: np.random.RandomState,
) -> GapInputs:
    """What fills the inputs of rows, from a factor analysis of what is there.

    Means of a likelihood whose encoder sees rows are then those that the factor
    analysis leads to: a column whose gaps depend on other columns has another mean than
    what was observed of it.
    """
    shares = observed_shares(rows.X)
    likelihood.set_observed(shares)
    some = rows[rows_looked_at(rows.shape, n_units)]
    x = torch.from_numpy(np.array(some.X, dtype=np.float64))
    target = likelihood.encode_target(x)
    observed = ~torch.isnan(target)
    covariates = some.covariates.on(torch.device("cpu"), torch.float64)
    inputs = likelihood.encode_inputs(
        torch.where(observed, target, 0.0), observed, covariates
    ).numpy()
    order = likelihood.encode_mask(torch.arange(len(shares))[None])[0].numpy()
    at = order.argsort()[likelihood.input_columns]
    inputs = np.where(observed.numpy()[:, at], inputs, np.nan)
    n_seen = np.maximum((~np.isnan(inputs)).sum(axis=0), 1)
    mean = np.nansum(inputs, axis=0) / n_seen
    scale = np.sqrt(np.nansum((inputs - mean) ** 2, axis=0) / n_seen)
    scale = np.where(scale > 0.0, scale, 1.0)
    factors = factors_with_gaps(
        (inputs - mean) / scale, n_units, random_state=random_state
    )
    if likelihood.inputs_are_rows and (shares < 1.0).any():
        moved = mean + scale * factors.mean
        likelihood.recentre(moved)
        mean = mean - moved
    return GapInputs.of(factors, mean, scale, at=at, shares=shares, target_order=order)
