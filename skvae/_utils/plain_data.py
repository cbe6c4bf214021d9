"""Python values as JSON and arrays, and back: nothing in between could run.

Numbers, text, None, lists, tuples and dictionaries of these, arrays and tensors. What
JSON has no word for is a dictionary with one key, which says what it is; dictionaries
are written so, too. Long lists that are alike, such as a history, are turned into
columns, which are arrays.
"""

import math
from typing import Any

import numpy as np
import torch

# Lists from this length on are turned into columns where they can be.
LONG = 32
# Kinds of arrays that are written as they are.
NUMBERS = "biuf"
_SCALARS = {bool: "?", int: "<i8", float: "<f8"}


class NotPlainError(TypeError):
    """A value that is no plain data, and where it stands."""


def encoded(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """What JSON can hold of a value; arrays go to ``arrays``, by where they stand.

    Parameters
    ----------
    value : object
    name : str
        Where it stands.
    arrays : dict
        Filled.

    Raises
    ------
    NotPlainError
        If there is something else inside; in words that name it.
    """
    if isinstance(value, np.generic):
        return {"scalar": [value.dtype.str, encoded(value.item(), name, arrays)]}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, torch.Tensor):
        arrays[name] = value.detach().cpu().numpy().copy()
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        return _encoded_array(value, name, arrays)
    if isinstance(value, tuple):
        return {"tuple": _encoded_items(value, name, arrays)}
    if isinstance(value, list):
        return _encoded_list(value, name, arrays)
    if isinstance(value, dict):
        items = [
            [encoded(key, name, arrays), encoded(part, f"{name}.{key}", arrays)]
            for key, part in value.items()
        ]
        return {"dict": items}
    raise NotPlainError(f"{name} is {value!r}, of {type(value).__name__}")


def _encoded_items(values: Any, name: str, arrays: dict[str, np.ndarray]) -> list:
    return [encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(values)]


def _encoded_array(
    value: np.ndarray, name: str, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    if value.dtype.kind in NUMBERS:
        arrays[name] = value
        return {"array": name}
    if value.dtype.kind not in "OU":
        raise NotPlainError(f"{name} is an array of {value.dtype}")
    parts = _encoded_items(value.ravel().tolist(), name, arrays)
    return {"objects": [value.dtype.str, list(value.shape), parts]}


def _encoded_list(values: list, name: str, arrays: dict[str, np.ndarray]) -> Any:
    if len(values) >= LONG:
        kind = type(values[0])
        alike = all(type(value) is kind for value in values)
        if alike and issubclass(kind, np.generic) and kind().dtype.kind in "f":
            values, kind = [value.item() for value in values], float
        if alike and kind in _SCALARS and not _overflows(values, kind):
            arrays[name] = np.array(values, dtype=_SCALARS[kind])
            return {"numbers": name}
        if alike and kind is dict and len({tuple(value) for value in values}) == 1:
            columns = {
                key: _encoded_list([v[key] for v in values], f"{name}.{key}", arrays)
                for key in values[0]
                if isinstance(key, str)
            }
            if columns and len(columns) == len(values[0]):
                return {"rows": columns}
        if alike and kind is list and len({len(value) for value in values}) == 1:
            parts = [
                _encoded_list(list(column), f"{name}.{i}", arrays)
                for i, column in enumerate(zip(*values, strict=True))
            ]
            if parts:
                return {"lists": parts}
    return _encoded_items(values, name, arrays)


def _overflows(values: list, kind: type) -> bool:
    return kind is int and not all(-(2**63) <= value < 2**63 for value in values)


def decoded(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value that was encoded.

    Raises
    ------
    ValueError, KeyError, TypeError
        If nothing was encoded so, or an array is missing.
    """
    if isinstance(node, list):
        return [decoded(part, arrays) for part in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    return _DECODERS[kind](content, arrays)


def _scalar(content: list, arrays: dict[str, np.ndarray]) -> np.generic:
    kind, value = content
    dtype = _dtype_of(kind, NUMBERS)
    return dtype.type(decoded(value, arrays))


def _objects(content: list, arrays: dict[str, np.ndarray]) -> np.ndarray:
    kind, shape, parts = content
    dtype = _dtype_of(kind, "OU")
    if dtype.kind == "U" and dtype.itemsize > 4 * max(map(len, parts), default=0):
        raise ValueError("text is shorter than its dtype says")
    if not all(isinstance(part, str | int | float | None) for part in parts):
        raise ValueError("an array holds something else than text and numbers")
    array = np.empty(len(parts), dtype=dtype)
    array[:] = parts
    return array.reshape(shape)


def _dtype_of(name: str, kinds: str) -> np.dtype:
    dtype = np.dtype(str(name))
    if dtype.kind not in kinds:
        raise ValueError(f"{name} is no dtype of plain data")
    return dtype


def _rows(columns: dict, arrays: dict[str, np.ndarray]) -> list[dict]:
    read = [decoded(column, arrays) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*read, strict=True)]


def _lists(parts: list, arrays: dict[str, np.ndarray]) -> list[list]:
    read = [decoded(part, arrays) for part in parts]
    return [list(row) for row in zip(*read, strict=True)]


def _dict(items: list, arrays: dict[str, np.ndarray]) -> dict:
    return {decoded(key, arrays): decoded(part, arrays) for key, part in items}


def _tensor(name: str, arrays: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.tensor(arrays[name], device="cpu")


_DECODERS: dict[str, Any] = {
    "scalar": _scalar,
    "float": lambda text, arrays: float(text),
    "tensor": _tensor,
    "array": lambda name, arrays: arrays[name],
    "objects": _objects,
    "tuple": lambda parts, arrays: tuple(decoded(part, arrays) for part in parts),
    "numbers": lambda name, arrays: arrays[name].tolist(),
    "rows": _rows,
    "lists": _lists,
    "dict": _dict,
}
