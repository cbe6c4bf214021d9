import gzip
import os

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skvae.cli.files import (
    TableError,
    check_writable,
    optional_import,
    read_table,
    write_table,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text, name="t.csv", encoding="utf-8"):
    with open(name, "w", encoding=encoding, newline="") as file:
        file.write(text)
    return name


def test_labels_are_no_features(folder):
    frame = pd.DataFrame({"a": [1, 2], "kind": ["x", "y"], "b": [0.5, 1.5]})
    frame.to_csv("t.csv", index=False)
    table = read_table("t.csv", label="kind")
    assert table.feature_names == ["a", "b"]
    assert list(table.labels) == ["x", "y"]
    assert table.row_names is None
    np.testing.assert_array_equal(table.X, [[1, 0.5], [2, 1.5]])


def test_text_is_left_out_on_demand(folder):
    pd.DataFrame({"a": [1, 2], "kind": ["x", "y"]}).to_csv("t.csv", index=False)
    with pytest.raises(TableError, match="columns kind are not numbers"):
        read_table("t.csv")
    table = read_table("t.csv", numeric_only=True)
    assert table.feature_names == ["a"]
    assert table.left_out == ("kind",)


def test_a_first_column_without_a_name_is_row_names(folder):
    frame = pd.DataFrame(np.eye(3), columns=list("abc"), index=["007", "NA", "x"])
    frame.to_csv("t.csv")
    table = read_table("t.csv")
    assert table.feature_names == ["a", "b", "c"]
    assert list(table.row_names) == ["007", "NA", "x"]
    np.testing.assert_array_equal(table.X, np.eye(3))
    # Read and written again, as happens to those who do not know index_col.
    pd.read_csv("t.csv").to_csv("again.csv", index=False)
    assert read_table("again.csv").feature_names == ["a", "b", "c"]
    # Columns that pandas counts are told from a row by the empty name.
    pd.DataFrame(np.eye(3)).to_csv("counted.csv")
    assert read_table("counted.csv").feature_names == ["0", "1", "2"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz", ".h5ad"])
def test_index_names_the_column_of_row_names(folder, ending):
    path = f"t{ending}"
    X, cells = np.arange(6.0).reshape(3, 2), ["c1", "c2", "c3"]
    frame = pd.DataFrame({"a": X[:, 0], "cell": cells, "b": X[:, 1]})
    if ending == ".csv":
        frame.to_csv(path, index=False)
    elif ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".npz":
        np.savez(path, X=X, cell=cells)
    else:
        obs = pd.DataFrame({"cell": cells}, index=["r1", "r2", "r3"])
        anndata.AnnData(X, obs=obs).write_h5ad(path)
        assert list(read_table(path).row_names) == ["r1", "r2", "r3"]
    table = read_table(path, index="cell")
    assert list(table.row_names) == cells
    np.testing.assert_array_equal(table.X, X)
    with pytest.raises(TableError, match="nope"):
        read_table(path, index="nope")


def test_german_text(folder):
    written("a;b\n1,5;2\n-2,5;1e1\n,5;3\n")
    with pytest.raises(TableError, match="one field, 'a;b': pass --sep ';'"):
        read_table("t.csv")
    for numeric_only in (False, True):
        with pytest.raises(TableError, match="column a holds '1,5': pass --decimal"):
            read_table("t.csv", sep=";", numeric_only=numeric_only)
    table = read_table("t.csv", sep=";", decimal=",")
    np.testing.assert_array_equal(table.X, [[1.5, 2], [-2.5, 10], [0.5, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2,3\n4,5,6\n", "more fields than the 2 names"),
        ("a,b\n1,2\n4,5,6\n", "line 3, saw 3"),
        (",a\nr,1,2\ns,3,4\n", "more fields than the 2 names"),
        ("1.5,2\n3,4\n5,6\n", "first line holds only numbers"),
        ("0,1\n3,4\n5,6\n", "first line holds only numbers"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.2,virginica\n", "looks like a row"),
        ("a,b,\n1,2,\n3,4,\n", "column 3 has no name"),
        ("a,b,a\n1,2,3\n4,5,6\n", "more than once: a"),
        ("a\tb\n1\t2\n3\t4\n", r"pass --sep '\\t'"),
        ("a,b\n", "a line of names but no rows"),
        ("a,b\n1,2\n", "minimum of 2 is required"),
        ("a,b\n1,\n2,3\n", "infinite values: b"),
        ("a,b\n1,inf\n2,3\n", "infinite values: b"),
        ("\n\n", "is empty"),
        ("", "is empty"),
        ("a,b\nx,y\nz,w\n", "columns a, b are not numbers"),
        ('a,b\n1,"1,234"\n2,"5,678"\n', "column b holds '1,234'"),
    ],
)
def test_ambiguous_text_is_one_clear_line(folder, text, message):
    label = "setosa" if "setosa" in text else None
    with pytest.raises(TableError, match=message) as caught:
        read_table(written(text), label=label)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("t.csv: ")


def test_numbers_can_be_names_of_columns(folder):
    table = read_table(written("kind,400,402.5\na,1,2\nb,3,4\n"), label="kind")
    assert table.feature_names == ["400", "402.5"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_named(folder, encoding):
    with pytest.raises(TableError, match="is not UTF-8; save it"):
        read_table(written("größe,b\n1,2\n3,4\n", encoding=encoding))
    with pytest.raises(TableError, match="is not UTF-8; save it"):
        read_table(written("a,b,c\n" + "1,2,ß\n" * 3, encoding="latin-1"))


def test_a_byte_order_mark_is_no_part_of_a_name(folder):
    path = written("a,b\r\n1,2\r\n3,4\r\n", encoding="utf-8-sig")
    assert read_table(path).feature_names == ["a", "b"]


@pytest.mark.parametrize("name", ["t.CSV", "t.tsv", "t.Csv.GZ", "t.x.tsv.gz"])
def test_endings_of_text(folder, name):
    separator = "\t" if "tsv" in name else ","
    text = f" a{separator} b\n1{separator} 2\n3{separator} 4\n"
    if name.lower().endswith("gz"):
        with gzip.open(name, "wt") as file:
            file.write(text)
    else:
        written(text, name)
    table = read_table(name)
    assert table.feature_names == ["a", "b"]
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4]])


def test_what_is_no_file_is_named(folder):
    os.mkdir("d.csv")
    os.mkfifo("p.csv")
    open("empty.npy", "w").close()
    for path, message in (
        ("d.csv", "is a folder, not a file"),
        ("p.csv", "is a pipe or a device"),
        ("/dev/null", "is a pipe or a device"),
        ("empty.npy", "is empty"),
        ("nope.csv", "no such file"),
    ):
        with pytest.raises(TableError, match=message):
            read_table(path)
    with pytest.raises(TableError, match="--sep and --decimal are for"):
        read_table(write("t.npy"), sep=";")


def write(path, X=((1.0, 2.0), (3.0, 4.0)), columns=("u0", "u1"), row_names=None):
    write_table(path, np.array(X), list(columns), row_names)
    return path


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_every_format_of_save_npz(folder, kind, container):
    dense = np.random.RandomState(0).poisson(0.5, (6, 6)).astype(float)
    assert (dense != dense.T).any()  # square: a transpose would pass for it
    sparse.save_npz("t.npz", container(dense).asformat(kind))
    X = read_table("t.npz").X
    assert X.format == "csr"
    np.testing.assert_array_equal(X.toarray(), dense)


def test_npz_with_parts_of_a_csr_matrix_and_labels(folder):
    X = sparse.random(5, 4, 0.5, format="csr", random_state=0)
    parts = {"data": X.data, "indices": X.indices, "indptr": X.indptr}
    np.savez("t.npz", **parts, shape=X.shape, y=np.arange(5))
    table = read_table("t.npz", label="y")
    np.testing.assert_array_equal(table.X.toarray(), X.toarray())
    np.testing.assert_array_equal(table.labels, np.arange(5))


def test_entries_of_one_place_mean_their_sum(folder):
    # Column 1 of row 0 twice.
    parts = {"data": np.ones(4), "indices": [1, 1, 0, 2], "indptr": [0, 2, 3, 4]}
    np.savez("t.npz", **parts, shape=(3, 3))
    X = read_table("t.npz").X
    assert X.nnz == 3
    np.testing.assert_array_equal(X.toarray(), [[0, 2, 0], [1, 0, 0], [0, 0, 1]])


def test_npz_with_several_tables_needs_an_X(folder):
    np.savez("t.npz", a=np.eye(3), b=np.eye(3))
    with pytest.raises(TableError, match="needs an array named X"):
        read_table("t.npz")
    np.savez("t.npz", a=np.eye(3), b=np.arange(3))
    np.testing.assert_array_equal(read_table("t.npz").X, np.eye(3))


def test_what_stands_beside_an_npz_fits_it(folder):
    np.savez("t.npz", X=np.eye(3), y=np.arange(2), feature_names=["a", "b", "c"])
    assert read_table("t.npz").feature_names == ["a", "b", "c"]
    with pytest.raises(TableError, match="3 rows but 2 labels"):
        read_table("t.npz", label="y")
    np.savez("t.npz", X=np.eye(3), feature_names=["a", "b"])
    with pytest.raises(TableError, match="3 columns but 2 names"):
        read_table("t.npz")
    np.savez("t.npz", X=np.eye(3), feature_names=["a", "b", "b"])
    with pytest.raises(TableError, match="more than once: b"):
        read_table("t.npz")


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_names_of_h5ad(folder, make):
    X = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = anndata.AnnData(make(X))
    data.write_h5ad("plain.h5ad")
    plain = read_table("plain.h5ad")
    # What anndata counts where there are no names.
    assert plain.feature_names is None
    assert plain.row_names is None
    data.var_names, data.obs_names = ["g1", "g2", "g3"], ["c1", "c2"]
    data.write_h5ad("t.h5ad")
    table = read_table("t.h5ad")
    assert table.feature_names == ["g1", "g2", "g3"]
    assert list(table.row_names) == ["c1", "c2"]
    dense = table.X.toarray() if sparse.issparse(table.X) else table.X
    np.testing.assert_array_equal(dense, X)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_repeated_genes_are_refused(folder):
    data = anndata.AnnData(np.eye(3, dtype=np.float32))
    data.var_names = ["g1", "g2", "g1"]
    data.write_h5ad("t.h5ad")
    with pytest.raises(TableError, match=r"more than once: g1; .*var_names_make_uni"):
        read_table("t.h5ad")


def test_parquet_keeps_its_types_and_its_index(folder):
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]}, dtype=np.uint8)
    frame.to_parquet("t.parquet")
    table = read_table("t.parquet")
    assert table.X.dtype == np.uint8
    assert table.row_names is None
    frame.index = pd.Index(["r", "s"], name="cell")
    frame.to_parquet("t.parquet")
    assert list(read_table("t.parquet").row_names) == ["r", "s"]
    assert list(read_table("t.parquet", index="cell").row_names) == ["r", "s"]
    mixed = pd.DataFrame({"a": [True, False], "b": pd.array([1, None], "Int64")})
    mixed.to_parquet("t.parquet")
    with pytest.raises(TableError, match="infinite values: b"):
        read_table("t.parquet")


@pytest.mark.parametrize("ending", [".npy", ".csv", ".parquet", ".tsv", ".CSV.gz"])
@pytest.mark.parametrize("row_names", [None, ["r", "s", "t"]])
def test_what_is_written_is_read(folder, ending, row_names):
    path = f"codes{ending}"
    codes = np.arange(6.0).reshape(3, 2)
    check_writable(path, (ending.lower(),))
    table = read_table(write(path, codes, row_names=row_names))
    np.testing.assert_array_equal(table.X, codes)
    if ending != ".npy":
        kept = table.row_names
        assert (kept if kept is None else list(kept)) == row_names
        assert table.feature_names == ["u0", "u1"]


def test_capitals_are_no_other_ending(folder):
    write("codes.NPY")
    assert os.listdir() == ["codes.NPY"]


def test_a_missing_extra_is_named():
    with pytest.raises(ValueError, match=r"pip install 'skvae\[frames\]'"):
        optional_import("a_module_that_is_not_there", "frames")
