"""Training on one chunk of rows after another."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .._data.moments import column_moments
from .._data.rows import Rows
from .._utils.seeds import Seeds
from .begin import begin
from .continued import going_on
from .fitted import Fitted
from .net import train
from .outcome import record_of
from .pca_init import PCAInit
from .principal_units import look_at_units, note_explained
from .progress import live_progress
from .settings import Settings


@contextmanager
def fitted_chunk(
    table: Rows,
    settings: Settings,
    seeds: Seeds,
    feature_names,
    previous: Fitted | None,
) -> Iterator[Fitted]:
    """Train for one epoch on a chunk of rows, going on from ``previous`` if given.

    If what is done inside fails, ``previous`` is as it was.
    """
    strategy, pca_init = settings.strategy, None
    fit = previous or begin(table, settings, seeds, feature_names)
    net, state = fit
    if previous is None and settings.begins_linear:
        pca_init = PCAInit(table, state, settings, seeds).of(np.arange(len(table)))
        strategy.set_pca_init(state, pca_init)
    with going_on(fit, settings):
        rows = fit.rows(table)
        with live_progress(settings.verbose, None) as shown:
            train(
                net,
                rows,
                None,
                epochs=1,
                seeds=seeds,
                callbacks=shown,
                endless=True,
                params=settings.given,
            )
        if pca_init is not None:
            strategy.calibrate_pca_init(pca_init, rows)
        state.record = record_of(fit, table, settings, len(net.history), False)
        state.set_seeds(seeds.entropy, seeds.call + 1)
        strategy.calibrate(state, rows, None, pca_init)
        # Units stay where they are: codes of one chunk are to mean what those of the
        # last one did, and the optimiser's moments belong to their weights.
        total = state.total_variance
        if previous is not None:
            variance = column_moments(table.X)[1]
            total = state.likelihood.response_variance(variance)
        carried = look_at_units(fit, table)
        note_explained(fit, carried, len(table), total, strategy)
        yield fit
