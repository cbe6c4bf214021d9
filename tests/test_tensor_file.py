"""Files of arrays and a header."""

import os

import numpy as np
import pytest

from skvae._utils import tensor_file
from skvae._utils.tensor_file import read_tensor_file, write_tensor_file

ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "number": np.array(2.5),
    "empty": np.empty((0, 3), dtype=bool),
    "whole": np.arange(5),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


def test_what_is_written_is_read(path):
    header = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    write_tensor_file(path, header, ARRAYS)
    found, arrays = read_tensor_file(path)
    assert found == header
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)


def test_every_byte_is_checked(path):
    write_tensor_file(path, {"a": 1}, ARRAYS)
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"it|its"):
            read_tensor_file(path)


def test_a_failure_leaves_what_was_there(path, monkeypatch):
    write_tensor_file(path, {"a": 1}, ARRAYS)

    def fail(number):
        raise OSError("no more")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no more"):
        write_tensor_file(path, {"a": 2}, ARRAYS)
    assert os.listdir(path.parent) == [path.name]
    assert read_tensor_file(path)[0] == {"a": 1}


def test_headers_that_cannot_be_read_again_are_not_written(path, monkeypatch):
    monkeypatch.setattr(tensor_file, "LARGEST_HEADER", 1000)
    with pytest.raises(ValueError, match="no more than 1000 are read again"):
        write_tensor_file(path, {"a": "x" * 1000}, {})
    with pytest.raises(ValueError, match="JSON"):
        write_tensor_file(path, {"a": float("nan")}, {})
    assert not path.exists()


def test_a_missing_file_is_an_error_of_its_own(path):
    with pytest.raises(FileNotFoundError):
        read_tensor_file(path)
