import numpy as np
import pandas as pd
import pytest

from skvae._files import (
    TableError,
    check_writable,
    optional_import,
    read_table,
    write_table,
)


def test_labels_are_no_features(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "kind": ["x", "y"], "b": [0.5, 1.5]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read_table(str(tmp_path / "t.csv"), label="kind")
    assert table.feature_names == ["a", "b"]
    assert list(table.labels) == ["x", "y"]
    np.testing.assert_array_equal(table.X, [[1, 0.5], [2, 1.5]])


def test_text_is_left_out_on_demand(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "kind": ["x", "y"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match="columns kind are not numbers"):
        read_table(str(tmp_path / "t.csv"))
    table = read_table(str(tmp_path / "t.csv"), numeric_only=True)
    assert table.feature_names == ["a"]


def test_npz_with_several_tables_needs_an_X(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.eye(3), b=np.eye(3))
    with pytest.raises(TableError, match="needs an array named X"):
        read_table(str(tmp_path / "t.npz"))
    np.savez(tmp_path / "t.npz", a=np.eye(3), b=np.arange(3))
    np.testing.assert_array_equal(read_table(str(tmp_path / "t.npz")).X, np.eye(3))


@pytest.mark.parametrize("ending", [".npy", ".csv", ".parquet"])
def test_what_is_written_is_read(tmp_path, ending):
    path = str(tmp_path / f"codes{ending}")
    codes = np.arange(6.0).reshape(3, 2)
    check_writable(path, (ending,))
    write_table(path, codes, ["u0", "u1"])
    np.testing.assert_array_equal(read_table(path).X, codes)


def test_a_missing_extra_is_named():
    with pytest.raises(TableError, match=r"pip install 'skvae\[frames\]'"):
        optional_import("a_module_that_is_not_there", "frames")
