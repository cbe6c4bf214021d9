"""Reading ``cv_results_`` of a search."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def results_of(search) -> Mapping[str, Any]:
    """``cv_results_`` of a fitted search.

    Raises
    ------
    TypeError
        If it is no search, or has not been fitted.
    """
    results = getattr(search, "cv_results_", None)
    if results is None:
        raise TypeError(
            f"This {type(search).__name__} has no cv_results_: this needs a fitted "
            "search, such as GridSearchCV."
        )
    return results


def parameter(results: Mapping[str, Any], name: str) -> str | None:
    """A searched parameter by its name, or by what that ends in; None without one.

    Raises
    ------
    ValueError
        If several end so.
    """
    names = searched(results)
    if name in names:
        return name
    found = [full for full in names if full.split("__")[-1] == name]
    if len(found) > 1:
        raise ValueError(f"{name} is searched as {' and as '.join(found)}: name one.")
    return found[0] if found else None


def searched(results: Mapping[str, Any]) -> list[str]:
    """Names of the parameters of all candidates."""
    if "params" not in results:
        raise ValueError("These are no cv_results_ of a search: they have no 'params'.")
    return list(dict.fromkeys(name for p in results["params"] for name in p))


def column(results: Mapping[str, Any], name: str) -> np.ndarray:
    """Means over splits of a held-out score, one a candidate.

    Raises
    ------
    ValueError
        If there is no such score.
    """
    key = f"mean_test_{name}"
    if key not in results:
        known = [k.removeprefix("mean_test_") for k in results if "mean_test_" in k]
        raise ValueError(
            f"The search has no held-out {name!r}; it has {', '.join(known) or 'none'}."
        )
    return np.asarray(results[key], dtype=float)


def values_of(results: Mapping[str, Any], name: str) -> list:
    """What every candidate has for a parameter; None where it has none."""
    return [p.get(name) for p in results["params"]]


def in_order(values: Sequence) -> list:
    """Different values: numbers by size, then all others in the order they came."""
    different: list = []
    for value in values:
        if not any(_same(value, other) for other in different):
            different.append(value)
    numbers = sorted(v for v in different if _is_number(v))
    return numbers + [v for v in different if not _is_number(v)]


def index_of(value, values: Sequence) -> int:
    """Where a value is among those :func:`in_order` gave."""
    return next(i for i, other in enumerate(values) if _same(value, other))


def _same(a, b) -> bool:
    """Whether two values are one: 1 and 1.0 are, 1 and True are not."""
    alike = type(a) is type(b) or (_is_number(a) and _is_number(b))
    return a is b or (alike and a == b)


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
