"""Keep the epoch that is best on held-out rows; stop when none has come for long."""

from collections.abc import Callable

from .checkpoint import Checkpoint
from .skorch_parts import Callback


class StopTraining(Exception):
    """Raised by a callback to end training at the end of an epoch."""


class BestEpoch(Callback):
    """Remember the best validation epoch; stop after ``patience`` epochs without one.

    The state before the first epoch competes as epoch 0: with a linear path it is
    probabilistic PCA, so a network that does not help leaves PCA behind. ``start`` is
    for likelihoods without a linear model, where it is the model with no code.

    Parameters
    ----------
    valid : TableDataset
    patience : int
        Epochs without an improvement of more than ``tol`` nats per row.
    tol : float
        Smaller improvements still become the best epoch; they do not reset the count.
    init_margin : float
        Nats per row that an epoch has to beat epoch 0 by.
    first_epoch : int, default=0
        Epochs before this one are neither kept nor counted.
    start : callable, optional
        Puts what competes as epoch 0 into the net, where training begins elsewhere.

    Attributes
    ----------
    best_epoch_ : int
    """

    def __init__(
        self,
        valid,
        patience: int,
        tol: float,
        init_margin: float,
        first_epoch: int = 0,
        start: Callable[[], object] | None = None,
    ) -> None:
        self.valid = valid
        self.patience = patience
        self.tol = tol
        self.init_margin = init_margin
        self.first_epoch = first_epoch
        self.start = start

    def initialize(self):
        # Another callback may stop training before this one hears of its begin.
        self.best_epoch_ = 0
        self.waited_ = 0
        self.checkpoint_ = None
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs) -> None:
        self.best_epoch_ = 0
        begin = None
        if self.start is not None:
            begin = Checkpoint(net.module_, net.criterion_)
            self.start()
        self.best_ = net.validate(self.valid).objective - self.init_margin
        self.mark_ = self.best_
        self.waited_ = 0
        self.checkpoint_ = Checkpoint(net.module_, net.criterion_)
        if begin is not None:
            begin.restore()

    def on_epoch_end(self, net, **kwargs) -> None:
        if net.history[-1, "epoch"] < self.first_epoch:
            return
        objective = net.history[-1, "valid_objective"]
        if objective < self.best_:
            self.best_ = objective
            self.best_epoch_ = net.history[-1, "epoch"]
            self.checkpoint_ = Checkpoint(net.module_, net.criterion_)
        self.waited_ += 1
        if objective < self.mark_ - self.tol:
            self.mark_ = objective
            self.waited_ = 0
        if self.has_waited:
            raise StopTraining

    @property
    def has_waited(self) -> bool:
        """Whether patience is at its end."""
        return self.waited_ >= self.patience

    def restore(self) -> None:
        """Go back to the best epoch."""
        if self.checkpoint_ is not None:
            self.checkpoint_.restore()

    def restore_into(self, net) -> None:
        """Give a copy of the net the weights of the best epoch."""
        if self.checkpoint_ is not None:
            self.checkpoint_.restore_into(net.module_, net.criterion_)
