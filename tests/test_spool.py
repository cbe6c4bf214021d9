"""Matrices of files without anndata; tests/test_anndata.py has the others."""

import os
import tempfile

import numpy as np
import pytest
from scipy import sparse

from skvae._data import dataset
from skvae._data.spool import is_by_columns, is_on_disk, row_parts, spooled

h5py = pytest.importorskip("h5py")
X = np.arange(60.0).reshape(20, 3)


@pytest.fixture
def stored(tmp_path):
    """Makes a matrix of an open file."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        yield lambda values: file.create_dataset(str(len(file)), data=values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files go."""
    at = tmp_path / "temporary"
    at.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(at))
    return at


@pytest.mark.parametrize("rows", [X, sparse.csr_array(X), X.tolist()])
def test_what_is_in_memory_stays_as_it_is(rows, folder):
    assert not is_on_disk(rows)
    with spooled(rows) as same:
        assert same is rows
        assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("dtype", "taken"),
    [("f8", "f8"), ("f4", "f4"), ("f2", None), ("i4", None), ("u1", None)],
)
def test_rows_of_a_file_are_mapped_as_floats(stored, folder, dtype, taken):
    matrix = stored(X.astype(dtype))
    assert is_on_disk(matrix)
    assert not is_by_columns(matrix)
    with spooled(matrix) as rows:
        assert dataset.is_memory_mapped(rows)
        assert rows.dtype == taken if taken else rows.dtype in ("f4", "f8")
        np.testing.assert_array_equal(rows, X)
    assert os.listdir(folder) == []


def test_files_are_gone_after_an_error(stored, folder):
    def interrupted():
        with spooled(stored(X)):
            assert len(os.listdir(folder)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(folder) == []


def test_rows_come_in_parts(stored, monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK_ENTRIES", 12)
    parts = list(row_parts(stored(X.astype("i8"))))
    assert len(parts) > 2
    assert [rows.start for rows, _ in parts][1:] == [r.stop for r, _ in parts][:-1]
    assert all(part.dtype.kind == "f" for _, part in parts)
    np.testing.assert_array_equal(np.vstack([part for _, part in parts]), X)
