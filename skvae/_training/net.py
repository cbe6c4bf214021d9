"""The net: skorch around the modules, where one skorch "batch" is one epoch.

skorch's cost is per batch: rows through a DataLoader, ``.item()``, notifications,
history rows. Here the iterator hands over the whole epoch and ``train_step`` loops over
minibatches itself, with one synchronisation and one history row an epoch. History,
checkpoints, early stopping and scoring callbacks work as they do in skorch; the
``on_batch_begin`` and ``on_batch_end`` of a callback are called once an epoch, with
``batch[0]`` the epoch's ``TableDataset``, and its ``on_grad_computed`` once a
minibatch.
"""

import dis
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from .._data.dataset import TableDataset
from .._engine.stepper import Stepper
from .._kernels.threads import threads_for
from .._nn.autoencoder import PRECISION, Autoencoder
from .._objectives.criterion import Criterion, scalar
from .._utils.seeds import Seeds
from .callbacks import instances
from .early_stopping import StopTraining
from .progress import net_verbosity
from .settings import Settings
from .skorch_parts import Callback, LRScheduler, NeuralNet, PrintLog, predefined_split

_PARTS = ("module_", "criterion_", "optimizer_")
_VALIDATION_SEED = 1_312_611_4


class WholeEpoch:
    """An iterator with one batch: all rows."""

    def __init__(self, dataset: Dataset, batch_size: int) -> None:
        self._rows, self._batch_size = dataset, batch_size

    def __iter__(self):
        if isinstance(self._rows, TableDataset):
            yield self._rows, None
        else:  # what a user predicts, as skorch has it
            yield from DataLoader(self._rows, batch_size=self._batch_size)


class TrainingRun(NamedTuple):
    """The order of the rows in a training run, its steps, and its length.

    ``n_epochs`` is None where there is no end to make progress to; ``parts`` are what
    the steps work on, and ``noise`` is where they draw from; ``params`` are what the
    user set.
    """

    order: torch.Generator
    noise: torch.Generator
    steps: Stepper
    n_epochs: int | None
    parts: tuple
    params: dict[str, Any]

    def progress(self, epoch: int, step: int, n_steps: int) -> float:
        """Share of training that is done at the end of a step."""
        if self.n_epochs is None:
            return 1.0
        return (epoch - 1 + (step + 1) / n_steps) / self.n_epochs


class Validation(NamedTuple):
    """Losses on held-out rows in scaled units; nats per row but for the loss."""

    terms: list[float]
    loss: float
    elbo: float | None
    objective: float


