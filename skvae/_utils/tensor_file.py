"""A safetensors file: arrays by name and a JSON header, and nothing that could run."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .optional import optional_import

KEY = "skvae"


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
    """
    safetensors = optional_import("safetensors.numpy", "safetensors")
    path = Path(path)
    content = safetensors.save(
        # Unlike ascontiguousarray, it leaves arrays without dimensions so.
        {name: np.asarray(value, order="C") for name, value in arrays.items()},
        metadata={KEY: json.dumps(header)},
    )
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
    ValueError
        If it is no such file.
    """
    safetensors = optional_import("safetensors", "safetensors")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[KEY])
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no file of skvae, or broken: {error}") from error
    return header, arrays
