"""Trials of Optuna's that end early."""

import math
from typing import Any

from .._utils.optional import optional_import
from .._utils.typing import Table
from ._live import Ledger, LiveCallback


class PruneWithOptuna(LiveCallback):
    """Report every epoch to a trial, and end it when its study's pruner says so.

    Pass it in ``callbacks=[PruneWithOptuna(trial)]`` of an estimator, and fit that, or
    cross-validate it with ``error_score="raise"``: ``optuna.TrialPruned`` then ends the
    trial, as Optuna expects. By scikit-learn's default, the scores of a pruned fold and
    of those after it, which are not trained, would be NaN.

    Folds are clones that share the trial. The step of an epoch is its number plus
    ``max_epochs`` for every fit before it, so steps rise, and one step means the same
    fold and epoch in every trial with the same ``max_epochs``.

    Parameters
    ----------
    trial : optuna.trial.Trial
    monitor : str, default="auto"
        Column of ``history_`` to report. "auto" is what ``score`` is of, on the rows
        that early stopping holds out: ``valid_elbo`` in nats per row, or, without a
        likelihood, ``valid_recon_loss`` in squared units of X. ``valid_loss`` would not
        do for a search over weights: it is lower with a lower weight.

        The sign follows the study: a column whose name ends with "loss" is better
        when it is lower, any other one when it is higher, and minus it is reported
        where that is not the study's direction.

    Raises
    ------
    optuna.TrialPruned
        From ``fit``, which leaves the estimator as it was before.
    ValueError
        From ``fit``, before or after the first epoch, if there is no such column.

    See Also
    --------
    skvae.metrics.elbo_scorer : What a study should maximise.

    Examples
    --------
    >>> import optuna
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from skvae import VAETransformer
    >>> from skvae.callbacks import PruneWithOptuna
    >>> X = load_wine().data
    >>> def objective(trial):
    ...     vae = VAETransformer(
    ...         trial.suggest_int("latent_dim", 1, 5),
    ...         max_epochs=5,
    ...         callbacks=[PruneWithOptuna(trial)],
    ...         random_state=0,
    ...     )
    ...     return cross_val_score(vae, X, cv=3, error_score="raise").mean()
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(direction="maximize")
    >>> study.optimize(objective, n_trials=2)
    """

    first_step_: Any
    monitor: Any
    n_before_: Any

    _live = "trial"

    def __init__(self, trial: Any, monitor: str = "auto") -> None:
        self.trial = trial
        self.monitor = monitor
        self._ledger = Ledger()

    def on_train_begin(
        self, net: Any, X: Table = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Begin a fold."""
        self.first_step_ = None
        if not self._is_alive():
            return
        if net.train_split is None and not self.monitor.startswith("train_"):
            raise ValueError(
                f"PruneWithOptuna(monitor={self.monitor!r}) needs held-out rows: fit "
                "with early_stopping=True, or monitor a column of the training rows, "
                "such as 'train_loss'."
            )
        number = self._ledger.next_fit(self.trial)
        if self._ledger.is_over:  # another fold goes on where nobody has stopped it
            self._prune(0)
        self.first_step_ = (number - 1) * (net.run_.n_epochs or 1)
        self.n_before_ = len(net.history)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Report an epoch, and end the trial if it is to be pruned."""
        if self.first_step_ is None:
            return
        step = self.first_step_ + len(net.history) - self.n_before_
        self.trial.report(self._value(net.history[-1]), step)
        if self.trial.should_prune():
            self._ledger.is_over = True
            self._prune(step)

    def _value(self, row: dict) -> float:
        """What is reported: better if it is greater, or as the study has it."""
        name = self.monitor
        if name == "auto":
            name = "valid_elbo" if "valid_elbo" in row else "valid_recon_loss"
        if name not in row:
            raise ValueError(
                f"PruneWithOptuna monitors {name!r}, and an epoch has only: "
                f"{', '.join(n for n in row if n != 'batches')}."
            )
        value = float(row[name])
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which no pruner can compare.")
        return value if name.endswith("loss") == self._minimises() else -value

    def _minimises(self) -> bool:
        study = getattr(self.trial, "study", None)  # a FixedTrial has none
        return study is not None and study.direction.name == "MINIMIZE"

    def _prune(self, step: int) -> None:
        optuna = optional_import("optuna", "optuna")
        raise optuna.TrialPruned(f"Pruned at step {step}.")
