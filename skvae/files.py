"""Estimators as files that a stranger may have sent.

One safetensors file: arrays, and a JSON header with the class, the parameters, names,
categories and fitted numbers. Nothing in it is a pickle, and nothing is imported or
called by a name that it holds: classes come from the table below. What it declares is
checked against the arrays that are there, before memory is taken for it.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from ._base import BaseAutoencoder
from ._named_columns import NamedColumns
from ._training.persistence import FORMAT as PACKED_FORMAT
from ._training.persistence import check_sizes
from ._utils.device import resolve_device
from ._utils.plain_data import Arrays, NotPlainError, decoded, encoded
from ._utils.tensor_file import read_tensor_file, write_tensor_file
from ._utils.warn import warn_user
from ._version import __version__
from .ae import AETransformer
from .exceptions import ModelFileError
from .imputer import VAEImputer
from .outlier import VAEOutlierDetector
from .rae import RAETransformer
from .sae import SAETransformer
from .vae import VAETransformer

__all__ = ["load", "save"]

# Of the layout of what is written; older ones that differ are refused.
FORMAT = 1
AUTOENCODERS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)
# What is made of one.
OTHERS = (VAEImputer, VAEOutlierDetector)
_CLASSES: dict[str, type[BaseEstimator]] = {
    kind.__name__: kind
    for kind in (
        *AUTOENCODERS,
        *OTHERS,
        MissingIndicator,
        Pipeline,
        NamedColumns,
        FunctionTransformer,
        MaxAbsScaler,
        MinMaxScaler,
        RobustScaler,
        SimpleImputer,
        StandardScaler,
        # The density of an RAETransformer.
        GaussianMixture,
    )
}
# A generator's state, whose class is no estimator; and who asked for metadata.
_GENERATOR, _REQUESTS = "RandomState", "_metadata_request"


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write an estimator, fitted or not, into one file that holds no code.

    What ``set_callbacks`` has set is left out.

    Parameters
    ----------
    estimator : estimator
        One of skvae, or a :class:`~sklearn.pipeline.Pipeline` of one behind scalers and
        imputers of scikit-learn that have nothing but numbers.
    path : path-like
        Of a safetensors file. What was there makes way once all is written.

    Raises
    ------
    ImportError
        If the extra ``safetensors`` is not installed.
    OSError
        If it cannot be written; what was there stays.
    TypeError
        If it is something else: a search, or a pipeline with other steps, for which
        there is :mod:`skops.io`.
    ValueError
        If a parameter is a function or an object, which such a file cannot hold.
    """
    write_model(estimator, path)


def write_model(estimator, path, notes: dict[str, Any] | None = None) -> None:
    """As :func:`save` does, with notes, which are plain data, beside the estimator."""
    _check_class(estimator)
    arrays: Arrays = {}
    try:
        root = _node_of(estimator, "root", arrays)
    except NotPlainError as error:
        raise ValueError(_advice(str(error))) from error
    header = {
        "format": FORMAT,
        "skvae": __version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "notes": encoded(notes or {}, "notes", arrays),
        "root": root,
    }
    write_tensor_file(path, header, arrays)


def load(path: str | os.PathLike[str], device: Any = None) -> Any:
    """Read an estimator that :func:`save` has written.

    Whatever the file holds, no code of it runs, and memory is taken in proportion to
    its size.

    Parameters
    ----------
    path : path-like
    device : str or torch.device, optional
        Where the model computes from now on, which becomes its parameter ``device``. By
        default where it was, or the CPU, with a warning, if that is not here.

    Returns
    -------
    estimator : estimator
        To the bit the one that was saved.

    Raises
    ------
    ImportError
        If the extra ``safetensors`` is not installed.
    ModelFileError
        If the file holds no model, was damaged, or is of a version that this one cannot
        read.
    OSError
        If there is no such file.
    """
    estimator, _ = read_model(path, device)
    return estimator


