"""Units in the order of the variance that they explain, as in ``PCA``."""

from .._data.moments import column_moments
from .._evaluation.explained_variance import explained_by_units
from .._nn.unit_order import reorder_units
from .fitted import Fitted
from .strategy import TrainingStrategy


def explain(fit: Fitted, X, strategy: TrainingStrategy) -> None:
    """Note what the units of a calibrated fit explain of the rows X.

    Of a single row nothing can be said: the last rows have to do.
    """
    network, likelihood = fit.state.network, fit.state.likelihood
    fit.state.explained = None
    if X.shape[0] < 2:
        return
    fit.state.explained = explained_by_units(
        network,
        likelihood,
        fit.rows(X, resident=False),
        float(column_moments(X)[1].sum()),
        strategy.left_out(fit.state),
    )


def order_units(fit: Fitted, X, strategy: TrainingStrategy) -> None:
    """Put the units of a calibrated fit into the order that rows X give them.

    In the network's own weights: whatever codes and decodes agrees, and so does a fit
    that goes on from these weights. An optimiser must have forgotten its moments.
    """
    explain(fit, X, strategy)
    explained, state = fit.state.explained, fit.state
    if explained is None:
        return
    order, signs = explained.principal_order()
    reorder_units(state.network, order, signs)
    state.code_scale = state.code_scale[order]
    state.explained = explained.reordered(order, signs)
