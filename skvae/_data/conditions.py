"""Conditions of rows, as users have them, as the columns that a network is given.

A categorical column becomes one column a category, a numeric one is centred and scaled.
What was learnt of the training rows is plain data, so that it pickles as such.
"""

from typing import Any

import numpy as np
from scipy import sparse

from .._utils.warn import warn_user

# Kinds of numpy's that are measured; all others are told apart.
_NUMERIC = "f"
_SHOWN = 5


def fit_conditions(conditions) -> list[dict[str, Any]]:
    """What each column of conditions is, from those of the training rows.

    Columns of floats are numbers; of integers, booleans, strings or any categorical
    type, categories.

    Raises
    ------
    ValueError
        If a number is missing or infinite, or a category is missing.
    """
    fitted: list[dict[str, Any]] = []
    for name, column in _columns(conditions):
        values, is_number = _values(name, column)
        if is_number:
            spread = float(values.std())
            fitted.append(
                {"name": name, "mean": float(values.mean()), "scale": spread or 1.0}
            )
        else:
            categories = np.unique(values).tolist()
            if 2 * len(categories) > max(len(values), 20):
                warn_user(
                    f"Condition {name!r} has {len(categories)} categories in "
                    f"{len(values)} rows: every one is learnt by heart. Numbers that "
                    "are measured have to be floats."
                )
            fitted.append({"name": name, "categories": categories})
    return fitted


def n_columns(fitted: list[dict[str, Any]]) -> int:
    """How many columns :func:`encode_conditions` gives."""
    return sum(len(column.get("categories", [0])) for column in fitted)


def encode_conditions(
    conditions, fitted: list[dict[str, Any]], n_rows: int
) -> np.ndarray:
    """Conditions of rows as float32 columns, (n_rows, n_columns).

    One row of conditions stands for all rows.

    Raises
    ------
    ValueError
        If there are none, the wrong number of rows or columns, a category that was not
        among the training rows', or a value that is missing.
    """
    if conditions is None:
        named = [column["name"] for column in fitted]
        names = f"{len(named)} of them"
        if all(isinstance(name, str) for name in named):
            names = ", ".join(map(repr, named))
        raise ValueError(
            f"This model was fitted with conditions ({names}); pass conditions= of "
            "these rows, too. Inside a Pipeline or a search that takes "
            "sklearn.set_config(enable_metadata_routing=True), and of the estimator "
            "set_fit_request(conditions=True), set_score_request(conditions=True), ..."
        )
    columns = _columns(conditions)
    if len(columns) != len(fitted):
        raise ValueError(
            f"conditions has {len(columns)} columns, and the model was fitted with "
            f"{len(fitted)}."
        )
    parts = []
    for (name, column), known in zip(columns, fitted, strict=True):
        if isinstance(known["name"], str) and isinstance(name, str):
            _check_name(name, known["name"])
        parts.append(_encoded(column, known))
    encoded = np.concatenate(parts, axis=1, dtype=np.float32)
    if len(encoded) not in (1, n_rows):
        raise ValueError(
            f"conditions has {len(encoded)} rows, and X has {n_rows}; give one of each "
            "row, or one for all."
        )
    # Not broadcast: torch does not take memory that is read-only.
    return encoded if len(encoded) == n_rows else np.repeat(encoded, n_rows, axis=0)


def _check_name(name: str, known: str) -> None:
    if name != known:
        raise ValueError(
            f"conditions has a column {name!r} where the model was fitted with "
            f"{known!r}; give the columns in the order of fit."
        )


def _columns(conditions) -> list[tuple[Any, np.ndarray]]:
    """Names, which may be numbers, and values of the columns."""
    if hasattr(conditions, "columns") and hasattr(conditions, "__getitem__"):
        return [
            (str(name), np.asarray(conditions[name])) for name in conditions.columns
        ]
    name = getattr(conditions, "name", None)
    if sparse.issparse(conditions):  # as a OneHotEncoder gives them
        conditions = conditions.toarray()
    table = np.asarray(conditions)
    if table.ndim == 0:
        table = table.reshape(1, 1)
    if table.ndim == 1:
        return [(0 if name is None else str(name), table)]
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(
            f"conditions has the shape {table.shape}; it must be (n_samples,) or "
            "(n_samples, n_conditions)."
        )
    return list(enumerate(table.T))


def _values(name, column: np.ndarray) -> tuple[np.ndarray, bool]:
    """Values of a column, as floats or as strings, and which of the two."""
    if column.dtype == object and all(isinstance(v, float) for v in column.tolist()):
        column = column.astype(np.float64)
    if column.dtype.kind in _NUMERIC:
        if not np.isfinite(column).all():
            raise ValueError(f"Condition {name!r} has missing or infinite values.")
        return column.astype(np.float64), True
    missing = [_is_missing(value) for value in column.tolist()]
    if any(missing):
        raise ValueError(
            f"Condition {name!r} has {sum(missing)} missing values; fill them, with a "
            "category of their own if they are one."
        )
    return np.array([str(value) for value in column.tolist()]), False


def _is_missing(value) -> bool:
    """Whether a value is None, NaN or a data frame's NA, which equals nothing."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # NA is not even unequal
        return True


def _encoded(column: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """One column as the columns that stand for it."""
    name = known["name"]
    if "categories" not in known:
        try:
            column = np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"Condition {name!r} was fitted to numbers, and now has others."
            ) from None
        values, _ = _values(name, column)
        return ((values - known["mean"]) / known["scale"])[:, None]
    values, is_number = _values(name, column)
    if is_number:
        raise ValueError(
            f"Condition {name!r} was fitted to categories, and now has numbers."
        )
    categories = np.array(known["categories"])
    unseen = sorted(set(values.tolist()) - set(known["categories"]))
    if unseen:
        raise ValueError(
            f"Condition {name!r} has the unseen category {unseen[0]!r}; the training "
            f"rows had {_listing(known['categories'])}."
        )
    return (values[:, None] == categories).astype(np.float32)


def _listing(categories: list[str]) -> str:
    shown = ", ".join(map(repr, categories[:_SHOWN]))
    more = len(categories) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
