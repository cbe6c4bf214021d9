"""Optional dependencies: imported where they are used, or an error that names them."""

import importlib
from typing import Any


class MissingExtraError(ImportError, ValueError):
    """A package that an extra of skvae brings is not installed."""


def optional_import(module: str, extra: str) -> Any:
    """Import an optional dependency.

    Raises
    ------
    MissingExtraError
        If it is not installed; in one line, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs {module}: pip install 'skvae[{extra}]'"
        ) from error