class EpochNet(NeuralNet):
    """skorch net whose ``train_step`` trains one epoch.

    Parameters beyond skorch's: ``gradient_clip_val`` (norm of the gradient, float or
    None) and ``precision`` ("float32" or "bf16", of a step's products). The history is
    in the units of X. ``run_`` is there while :func:`train` runs.
    """

    run_: TrainingRun
    n_steps_ = 0

    def __init__(
        self,
        *args,
        gradient_clip_val=None,
        precision="float32",
        **kwargs,
    ):
        self.gradient_clip_val = gradient_clip_val
        self.precision = precision
        super().__init__(*args, **kwargs)

    # -- skorch's extension points -----------------------------------------------------

    def train_step(self, batch, **fit_params):
        """Train on every row once, in minibatches."""
        rows, _ = batch
        self._check_parts()
        self._set_training(True)
        min_rows = 2 if self.module_.normalises_batches else 1
        epoch = self.history[-1, "epoch"]
        n_steps = rows.n_batches(self.batch_size, min_rows)
        step = self.run_.steps.begin_epoch(
            n_steps,
            lone_row=len(rows) < min_rows,
            on_grad_computed=self._grad_hook(),
        )
        terms_of_steps, sizes = [], []
        minibatches = rows.shuffled(self.batch_size, self.run_.order, min_rows)
        for number, batch in enumerate(minibatches):
            self.criterion_.set_progress(self.run_.progress(epoch, number, n_steps))
            terms_of_steps.append(step(batch))
            sizes.append(len(batch) / len(rows))
        self.n_steps_ += n_steps
        # The loss is of the weights before the last update: look at them, too.
        learnt = [*self.module_.parameters(), *self.criterion_.parameters()]
        checksum = nn.utils.get_total_norm([p.detach() for p in learnt])
        terms = torch.tensor(
            sizes, dtype=torch.float32, device=self.device
        ) @ torch.stack(terms_of_steps)
        summary = torch.stack([*terms, self.criterion_(terms), checksum])
        *values, loss, checked = summary.tolist()
        loss = self._record("train", values, loss)
        for name, value in self.criterion_.recorded_weights().items():
            self.history.record(name, value)
        self._check_finite(loss + checked, "training")
        return {"loss": scalar(loss), "y_pred": None}

    def validation_step(self, batch, **fit_params):
        """Losses on the held-out rows, in evaluation mode."""
        rows, _ = batch
        result = self.validate(rows)
        loss = self._record("valid", result.terms, result.loss)
        self._check_finite(loss, "validation")
        if result.elbo is not None:
            log_det = self.criterion_.likelihood.log_det()
            self.history.record("valid_elbo", result.elbo + log_det)
        self.history.record("valid_objective", result.objective)
        return {"loss": scalar(loss), "y_pred": None}

    def get_default_callbacks(self):
        """skorch's; one whose name a user's callback has takes another."""
        taken = {item[0] for item in self.callbacks or () if isinstance(item, tuple)}
        return [
            (f"skvae_{name}" if name in taken else name, callback)
            for name, callback in super().get_default_callbacks()
        ]

    def take_callbacks(self, callbacks: list) -> None:
        """Have callbacks that an earlier net has begun: they keep what they know."""
        begun = {id(callback) for callback in instances(callbacks)}
        self.callbacks = callbacks
        self.callbacks_ = []
        for name, item in self._uniquely_named_callbacks():
            if item is None:
                continue
            callback = item() if isinstance(item, type) else item
            if id(item) not in begun:  # skorch's own, and what was given as a class
                callback.initialize()
            self.callbacks_.append((name, callback))

    def get_dataset(self, X, y=None):
        """A dataset of rows in the module's units, checked for their number.

        Raises
        ------
        ValueError
            If X has not the module's number of features.
        """
        n_features = self.get_params_for("module")["n_features"]
        shape = getattr(X, "shape", (0, n_features))
        if len(shape) != 2 or shape[1] != n_features:
            raise ValueError(
                f"net_ takes (n_samples, {n_features}), in units of (X - mean_) / "
                f"scale_; this has the shape {tuple(shape)}."
            )
        return super().get_dataset(X, y)

    def evaluation_step(self, batch, training=False):
        """Apply the module, which is left in evaluation mode, as it was fitted."""
        try:
            return super().evaluation_step(batch, training)
        finally:
            self._set_training(False)

    def infer(self, x, **fit_params):
        """Reconstruct rows, so that ``predict`` and scoring callbacks work.

        Rows in the module's units, ``(X - mean_) / scale_``, of any precision.
        """
        if isinstance(x, TableDataset):
            return torch.cat([self.module_(part.inputs) for part in x.batches()])
        if isinstance(x, Tensor):
            x = x.to(PRECISION)
        return super().infer(x, **fit_params)

    def fit(self, X, y=None, **fit_params):
        """Refuse: a net knows nothing of units, starts and calibration.

        Raises
        ------
        TypeError
            Always; what was fitted stays as it is.
        """
        raise TypeError(
            "net_ applies a fitted model, and does not train by itself (as skorch's "
            "SkorchDoctor asks it to); call fit or partial_fit of the estimator."
        )

    partial_fit = fit

    def notify(self, method_name, **cb_kwargs):
        """Notify callbacks; one that raises ``KeyboardInterrupt`` ends training.

        That is skorch's way to stop (its ``EarlyStopping`` does it), and it must not be
        mistaken for Ctrl-C, which propagates.
        """
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as interrupt:
            if _raised_by_statement(interrupt):
                raise StopTraining from interrupt
            raise

    def __getstate__(self):
        """What a callback saves in the middle of training is the net, not the run."""
        state = super().__getstate__()
        state.pop("run_", None)
        return state

    # -- what skorch does not have -----------------------------------------------------

    def validate(self, rows: TableDataset) -> Validation:
        """Losses on held-out rows, at the full weights."""
        self._set_training(False)
        generator = torch.Generator(self.device).manual_seed(_VALIDATION_SEED)
        self.criterion_.begin_validation()
        terms = self._held_out_terms(rows, generator)
        return Validation(
            terms=terms.tolist(),
            loss=self.criterion_.full_loss(terms).item(),
            elbo=self.criterion_.elbo(terms),
            objective=self.criterion_.objective(terms),
        )

    @torch.no_grad()
    def _held_out_terms(
        self, rows: TableDataset, generator: torch.Generator
    ) -> torch.Tensor:
        criterion = self.criterion_
        total = torch.zeros(
            len(criterion.loss_terms), dtype=torch.float32, device=self.device
        )
        for batch in rows.batches():
            terms = criterion.held_out_terms(self.module_, batch.dense(), generator)
            total += len(batch) * terms
        return total / len(rows)

    def _record(self, prefix: str, terms: Sequence[float], loss: float) -> float:
        """Record the terms in the units of X; returns the loss in them."""
        criterion = self.criterion_
        for term, value in zip(criterion.loss_terms, terms, strict=True):
            in_units_of_X = criterion.in_units_of_X(term, value)
            self.history.record(f"{prefix}_{term.name}", in_units_of_X)
        return loss * criterion.likelihood.loss_unit

    def _check_parts(self) -> None:
        """Steps would go on training what a callback has put something else for."""
        for part, name in zip(self.run_.parts, _PARTS, strict=True):
            if getattr(self, name) is not part:
                raise RuntimeError(
                    f"A callback replaced {name} of the net, with set_params or one of "
                    "skorch's initialize methods. Set parameters of the estimator "
                    "instead, before it is fitted."
                )

    def _check_finite(self, loss: float, where: str) -> None:
        if math.isfinite(loss):
            return
        raise FloatingPointError(
            f"The {where} loss became {loss} in epoch {self.history[-1, 'epoch']}. The "
            f"likely cause is a learning rate too high for this data (lr={self.lr}) or "
            "features on very different scales. Try a tenth of lr, "
            "gradient_clip_val=1.0, or a StandardScaler in front."
        )

    def _grad_hook(self):
        """Call the ``on_grad_computed`` of the callbacks that have one, if any do."""
        listening = [
            cb
            for _, cb in self.callbacks_
            if type(cb).on_grad_computed is not Callback.on_grad_computed
        ]
        if not listening:
            return None

        def hook(x):
            for cb in listening:
                cb.on_grad_computed(
                    self,
                    named_parameters=self.get_all_learnable_params(),
                    batch=(x, None),
                    training=True,
                )

        return hook


