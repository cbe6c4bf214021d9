"""Models on disk: what the command line saves and reads again.

A ``.safetensors`` file holds no code, and remembers which layer and which columns of
``obs`` its rows came from. A ``.joblib`` file, which can run code, is still read and
written.
"""

from pickle import UnpicklingError
from typing import Any, NamedTuple

import joblib

from .._utils.optional import MissingExtraError
from ..files import read_model, write_model
from .table import TableError, ending, some

SAFE = ".safetensors"
MODEL_ENDINGS = (SAFE, ".joblib")


class Model(NamedTuple):
    """A model, and where in an .h5ad file its rows were: None, and (), say nothing."""

    estimator: Any
    layer: str | None = None
    conditions: tuple[str, ...] = ()
    remembers: bool = False


def dump_model(
    estimator: Any, path: str, *, layer: str | None = None, conditions=()
) -> None:
    """Write a model, and say so."""
    if ending(path) == SAFE:
        notes = {"layer": layer, "conditions": list(conditions)}
        write_model(estimator, path, notes)
    else:
        joblib.dump(estimator, path)
    print(f"wrote {path}")


def load_model(path: str) -> Model:
    """Read a model.

    Raises
    ------
    TableError
        If there is none, in one line.
    """
    try:
        if ending(path) == SAFE:
            estimator, notes = read_model(path)
            conditions = tuple(notes.get("conditions", ()))
            return Model(estimator, notes.get("layer"), conditions, True)
        estimator = joblib.load(path)
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file") from error
    except MissingExtraError:
        raise
    except Exception as error:
        reason = "not a model that skvae saved"
        if _is_of_another_version(error):
            reason = "another version of skvae saved this model; fit it anew"
        if ending(path) == SAFE:
            reason = str(error).removeprefix(f"{path} ")
        raise TableError(f"{path}: {reason}") from error
    if not hasattr(estimator, "transform"):
        raise TableError(f"{path}: not a model that skvae saved")
    return Model(estimator)


def place_of_rows(
    model: Model, layer: str | None, conditions: list[str], *, is_cells: bool
) -> tuple[str | None, list[str]]:
    """Layer and columns of ``obs`` to read: those that the model was fitted on.

    Raises
    ------
    TableError
        If others were asked for.
    """
    if not (model.remembers and is_cells):
        return layer, conditions
    if layer is not None and layer != model.layer:
        own = "X" if model.layer is None else f"the layer {model.layer!r}"
        raise TableError(f"the model was fitted on {own}: leave --layer out")
    if conditions and tuple(conditions) != model.conditions:
        own = some(model.conditions) if model.conditions else "without any"
        raise TableError(f"the model's conditions are {own}: leave --condition out")
    return model.layer, list(model.conditions)


def _is_of_another_version(error: Exception) -> bool:
    """Whether a file names what skvae has had, or will have, and has not now."""
    moved = isinstance(error, ModuleNotFoundError) and (error.name or "").startswith(
        "skvae."
    )
    return moved or (
        isinstance(error, UnpicklingError | AttributeError | ValueError)
        and "skvae" in str(error)
    )
