"""From validated rows to a fitted model: start, train, calibrate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from skorch.callbacks import Callback

from .._data.counts import warn_if_counts
from .._data.dataset import TableDataset
from .._data.moments import column_moments
from .._evaluation.calibration import Codes
from .._linear.components import Components, bounded_index, principal_components
from .._linear.linear_vae import LinearVAE, estimation_loss
from .._nn.autoencoder import Autoencoder
from .._objectives.criteria import Criterion
from .._utils.seeds import Seeds
from .._utils.validation import (
    refuse_underflow,
    warn_if_badly_scaled,
    warn_if_many_constant,
)
from .early_stopping import BestEpoch
from .net import EpochNet, build_net, cosine_schedule, train

VALIDATION_BLOCKS = 4
# Squared error over the variance of the rows: an untrained network, which draws codes
# for nothing, has less than 2.
DIVERGED = 4.0


class TrainingStrategy(Protocol):
    """What differs between kinds of autoencoders in how they start and end training.

    A ``start`` is the linear model that training begins at, in scaled units.
    """

    @property
    def module(self) -> type[Autoencoder]: ...

    @property
    def criterion(self) -> type[Criterion]: ...

    @property
    def settled_at(self) -> float:
        """Progress from which on all weights of the loss are full."""

    def criterion_params(self, n_features: int, scale: float) -> dict:
        """Parameters of the criterion, in scaled units."""

    def update_hyperparameters(self, net: EpochNet, scale: float) -> None:
        """Give a net's criterion the weights of today, and its module what they set."""

    @property
    def has_likelihood(self) -> bool:
        """Whether fits are judged by a linear model's, which is kept for that."""

    def linear_model(self, components: Components, scale: float) -> Any:
        """The start, from the rows' leading components."""

    def n_active(self, start: Any) -> int:
        """Number of units that the start uses."""

    def set_start(self, net: EpochNet, start: Any) -> None:
        """Put the start into a net."""

    def for_new_rows(self, start: Any, rows: TableDataset) -> Any:
        """The start of ``rows``, calibrated for others."""

    def calibrate(
        self,
        model: "Model",
        rows: TableDataset,
        held_out: TableDataset | None,
        start: Any,
    ) -> None:
        """Measure what the trained model needs to be applied."""


@dataclass(frozen=True)
class Settings:
    """What an estimator's parameters say, checked and resolved."""

    strategy: TrainingStrategy
    module: dict
    linear_path: bool
    lr: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    gradient_clip_val: float | None
    cosine: bool
    validation_fraction: float | None  # None: no early stopping
    n_iter_no_change: int
    tol: float
    device: torch.device
    precision: str
    verbose: int
    callbacks: Sequence


@dataclass
class Model:
    """A net with the units its rows are in, and what was calibrated afterwards.

    ``code_scale`` (latent_dim,) is in the units of X per unit of code. Where there is a
    likelihood, ``noise_variance`` is in the squared units of X, ``start`` is the linear
    model that training began at and left, calibrated, and ``components`` are those of
    the training rows, both in the net's units; ``codes`` says what codes are worth,
    where a fit looked. ``diverged``: training ended farther from the rows than their
    mean is; ``stopped_early``: for want of patience; ``lr`` and ``free_bits`` were
    those of the last call. ``split`` is what early stopping held out, for the next fit
    to hold out.
    """

    net: EpochNet
    mean: np.ndarray
    scale: float
    code_scale: np.ndarray
    noise_variance: float = float("nan")
    start: LinearVAE | None = None
    components: Components | None = None
    codes: Codes | None = None
    diverged: bool = False
    lr: float = 0.0
    stopped_early: bool = False
    free_bits: float = 0.0
    best_epoch: int = 0
    split: "Split | None" = None

    def rows(
        self, X, *, index=None, dtype=torch.float32, resident=True
    ) -> TableDataset:
        device = torch.device(self.net.device)
        return TableDataset(
            X,
            self.mean,
            self.scale,
            dtype=dtype,
            device=device,
            resident=resident,
            index=index,
        )


class Split(NamedTuple):
    """Which of ``n_rows`` rows are held out, and what share of them was asked for."""

    held_out: np.ndarray
    n_rows: int
    fraction: float | None


