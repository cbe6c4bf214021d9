"""From validated rows to a fitted state: begin, train, calibrate."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import numpy as np

from .._data.dataset import TableDataset
from .._data.rows import Rows
from .._linear.linear_vae import estimation_loss
from .._utils.seeds import Seeds
from .begin import begin, warm_start_from
from .early_stopping import BestEpoch
from .fit_task import EpochTasks, FitTask
from .fitted import Fitted
from .net import EpochNet, cosine_schedule, train
from .outcome import Outcome, record_of
from .pca_init import PCAInit
from .persistence import packed, unpacked
from .principal_units import note_explained
from .progress import live_progress
from .resume import FitCheckpoint, Resume
from .settings import Settings
from .skorch_parts import Callback
from .split import next_split


def fit_rows(
    table: Rows,
    settings: Settings,
    seeds: Seeds,
    *,
    feature_names=None,
    previous: Fitted | None = None,
    task: FitTask | None = None,
    checkpoint: FitCheckpoint | None = None,
) -> Fitted:
    """Train on rows, from ``previous``'s weights if any, and calibrate the outcome.

    ``task`` is told of every epoch, if someone follows it. Training goes on from
    ``checkpoint``, if something is there, and writes to it.
    """
    settings = settings.for_rows(len(table))
    strategy = settings.strategy
    fit = begin(table, settings, seeds, feature_names, previous)
    state = fit.state
    train_index, split = next_split(
        len(table),
        settings.held_out_fraction,
        seeds.numpy_generator(seeds.split),
        None if previous is None else previous.state.split,
    )
    state.split, valid_index = split, split.held_out
    state.set_seeds(seeds.entropy, seeds.call + 1)
    outcome = Outcome(fit, table, strategy, goes_on=previous is not None)
    margin, start = 0.0, None
    if previous is not None:
        warm_start_from(fit, previous, settings)
        margin = settings.tol
    elif settings.begins_linear:
        n_active = begin_linear(outcome, settings, seeds, train_index, valid_index)
        margin = init_margin(n_active, table.shape, len(train_index))
    else:
        start = partial(strategy.forget_codes, state)
    rows = fit.rows(table, index=train_index)
    valid = fit.rows(table, index=valid_index) if len(valid_index) else None
    finish = partial(
        calibrate_outcome,
        settings=settings,
        rows=rows,
        held_out=rows if valid is None else valid,
        previous=previous,
    )
    follow = None
    if task is not None and task.is_followed:

        def follow(best: BestEpoch | None) -> EpochTasks:
            return EpochTasks(task, partial(as_if_stopped, outcome, best, finish))

    patience_ended = train_epochs(
        fit.net,
        rows,
        valid,
        settings,
        seeds,
        margin,
        outcome.settle,
        start=start,
        follow=follow,
        checkpoint=checkpoint,
    )
    outcome.follow_callbacks()
    finish(outcome, patience_ended)
    return fit


def calibrate_outcome(
    outcome: Outcome,
    patience_ended: bool,
    *,
    settings: Settings,
    rows: TableDataset,
    held_out: TableDataset,
    previous: Fitted | None,
) -> None:
    """Measure what settled weights need to be applied, and what they explain."""
    fit, table, strategy = outcome.fit, outcome.table, settings.strategy
    state, best = fit.state, outcome.best_epoch
    state.record = record_of(fit, table, settings, best, patience_ended)
    if best == 0 and previous is not None:
        # Going on did not help: leave the last fit, as it was calibrated.
        state.code_scale = previous.state.code_scale
    else:
        strategy.calibrate(state, rows, held_out, outcome.pca_init)
    note_explained(fit, outcome.carried, len(table), state.total_variance, strategy)


def as_if_stopped(
    outcome: Outcome,
    best: BestEpoch | None,
    finish: Callable[[Outcome, bool], None],
    n_epochs: int,
) -> Fitted:
    """A copy of a fit in training, as it would be if it had ended ``n_epochs`` in.

    Training goes on as if nobody had asked.
    """
    fit = outcome.fit
    data = packed(fit, None)
    # Of no use to a finished fit, as in :func:`train_epochs`.
    copied = unpacked({**data, "moments": {}}, outcome.strategy, None)
    del copied.net.history[n_epochs:]
    copied.state.total_variance = fit.state.total_variance
    settled = Outcome(
        copied,
        outcome.table,
        outcome.strategy,
        outcome.goes_on,
        deepcopy(outcome.pca_init),
        outcome.of_all_rows,
    )
    if best is not None:
        best.restore_into(copied.net)
    settled.settle(n_epochs if best is None else best.best_epoch_)
    finish(settled, best is not None and best.has_waited)
    return copied


def begin_linear(
    outcome: Outcome,
    settings: Settings,
    seeds: Seeds,
    train_index: np.ndarray,
    valid_index: np.ndarray,
) -> int:
    """Put the linear model of the training rows into the network; its active units."""
    strategy, state = settings.strategy, outcome.fit.state
    linear = PCAInit(outcome.table, state, settings, seeds)
    pca_init = linear.of(train_index)
    strategy.set_pca_init(state, pca_init)
    strategy.compare_epochs(state, pca_init)
    outcome.pca_init = pca_init
    if len(valid_index):
        outcome.of_all_rows = partial(linear.of_all, train_index, valid_index)
    return strategy.n_active(pca_init)


def train_epochs(
    net: EpochNet,
    rows: TableDataset,
    valid: TableDataset | None,
    settings: Settings,
    seeds: Seeds,
    margin: float,
    settle: Callable[[int], None],
    *,
    start: Callable[[], object] | None = None,
    follow: Callable[[BestEpoch | None], EpochTasks] | None = None,
    checkpoint: FitCheckpoint | None = None,
) -> bool:
    """Train, and go back to the best epoch if rows are held out.

    ``start`` puts what competes as epoch 0 into the net, if it is not there already.
    ``settle`` is given its number, and leaves the weights that are kept. ``follow``
    makes what is told of every epoch once early stopping has seen it. Returns whether
    patience with epochs that do not help ended it.
    """
    callbacks: list[tuple[str, Callback]] = []
    if settings.lr_schedule == "cosine":
        callbacks.append(("skvae_lr_schedule", cosine_schedule(settings.max_epochs)))
    best = None
    if valid is not None:
        best = BestEpoch(
            valid,
            settings.n_iter_no_change,
            settings.tol,
            margin,
            # Before, epochs would be compared that were trained for something else.
            first_epoch=math.ceil(settings.strategy.settled_at * settings.max_epochs),
            start=start,
        )
        callbacks.append(("skvae_best_epoch", best))
    tasks = None if follow is None else follow(best)
    if tasks is not None:
        callbacks.append(("skvae_epoch_tasks", tasks))
    if checkpoint is not None:
        callbacks.append(("skvae_checkpoint", Resume(checkpoint, best)))

    def restore() -> None:
        if tasks is not None:
            tasks.close(net)
        if checkpoint is not None:
            checkpoint.write(net, best, has_ended=True)
        if best is not None:
            best.restore()
        settle(len(net.history) if best is None else best.best_epoch_)

    with live_progress(settings.verbose, settings.max_epochs) as shown:
        train(
            net,
            rows,
            valid,
            epochs=settings.max_epochs,
            n_done=0 if checkpoint is None else checkpoint.n_epochs,
            seeds=seeds,
            callbacks=[*shown, *callbacks],
            settle=restore,
            params=settings.given,
        )
    # Moments of the optimiser are of no use to a finished fit, and twice its weights.
    net.optimizer_.state.clear()
    return best is not None and best.has_waited


def init_margin(n_active: int, shape: tuple, n_train: int) -> float:
    """What PCA gains from the held-out rows, in nats per row: training must beat it."""
    if n_active == 0:
        return 0.0
    n_rows, n_features = shape
    return estimation_loss(n_active, n_features, n_train) - estimation_loss(
        n_active, n_features, n_rows
    )
