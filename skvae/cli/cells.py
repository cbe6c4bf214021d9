"""Single cells on the command line: conditions of theirs, and codes beside them.

Needs anndata (``skvae[anndata]``) to write.
"""

import os

import numpy as np

from .._utils.routing import last_step, takes_conditions
from .files import CELLS, WRITABLE
from .table import Table, TableError, ending


def refuse_input(path: str, out: str) -> None:
    """Complain about an output that is the table, or that the table cannot become.

    Raises
    ------
    TableError
        If it is one of the two.
    """
    if ending(out) == CELLS and ending(path) != CELLS:
        raise TableError(
            f"{out}: {CELLS} holds the codes beside their table, and {path} is none; "
            f"end the name in one of {', '.join(WRITABLE)}"
        )
    if os.path.exists(out) and os.path.exists(path) and os.path.samefile(path, out):
        raise TableError(f"{out}: is the table; name another file for the codes")


def refuse_conditions(model, conditions) -> None:
    """Complain about conditions that the model has no use for.

    Raises
    ------
    ValueError
        If there are any, and it takes none.
    """
    if conditions is not None and not takes_conditions(model):
        name = type(last_step(model)).__name__
        raise ValueError(f"{name} takes no conditions; leave --condition out.")


def write_cells(
    path: str, table: Table, model, codes: np.ndarray, layer: str | None
) -> None:
    """Write the table's cells as they were read, and their codes.

    Where and what is as :func:`skvae.anndata.fit_transform` has it.
    """
    from ..anndata import KEY, _facts, _written

    cells = table.cells
    genes = getattr(model, "feature_names_in_", cells.var_names)
    facts = _facts(model, list(map(str, genes)), layer, table.conditions)
    _written(model, cells, codes, facts, KEY, copy=False)
    cells.write_h5ad(path)
