"""Size factors of rows under conditions: a deeper batch has larger ones."""

from typing import Any

import numpy as np

from .covariates import SMALLEST_SIZE, RowCovariates

_LEVELS = np.linspace(0.0, 1.0, 101)


def fit_sizes(covariates: RowCovariates) -> dict[str, Any] | None:
    """What conditions say of sizes, as plain data; None without either.

    A linear regression of the logarithms on the encoded conditions, so of one column of
    categories their means, and quantiles of what it leaves. Rows without a size have no
    logarithm, and their share is one of the quantiles.
    """
    size, conditions = covariates.size, covariates.conditions
    if size is None or conditions is None or not (size > 0.0).any():
        return None
    known = size > 0.0
    given, logs = conditions[known], np.log(size[known])
    given = given - given.mean(axis=0)
    # Categories add up to 1: of the weights that are all best, the smallest.
    weights, *_ = np.linalg.lstsq(given.T @ given, given.T @ logs, rcond=1e-9)
    explained = conditions @ weights
    return {
        "weights": weights,
        "range": np.array([explained.min(), explained.max()]),
        "quantiles": np.quantile(size * np.exp(-explained), _LEVELS),
    }


def draw_sizes(
    fitted: dict[str, Any],
    conditions: np.ndarray,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Sizes (n,) of rows under conditions (n, c), no farther off than those seen."""
    levels = random_state.uniform(size=len(conditions))
    explained = np.clip(conditions @ fitted["weights"], *fitted["range"])
    drawn = np.interp(levels, _LEVELS, fitted["quantiles"]) * np.exp(explained)
    return np.maximum(drawn, SMALLEST_SIZE)
