"""What training leaves: which weights, what units carry, and how it ended."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from .._data.moments import column_moments
from .._data.rows import Rows
from .._evaluation.calibration import CALIBRATION_ROWS, some
from .._evaluation.explained_variance import Carried
from .._evaluation.verdicts import ENOUGH_TRAVEL
from .fitted import Fitted
from .principal_units import look_at_units, order_units
from .settings import Settings
from .state import Record
from .strategy import TrainingStrategy


@dataclass
class Outcome:
    """Which weights a fit keeps, and what their units carry of its rows.

    Parameters
    ----------
    fit : Fitted
    table : Rows
        All rows, those that are held out among them.
    strategy : TrainingStrategy
    goes_on : bool
        Whether training went on from a fit, which competes as epoch 0.

    Attributes
    ----------
    pca_init : object or None
        The linear model that training began at (see :class:`TrainingStrategy`).
    of_all_rows : callable or None
        Makes that model of all rows, where some of them were held out.
    best_epoch : int
        Whose weights are kept.
    carried : Carried
    """

    fit: Fitted
    table: Rows
    strategy: TrainingStrategy
    goes_on: bool
    pca_init: Any = None
    of_all_rows: Callable[[], Any] | None = None
    best_epoch: int = 0
    carried: Carried = field(init=False)
    _settled: list[float] = field(init=False)

    def settle(self, best_epoch: int) -> None:
        """Leave the weights of an epoch, which the network has, with units in order."""
        self.best_epoch = best_epoch
        if self.pca_init is not None:
            self._finish_pca_init()
        if best_epoch == 0 and self.goes_on:
            # Of the last fit, whose codes these are.
            self.carried = look_at_units(self.fit, self.table)
        else:
            spread = None
            if best_epoch == 0:
                spread = self.strategy.pca_spread(self.fit.state, self.pca_init)
            self.carried = order_units(self.fit, self.table, spread)
        self._settled = self.fit.state.learnt()

    def _finish_pca_init(self) -> None:
        if self.of_all_rows is not None:
            self.pca_init = self.of_all_rows()
        rows = self.fit.rows(self.table, resident=False)
        self.strategy.calibrate_pca_init(self.pca_init, rows)
        if self.best_epoch == 0:
            # The network did not help: leave the linear model of all rows behind.
            self.strategy.set_pca_init(self.fit.state, self.pca_init)

    def follow_callbacks(self) -> None:
        """Take it as it is now, if a callback has left other weights since.

        As skorch's Checkpoint does, which can load its best: they are neither the
        linear start nor an epoch that anyone could name.
        """
        if self.fit.state.learnt() != self._settled:
            self.best_epoch = max(1, len(self.fit.net.history))
            self.carried = order_units(self.fit, self.table)


def record_of(
    fit: Fitted, table: Rows, settings: Settings, best_epoch: int, stopped_early: bool
) -> Record:
    """What a verdict will ask of the training that has just ended."""
    return Record(
        best_epoch=best_epoch,
        n_steps=fit.net.n_steps_,
        diverged=has_diverged(fit, table),
        stopped_early=stopped_early,
        lr=settings.lr,
        **settings.strategy.recorded(),
    )


def has_diverged(fit: Fitted, table: Rows) -> bool:
    """Whether the last epoch was farther from its rows than their mean is.

    Of likelihoods that have a model with no code in place of a mean: twice as far, and
    after so many steps at such a rate that a network has long left its first weights.
    """
    name = "train_recon_loss"
    errors = [row[name] for row in fit.net.history if name in row]
    error = errors[-1] if errors else 0.0  # a callback may have ended it before
    likelihood = fit.state.likelihood
    if not math.isfinite(likelihood.diverged_loss()):
        travel = fit.net.lr * fit.net.n_steps_
        return travel > ENOUGH_TRAVEL and error > 2.0 * loss_without_code(fit, table)
    if not error > likelihood.diverged_loss():
        return False
    # Training that goes on may have met rows of other units, or far away.
    return bool(error > likelihood.diverged_loss(*column_moments(table.X)))


@torch.no_grad()
def loss_without_code(fit: Fitted, table: Rows) -> float:
    """Mean loss of rows in the best model with no code; infinite if there is none."""
    if fit.state.likelihood.no_code() is None:
        return math.inf
    batch = some(fit.rows(table, resident=False), CALIBRATION_ROWS)
    likelihood = fit.state.likelihood
    nll = -fit.state.without_code()(batch).mean().item() + likelihood.log_det()
    return likelihood.loss_of_nats(nll)
