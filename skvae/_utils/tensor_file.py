"""A safetensors file: arrays by name and a JSON header, and nothing that could run.

Whoever sent a file may mean harm: what it declares is checked before memory is taken
for it, and a flipped bit anywhere is noticed by a checksum.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .optional import optional_import

KEY, CHECKSUM = "skvae", "checksum"
# Bytes of a header: JSON of a few bytes becomes objects of twenty times their size.
LARGEST_HEADER = 4_000_000
# The first bytes of a safetensors file: the length of what describes it.
_LENGTH = 8


def write_tensor_file(
    path: str | os.PathLike, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a file whole or not at all: what was at ``path`` stays until then.

    Parameters
    ----------
    path : path-like
    header : mapping
        What JSON can hold.
    arrays : mapping of str to ndarray
        Of bools, integers or floats.

    Raises
    ------
    MissingExtraError
        If safetensors is not installed.
    OSError
        If it cannot be written; nothing is left behind.
    ValueError
        If the header is too long to be read again, or JSON has no words for it.
    """
    safetensors = optional_import("safetensors.numpy", "safetensors")
    # Unlike ascontiguousarray, it leaves arrays without dimensions so.
    kept = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    text = json.dumps(header, allow_nan=False)
    metadata = {KEY: text, CHECKSUM: _checksum(text, kept)}
    content = safetensors.save(kept, metadata=metadata)
    if int.from_bytes(content[:_LENGTH], "little") > LARGEST_HEADER:
        raise ValueError(
            f"The header of {path} would be {len(text)} bytes long, and no more than "
            f"{LARGEST_HEADER} are read again."
        )
    path = Path(path)
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_tensor_file(
    path: str | os.PathLike,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays, as they were written.

    Raises
    ------
    MissingExtraError
        If safetensors is not installed.
    OSError
        If there is no file, or it cannot be read.
    ValueError
        If it is no such file, or it was changed since it was written.
    """
    safetensors = optional_import("safetensors", "safetensors")
    _check_length(Path(path))
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no safetensors file, or broken: {error}") from error
    if KEY not in metadata:
        raise ValueError("it was not written by skvae")
    if metadata.get(CHECKSUM) != _checksum(metadata[KEY], arrays):
        raise ValueError("its checksum is another one: it was changed or damaged")
    return _parsed(metadata[KEY]), arrays


def _check_length(path: Path) -> None:
    """Refuse a header that is longer than the file, or than any of ours."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
    size = path.stat().st_size
    if size < _LENGTH or length > size - _LENGTH:
        raise ValueError("it is no safetensors file, or the end of it is missing")
    if length > LARGEST_HEADER:
        raise ValueError(f"its header has {length} bytes, which no file of skvae has")


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _parsed(text: str) -> dict[str, Any]:
    try:
        header = json.loads(
            text, parse_constant=_refuse, object_pairs_hook=_without_repeats
        )
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _refuse(constant: str) -> None:
    raise ValueError(f"its header holds {constant}, which JSON has not")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header says something twice")
    return found
