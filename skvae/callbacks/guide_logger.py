"""Training in TensorBoard, Weights & Biases or MLflow."""

from typing import Any, NamedTuple, Self

from .._training.history import rate_and_distortion
from .._utils.optional import optional_import
from .._utils.typing import Table
from ..inspection import RateDistortionDisplay
from ._live import Ledger, LiveCallback
from ._trackers import Tracker, tracker_of

CHART = "charts/rate_distortion"
# Columns of the history that are no measurements of training.
_OTHERS = ("batch_count", "objective", "best")


class GuideLogger(LiveCallback):
    """Log every epoch, the parameters, and rate against distortion.

    Pass it in ``callbacks=[GuideLogger(writer)]`` of an estimator.

    ======================================  ============================================
    name                                    what
    ======================================  ============================================
    ``train/loss``, ``train/recon_loss``    as ``history_`` has them, means over the
    and ``train/kl_loss``                   training rows, in the units that it says
    ``val/loss``, ``val/recon_loss``,       of the rows that early stopping holds out
    ``val/kl_loss``, ``val/elbo``
    ``train/kld_weight``                    weight of the KL, which a schedule changes
    ``charts/rate_distortion``              of every fit so far: nats per row, of the
                                            epoch that is best on held-out rows,
                                            coloured by the weight
    ======================================  ============================================

    Other estimators than :class:`~skvae.VAETransformer` have terms of their own
    in place of the KL, such as ``train/reg_loss``, and no chart.

    Parameters are those of the estimator, with ``estimator``, ``n_features``,
    ``n_train_rows`` and ``n_held_out_rows``, and the likelihood that "auto" stands for.
    TensorBoard has them with the best held-out loss among its HParams.

    One logger may log many fits, as in a search or a cross-validation, where clones
    share it: epochs are then counted on, and names of the parameters of later fits
    begin with ``fit_2/`` and so on. Chunks of ``partial_fit`` are one fit, without a
    chart.

    Parameters
    ----------
    writer : SummaryWriter, wandb.Run, mlflow.ActiveRun or MlflowClient
        A ``torch.utils.tensorboard.SummaryWriter``, what ``wandb.init(...)`` returns
        (``mode="offline"``, too), what ``mlflow.start_run()`` returns, or a client. It
        is not closed.
    run_id : str or None, default=None
        With a client: the run to log to; by default the active one.
    chart : bool, default=True
        Whether to draw the chart, which needs matplotlib (``skvae[plot]``).

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_wine
    >>> from torch.utils.tensorboard import SummaryWriter
    >>> from skvae import VAETransformer
    >>> from skvae.callbacks import GuideLogger
    >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
    ...     vae = VAETransformer(2, max_epochs=2, callbacks=[GuideLogger(writer)])
    ...     vae = vae.fit(load_wine().data)
    """

    chart: Any
    fit_: Any
    run_id: Any

    _live = "writer"

    def __init__(self, writer: Any, *, run_id: Any = None, chart: bool = True) -> None:
        self.writer = writer
        self.run_id = run_id
        self.chart = chart
        self._ledger = Ledger()

    def initialize(self) -> Self:
        """Check the writer, before any training.

        Raises
        ------
        TypeError
            If it is none that is known.
        ValueError
            If it is a client and there is no run.
        MissingExtraError
            If a package is missing.
        """
        if self.writer is not None:
            tracker_of(self.writer, self.run_id)
            if self.chart:
                _figure_class()
        self.fit_ = None
        return self

    def on_train_begin(
        self, net: Any, X: Table = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Begin a fit, and log its parameters."""
        goes_on = net.run_.n_epochs is None and getattr(self, "fit_", None) is not None
        if goes_on:
            return
        self.fit_ = None
        if not self._is_alive():
            return
        tracker = tracker_of(self.writer, self.run_id)
        number = self._ledger.next_fit(self.writer)
        prefix = "" if number == 1 else f"fit_{number}/"
        params, n_before = _parameters(net, X), len(net.history)
        self.fit_ = _Fit(tracker, prefix, params, n_before, self._ledger.last_step)
        tracker.begin_fit(self.fit_.params, prefix)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log an epoch."""
        if self.fit_ is not None:
            step = self.fit_.first_step + len(net.history) - self.fit_.n_before
            self._ledger.reach(step)
            self.fit_.tracker.log_numbers(_numbers(net.history[-1]), step)

    def on_train_end(
        self, net: Any, X: Table = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Log the chart of the fits so far."""
        if self.fit_ is None:
            return
        rows = net.history[self.fit_.n_before :]
        is_chunk = net.run_.n_epochs is None
        if not rows:  # a callback has ended training before it began
            return
        if is_chunk and len(rows) > 1:  # not the first one
            return
        best = min(rows, key=lambda row: row.get("valid_objective", 0.0))
        best = best if "valid_objective" in best else rows[-1]
        name = "valid_loss" if "valid_loss" in best else "train_loss"
        results = {_tag(name): best[name]}
        self.fit_.tracker.end_fit(self.fit_.params, self.fit_.prefix, results)
        if not is_chunk:
            self._draw(net, best)

    def _draw(self, net, row: dict) -> None:
        """Log the chart of all fits so far."""
        found = rate_and_distortion(row, net.criterion_)
        if not self.chart or found is None:
            return
        point = (*found, row["kld_weight"], net.module_.latent_dim)
        with self._ledger.lock:
            self._ledger.points.append(point)
            rate, distortion, weights, dims = zip(*self._ledger.points, strict=True)
            step = self._ledger.last_step
        figure = _figure_class()(figsize=(6.4, 4.8), layout="constrained")
        display = RateDistortionDisplay(
            rate=rate, distortion=distortion, weights=weights, latent_dims=dims
        )
        display.plot(figure.subplots())
        assert self.fit_ is not None
        self.fit_.tracker.log_figure(figure, CHART, step)


class _Fit(NamedTuple):
    """What is logged now.

    Where, by which names, and which row of the history is the step behind the first
    one. A fit that goes on from a checkpoint begins in the middle.
    """

    tracker: Tracker
    prefix: str
    params: dict[str, Any]
    n_before: int
    first_step: int


def _figure_class():
    """Figures without pyplot: no global state, and no window."""
    return optional_import("matplotlib.figure", "plot").Figure


def _parameters(net, rows) -> dict[str, Any]:
    valid = None if net.train_split is None else net.train_split(None)[1]
    return {
        **net.run_.params,
        "likelihood": net.criterion_.likelihood.name,
        "n_features": net.criterion_.likelihood.n_features,
        "n_train_rows": len(rows),
        "n_held_out_rows": 0 if valid is None else len(valid),
    }


def _numbers(row: dict) -> dict[str, float]:
    """The numbers of an epoch, by the trackers' names."""
    return {
        _tag(name): float(value)
        for name, value in row.items()
        if name.startswith(("train_", "valid_", "kld_"))
        and not name.endswith(_OTHERS)
        and isinstance(value, int | float)
    }


def _tag(name: str) -> str:
    rows, _, term = name.partition("_")
    if rows in ("train", "valid"):
        return f"{'val' if rows == 'valid' else rows}/{term}"
    return f"train/{name}"
