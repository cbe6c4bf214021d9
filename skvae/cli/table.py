"""What a table is, once it is read, and what every reader needs."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._utils.names import repeated, some


class TableError(ValueError):
    """A file that cannot be used, in one line that says what to do."""


class Table(NamedTuple):
    """Rows, and what the file says of its columns and rows, if it says anything.

    ``X`` is an array or a CSR array or matrix; ``feature_names`` are different from
    each other; ``left_out`` names columns of text that are not in X; ``conditions`` is
    a data frame of columns of ``obs``, and ``cells`` the AnnData that X is of.
    """

    X: Any
    feature_names: list[str] | None
    labels: np.ndarray | None
    row_names: Any = None
    left_out: tuple[str, ...] = ()
    conditions: Any = None
    cells: Any = None


def ending(path) -> str:
    """The ending of a file's name in lower case; that before .gz belongs to it."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def refuse_repeated(names: list[str], advice: str) -> None:
    """Complain about names that appear twice: they belong to no one column.

    Raises
    ------
    TableError
        If there are any.
    """
    twice = repeated(names)
    if twice:
        raise TableError(
            f"names of columns appear more than once: {some(twice)}; {advice}"
        )
