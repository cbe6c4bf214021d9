"""Searches that go on where they were killed.

``search --out DIR`` keeps in DIR what it is a search of, and what its fits are at,
until it has ended. Fits that ended are not repeated, one that was killed goes on from
its last checkpoint, and the table is the same to the digit.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from .._version import __version__
from .files import make_empty_folder
from .table import TableError

SEARCH, CHECKPOINTS = "search.json", "checkpoints"


def begin_search(directory: str, *, resumes: bool, X, **settings: Any) -> str:
    """Make the folder of a search, or find that it is of the same one.

    Parameters
    ----------
    directory : str
    resumes : bool
        Whether one that was begun there is to go on.
    X : {ndarray, sparse matrix}
    **settings
        What else the search is of, in types that JSON has.

    Returns
    -------
    checkpoints : str
        Where its fits leave what they are at.

    Raises
    ------
    TableError
        If there is something else in the folder.
    """
    folder = Path(directory)
    own = {"skvae": __version__, "rows": _digest(X), **settings}
    own = json.loads(json.dumps(own, default=str))
    if resumes and folder.is_dir() and any(folder.iterdir()):
        _check_same(folder, own)
    else:
        make_empty_folder(directory)
    text = json.dumps(own, indent=2, sort_keys=True)
    (folder / SEARCH).write_text(f"{text}\n")
    return str(folder / CHECKPOINTS)


def end_search(directory: str) -> None:
    """Remove what only a search that goes on has use for."""
    shutil.rmtree(Path(directory) / CHECKPOINTS, ignore_errors=True)


def _check_same(folder: Path, own: dict[str, Any]) -> None:
    try:
        known = json.loads((folder / SEARCH).read_text())
    except (OSError, ValueError) as error:
        raise TableError(
            f"{folder}: holds no search that was begun with --out; name a new folder"
        ) from error
    others = sorted(key for key in {*known, *own} if known.get(key) != own.get(key))
    if others:
        raise TableError(
            f"{folder}: is of another search ({', '.join(others)} differ); pass what "
            "it was begun with, or name a new folder"
        )


def _digest(X) -> str:
    digest = hashlib.blake2b(digest_size=16)
    parts = (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)
    for part in map(np.ascontiguousarray, parts):
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(part.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
