"""Methods that take rows which are not in memory, and need not fit there."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from sklearn.utils import _safe_indexing

from ._data.spool import check_on_disk, is_by_columns, is_on_disk, row_parts, spooled

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Method = Callable[Concatenate[Any, Any, _P], _T]


def spools_rows(method: _Method) -> _Method:
    """A method whose X may be on disk: it is unpacked into a mapped file for the call.

    Rows are then read in any order, as often as need be, and the outcome is that of an
    array of the same values, to the bit.
    """

    @wraps(method)
    def with_rows(self, X, *args: Any, **given: Any) -> Any:
        with spooled(X) as rows:
            return method(self, rows, *args, **given)

    return with_rows


def reads_parts(method: _Method) -> _Method:
    """A method of one row at a time: X on disk is read in parts, not unpacked.

    What it returns has a row for each of X, that of an array of the same values but for
    rounding.
    """

    @wraps(method)
    def with_parts(self, X, *args: Any, **given: Any) -> Any:
        if not is_on_disk(X):
            return method(self, X, *args, **given)
        check_on_disk(X)
        if is_by_columns(X) or X.shape[0] == 0:
            with spooled(X) as rows:
                return method(self, rows, *args, **given)
        n_rows = X.shape[0]
        found = []
        for rows, part in row_parts(X):
            own = {name: _some(value, rows, n_rows) for name, value in given.items()}
            found.append(method(self, part, *args, **own))
        if isinstance(found[0], tuple):
            return tuple(map(np.concatenate, zip(*found, strict=True)))
        return np.concatenate(found)

    return with_parts


def _some(value: Any, rows: slice, n_rows: int) -> Any:
    """What is given with some of the rows: there may be one for all."""
    shape = getattr(value, "shape", None)
    if shape is None and isinstance(value, list | tuple):
        shape = (len(value),)
    if not shape or shape[0] != n_rows:
        return value
    return _safe_indexing(value, np.arange(rows.start, rows.stop))