def read_model(path, device=None) -> tuple[Any, dict[str, Any]]:
    """As :func:`load` does, with the notes."""
    if device is not None:
        device = str(resolve_device(device))
    try:
        header, arrays = read_tensor_file(path)
        _check_format(header)
        estimator = decoded(
            {"object": header["root"]}, arrays, partial(_built, device=device)
        )
        _check_class(estimator)
        notes = dict(decoded(header["notes"], arrays))
    except (ImportError, OSError):
        raise
    # Whoever wrote the file chose what goes wrong with it.
    except Exception as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise ModelFileError(
            f"{os.fspath(path)} holds no model that skvae {__version__} can read: "
            f"{reason}."
        ) from error
    _warn_of_another_version(header["skvae"])
    return estimator, notes


def _check_class(estimator: Any) -> None:
    """Refuse what is no autoencoder, nor a pipeline of one.

    Raises
    ------
    TypeError
    """
    if type(estimator) in (*AUTOENCODERS, *OTHERS):
        return
    name = type(estimator).__name__
    if type(estimator) is not Pipeline:
        found = "estimator_" if hasattr(estimator, "best_estimator_") else ""
        hint = f"save its best_{found}" if found else "skops.io takes others"
        raise TypeError(
            f"{name} is no estimator of skvae, nor a pipeline of one; {hint}"
        )
    if type(estimator.steps[-1][1]) not in (*AUTOENCODERS, *OTHERS):
        raise TypeError(
            "this Pipeline does not end in an estimator of skvae; skops.io takes it"
        )
    for step, part in estimator.steps[:-1]:
        if part not in (None, "passthrough") and type(part).__name__ not in _CLASSES:
            raise TypeError(
                f"step {step!r} of this Pipeline is a {type(part).__name__}, which "
                "skvae.save does not take; skops.io does"
            )
    if estimator.memory is not None:
        raise TypeError("this Pipeline has a memory: set_params(memory=None) first")


# -- writing ---------------------------------------------------------------------------


def _node_of(value: Any, name: str, arrays: Arrays) -> list:
    """An estimator, or a generator, as its class and its state."""
    if isinstance(value, np.random.RandomState):
        return [_GENERATOR, encoded(value.get_state(), name, arrays)]
    kind = type(value)
    if _CLASSES.get(kind.__name__) is not kind:
        raise NotPlainError(f"{name} is {value!r}, of {kind.__name__}")
    state = dict(value.__getstate__())
    # What set_callbacks has set belongs to a session, and is no parameter.
    state.pop("_skl_callbacks", None)
    requests = state.pop(_REQUESTS, None)
    if requests is not None:
        state[_REQUESTS] = requests._serialize()
    return [kind.__name__, encoded(state, name, arrays, _node_of)]


def _advice(reason: str) -> str:
    what = reason.removeprefix("root.")
    if what.startswith("callbacks"):
        return (
            f"{what}: callbacks are code, which such a file does not hold. Call "
            "set_params(callbacks=None) first, or use skops or joblib."
        )
    return (
        f"{what}: such a file holds numbers, text and arrays alone. Set that parameter "
        "to one of its names, or to None, first; or use joblib."
    )


# -- reading ---------------------------------------------------------------------------


def _check_format(header: dict[str, Any]) -> None:
    found, version = header.get("format"), header.get("skvae")
    if not isinstance(found, int) or not isinstance(version, str):
        raise ValueError("it does not say which format it has")
    if found > FORMAT:
        raise ValueError(
            f"skvae {version} wrote it in the format {found}, and this version reads "
            f"up to {FORMAT}: update skvae"
        )
    if found < FORMAT:
        raise ValueError(f"skvae {version} wrote it in the format {found}: fit it anew")


def _warn_of_another_version(version: str) -> None:
    release, own = (v.split(".dev")[0].split("+")[0] for v in (version, __version__))
    if release.split(".")[:2] != own.split(".")[:2]:
        warn_user(
            f"This model was saved by skvae {version}, and this is {__version__}: "
            "results may differ."
        )


