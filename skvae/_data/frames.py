"""Columns of a table, whatever it is held in, and a table of the same kind again.

pandas and polars frames are known by the names of their modules, and neither is
imported before one of its frames is there.
"""

import datetime
import numbers
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from scipy import sparse

from .._utils.containers import kinds_of
from .._utils.optional import optional_import
from .._utils.validation import name_of, refuse_repeated_names

#: Kinds of columns, as they are held: numbers measured or whole, truths, words.
NUMBER, WHOLE, BOOL, TEXT = "number", "whole", "bool", "text"
_ARROW = "arrow:"
_TIMES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str or int
        As the table has it, or its number.
    dtype : str
        As the table's package names it.
    kind : str
        ``NUMBER``, ``WHOLE`` (of an integer type), ``BOOL`` or ``TEXT``.
    values : ndarray of shape (n_rows,)
        Floats, NaN where a value is missing; of words objects, None where missing.
    categories : list or None
        Of a categorical type, all that it knows.
    ordered : bool
        Whether that type has an order.
    """

    name: Any
    dtype: str
    kind: str
    values: np.ndarray
    categories: list | None = None
    ordered: bool = False

    @property
    def label(self) -> str:
        """What messages call it."""
        return repr(self.name) if isinstance(self.name, str) else str(self.name)

    @property
    def missing(self) -> np.ndarray:
        """Where values are missing, (n_rows,), bool."""
        if self.kind == TEXT:
            return np.array([value is None for value in self.values.tolist()], bool)
        return np.isnan(self.values)


def library_of(X) -> str:
    """What holds a table: "pandas", "polars", or "" for an array or lists."""
    for package, kind in kinds_of(X):
        if package in ("pandas", "polars") and kind == "DataFrame":
            return package
    return ""


def index_of(X) -> Any:
    """The index of a pandas frame, None of anything else."""
    return X.index if library_of(X) == "pandas" else None


def has_words(X: Any) -> bool:
    """Whether a frame, or an array of objects, has columns that hold no numbers."""
    if (
        not library_of(X)
        and getattr(getattr(X, "dtype", None), "kind", "f") not in "OUS"
    ):
        return False
    return any(column.kind in (TEXT, BOOL) for column in columns_of(X))


def in_precision(table: Any, dtype: np.dtype) -> Any:
    """An array of numbers in a precision; any other table as it is."""
    is_array = isinstance(table, np.ndarray) and table.dtype != object
    return table.astype(dtype) if is_array else table


def columns_of(X) -> list[Column]:
    """The columns of a frame, an array or a list of rows.

    Raises
    ------
    ValueError
        If names repeat, or a column is of times; names the column.
    TypeError
        If one is of objects that are neither words nor numbers.
    """
    library = library_of(X)
    if library == "":
        return _of_array(X)
    refuse_repeated_names(X)
    read = _of_pandas if library == "pandas" else _of_polars
    return [read(X, j) for j in range(len(X.columns))]


def _of_array(X) -> list[Column]:
    if sparse.issparse(X):
        X = X.toarray()
    if isinstance(X, Mapping):
        raise TypeError("X is a dict: pass a frame of it, pandas.DataFrame(X).")
    table = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
    if table.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {table.ndim}D array instead: X has the shape "
            f"{table.shape}. Reshape your data: one row a sample, one column a feature."
        )
    if table.dtype.kind == "c":
        raise ValueError("Complex data not supported: X has complex numbers.")
    if table.dtype.kind in "mM":
        _refuse_times(name_of(0), str(table.dtype))
    if table.dtype.kind in "OUS":
        return [_of_objects(j, "object", column) for j, column in enumerate(table.T)]
    kind = {"b": BOOL, "i": WHOLE, "u": WHOLE}.get(table.dtype.kind, NUMBER)
    dtype = str(table.dtype)
    return [Column(j, dtype, kind, np.asarray(c, float)) for j, c in enumerate(table.T)]


def _of_pandas(X, j: int) -> Column:
    types = optional_import("pandas", "frames").api.types
    series, name = X.iloc[:, j], X.columns[j]
    dtype, name = series.dtype, _plain(name)
    if isinstance(dtype, optional_import("pandas", "frames").CategoricalDtype):
        codes, categories = series.cat.codes.to_numpy(), series.cat.categories.tolist()
        known = np.array([*map(_plain, categories), None], dtype=object)
        return Column(
            name, "category", TEXT, known[codes], list(known[:-1]), dtype.ordered
        )
    if types.is_bool_dtype(dtype):
        kind = BOOL
    elif types.is_integer_dtype(dtype):
        kind = WHOLE
    elif types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {name!r} is complex.")
    elif types.is_numeric_dtype(dtype):
        kind = NUMBER
    elif "time" in str(dtype).lower() or str(dtype).lower().startswith(
        ("date", "duration", "period", "interval")
    ):
        _refuse_times(repr(name), str(dtype))
    else:
        objects = series.astype(object).to_numpy()
        objects = np.where(series.isna().to_numpy(), np.array(None), objects)
        return _of_objects(name, _pandas_name(dtype), objects)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return Column(name, str(dtype), kind, values)


def _pandas_name(dtype: Any) -> str:
    """A name that :func:`_pandas_dtype` knows the type by."""
    pd = optional_import("pandas", "frames")
    if isinstance(dtype, pd.ArrowDtype):
        return f"{_ARROW}{dtype.pyarrow_dtype}"
    if isinstance(dtype, pd.StringDtype):
        return "str" if str(dtype) == "str" else f"string[{dtype.storage}]"
    return str(dtype)


def _pandas_dtype(name: str) -> Any:
    pd = optional_import("pandas", "frames")
    if not name.startswith(_ARROW):
        return name
    kind = getattr(
        optional_import("pyarrow", "frames"), name.removeprefix(_ARROW), None
    )
    return object if kind is None else pd.ArrowDtype(kind())


def _of_polars(X, j: int) -> Column:
    pl = optional_import("polars", "frames")
    series = X.to_series(j)
    name, dtype = series.name, series.dtype
    if dtype == pl.Boolean or dtype.is_numeric():
        kind = BOOL if dtype == pl.Boolean else WHOLE if dtype.is_integer() else NUMBER
        values = series.cast(pl.Float64).to_numpy().astype(np.float64)
        return Column(name, str(dtype), kind, values)
    if dtype in (pl.Categorical, pl.Enum):
        words = np.array(series.cast(pl.String).to_list(), dtype=object)
        if dtype == pl.Enum:
            return Column(name, "Enum", TEXT, words, dtype.categories.to_list(), True)
        return Column(name, "Categorical", TEXT, words)
    if dtype == pl.String:
        return Column(name, str(dtype), TEXT, np.array(series.to_list(), dtype=object))
    if dtype.is_temporal():
        _refuse_times(repr(name), str(dtype))
    return _of_objects(name, str(dtype), np.array([*series.to_list(), 0], object)[:-1])


def _of_objects(name: Any, dtype: str, values: np.ndarray) -> Column:
    """A column of Python objects: of truths, numbers or words."""
    missing = np.array([_is_missing(value) for value in values.tolist()], dtype=bool)
    known: list[Any] = values[~missing].tolist()
    label = repr(name) if isinstance(name, str) else str(name)
    if any(isinstance(value, _TIMES) for value in known):
        _refuse_times(label, type(known[0]).__name__)
    nested = [v for v in known if not isinstance(v, Hashable | str) or _holds_more(v)]
    if nested:
        raise TypeError(
            f"Column {label} of X holds objects ({type(nested[0]).__name__}), and an "
            "argument must be a string or a number: take from them the words and "
            "numbers that matter, a column each, or leave it out."
        )
    for kind, of in ((BOOL, bool | np.bool_), (NUMBER, numbers.Real)):
        if known and all(isinstance(value, of) for value in known):
            found = np.full(len(values), np.nan)
            found[~missing] = np.array(known, dtype=np.float64)
            return Column(name, dtype, kind, found)
    words = np.full(len(values), None, dtype=object)
    words[~missing] = list(map(_plain, known)) if known else []
    if not known:  # nothing is known of what it would hold
        return Column(name, dtype, NUMBER, np.full(len(values), np.nan))
    return Column(name, dtype, TEXT, words)


def _holds_more(value: Any) -> bool:
    return isinstance(value, tuple | frozenset | dict | list | set | np.ndarray)


def _plain(value: Any) -> Any:
    """A value as plain Python: files and comparisons know these alone."""
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, bool | int | float | str) else str(value)


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # a frame's NA is not even unequal; nor are arrays
        return not _holds_more(value)


def _refuse_times(label: str, dtype: str) -> NoReturn:
    raise ValueError(
        f"Column {label} of X holds times ({dtype}): turn them into numbers, such as "
        "days since a date, or leave it out."
    )


def frame_of(library: str, columns: Sequence[Column], index: Any = None) -> Any:
    """A frame, or an array where there is no library, of columns with values.

    Whole numbers and truths are rounded to their types; NaN and None are missing.
    """
    if library == "pandas":
        return _pandas_frame(columns, index)
    if library == "polars":
        pl = optional_import("polars", "frames")
        return pl.DataFrame([_polars_series(pl, column) for column in columns])
    if any(column.kind == TEXT for column in columns):
        return np.stack([_objects(column) for column in columns], axis=1)
    return np.stack([column.values for column in columns], axis=1)


def _objects(column: Column) -> np.ndarray:
    if column.kind == TEXT:
        return column.values
    return rounded(column).astype(object)


def rounded(column: Column) -> np.ndarray:
    """Values as whole numbers, where they are to be, within what the type holds."""
    values = column.values
    if column.kind == NUMBER:
        return values
    values = np.rint(values)
    try:
        limits = np.iinfo(column.dtype.lower().removesuffix("[pyarrow]"))
    except (TypeError, ValueError):  # truths
        return values
    # The largest int64 is no float64: the next one below it is.
    most = np.nextafter(float(limits.max), 0.0) if limits.bits == 64 else limits.max
    return np.clip(values, limits.min, most)


def _pandas_frame(columns: Sequence[Column], index: Any) -> Any:
    pd = optional_import("pandas", "frames")
    series = []
    for column in columns:
        if column.dtype == "category":
            dtype = pd.CategoricalDtype(column.categories, ordered=column.ordered)
            data = pd.Series(column.values, dtype=dtype, index=index)
        elif column.kind == TEXT:
            dtype = _pandas_dtype(column.dtype)
            data = pd.Series(column.values, dtype=dtype, index=index)
        else:
            data = _pandas_numbers(pd, column, index)
        series.append(data.rename(column.name))
    return pd.concat(series, axis=1)


def _pandas_numbers(pd, column: Column, index: Any) -> Any:
    values = rounded(column)
    missing = np.isnan(values)
    if column.kind == BOOL and column.dtype in ("bool", "object"):
        data = pd.Series(values > 0.5, index=index, dtype=object)
        if missing.any():
            data[missing] = None
            return data
        return data.astype(column.dtype)
    data = pd.Series(values, index=index)
    plain = column.dtype.startswith(("int", "uint")) and "pyarrow" not in column.dtype
    if (plain and missing.any()) or column.dtype == "object":
        return data
    if column.kind in (BOOL, WHOLE):
        data = data.astype("boolean" if column.kind == BOOL else "Int64")
    return data.astype(column.dtype)


def _polars_series(pl, column: Column) -> Any:
    if column.kind == TEXT:
        data = pl.Series(column.name, column.values.tolist(), dtype=pl.String)
        if column.dtype == "Enum":
            return data.cast(pl.Enum(column.categories))
        return data.cast(pl.Categorical) if column.dtype == "Categorical" else data
    data = pl.Series(column.name, rounded(column)).fill_nan(None)
    if column.kind == BOOL:
        return (data > 0.5).cast(pl.Boolean)
    known = getattr(pl, column.dtype, None)
    return data if known is None else data.cast(known)


def with_columns(X: Any, others: np.ndarray, names: Iterable[str]) -> Any:
    """A frame, or an array, with the columns of an array (n_rows, m) behind it."""
    library = library_of(X)
    if library == "pandas":
        pd = optional_import("pandas", "frames")
        more = pd.DataFrame(others, columns=list(names), index=X.index)
        return pd.concat([X, more], axis=1)
    if library == "polars":
        pl = optional_import("polars", "frames")
        parts = zip(names, others.T, strict=True)
        return X.with_columns(pl.Series(name, column) for name, column in parts)
    return np.hstack([X, others])