def next_split(
    n_rows: int,
    fraction: float | None,
    random_state: np.random.RandomState,
    last: Split | None = None,
) -> tuple[np.ndarray, Split]:
    """Rows to train on, in random order, and the split.

    What the last fit held out stays held out: to rows that were trained on, the state
    before training is the best there can be, and no progress would ever be kept. Rows
    that have come since are split as new ones are.
    """
    if last is None or last.fraction != fraction or fraction is None:
        train, held_out = split_rows(n_rows, fraction, random_state)
        return train, Split(held_out, n_rows, fraction)
    held_out = last.held_out[last.held_out < n_rows]
    n_new = n_rows - last.n_rows
    if n_new * fraction >= 1.0 and n_new > 2:
        _, new = split_rows(n_new, fraction, random_state)
        held_out = np.concatenate([held_out, last.n_rows + new])
    if not 0 < len(held_out) <= n_rows - 2:
        return next_split(n_rows, fraction, random_state)
    train = random_state.permutation(np.setdiff1d(np.arange(n_rows), held_out))
    return train, Split(held_out, n_rows, fraction)


def split_rows(
    n_rows: int, fraction: float | None, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Indices, in random order, to train on and to hold out (none without a fraction).

    Rows are held out in ``VALIDATION_BLOCKS`` runs, one somewhere in each part of X:
    where neighbouring rows resemble each other (a film, a time series), single rows
    would not be held out at all; where X is sorted, one run would hold out a class.
    At least two rows are trained on and, if any are held out at all, at least one is.
    """
    held_out = np.zeros(n_rows, dtype=bool)
    if fraction is not None:
        n_valid = min(max(1, round(fraction * n_rows)), n_rows - 2)
        n_blocks = max(1, min(VALIDATION_BLOCKS, n_valid))
        parts = np.linspace(0, n_rows, n_blocks + 1).astype(int)
        lengths = np.diff(np.linspace(0, n_valid, n_blocks + 1).astype(int))
        for first, last, length in zip(parts[:-1], parts[1:], lengths, strict=True):
            start = first + random_state.randint(last - first - length + 1)
            held_out[start : start + length] = True
    order = random_state.permutation(n_rows)
    return order[~held_out[order]], order[held_out[order]]


def start_model(X, settings: Settings, seeds: Seeds, feature_names=None) -> Model:
    """An untrained model in the units of X."""
    mean, variance = column_moments(X)
    if not np.isfinite(variance).all():
        raise ValueError(
            "X has values so large that their variance overflows; divide X by its "
            "largest absolute value, or put a StandardScaler in front."
        )
    refuse_underflow(X, variance)
    warn_if_badly_scaled(variance, feature_names)
    warn_if_many_constant(variance)
    warn_if_counts(X)
    scale = float(np.sqrt(variance.mean())) or 1.0
    strategy = settings.strategy
    net = build_net(
        module=strategy.module,
        module_params={**settings.module, "seed": seeds.weights},
        criterion=strategy.criterion,
        criterion_params=strategy.criterion_params(X.shape[1], scale),
        data_scale=scale,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        batch_size=settings.batch_size,
        gradient_clip_val=settings.gradient_clip_val,
        device=settings.device,
        precision=settings.precision,
        verbose=settings.verbose,
        callbacks=settings.callbacks,
    )
    strategy.update_hyperparameters(net, scale)
    units = np.full(net.module_.latent_dim, scale)
    return Model(net, mean, scale, units)


def linear_start(X, index, model: Model, settings: Settings, seeds: Seeds):
    """The best linear model of the rows at ``index``, in the model's units.

    The model keeps the components that it is made of, if it is to be judged by them.
    """
    k = settings.module["latent_dim"]
    generator = seeds.numpy_generator(seeds.components)
    subset = X[bounded_index(X, index, k)]
    total = column_moments(subset)[1].sum() / model.scale**2
    eigenvalues, eigenvectors = np.empty(0), np.empty((0, X.shape[1]))
    if total > 0.0:
        eigenvalues, eigenvectors = principal_components(subset, k, generator)
        eigenvalues = eigenvalues / model.scale**2
    components = Components(eigenvalues, eigenvectors, float(total))
    if settings.strategy.has_likelihood:
        model.components = components
    return settings.strategy.linear_model(components, model.scale)


def fit_model(
    X,
    settings: Settings,
    seeds: Seeds,
    *,
    feature_names=None,
    previous: Model | None = None,
) -> Model:
    """Train a model on X, from ``previous``'s weights if given, and calibrate it."""
    strategy = settings.strategy
    model = start_model(X, settings, seeds, feature_names)
    net = model.net
    train_index, model.split = next_split(
        X.shape[0],
        settings.validation_fraction,
        seeds.numpy_generator(seeds.split),
        None if previous is None else previous.split,
    )
    valid_index = model.split.held_out
    start = None
    if previous is not None:
        warm_start_from(model, previous, settings)
    elif settings.linear_path:
        start = linear_start(X, train_index, model, settings, seeds)
        strategy.set_start(net, start)
    rows = model.rows(X, index=train_index)
    valid = model.rows(X, index=valid_index) if len(valid_index) else None
    head = settings.tol
    if previous is None:
        n_active = 0 if start is None else strategy.n_active(start)
        head = init_margin(n_active, X.shape, len(train_index))

    kept: list[float] = []

    def settle(best_epoch: int) -> None:
        nonlocal start, kept
        model.best_epoch = best_epoch
        if start is not None:
            if valid is not None:
                everything = np.concatenate([valid_index, train_index])
                start = linear_start(X, everything, model, settings, seeds)
            start = strategy.for_new_rows(start, model.rows(X, resident=False))
            if best_epoch == 0:
                # The network did not help: leave the linear model of all rows behind.
                strategy.set_start(net, start)
        kept = checksum(net.module_)

    patience_ended = train_epochs(net, rows, valid, settings, seeds, head, settle)
    note_training(model, X, settings, patience_ended)
    if checksum(net.module_) != kept:
        # A callback left other weights (skorch's Checkpoint can load its best): they
        # are neither the linear start nor an epoch that anyone could name.
        model.best_epoch = max(1, len(net.history))
    if model.best_epoch == 0 and previous is not None:
        # Going on did not help: leave the last fit, as it was calibrated.
        model.noise_variance = previous.noise_variance
        model.code_scale = previous.code_scale
        return model
    strategy.calibrate(model, rows, rows if valid is None else valid, start)
    return model


def checksum(module: Autoencoder) -> list[float]:
    """Norms of what a module has learnt: equal for the same weights."""
    state = module.state_dict().values()
    norms = [torch.linalg.vector_norm(value.float()) for value in state]
    return torch.stack(norms).tolist()


def train_epochs(
    net: EpochNet,
    rows: TableDataset,
    valid: TableDataset | None,
    settings: Settings,
    seeds: Seeds,
    head: float,
    settle: Callable[[int], None],
) -> bool:
    """Train, and go back to the best epoch if rows are held out.

    ``settle`` is given its number, and leaves the weights that are kept. Returns
    whether patience with epochs that do not help ended it.
    """
    callbacks: list[tuple[str, Callback]] = []
    if settings.cosine:
        callbacks.append(("skvae_lr_schedule", cosine_schedule(settings.max_epochs)))
    best = None
    if valid is not None:
        best = BestEpoch(
            valid,
            settings.n_iter_no_change,
            settings.tol,
            head,
            # Before, epochs would be compared that were trained for something else.
            first_epoch=math.ceil(settings.strategy.settled_at * settings.max_epochs),
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


def warm_start_from(model: Model, previous: Model, settings: Settings) -> None:
    """Continue from the weights and in the units of an earlier fit."""
    model.mean, model.scale = previous.mean, previous.scale
    model.start, model.components = previous.start, previous.components
    model.net.data_scale = previous.scale
    model.net.n_steps_ = previous.net.n_steps_
    model.net.module_.load_state_dict(previous.net.module_.state_dict())
    model.net.criterion_.load_state_dict(previous.net.criterion_.state_dict())
    settings.strategy.update_hyperparameters(model.net, previous.scale)


def note_training(model: Model, X, settings: Settings, stopped_early: bool) -> None:
    """Keep what a verdict will ask of the training that has just ended."""
    model.diverged = has_diverged(model, X)
    model.lr, model.stopped_early = settings.lr, stopped_early
    model.free_bits = getattr(settings.strategy, "free_bits", 0.0)


def has_diverged(model: Model, X) -> bool:
    """Whether the last epoch was farther from its rows X than the model's mean is."""
    name = "train_recon_loss"
    errors = [row[name] for row in model.net.history if name in row]
    error = errors[-1] if errors else 0.0  # a callback may have ended it before
    if not error > DIVERGED * model.scale**2:
        return False
    # Training that goes on may have met rows of other units, or far away.
    mean, variance = column_moments(X)
    own = variance.mean() + np.square(mean - model.mean).mean()
    return bool(error > DIVERGED * own)


def init_margin(n_active: int, shape: tuple, n_train: int) -> float:
    """What PCA gains from the held-out rows, in nats per row: training must beat it."""
    if n_active == 0:
        return 0.0
    n_rows, n_features = shape
    return estimation_loss(n_active, n_features, n_train) - estimation_loss(
        n_active, n_features, n_rows
    )
