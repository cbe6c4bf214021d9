"""From validated rows to a fitted model: start, train, calibrate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from skorch.callbacks import Callback

from ._bounds import (
    cubature,
    decoder_gain,
    distortion_and_rate,
    linear_distortion_and_rate,
)
from ._early_stopping import BestEpoch
from ._linear import (
    LinearVAE,
    bounded_index,
    column_moments,
    estimation_loss,
    linear_vae,
    prediction_error,
    principal_components,
    residual_variance,
)
from ._net import NOISE_FLOOR, EpochNet, build_net, cosine_schedule, train
from ._objective import noise_of_weight
from ._rows import Rows, chunk_rows
from ._seeds import Streams
from ._validation import warn_if_badly_scaled

VALIDATION_BLOCKS = 4
# Rows that calibration looks at: the noise variance is one number.
CALIBRATION_ROWS = 4096
# Decoded rows, over all units, that the gain of the decoder is averaged over.
GAIN_ROWS = 16_384


@dataclass(frozen=True)
class Settings:
    """What an estimator's parameters say, checked and resolved."""

    module: dict
    kld_weight: float | None  # None: the noise variance is fitted
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
    verbose: int
    callbacks: Sequence


@dataclass
class Model:
    """A net with the units its rows are in, and what was calibrated afterwards.

    ``noise_variance`` is in the squared units of X, ``code_scale`` (latent_dim,) in the
    units of X per unit of code. ``start`` is the linear model that training began at
    and left, calibrated, in the net's units.
    """

    net: EpochNet
    mean: np.ndarray
    scale: float
    noise_variance: float
    code_scale: np.ndarray
    best_epoch: int = 0
    start: LinearVAE | None = None

    def rows(self, X, *, index=None, dtype=torch.float32, resident=True) -> Rows:
        device = torch.device(self.net.device)
        return Rows(
            X,
            self.mean,
            self.scale,
            dtype=dtype,
            device=device,
            resident=resident,
            index=index,
        )


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


def start_model(X, settings: Settings, streams: Streams, feature_names=None) -> Model:
    """An untrained model in the units of X."""
    mean, variance = column_moments(X)
    if not np.isfinite(variance).all():
        raise ValueError(
            "X has values so large that their variance overflows; divide X by its "
            "largest absolute value, or put a StandardScaler in front."
        )
    warn_if_badly_scaled(variance, feature_names)
    scale = float(np.sqrt(variance.mean())) or 1.0
    weight = settings.kld_weight
    net = build_net(
        module_params={**settings.module, "seed": streams.weights},
        kld_weight=None if weight is None else weight / scale**2,
        noise_variance=1.0,
        data_scale=scale,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        batch_size=settings.batch_size,
        gradient_clip_val=settings.gradient_clip_val,
        device=settings.device,
        verbose=settings.verbose,
        callbacks=settings.callbacks,
    )
    units = np.full(net.module_.latent_dim, scale)
    return Model(net, mean, scale, scale**2, units)


def linear_start(X, index, model: Model, settings, streams) -> LinearVAE:
    """The optimal linear VAE for the rows at ``index``, in the model's units."""
    n_features = X.shape[1]
    k = settings.module["latent_dim"]
    generator = streams.numpy_generator(streams.components)
    subset = X[bounded_index(X, index, k)]
    total = column_moments(subset)[1].sum() / model.scale**2
    eigenvalues, eigenvectors = np.empty(0), np.empty((0, n_features))
    if total > 0.0:
        eigenvalues, eigenvectors = principal_components(subset, k, generator)
        eigenvalues = eigenvalues / model.scale**2
    if settings.kld_weight is None:
        noise = residual_variance(total, eigenvalues, n_features, NOISE_FLOOR)
    else:
        weight = settings.kld_weight / model.scale**2
        noise = max(noise_of_weight(weight, n_features), NOISE_FLOOR)
    return linear_vae(eigenvalues, eigenvectors, noise)


def set_start(net: EpochNet, start: LinearVAE) -> None:
    """Put the linear VAE on the linear path, and its noise into the objective."""
    tensors = (start.encode, start.log_var, start.decode)
    net.module_.set_linear_path(
        *(torch.as_tensor(t, dtype=torch.float32, device=net.device) for t in tensors)
    )
    net.criterion_.noise_variance.fill_(start.noise_variance)


def for_new_rows(start: LinearVAE, rows: Rows, *, fitted: bool) -> LinearVAE:
    """The linear VAE of ``rows`` with the noise variance to expect on others.

    Unless ``fitted``, its noise is what the weight stands for, and not of these rows.
    """
    noise = start.noise_variance
    if not fitted:
        error, _ = linear_distortion_and_rate(start, _some(rows, CALIBRATION_ROWS))
        noise = max(error.mean().item() / rows.n_features, NOISE_FLOOR)
    k = int(np.count_nonzero(start.log_var))
    return start._replace(noise_variance=noise * prediction_error(k, len(rows)))


