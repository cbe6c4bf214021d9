"""Units in the order of the variance that they explain, as in ``PCA``."""

from .._data.rows import Rows
from .._evaluation.explained_variance import Carried, Spread, carried_by_units
from .._nn.unit_order import reorder_units
from .fitted import Fitted
from .strategy import TrainingStrategy


def look_at_units(fit: Fitted, table: Rows, spread: Spread | None = None) -> Carried:
    """What the units carry of the reconstruction of some rows."""
    rows, state = fit.rows(table, resident=False), fit.state
    return carried_by_units(state.network, state.likelihood, rows, spread)


def order_units(fit: Fitted, table: Rows, spread: Spread | None = None) -> Carried:
    """Put the units into the order that rows give them; what they then carry.

    In the network's own weights: whatever codes and decodes agrees, and so does a fit
    that goes on from these weights. Before anything is calibrated, and not while an
    optimiser has moments of the weights.
    """
    carried = look_at_units(fit, table, spread)
    order, signs = carried.principal_order()
    reorder_units(fit.state.network, order, signs)
    return carried.reordered(order, signs)


def note_explained(
    fit: Fitted, carried: Carried, n_rows: int, total: float, strategy: TrainingStrategy
) -> None:
    """Note what the units of a calibrated fit explain of ``n_rows`` rows.

    ``total`` is the sum of their features' variances. Of a single row nothing can be
    said: the last ones have to do.
    """
    fit.state.explained = None
    if n_rows > 1:
        noise = strategy.left_out(fit.state)
        fit.state.explained = carried.explained(noise, n_rows, total)
