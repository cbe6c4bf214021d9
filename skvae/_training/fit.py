"""From validated rows to a fitted state: begin, train, calibrate."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from .._data.counts import warn_if_counts
from .._data.dataset import TableDataset
from .._data.moments import column_moments
from .._data.rows import Rows
from .._linear.linear_vae import estimation_loss
from .._utils.seeds import Seeds
from .._utils.validation import (
    refuse_underflow,
    warn_if_badly_scaled,
    warn_if_many_constant,
)
from .continued import going_on
from .early_stopping import BestEpoch
from .fitted import Fitted
from .net import EpochNet, build_net, cosine_schedule, net_options, train
from .pca_init import PCAInit
from .principal_units import look_at_units, note_explained, order_units
from .settings import Settings
from .skorch_parts import Callback
from .split import next_split
from .state import FittedState, Record


def begin(
    rows: Rows,
    settings: Settings,
    seeds: Seeds,
    feature_names=None,
    previous: Fitted | None = None,
) -> Fitted:
    """An untrained network in the units of X, of the shapes of ``previous`` if any."""
    X = rows.X
    mean, variance = column_moments(X)
    if not np.isfinite(variance).all():
        raise ValueError(
            "X has values so large that their variance overflows; divide X by its "
            "largest absolute value, or put a StandardScaler in front."
        )
    refuse_underflow(X, variance)
    if previous is None:
        likelihood = settings.likelihood.of_rows(X)
    else:
        likelihood = settings.likelihood(**previous.state.likelihood.params)
    likelihood.check(X, feature_names)
    if not likelihood.has_own_scales:
        warn_if_badly_scaled(variance, feature_names)
        warn_if_many_constant(variance)
    if not likelihood.is_discrete:
        warn_if_counts(X)
    likelihood.fit_inputs(mean, variance, X, rows.covariates.size)
    strategy = settings.strategy
    params = strategy.criterion_params(likelihood)
    net = build_net(
        network=strategy.network,
        network_params={
            **settings.network,
            "n_inputs": likelihood.n_inputs,
            "n_outputs": likelihood.n_outputs,
            "seed": seeds.weights,
        },
        criterion=strategy.criterion_of(params),
        criterion_params={"likelihood": likelihood, **params},
        options=net_options(settings),
    )
    strategy.update_hyperparameters(net.module_, net.criterion_)
    bias = likelihood.init_output_bias(mean)
    if bias is not None:
        net.module_.set_output_bias(torch.as_tensor(bias))
    state = FittedState(net.module_, net.criterion_)
    state.total_variance = float(variance.sum())
    return Fitted(net, state)


def fit_rows(
    table: Rows,
    settings: Settings,
    seeds: Seeds,
    *,
    feature_names=None,
    previous: Fitted | None = None,
) -> Fitted:
    """Train on rows, from ``previous``'s weights if any, and calibrate the outcome."""
    strategy = settings.strategy
    fit = begin(table, settings, seeds, feature_names, previous)
    net, state = fit.net, fit.state
    train_index, split = next_split(
        len(table),
        settings.held_out_fraction,
        seeds.numpy_generator(seeds.split),
        None if previous is None else previous.state.split,
    )
    state.split, valid_index = split, split.held_out
    state.set_seeds(seeds.entropy, seeds.call + 1)
    pca_init = None
    if previous is not None:
        warm_start_from(fit, previous, settings)
    elif settings.begins_linear:
        linear = PCAInit(table, state, settings, seeds)
        pca_init = linear.of(train_index)
        strategy.set_pca_init(state, pca_init)
        strategy.compare_epochs(state, pca_init)
    rows = fit.rows(table, index=train_index)
    valid = fit.rows(table, index=valid_index) if len(valid_index) else None
    margin = settings.tol
    if previous is None:
        n_active = 0 if pca_init is None else strategy.n_active(pca_init)
        margin = init_margin(n_active, table.shape, len(train_index))

    best, carried = 0, None
    kept: list[float] = []

    def settle(best_epoch: int) -> None:
        nonlocal pca_init, best, kept, carried
        best = best_epoch
        if pca_init is not None:
            if valid is not None:
                pca_init = linear.of_all(train_index, valid_index)
            strategy.calibrate_pca_init(pca_init, fit.rows(table, resident=False))
            if best_epoch == 0:
                # The network did not help: leave the linear model of all rows behind.
                strategy.set_pca_init(state, pca_init)
        if best_epoch == 0 and previous is not None:
            carried = look_at_units(
                fit, table
            )  # of the last fit, whose codes these are
        else:
            spread = None if best_epoch else strategy.pca_spread(state, pca_init)
            carried = order_units(fit, table, spread)
        kept = state.learnt()

    start = None
    if previous is None and pca_init is None:
        start = partial(strategy.forget_codes, state)
    patience_ended = train_epochs(
        net, rows, valid, settings, seeds, margin, settle, start
    )
    if state.learnt() != kept:
        # A callback left other weights (skorch's Checkpoint can load its best): they
        # are neither the linear start nor an epoch that anyone could name.
        best = max(1, len(net.history))
        carried = order_units(fit, table)
    state.record = record_of(fit, table.X, settings, best, patience_ended)
    if best == 0 and previous is not None:
        # Going on did not help: leave the last fit, as it was calibrated.
        state.code_scale = previous.state.code_scale
    else:
        held_out = rows if valid is None else valid
        strategy.calibrate(state, rows, held_out, pca_init)
    assert carried is not None
    note_explained(fit, carried, len(table), state.total_variance, strategy)
    return fit


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
        train(net, rows, None, epochs=1, seeds=seeds, endless=True)
        if pca_init is not None:
            strategy.calibrate_pca_init(pca_init, rows)
        state.record = record_of(fit, table.X, settings, len(net.history), False)
        state.set_seeds(seeds.entropy, seeds.call + 1)
        strategy.calibrate(state, rows, None, pca_init)
        # Units stay where they are: codes of one chunk are to mean what those of the
        # last one did, and the optimiser's moments belong to their weights.
        total = state.total_variance
        if previous is not None:
            total = float(column_moments(table.X)[1].sum())
        carried = look_at_units(fit, table)
        note_explained(fit, carried, len(table), total, strategy)
        yield fit


