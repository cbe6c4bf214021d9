"""A fit and its epochs as scikit-learn's callbacks see them: a task with subtasks."""

from collections.abc import Callable
from typing import Any

from .._utils.sklearn_callbacks import has_callbacks, root_context
from .early_stopping import StopTraining
from .fitted import Fitted
from .skorch_parts import Callback

#: Makes what training would leave if it had ended after so many epochs.
Stopped = Callable[[int], Fitted]


class FitTask:
    """One call of ``fit`` or ``partial_fit``.

    Making it sets the callbacks up. Make it before the estimator's attributes are
    guarded: what scikit-learn tears callbacks down by is an attribute, too.

    Parameters
    ----------
    estimator : BaseAutoencoder
    X, y
        As the user gave them. Without ``y``, callbacks are told that the targets are
        X: those of an autoencoder. ``ScoringMonitor`` scores nothing without targets.
    metadata : dict
        What else the user gave of the rows; what is None was not.
    of_chunk : bool
        Whether it is a call of ``partial_fit``, whose one epoch is no subtask.

    Attributes
    ----------
    fitted_attributes : callable or None
        Makes attributes of a fitted estimator of a ``Fitted``.
    """

    fitted_attributes: Callable[[Fitted], dict[str, Any]] | None = None

    def __init__(
        self,
        estimator: Any,
        X,
        y,
        metadata: dict[str, Any],
        *,
        of_chunk: bool = False,
    ) -> None:
        self._estimator = estimator
        given = {name: value for name, value in metadata.items() if value is not None}
        targets = X if y is None else y
        self._data = {"X": X, "y": targets, "metadata": given or None}
        self._root = root_context(estimator, 0 if of_chunk else estimator.max_epochs)

    @property
    def is_followed(self) -> bool:
        return self._root is not None and has_callbacks(self._estimator)

    def begin(self) -> None:
        if self.is_followed:
            self._begin(self._root)

    def end(self) -> None:
        """The estimator is fitted."""
        if self.is_followed:
            self._end(self._root, dict)

    def begin_epoch(self, stopped: Callable[[], Fitted]) -> Any:
        """The context of an epoch; ``stopped`` makes the fit as it is before it."""
        assert self._root is not None
        context = self._root.subcontext(task_name="epoch")
        self._begin(context, lambda: self._attributes(stopped))
        return context

    def end_epoch(self, context: Any, stopped: Callable[[], Fitted]) -> bool:
        """Whether a callback wants training to stop."""
        return self._end(context, lambda: self._attributes(stopped))

    def _begin(self, context: Any, attributes: Callable | None = None) -> None:
        context.call_on_fit_task_begin(
            estimator=self._estimator,
            **self._data,
            reconstruction_attributes=attributes,
        )

    def _end(self, context: Any, attributes: Callable) -> bool:
        return context.call_on_fit_task_end(
            estimator=self._estimator,
            **self._data,
            reconstruction_attributes=attributes,
        )

    def _attributes(self, stopped: Callable[[], Fitted]) -> dict[str, Any]:
        assert self.fitted_attributes is not None
        return self.fitted_attributes(stopped())


class EpochTasks(Callback):
    """Makes every epoch a subtask of a fit.

    Parameters
    ----------
    task : FitTask
    stopped : callable
    """

    def __init__(self, task: FitTask, stopped: Stopped) -> None:
        self.task = task
        self.stopped = stopped

    def initialize(self):
        self.context_ = None
        return self

    def on_epoch_begin(self, net, **kwargs) -> None:
        n_before = len(net.history) - 1
        self.context_ = self.task.begin_epoch(lambda: self.stopped(n_before))

    def on_epoch_end(self, net, **kwargs) -> None:
        if self.close(net):
            raise StopTraining

    def close(self, net) -> bool:
        """End the epoch's task, also where another callback has stopped training."""
        context, self.context_ = self.context_, None
        if context is None:
            return False
        n_epochs = len(net.history)
        return self.task.end_epoch(context, lambda: self.stopped(n_epochs))