def fit_model(
    X,
    settings: Settings,
    streams: Streams,
    *,
    feature_names=None,
    previous: Model | None = None,
) -> Model:
    """Train a model on X, from ``previous``'s weights if given, and calibrate it."""
    model = start_model(X, settings, streams, feature_names)
    net = model.net
    train_index, valid_index = split_rows(
        X.shape[0],
        settings.validation_fraction,
        streams.numpy_generator(streams.split),
    )
    start = None
    if previous is not None:
        take_over(model, previous, settings)
    elif settings.linear_path:
        start = linear_start(X, train_index, model, settings, streams)
        set_start(net, start)
    rows = model.rows(X, index=train_index)
    valid = model.rows(X, index=valid_index) if len(valid_index) else None
    head = settings.tol
    if previous is None:
        head = head_start(start, X.shape, len(train_index))
    model.best_epoch = train_epochs(net, rows, valid, settings, streams, head)
    noise = calibrated_noise(net, rows if valid is None else valid)
    if model.best_epoch == 0 and previous is not None:
        # Going on did not help: leave the last fit, as it was calibrated.
        net.module_.eval()
        model.noise_variance = previous.noise_variance
        model.code_scale = previous.code_scale
        return model
    if start is not None:
        everything = np.concatenate([valid_index, train_index])
        if valid is not None:
            start = linear_start(X, everything, model, settings, streams)
        fitted = settings.kld_weight is None
        start = for_new_rows(start, model.rows(X, resident=False), fitted=fitted)
        if model.best_epoch == 0:
            # The network did not help: leave the linear model of all rows behind.
            set_start(net, start)
            noise = start.noise_variance
        else:
            model.start = start
    finish(model, noise, rows)
    return model


def train_epochs(
    net: EpochNet,
    rows: Rows,
    valid: Rows | None,
    settings: Settings,
    streams: Streams,
    head: float,
) -> int:
    """Train, and restore the best epoch if rows are held out; returns its number."""
    callbacks: list[tuple[str, Callback]] = []
    if settings.cosine:
        callbacks.append(("lr_schedule", cosine_schedule(settings.max_epochs)))
    best = None
    if valid is not None:
        best = BestEpoch(valid, settings.n_iter_no_change, settings.tol, head)
        callbacks.append(("best_epoch", best))
    n_epochs = settings.max_epochs
    train(net, rows, valid, epochs=n_epochs, streams=streams, callbacks=callbacks)
    # Moments of the optimiser are of no use to a finished fit, and twice its weights.
    net.optimizer_.state.clear()
    return len(net.history) if best is None else best.best_epoch_


def take_over(model: Model, previous: Model, settings: Settings) -> None:
    """Continue from the weights and in the units of an earlier fit."""
    model.mean, model.scale = previous.mean, previous.scale
    model.start = previous.start
    model.net.data_scale = previous.scale
    model.net.module_.load_state_dict(previous.net.module_.state_dict())
    criterion = model.net.criterion_
    criterion.noise_variance.copy_(previous.net.criterion_.noise_variance)
    if settings.kld_weight is not None:
        criterion.fixed_weight.fill_(settings.kld_weight / previous.scale**2)


def retune(model: Model, settings: Settings) -> None:
    """Give a net that goes on training the parameters of today.

    The learning rate, above all: a schedule of the last fit has run it down to 0.
    """
    model.net.set_params(
        lr=settings.lr,
        optimizer__weight_decay=settings.weight_decay,
        batch_size=settings.batch_size,
        gradient_clip_val=settings.gradient_clip_val,
        verbose=settings.verbose,
    )
    if settings.kld_weight is not None:
        weight = settings.kld_weight / model.scale**2
        model.net.criterion_.fixed_weight.fill_(weight)
    model.net.criterion_.fitted = settings.kld_weight is None


def head_start(start: LinearVAE | None, shape: tuple, n_train: int) -> float:
    """What PCA gains from the held-out rows, in nats per row: training must beat it."""
    if start is None:
        return 0.0
    n_rows, n_features = shape
    k = int(np.count_nonzero(start.log_var))
    return estimation_loss(k, n_features, n_train) - estimation_loss(
        k, n_features, n_rows
    )


def _some(rows: Rows, n_rows: int) -> torch.Tensor:
    """Up to ``n_rows`` rows, and no more than a chunk's, evenly spaced."""
    n_kept = min(n_rows, len(rows), chunk_rows(rows.n_features))
    index = np.linspace(0, len(rows) - 1, n_kept).round().astype(int)
    return rows[torch.from_numpy(index)]


@torch.no_grad()
def calibrated_noise(net: EpochNet, rows: Rows) -> float:
    """The noise variance that maximises the ELBO of these rows, in the net's units."""
    net.module_.eval()
    x = _some(rows, CALIBRATION_ROWS)
    error, _ = distortion_and_rate(net.module_, x, cubature(net.module_.latent_dim))
    return max(error.mean().item() / rows.n_features, NOISE_FLOOR)


@torch.no_grad()
def finish(model: Model, noise: float, rows: Rows) -> None:
    """Set the noise variance and the scale of the codes; leave the net in eval mode."""
    module = model.net.module_.eval()
    model.noise_variance = noise * model.scale**2
    x = _some(rows, max(16, GAIN_ROWS // module.latent_dim))
    gain = decoder_gain(module, module.encode(x).mean)
    model.code_scale = gain.cpu().numpy().astype(np.float64) * model.scale
