"""Values as JSON and arrays, and back."""

import json
import math

import numpy as np
import pytest
import torch

from skvae._utils.plain_data import LONG, NotPlainError, decoded, encoded

VALUES = [
    None,
    True,
    -3,
    2**70,
    0.1,
    math.inf,
    "text",
    (1, (2.5, "x")),
    [],
    {},
    {"a": {"b": [1, None]}, 3: "three", (1, 2): 4},
    np.float32(0.1),
    np.int64(7),
    [0.5] * LONG,
    [1, 2] * LONG,
    [2**70] * LONG,
    [1, 2.0] * LONG,
    [{"a": 1.5, "b": True, "c": "x"}] * LONG,
    [{"a": 1.5}, {"b": 2}] * LONG,
    [{}] * LONG,
    [[]] * LONG,
    [[1.0, {"a": 2}]] * LONG,
    [{"batches": [{"loss": 0.1, "n": 3}, {"loss": math.nan}], "epoch": 1}] * LONG,
]


def round_trip(value):
    arrays = {}
    text = json.dumps(encoded(value, "root", arrays), allow_nan=False)
    return decoded(json.loads(text), arrays)


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:40])
def test_values_come_back(value):
    found = round_trip(value)
    assert repr(found) == repr(value)
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.array(2.0),
        np.empty((0, 3), np.float32),
        np.array([True, False]),
        np.array(["a", "gene 2"]),
        np.array(["a", 1, None, 2.5], dtype=object).reshape(2, 2),
        np.array([], dtype=object),
    ],
    ids=str,
)
def test_arrays_come_back(array):
    found = round_trip({"x": array})["x"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape


def test_tensors_come_back():
    found = round_trip([torch.arange(3.0)])
    torch.testing.assert_close(found[0], torch.arange(3.0))


def test_long_histories_are_arrays():
    arrays = {}
    rows = [{"loss": float(i), "epoch": i} for i in range(5000)]
    node = encoded(rows, "history", arrays)
    assert len(json.dumps(node)) < 200
    assert decoded(node, arrays) == rows


def test_what_is_no_plain_data_is_named():
    for value in (print, {"a": [object()]}, np.array([1j])):
        with pytest.raises(NotPlainError, match=r"^root"):
            encoded(value, "root", {})


@pytest.mark.parametrize(
    "node",
    [
        {"call": "x"},
        {"_kinds": 1},
        {"__class__": 1},
        {"decoded": 1},
        {"array": "missing"},
        {"object": 1},
        {"scalar": ["O", 1]},
        {"scalar": ["V8", 1]},
        {"objects": ["<U1000000000", [1], ["a"]]},
        {"objects": ["O", [2], ["a"]]},
        {"objects": ["O", [1], [[1]]]},
        {"a": 1, "b": 2},
        {"rows": {"a": [1, 2], "b": [1]}},
    ],
    ids=str,
)
def test_nothing_else_is_read(node):
    with pytest.raises((ValueError, KeyError, TypeError)):
        decoded(node, {})
