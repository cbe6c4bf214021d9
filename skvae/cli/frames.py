"""Delimited text and Parquet -> a table. Needs pandas (``skvae[frames]``).

What can be read in two ways is refused: a table that is read wrongly trains a model all
the same.
"""

import csv
import gzip
import re
from pathlib import Path

import numpy as np

from .._utils.optional import optional_import
from .table import Table, TableError, ending, refuse_repeated, some

# What separates fields where nobody says.
SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
OTHER_SEPARATORS = {";": "';'", "\t": "'\\t'", "|": "'|'", ",": "','"}
# pandas writes the first for a column without a name, and reads it back as the second.
NAMELESS = ("", "Unnamed: 0")
NUMBER = re.compile(r"\s*[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?\s*")
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")


def read_delimited(
    file: Path,
    *,
    label: str | None,
    index: str | None,
    numeric_only: bool,
    sep: str | None,
    decimal: str,
) -> Table:
    """Read text with a line of names; a first column without a name names the rows."""
    pandas = optional_import("pandas", "frames")
    kind = ending(file)
    separator = sep or SEPARATORS[kind]
    header = _header(file, separator)
    if sep is None:
        _refuse_another_separator(header, separator)
    _refuse_numbers(header)
    named_rows = index is None and header[0] in NAMELESS and len(header) > 1
    if named_rows:
        index = header[0]
    for i, name in enumerate(header):
        if name == "" and not (i == 0 and named_rows):
            raise TableError(
                f"column {i + 1} has no name; name it, or delete it if it is empty"
            )
    refuse_repeated(header, "rename or drop them")
    # pandas takes NA and nan for missing, and 007 for 7: names of rows are text.
    converters = {index: str} if index in header else None
    with _opened(file) as text:
        frame = pandas.read_csv(
            text,
            sep=separator,
            decimal=decimal,
            header=0,
            names=header,
            converters=converters,
            skipinitialspace=True,
        )
    if not isinstance(frame.index, pandas.RangeIndex):
        # pandas would take the first fields of every row for names of rows.
        raise TableError(
            f"rows have more fields than the {len(header)} names of the first line; "
            "name every column (a first column of row names may have an empty name)"
        )
    _refuse_a_row_as_header(frame)
    if decimal != ",":
        _refuse_decimal_commas(frame, beside={label, index})
    table = _table(frame, label, index, numeric_only)
    if named_rows:
        table.row_names.name = None
    return table


def read_parquet(
    file: Path, *, label: str | None, index: str | None, numeric_only: bool
) -> Table:
    """Read a Parquet file; an index that is not 0, 1, 2, ... names the rows."""
    pandas = optional_import("pandas", "frames")
    frame = pandas.read_parquet(file)
    frame.columns = [str(name) for name in frame.columns]
    refuse_repeated(list(frame.columns), "rename or drop them")
    given = {label, index} & set(frame.index.names) - {None} - set(frame.columns)
    if given:
        frame = frame.reset_index()
    table = _table(frame, label, index, numeric_only)
    if index is None and not isinstance(frame.index, pandas.RangeIndex):
        return table._replace(row_names=frame.index)
    return table


def _opened(file: Path):
    """Text, without the mark that some programs put before it."""
    open_text = gzip.open if ending(file).endswith(".gz") else open
    return open_text(file, "rt", encoding="utf-8-sig", newline="")


def _header(file: Path, separator: str) -> list[str]:
    with _opened(file) as text:
        lines = csv.reader(text, delimiter=separator, skipinitialspace=True)
        header = next((fields for fields in lines if fields), None)
    if header is None:
        raise TableError("is empty")
    return header


def _refuse_another_separator(header: list[str], separator: str) -> None:
    if len(header) > 1:
        return
    for other, shown in OTHER_SEPARATORS.items():
        if other != separator and other in header[0]:
            line = header[0] if len(header[0]) <= 40 else f"{header[0][:40]}..."
            raise TableError(
                f"the first line is one field, {line!r}: pass --sep {shown}, and "
                "--decimal ',' if numbers have a comma"
            )


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def _refuse_numbers(header: list[str]) -> None:
    """A line of numbers is a row, not names."""
    if all(map(_is_number, header)):
        raise TableError(
            f"the first line holds only numbers ({some(header, 3)}), and it must hold "
            "the names of the columns; put a line of names in front"
        )


def _refuse_a_row_as_header(frame) -> None:
    """Numbers are names of columns, too (wavelengths); beside them a word tells."""
    numbers = set(frame.select_dtypes(["number", "bool"]).columns)
    if not all(map(_is_number, numbers)):
        return
    for name in frame.columns:
        if name not in numbers and (frame[name] == name).any():
            raise TableError(
                f"the first line looks like a row: {name!r} is a value of its column, "
                "and the other names are numbers; put a line of names in front"
            )


def _refuse_decimal_commas(frame, beside: set) -> None:
    """Else they are text, which --numeric-only would leave out."""
    for name, column in frame.select_dtypes(exclude=["number", "bool"]).items():
        if name in beside:
            continue
        values = column.dropna().astype(str)
        if len(values) and values.map(DECIMAL_COMMA.fullmatch).notna().all():
            raise TableError(
                f"column {name} holds {values.iloc[0]!r}: pass --decimal ',' if that "
                "is a decimal comma, else take the comma out"
            )


def _table(frame, label, index, numeric_only: bool) -> Table:
    """The columns of numbers, and beside them labels and names of rows."""
    columns = list(frame.columns)
    for what, name in (("label", label), ("index", index)):
        if name is not None and name not in columns:
            raise TableError(f"no column {name!r} for --{what}; it has {some(columns)}")
    if len(frame) == 0:
        raise TableError("has a line of names but no rows")
    row_names = None if index is None else frame.set_index(index).index
    labels = None if label is None else frame[label].to_numpy()
    frame = frame.drop(columns=[name for name in {label, index} if name is not None])
    numbers = frame.select_dtypes(["number", "bool"])
    others = [name for name in frame.columns if name not in numbers]
    if others and not numeric_only:
        example = next(iter(frame[others[0]].dropna()), "")
        raise TableError(
            f"columns {some(others)} are not numbers ({example!r} in {others[0]}); "
            "encode them, or leave them out (--numeric-only; --label for one that "
            "holds labels, --index for names of rows)"
        )
    if numbers.shape[1] == 0:
        raise TableError("no column holds numbers")
    names = list(numbers.columns)
    return Table(_array(numbers), names, labels, row_names, tuple(others))


def _array(numbers) -> np.ndarray:
    """Columns of one type as they are; else float64, NaN where there is no value."""
    types = set(numbers.dtypes)
    if len(types) == 1 and isinstance(next(iter(types)), np.dtype):
        return numbers.to_numpy()
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)
