"""Columns out of frames of any kind, and frames of the same kind again."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skvae._data.frames import columns_of, frame_of, library_of, with_columns

N = 6
FRAME = pd.DataFrame(
    {
        "flag": np.array([True, False] * 3),
        "maybe": pd.array([True, None, False] * 2, dtype="boolean"),
        "whole": np.arange(N, dtype=np.int16),
        "count": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"),
        "number": np.linspace(0.0, 1.0, N, dtype=np.float32),
        "hole": [1.5, np.nan, 2.5, 3.5, np.nan, 0.0],
        "nullable": pd.array([1.5, None, 2.5, 3.5, 4.0, 0.0], dtype="Float64"),
        "word": ["a", "b", None, "a", "b", "c"],
        "string": pd.array(["a", None, "c"] * 2, dtype="string"),
        "kind": pd.Categorical(["x", "y", None, "x", "y", "x"], ["z", "y", "x"]),
        "grade": pd.Categorical(["lo", "hi"] * 3, ["lo", "mid", "hi"], ordered=True),
        "arrow": pd.array([1, None, 3] * 2, dtype="int64[pyarrow]"),
        "arrow_word": pd.array(["p", None, "q"] * 2, dtype="string[pyarrow]"),
        "mixed": ["a", 1, 2.5, None, "a", True],
    },
    index=pd.Index(list("uvwxyz"), name="row"),
)
KINDS = {
    "flag": "bool",
    "maybe": "bool",
    "whole": "whole",
    "count": "whole",
    "number": "number",
    "hole": "number",
    "nullable": "number",
    "arrow": "whole",
}


def test_pandas_columns():
    for column in columns_of(FRAME):
        assert column.kind == KINDS.get(column.name, "text"), column.name
        missing = FRAME[column.name].isna().to_numpy()
        if column.kind == "text":
            found = np.array([value is None for value in column.values.tolist()])
        else:
            assert column.values.dtype == np.float64
            found = np.isnan(column.values)
        np.testing.assert_array_equal(found, missing, err_msg=column.name)
    kind, grade = (c for c in columns_of(FRAME) if c.name in ("kind", "grade"))
    assert kind.categories == ["z", "y", "x"]
    assert (kind.ordered, grade.ordered) == (False, True)


def test_pandas_frames_come_back():
    found = frame_of("pandas", columns_of(FRAME), FRAME.index)
    pd.testing.assert_frame_equal(found, FRAME)


def test_polars_frames_come_back():
    frame = pl.DataFrame(
        {
            "flag": [True, None, False],
            "whole": pl.Series([1, 2, None], dtype=pl.UInt8),
            "number": pl.Series([1.5, None, 2.0], dtype=pl.Float32),
            "word": ["a", None, "b"],
            "kind": pl.Series(["a", "b", None], dtype=pl.Categorical),
            "enum": pl.Series(["lo", "hi", None], dtype=pl.Enum(["lo", "mid", "hi"])),
        }
    )
    columns = columns_of(frame)
    assert [c.kind for c in columns] == ["bool", "whole", "number", *["text"] * 3]
    assert columns[-1].categories == ["lo", "mid", "hi"]
    found = frame_of("polars", columns)
    assert found.schema == frame.schema
    assert found.equals(frame)


def test_whole_numbers_are_rounded_to_what_their_type_holds():
    column = columns_of(pd.DataFrame({"a": np.array([1, 2, 3], dtype=np.int8)}))[0]
    wild = type(column)("a", "int8", "whole", np.array([1.4, 900.0, -900.0]))
    found = frame_of("pandas", [wild])
    assert found["a"].tolist() == [1, 127, -128]
    assert found["a"].dtype == np.int8


@pytest.mark.parametrize(
    "X",
    [np.array([["a", 1.0], ["b", None]], dtype=object), [["a", 1.0], ["b", None]]],
    ids=["array", "list"],
)
def test_arrays_of_objects(X):
    words, numbers = columns_of(X)
    assert (words.kind, numbers.kind) == ("text", "number")
    assert (words.name, numbers.name) == (0, 1)
    np.testing.assert_array_equal(numbers.values, [1.0, np.nan])
    found = frame_of("", [words, numbers])
    assert found.dtype == object
    assert found[:, 0].tolist() == ["a", "b"]


def test_arrays_of_numbers():
    for X in (
        np.eye(3, dtype=bool),
        np.eye(3, dtype=int),
        sparse.csr_matrix(np.eye(3)),
    ):
        np.testing.assert_array_equal(frame_of("", columns_of(X)), np.eye(3))
    assert columns_of(np.eye(2, dtype=bool))[0].kind == "bool"
    assert library_of(np.eye(2)) == ""


def test_what_is_no_column_is_refused():
    day = datetime.date(2020, 1, 1)
    cases = [
        (
            pd.DataFrame({"d": pd.to_datetime(["2020-01-01"])}),
            "Column 'd' of X holds tim",
        ),
        (pd.DataFrame({"d": [day, None]}), "Column 'd' of X holds times"),
        (pd.DataFrame({"d": pd.to_timedelta([1])}), "Column 'd' of X holds times"),
        (pd.DataFrame({"d": pd.period_range("2020", periods=1)}), "'d' of X holds tim"),
        (pl.DataFrame({"d": [day]}), "Column 'd' of X holds times"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "appear more than once: a"),
        (pd.DataFrame({"a": [1.0 + 2.0j]}), "Complex data not supported"),
        (np.array([1.0, 2.0], dtype=object), "Expected 2D array"),
    ]
    for X, match in cases:
        with pytest.raises(ValueError, match=match):
            columns_of(X)
    for nested in ([1, 2], {"a": 1}, {1}, np.ones(2)):
        frame = pd.DataFrame({"a": [1.0, 2.0], "b": [None, nested]})
        with pytest.raises(TypeError, match="Column 'b' of X holds objects"):
            columns_of(frame)


def test_columns_behind_others():
    more = np.arange(2.0 * N).reshape(N, 2)
    found = with_columns(FRAME, more, ["p", "q"])
    assert list(found.columns[-2:]) == ["p", "q"]
    pd.testing.assert_frame_equal(found.iloc[:, :-2], FRAME)
    wide = with_columns(pl.DataFrame({"a": [1, 2]}), more[:2], ["p", "q"])
    assert wide.columns == ["a", "p", "q"]
    assert with_columns(np.ones((N, 1)), more, ["p", "q"]).shape == (N, 3)
