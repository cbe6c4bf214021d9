"""A table of columns of any kind as one of numbers, and back.

What was learnt of the training table is plain data, a dict a column, so that it is kept
as such: its name, type and kind, its likelihood, and, of categories, their values in
the order of their codes and how often they came up. The last code of a categorical
column is that of the categories that are rare and of those that are not known.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils._indexing import _get_column_indices

from .._utils.names import some
from .._utils.warn import warn_user
from .column_kinds import likelihood_of
from .frames import (
    TEXT,
    Column,
    columns_of,
    frame_of,
    index_of,
    library_of,
    rounded,
)

# Categories of a column that nobody has asked for so many of.
MOST_CATEGORIES = 1000
# Likelihoods of codes, and of two of them.
CATEGORICAL, BERNOULLI, ORDINAL = "categorical", "bernoulli", "ordinal"


def fit_table(
    X, column_likelihoods: Any, max_categories: int | None, known: Sequence[str]
) -> dict[str, Any]:
    """What a training table is, as plain data: ``library`` and ``columns``.

    Parameters
    ----------
    X : frame, ndarray or list of rows
    column_likelihoods : list of (name, likelihood, columns), or None
    max_categories : int or None
        Codes that a categorical column may have, that of rare ones included.
    known : sequence of str
        Names of likelihoods that columns can have.

    Raises
    ------
    ValueError
        If a column cannot be of its likelihood, or has no values; names it.
    """
    columns = columns_of(X)
    if not columns or len(columns[0].values) == 0:
        raise ValueError(
            f"Found array with {0 if not columns else len(columns[0].values)} "
            f"sample(s) and {len(columns)} feature(s) (shape=({len(X)}, "
            f"{len(columns)})) while a minimum of 1 is required by VAETransformer."
        )
    given = _given(X, column_likelihoods, known)
    fitted = []
    for j, column in enumerate(columns):
        if column.missing.all():
            raise ValueError(
                f"Column {column.label} of X has no values: leave it out, since there "
                "is nothing to learn of it."
            )
        group, likelihood = given.get(j) or ("", likelihood_of(column))
        fitted.append(_fit_column(column, group, likelihood, max_categories))
    return {"library": library_of(X), "columns": fitted}


def _given(X, column_likelihoods, known) -> dict[int, tuple[str, str]]:
    """Of columns that the user has spoken of, a name and a likelihood."""
    found: dict[int, tuple[str, str]] = {}
    for entry in column_likelihoods or ():
        if not isinstance(entry, tuple | list) or len(entry) != 3:
            raise ValueError(
                "column_likelihoods must be a list of (name, likelihood, columns), as "
                f"a ColumnTransformer has its transformers; an entry is {entry!r}."
            )
        name, likelihood, columns = entry
        if likelihood not in known:
            raise ValueError(
                f"column_likelihoods has the likelihood {likelihood!r} for {name!r}; "
                f"columns of a table can have one of {some(map(repr, known), 20)}."
            )
        columns = columns(X) if callable(columns) else columns
        if not library_of(X) and not isinstance(X, np.ndarray):
            X = np.asarray(X, dtype=object)
        for j in _get_column_indices(X, columns):
            if j in found:
                raise ValueError(
                    f"column_likelihoods has column {j} of X twice, in "
                    f"{found[j][0]!r} and {name!r}."
                )
            found[int(j)] = name, likelihood
    return found


def _fit_column(
    column: Column, group: str, likelihood: str, max_categories: int | None
) -> dict[str, Any]:
    fitted: dict[str, Any] = {
        "name": column.name,
        "dtype": column.dtype,
        "kind": column.kind,
        "ordered": column.ordered,
        "declared": column.categories,
        "group": group,
        "likelihood": likelihood,
    }
    coded = column.kind == TEXT or likelihood == CATEGORICAL
    if not coded:
        if likelihood == ORDINAL:
            fitted["levels"] = np.unique(column.values[~column.missing]).tolist()
        return fitted
    if likelihood not in (CATEGORICAL, BERNOULLI, ORDINAL):
        raise ValueError(
            f"Column {column.label} of X holds words ({column.dtype}), and "
            f"likelihood={likelihood!r} is of numbers: give it 'categorical', or leave "
            "it out of column_likelihoods."
        )
    values, counts = _counted(column)
    if likelihood == ORDINAL:
        fitted["levels"] = [float(code) for code in range(len(values))]
    if likelihood == BERNOULLI and len(values) != 2:
        raise ValueError(
            f"Column {column.label} of X has {len(values)} categories, and "
            "likelihood='bernoulli' is of two: give it 'categorical'."
        )
    if likelihood != CATEGORICAL:
        return {**fitted, "categories": values, "counts": counts}
    rare: list[int] = []
    if max_categories is None:
        _check_number(column, values)
    elif len(values) > max_categories - 1:
        by_count = np.argsort(-np.array(counts), kind="stable")
        rare = sorted(by_count[max_categories - 1 :].tolist())
    kept = [i for i in range(len(values)) if i not in set(rare)]
    return {
        **fitted,
        "categories": [values[i] for i in kept],
        "counts": [counts[i] for i in kept],
        "rare": [values[i] for i in rare],
        "rare_counts": [counts[i] for i in rare],
    }


def _check_number(column: Column, values: list) -> None:
    n_rows = len(column.values)
    if len(values) > MOST_CATEGORIES:
        raise ValueError(
            f"Column {column.label} of X has {len(values)} categories: leave it out if "
            "they are names of rows, or set max_categories, so that rare ones share a "
            "place."
        )
    if 2 * len(values) > max(n_rows, 20):
        warn_user(
            f"Column {column.label} of X has {len(values)} categories in {n_rows} "
            "rows: every one is learnt by heart. Leave it out if they are names of "
            "rows, or set max_categories."
        )


def _counted(column: Column) -> tuple[list, list[int]]:
    """Categories, all that a type declares or those that came up, and how often."""
    there = column.values[~column.missing].tolist()
    if column.categories is not None:
        values = list(column.categories)
    else:
        values = sorted(set(there), key=lambda v: (type(v).__name__, v))
    number = dict.fromkeys(values, 0)
    for value in there:
        number[value] += 1
    return values, list(number.values())


def encode_table(X, fitted: dict[str, Any]) -> np.ndarray:
    """Rows as floats, (n_rows, n_columns), NaN where a value is missing.

    Raises
    ------
    ValueError
        If a column is of another kind than in the training table.
    """
    columns = columns_of(X)
    if len(columns) != len(fitted["columns"]):
        raise ValueError(
            f"X has {len(columns)} features, but VAETransformer is expecting "
            f"{len(fitted['columns'])} features as input."
        )
    parts = [_encoded(c, of) for c, of in zip(columns, fitted["columns"], strict=True)]
    return np.stack(parts, axis=1)


def _encoded(column: Column, fitted: dict[str, Any]) -> np.ndarray:
    if column.kind != TEXT and column.missing.all():
        return np.full(len(column.values), np.nan)
    if (column.kind == TEXT) != (fitted["kind"] == TEXT):
        now, then = (
            ("words", "numbers") if column.kind == TEXT else ("numbers", "words")
        )
        raise ValueError(
            f"Column {column.label} of X holds {now} ({column.dtype}), and in the "
            f"training rows it held {then} ({fitted['dtype']})."
        )
    if "categories" not in fitted:
        return column.values
    codes = {value: code for code, value in enumerate(fitted["categories"])}
    rest = len(codes)
    found = np.full(len(column.values), np.nan)
    for i, value in enumerate(column.values.tolist()):
        if value is None or value != value:
            continue
        code = codes.get(value, rest)
        if code == rest and fitted["likelihood"] != CATEGORICAL:
            raise ValueError(
                f"Column {column.label} of X has the unseen category {value!r}; the "
                f"training rows had {some(map(repr, codes))}."
            )
        found[i] = code
    return found


def decode_table(
    values: np.ndarray,
    fitted: dict[str, Any],
    index: Any = None,
    random_state: np.random.RandomState | None = None,
) -> Any:
    """Rows of floats as a table like the training table, of its names and types.

    Categories that are rare are drawn as often as they came up, with a
    ``random_state``, or are the most frequent of them.
    """
    columns = []
    for column, of in zip(np.asarray(values, float).T, fitted["columns"], strict=True):
        known = of["name"], of["dtype"], of["kind"]
        if "categories" in of:
            column = _decoded(column, of, random_state)
        columns.append(Column(*known, column, of["declared"], of["ordered"]))
    return frame_of(fitted["library"], columns, index)


def fill_table(
    X,
    values: np.ndarray,
    fitted: dict[str, Any],
    random_state: np.random.RandomState | None = None,
) -> Any:
    """The table X, whose gaps have what rows of floats (n_rows, n_columns) say.

    What was observed stays as it is, and of its type.
    """
    columns = []
    for own, column, of in zip(columns_of(X), values.T, fitted["columns"], strict=True):
        given = column if "categories" not in of else _decoded(column, of, random_state)
        missing = own.missing
        filled = np.where(missing, given, own.values)
        if own.kind != of["kind"] and of["kind"] != TEXT:
            # Whole numbers with gaps are floats where types have no gaps.
            whole = replace(own, kind=of["kind"], values=filled)
            filled = np.where(missing, rounded(whole), filled)
        columns.append(replace(own, values=filled))
    return frame_of(library_of(X), columns, index_of(X))


def _decoded(
    codes: np.ndarray,
    fitted: dict[str, Any],
    random_state: np.random.RandomState | None,
) -> np.ndarray:
    is_text = fitted["kind"] == TEXT
    values, counts = list(fitted["categories"]), np.array(fitted["counts"], float)
    rare, shares = (
        fitted.get("rare", []),
        np.array(fitted.get("rare_counts", []), float),
    )
    if not rare:  # of what was never seen nothing is known but that it is not that
        rare, shares = [values[int(counts.argmax())]], np.ones(1)
    missing = np.isnan(codes)
    at = np.where(missing, 0, np.rint(codes)).astype(np.int64)
    at = np.clip(at, 0, len(values))
    which = np.full(len(at), int(shares.argmax()))
    if random_state is not None:
        shares = np.maximum(shares, 1e-12)
        which = random_state.choice(len(rare), len(at), p=shares / shares.sum())
    table = np.array([*values, None], dtype=object)
    found = table[at]
    beyond = at == len(values)
    found[beyond] = np.array([*rare, None], dtype=object)[which[beyond]]
    if is_text:
        found[missing] = None
        return found
    found = found.astype(np.float64)
    found[missing] = np.nan
    return found


def parts_of(fitted: dict[str, Any]) -> list[dict[str, Any]]:
    """Groups of columns of one likelihood, as ``_likelihoods.mixed`` takes them."""
    groups: dict[str, list[int]] = {}
    for j, column in enumerate(fitted["columns"]):
        groups.setdefault(column["likelihood"], []).append(j)
    parts = []
    for likelihood, columns in groups.items():
        part: dict[str, Any] = {"likelihood": likelihood, "columns": columns}
        if likelihood == CATEGORICAL:
            known = [fitted["columns"][j]["categories"] for j in columns]
            part["n_categories"] = [len(of) + 1 for of in known]
        if likelihood == ORDINAL:
            part["levels"] = [fitted["columns"][j]["levels"] for j in columns]
        parts.append(part)
    return parts


def listed(fitted: dict[str, Any]) -> list[tuple[str, str, list]]:
    """The choice of likelihoods, as ``column_likelihoods`` has it."""
    groups: dict[tuple[str, str], list] = {}
    for column in fitted["columns"]:
        key = column["group"] or column["likelihood"], column["likelihood"]
        groups.setdefault(key, []).append(column["name"])
    return [(*key, names) for key, names in groups.items()]


def described(fitted: dict[str, Any]) -> str:
    """The same in a line."""
    groups = []
    for name, likelihood, columns in listed(fitted):
        own = likelihood if name == likelihood else f"{name} ({likelihood})"
        groups.append(f"{own} {some(columns)}")
    return "; ".join(groups)
