"""What the displays ask of fitted estimators, pipelines and searches."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from .._utils.validation import from_torch


def given(conditions, size_factor) -> dict[str, Any]:
    """What comes with rows, for methods that may know nothing of it."""
    named = {"conditions": conditions, "size_factor": size_factor}
    return {name: value for name, value in named.items() if value is not None}


def given_of(rows: np.ndarray, conditions, size_factor) -> dict[str, Any]:
    """The same of some rows."""
    found = given(conditions, size_factor)
    return {name: _safe_indexing(value, rows) for name, value in found.items()}


def some_rows(X, rows: np.ndarray):
    """Rows of X, of whatever kind."""
    return _safe_indexing(from_torch(X), rows)


def dense(X) -> np.ndarray:
    """As an array of floats.

    Raises
    ------
    ValueError
        If there are words in it.
    """
    X = X.toarray() if sparse.issparse(X) else from_torch(X)
    try:
        return np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "This picture is of numbers, and the table has words: put "
            "vae.reconstruct(X) beside X, or look at the loadings."
        ) from error


def in_original_units(estimator, rows: np.ndarray) -> np.ndarray:
    """Rows back through the steps of a pipeline, where all of them have a way back."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        steps = estimator[:-1]
        if hasattr(steps, "inverse_transform"):
            return dense(steps.inverse_transform(rows))
    return rows


def feature_names_of(estimator, n_features: int) -> list[str]:
    """Names of what reaches the last step, "x0" and so on where it has none."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    names = None
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        try:
            names = estimator[:-1].get_feature_names_out()
        except (AttributeError, ValueError):  # a step that cannot tell
            names = None
        estimator = estimator[-1]
    names = getattr(estimator, "feature_names_in_", names)
    if names is None or len(names) != n_features:
        return [f"x{i}" for i in range(n_features)]
    return [str(name) for name in names]


def checked_names(names, n_features: int) -> list[str]:
    """Names of features as a user gave them.

    Raises
    ------
    ValueError
        If there are not as many as features.
    """
    if names is None:
        return [f"x{i}" for i in range(n_features)]
    names = [str(name) for name in names]
    if len(names) != n_features:
        raise ValueError(f"{len(names)} feature_names for {n_features} features.")
    return names


def checked_units(units, n_units: int) -> np.ndarray:
    """Indices of units as a user gave them.

    Raises
    ------
    ValueError
        If one is no unit.
    """
    units = np.atleast_1d(np.asarray(units))
    integers = units.dtype.kind in "iu" and units.ndim == 1 and len(units)
    if not integers or units.min() < 0 or units.max() >= n_units:
        raise ValueError(f"units must be integers from 0 to {n_units - 1}.")
    return units


def unit_of_codes(estimator) -> str:
    """The unit of what ``transform`` gives."""
    if getattr(estimator, "whiten", False):
        return "units of the prior"
    return unit_of_rows(estimator)


def unit_of_rows(estimator) -> str:
    """The unit of what units explain of rows."""
    is_table = getattr(estimator, "_table", None) is not None
    return "standard deviations" if is_table else "units of X"
