"""Python values as JSON and arrays, and back: nothing in between could run.

Numbers, text, None, lists, tuples and dictionaries of these, arrays and tensors. What
JSON has no word for is a dictionary with one key, which says what it is; dictionaries
are written so, too. Long lists that are alike, such as a history, are turned into
columns, which are arrays.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

# Lists from this length on are turned into columns where they can be.
LONG = 32
# Kinds of arrays that are written as they are.
NUMBERS = "biuf"
# Bytes of an entry of an array of text.
LARGEST_ITEM = 4096
_SCALARS = {bool: "?", int: "<i8", float: "<f8"}


class NotPlainError(TypeError):
    """A value that is no plain data, and where it stands."""


Arrays = dict[str, np.ndarray]


def encoded(
    value: Any,
    name: str,
    arrays: Arrays,
    others: Callable[[Any, str, Arrays], Any] | None = None,
) -> Any:
    """What JSON can hold of a value; arrays go to ``arrays``, by where they stand.

    Parameters
    ----------
    value : object
    name : str
        Where it stands.
    arrays : dict
        Filled.
    others : callable, optional
        Encodes what is no plain data, as this does.

    Raises
    ------
    NotPlainError
        If there is something else inside; in words that name it.
    """
    return _Encoder(arrays, others).encoded(value, name)


class _Encoder:
    def __init__(self, arrays: Arrays, others: Callable | None) -> None:
        self.arrays, self.others = arrays, others

    def encoded(self, value: Any, name: str) -> Any:
        if isinstance(value, np.generic):
            return {"scalar": [value.dtype.str, self.encoded(value.item(), name)]}
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, torch.Tensor):
            self.arrays[name] = value.detach().cpu().numpy().copy()
            return {"tensor": name}
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        if isinstance(value, tuple):
            return {"tuple": self._items(value, name)}
        if isinstance(value, list):
            return self._list(value, name)
        if isinstance(value, dict):
            return {
                "dict": [
                    [self.encoded(key, name), self.encoded(part, f"{name}.{key}")]
                    for key, part in value.items()
                ]
            }
        if self.others is not None:
            return {"object": self.others(value, name, self.arrays)}
        raise NotPlainError(f"{name} is {value!r}, of {type(value).__name__}")

    def _items(self, values: Any, name: str) -> list:
        return [self.encoded(value, f"{name}.{i}") for i, value in enumerate(values)]

    def _array(self, value: np.ndarray, name: str) -> dict[str, Any]:
        if value.dtype.kind in NUMBERS:
            self.arrays[name] = value
            return {"array": name}
        if value.dtype.kind not in "OU":
            raise NotPlainError(f"{name} is an array of {value.dtype}")
        parts = self._items(value.ravel().tolist(), name)
        return {"objects": [value.dtype.str, list(value.shape), parts]}

    def _list(self, values: list, name: str) -> Any:
        if len(values) < LONG or len({type(value) for value in values}) > 1:
            return self._items(values, name)
        return self._columns(values, name) or self._items(values, name)

    def _columns(self, values: list, name: str) -> dict[str, Any] | None:
        """Of a long list of values of one type, if they are alike."""
        first = values[0]
        if isinstance(first, np.floating):
            values = [value.item() for value in values]
        kind = type(values[0])
        if kind in _SCALARS and not _overflows(values, kind):
            self.arrays[name] = np.array(values, dtype=_SCALARS[kind])
            return {"numbers": name}
        if kind is dict and _is_table(values):
            columns = {
                key: self._list([value[key] for value in values], f"{name}.{key}")
                for key in first
            }
            return {"rows": columns}
        if kind is list and first and len({len(value) for value in values}) == 1:
            parts = zip(*values, strict=True)
            columns_of = enumerate(map(list, parts))
            return {"lists": [self._list(c, f"{name}.{i}") for i, c in columns_of]}
        return None


def _is_table(values: list[dict]) -> bool:
    keys = list(values[0])
    same = all(list(value) == keys for value in values)
    return bool(keys) and same and all(isinstance(key, str) for key in keys)


def _overflows(values: list, kind: type) -> bool:
    return kind is int and not all(-(2**63) <= value < 2**63 for value in values)


def decoded(node: Any, arrays: Arrays, others: Callable | None = None) -> Any:
    """The value that was encoded; ``others`` decodes what is no plain data.

    Raises
    ------
    ValueError, KeyError, TypeError
        If nothing was encoded so, or an array is missing.
    """
    return _Decoder(arrays, others).decoded(node)


class _Decoder:
    def __init__(self, arrays: Arrays, others: Callable | None) -> None:
        self.arrays, self.others = arrays, others

    def decoded(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.decoded(part) for part in node]
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        if kind not in _KINDS:
            raise ValueError(f"{kind!r} is no kind of plain data")
        return getattr(self, f"_{kind}")(content)

    def _scalar(self, content: list) -> np.generic:
        kind, value = content
        return _dtype_of(kind, NUMBERS).type(self.decoded(value))

    def _float(self, text: str) -> float:
        return float(text)

    def _tensor(self, name: str) -> torch.Tensor:
        return torch.tensor(self.arrays[name], device="cpu")

    def _array(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def _numbers(self, name: str) -> list:
        return self.arrays[name].tolist()

    def _tuple(self, parts: list) -> tuple:
        return tuple(map(self.decoded, parts))

    def _dict(self, items: list) -> dict:
        return {self.decoded(key): self.decoded(part) for key, part in items}

    def _rows(self, columns: dict) -> list[dict]:
        read = map(self.decoded, columns.values())
        rows = zip(*read, strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _lists(self, parts: list) -> list[list]:
        return [list(row) for row in zip(*map(self.decoded, parts), strict=True)]

    def _objects(self, content: list) -> np.ndarray:
        kind, shape, parts = content
        dtype = _dtype_of(kind, "OU")
        parts = self.decoded(parts)
        if not all(
            part is None or isinstance(part, str | int | float) for part in parts
        ):
            raise ValueError("an array holds something else than text and numbers")
        # Text as long as its dtype says may be longer than memory.
        array = np.array(parts, dtype=object)
        if dtype.kind == "U":
            array = array.astype(str).astype(dtype) if len(parts) else array.astype(str)
        return array.reshape(shape)

    def _object(self, content: Any) -> Any:
        if self.others is None:
            raise ValueError("there is something else than plain data")
        return self.others(content, self.arrays)


_KINDS = frozenset(
    name.removeprefix("_")
    for name, value in vars(_Decoder).items()
    if name.startswith("_") and not name.startswith("__") and callable(value)
)


def _dtype_of(name: str, kinds: str) -> np.dtype:
    dtype = np.dtype(str(name))
    if dtype.kind not in kinds or dtype.itemsize > LARGEST_ITEM:
        raise ValueError(f"{name} is no dtype of plain data")
    return dtype