def train_epochs(
    net: EpochNet,
    rows: TableDataset,
    valid: TableDataset | None,
    settings: Settings,
    seeds: Seeds,
    margin: float,
    settle: Callable[[int], None],
    start: Callable[[], object] | None = None,
) -> bool:
    """Train, and go back to the best epoch if rows are held out.

    ``start`` puts what competes as epoch 0 into the net, if it is not there already.
    ``settle`` is given its number, and leaves the weights that are kept. Returns
    whether patience with epochs that do not help ended it.
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

    def restore() -> None:
        if best is not None:
            best.restore()
        settle(len(net.history) if best is None else best.best_epoch_)

    train(
        net,
        rows,
        valid,
        epochs=settings.max_epochs,
        seeds=seeds,
        callbacks=callbacks,
        settle=restore,
    )
    # Moments of the optimiser are of no use to a finished fit, and twice its weights.
    net.optimizer_.state.clear()
    return best is not None and best.waited_ >= best.patience


def warm_start_from(fit: Fitted, previous: Fitted, settings: Settings) -> None:
    """Continue from the weights and in the units of an earlier fit."""
    state, last = fit.state, previous.state
    state.network.load_state_dict(last.network.state_dict())
    state.criterion.load_state_dict(last.criterion.state_dict())
    state.set_linear_model(last.linear_model, is_background=last.is_background)
    fit.net.n_steps_ = previous.net.n_steps_
    settings.strategy.update_hyperparameters(state.network, state.criterion)


def record_of(
    fit: Fitted, X, settings: Settings, best_epoch: int, stopped_early: bool
) -> Record:
    """What a verdict will ask of the training that has just ended."""
    return Record(
        best_epoch=best_epoch,
        n_steps=fit.net.n_steps_,
        diverged=has_diverged(fit, X),
        stopped_early=stopped_early,
        lr=settings.lr,
        **settings.strategy.recorded(),
    )


def has_diverged(fit: Fitted, X) -> bool:
    """Whether the last epoch was farther from its rows X than their mean is."""
    name = "train_recon_loss"
    errors = [row[name] for row in fit.net.history if name in row]
    error = errors[-1] if errors else 0.0  # a callback may have ended it before
    likelihood = fit.state.likelihood
    if not error > likelihood.diverged_loss():
        return False
    # Training that goes on may have met rows of other units, or far away.
    return bool(error > likelihood.diverged_loss(*column_moments(X)))


def init_margin(n_active: int, shape: tuple, n_train: int) -> float:
    """What PCA gains from the held-out rows, in nats per row: training must beat it."""
    if n_active == 0:
        return 0.0
    n_rows, n_features = shape
    return estimation_loss(n_active, n_features, n_train) - estimation_loss(
        n_active, n_features, n_rows
    )
