"""What a fit is a fit of, as one short name: a checkpoint of another one is no help."""

import hashlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import gen_batches

from .._data.dataset import chunk_rows
from .._data.rows import Rows
from .._utils.seeds import Seeds
from .._version import __version__
from .fitted import Fitted
from .skorch_parts import Callback

# Parameters that change no bit of a fit, or are told apart by seeds and weights.
_NOT_OF_THE_FIT = ("verbose", "warm_start", "random_state")


def fingerprint(
    estimator: Any,
    table: Rows,
    seeds: Seeds | None,
    previous: Fitted | None = None,
) -> str:
    """Of the rows, the parameters and the versions, 32 hexadecimal digits.

    Fits with the same one end at the same bits, on one machine. ``seeds`` are None
    where they are drawn anew whenever the fit begins.
    """
    digest = hashlib.blake2b(digest_size=16)
    params = estimator.get_params(deep=False)
    kept = {k: v for k, v in params.items() if k not in _NOT_OF_THE_FIT}
    versions = __version__, torch.__version__, sklearn.__version__, np.__version__
    names = _described(getattr(estimator, "feature_names_in_", None))
    drawn = None if seeds is None else (seeds.entropy, seeds.call)
    said = (type(estimator).__name__, _described(kept), versions, names, drawn)
    digest.update(repr(said).encode())
    for array in (*_parts(table.X), *table.covariates):
        if array is not None:
            _add(digest, np.asarray(array))
    if previous is not None:
        for name, array in previous.state.arrays().items():
            digest.update(name.encode())
            _add(digest, array)
    return digest.hexdigest()


def _add(digest: Any, array: np.ndarray) -> None:
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _parts(X) -> Iterator[np.ndarray]:
    """A table in parts: one on disk need not fit into memory."""
    if sparse.issparse(X):
        yield from (X.data, X.indices, X.indptr)
        return
    for part in gen_batches(X.shape[0], chunk_rows(X.shape[1])):
        yield np.asarray(X[part])


def _described(value: Any) -> Any:
    """A parameter in words that are the same in every process."""
    if isinstance(value, dict):
        return {str(key): _described(part) for key, part in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_described(part) for part in value]
    if isinstance(value, np.generic):
        return _described(value.item())
    if isinstance(value, np.ndarray):
        return _described(value.tolist())
    if value is None or isinstance(value, str | bool | int | float):
        return repr(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, types.FunctionType):
        # Of a function that was edited in between, the code is another one.
        code = value.__code__
        return [value.__module__, value.__qualname__, code.co_code.hex()]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, BaseEstimator | Callback):
        return [_described(type(value)), _described(value.get_params())]
    return _described(type(value))
