"""Size factors of rows under conditions: a deeper batch has larger ones."""

from typing import Any

import numpy as np

from .covariates import SMALLEST_SIZE, RowCovariates

# Least spread of the logarithms under any conditions, as a share of the mean one.
SMALLEST_SPREAD = 0.05
_LEVELS = np.linspace(0.0, 1.0, 101)


def fit_sizes(covariates: RowCovariates) -> dict[str, Any] | None:
    """What conditions say of sizes, as plain data; None without either.

    Linear regressions on the encoded conditions, so of one column of categories their
    means: of the logarithms, and of how far these are from the first, since batches
    differ in their spread, too. Then quantiles of what is left, in units of the second.
    Rows without a size have no logarithm, and only their share is kept.
    """
    size, conditions = covariates.size, covariates.conditions
    if size is None or conditions is None or not (size > 0.0).any():
        return None
    known = size > 0.0
    given, logs = conditions[known], np.log(size[known])
    location = _fitted_line(given, logs)
    left = logs - _on_line(location, given)
    spread = _fitted_line(given, np.abs(left))
    # A straight line may end below 0, where nothing spreads.
    spread["range"][0] = max(spread["range"][0], SMALLEST_SPREAD * np.abs(left).mean())
    units = np.maximum(_on_line(spread, given), np.finfo(np.float64).tiny)
    return {
        "empty": float(1.0 - known.mean()),
        "location": location,
        "spread": spread,
        "quantiles": np.quantile(left / units, _LEVELS),
    }


def draw_sizes(
    fitted: dict[str, Any],
    conditions: np.ndarray,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Sizes (n,) of rows under conditions (n, c), no farther off than those seen."""
    empty = fitted["empty"]
    levels = (random_state.uniform(size=len(conditions)) - empty) / (1.0 - empty)
    left = np.interp(levels, _LEVELS, fitted["quantiles"])
    location, spread = (
        _on_line(fitted[name], conditions) for name in ("location", "spread")
    )
    drawn = np.where(levels < 0.0, 0.0, np.exp(location + spread * left))
    return np.maximum(drawn, SMALLEST_SIZE)


def _fitted_line(given: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Least squares of values (n,) on conditions (n, c), and how far it went."""
    centre = given.mean(axis=0)
    moved = given - centre
    # Categories add up to 1: of the weights that are all best, the smallest.
    weights, *_ = np.linalg.lstsq(moved.T @ moved, moved.T @ values, rcond=1e-9)
    line = given @ weights
    offset = float(values.mean() - line.mean())
    bounds = np.array([line.min(), line.max()]) + offset
    return {"weights": weights, "offset": offset, "range": bounds}


def _on_line(line: dict[str, Any], conditions: np.ndarray) -> np.ndarray:
    return np.clip(conditions @ line["weights"] + line["offset"], *line["range"])