def _built(node: Any, arrays: Arrays, *, device: str | None) -> Any:
    """The estimator, or generator, of a node."""
    name, content = node
    others: Callable = partial(_built, device=device)
    state = decoded(content, arrays, others)
    if name == _GENERATOR:
        generator = np.random.RandomState()
        generator.set_state(state)
        return generator
    if name not in _CLASSES:
        raise ValueError(f"its class is {name!r}, which skvae.load does not know")
    kind = _CLASSES[name]
    _check_state(kind, state)
    if issubclass(kind, BaseAutoencoder):
        return _built_autoencoder(kind, state, device)
    requests = state.pop(_REQUESTS, None)
    built: Any = object.__new__(kind)
    built.__setstate__(state)
    _set_requests(built, requests)
    return built


def _check_state(kind: type[BaseEstimator], state: dict[str, Any]) -> None:
    """Refuse attributes that are none, or that would hide a method.

    Raises
    ------
    ValueError
    """
    missing = set(kind._get_param_names()) - set(state)
    if missing:
        raise ValueError(f"parameters are missing: {', '.join(sorted(missing))}")
    for name in state:
        if not str(name).isidentifier() or name.startswith("__"):
            raise ValueError(f"{name!r} is no attribute")
        if callable(getattr(kind, name, None)):
            raise ValueError(f"{name!r} would hide a method")


def _built_autoencoder(
    kind: type[BaseAutoencoder], state: dict[str, Any], device: str | None
) -> BaseAutoencoder:
    requests, packed = state.pop(_REQUESTS, None), state.get("_packed")
    if device is not None:
        state["device"] = device
    if packed is not None:
        if packed["format"] != PACKED_FORMAT:
            raise ValueError("another version of skvae wrote it: fit it anew")
        if device is not None:
            packed["options"]["device"] = device
        check_sizes(packed, kind._strategy_type)
    built: Any = object.__new__(kind)
    built.__setstate__(state)
    _set_requests(built, requests)
    if packed is not None:
        _check_loaded(built, packed)
    return built


def _check_loaded(model: Any, packed: dict[str, Any]) -> None:
    """Refuse arrays that are not of the network's shapes, in the precision they had.

    Raises
    ------
    ValueError
    """
    state = model._fitted.state
    k, n_features = state.network.latent_dim, state.likelihood.n_features
    if model.n_features_in_ != n_features or np.dtype(model._dtype).kind != "f":
        raise ValueError("it contradicts itself about its columns")
    for name, array in state.arrays().items():
        _check_array(name, packed["state"][name], array.shape, array.dtype)
    if state.linear_model is not None:
        _check_given(packed["state"], n_features)
    split = state.split
    if split is not None and not _is_index(split.held_out, split.n_rows):
        raise ValueError("it contradicts itself about the rows that were held out")
    shapes = {
        "_jacobian": (k, n_features),
        "explained_variance_": (k,),
        "explained_variance_ratio_": (k,),
        "code_scale_": (k,),
        "feature_names_in_": (n_features,),
        "mean_": (n_features,),
        "scale_": (n_features,),
        "noise_variance_": (n_features,),
    }
    for name, shape in shapes.items():
        value = vars(model).get(name)
        if isinstance(value, np.ndarray):
            dtype = value.dtype if value.dtype in ("f4", "f8", "O") else None
            _check_array(name, value, shape, dtype)


def _check_array(name: str, array: np.ndarray, shape: tuple, dtype: Any) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is of {array.dtype} and {array.shape}, not {shape}")


def _check_given(arrays: dict[str, np.ndarray], n_features: int) -> None:
    """Refuse a regression on conditions of any other shape: the file decides on it."""
    mean, weights = (arrays[f"linear_model.given_{n}"] for n in ("mean", "weights"))
    n_given = mean.size
    _check_array("given_mean", mean, (n_given,), np.float64)
    _check_array("given_weights", weights, (n_given, n_features), np.float64)


def _is_index(index: np.ndarray, n_rows: int) -> bool:
    if index.ndim != 1 or index.dtype != np.int64:
        return False
    within = bool(((index >= 0) & (index < n_rows)).all())
    return within and len(np.unique(index)) == len(index)


def _set_requests(built: Any, requests: dict[str, dict] | None) -> None:
    """Metadata that was asked for, by scikit-learn's own methods."""
    for method, asked in (requests or {}).items():
        setter = getattr(built, f"set_{method}_request", None)
        if setter is None:
            raise ValueError(f"{method!r} takes no metadata")
        setter(**asked)