def _raised_by_statement(error: BaseException) -> bool:
    """Whether a ``raise`` in Python code, not a signal, made this exception."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    bytecode = trace.tb_frame.f_code.co_code
    return dis.opname[bytecode[trace.tb_lasti]] == "RAISE_VARARGS"


def net_options(settings: Settings) -> dict[str, Any]:
    """Parameters of a net, by skorch's names, that may change between calls."""
    return {
        "lr": settings.lr,
        "optimizer__weight_decay": settings.weight_decay,
        "batch_size": settings.batch_size,
        "gradient_clip_val": settings.gradient_clip_val,
        "precision": settings.precision,
        "verbose": net_verbosity(settings.verbose),
        "device": str(settings.device),
        "callbacks": list(settings.callbacks),
    }


def build_net(
    *,
    network: type[Autoencoder],
    network_params: dict,
    criterion: type[Criterion],
    criterion_params: dict,
    options: dict[str, Any],
) -> EpochNet:
    """An initialised net. Parameters of the criterion are in model units.

    ``options`` are as :func:`net_options` has them.
    """
    net = EpochNet(
        module=network,
        **{f"module__{name}": value for name, value in network_params.items()},
        criterion=criterion,
        **{f"criterion__{name}": value for name, value in criterion_params.items()},
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        iterator_train=WholeEpoch,
        iterator_valid=WholeEpoch,
        train_split=None,
        # Reconstructions of an epoch are not kept: a scoring callback predicts anew.
        use_caching=False,
        **options,
    )
    # Modules draw their weights on the CPU, whatever torch's default device.
    with torch.device("cpu"):
        return net.initialize()


def cosine_schedule(epochs: int) -> Callback:
    """Learning rate from ``lr`` to 0 along half a cosine, epoch by epoch."""
    return LRScheduler(policy="CosineAnnealingLR", event_name=None, T_max=epochs)


def train(
    net: EpochNet,
    rows: TableDataset,
    valid: TableDataset | None,
    *,
    epochs: int,
    seeds: Seeds,
    n_done: int = 0,
    callbacks: Sequence[tuple[str, Callback]] = (),
    settle: Callable[[], None] = lambda: None,
    endless: bool = False,
    params: dict[str, Any] | None = None,
) -> None:
    """Train for at most ``epochs`` epochs, of which ``n_done`` are; Ctrl-C propagates.

    ``callbacks`` serve this run alone. No training data stays behind in the net.
    ``settle`` leaves the weights that are kept, before anyone is told that training has
    ended. ``endless`` training makes no progress: its weights are the full ones
    throughout. ``params`` are shown to callbacks that keep a record of them.
    """
    lasting = net.callbacks_
    # skorch prints an epoch when the other callbacks have recorded it, and before ours,
    # which may stop training.
    own = [(name, cb.initialize()) for name, cb in callbacks]
    printing = [named for named in lasting if isinstance(named[1], PrintLog)]
    others = [named for named in lasting if not isinstance(named[1], PrintLog)]
    net.callbacks_ = [*others, *printing, *own]
    net.train_split = None if valid is None else predefined_split(valid)
    noise = seeds.torch_generator(seeds.noise, net.device)
    steps = Stepper(
        net.module_,
        net.criterion_,
        net.optimizer_,
        noise,
        max_norm=net.gradient_clip_val,
        precision=net.precision,
        n_steps=epochs * rows.n_batches(net.batch_size),
    )
    order = seeds.torch_generator(seeds.order)
    parts = tuple(getattr(net, name) for name in _PARTS)
    n_epochs = None if endless else epochs
    net.run_ = TrainingRun(order, noise, steps, n_epochs, parts, params or {})
    try:
        n_rows = min(net.batch_size, len(rows))
        with threads_for(net.module_, n_rows, trains=True):
            with suppress(StopTraining):
                net.notify("on_train_begin", X=rows, y=None)
                net.fit_loop(rows, epochs=epochs - n_done)
            steps.release()
            net.criterion_.end_training()
            net.module_.eval()
            settle()
            with suppress(StopTraining):
                net.notify("on_train_end", X=rows, y=None)
    finally:
        steps.release()
        net.criterion_.end_training()
        net.module_.eval()
        net.callbacks_ = lasting
        net.train_split = None
        net.optimizer_.zero_grad(set_to_none=True)
        del net.run_
