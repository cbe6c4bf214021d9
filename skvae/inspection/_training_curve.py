"""Losses of training and of held-out rows, epoch by epoch."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..metrics import _autoencoder
from ._drawing import (
    BLUE,
    HIGHLIGHT,
    VERMILLION,
    axes_or_new,
    documented,
    limits,
    need_matplotlib,
    note,
    styled,
)

# The first epochs are part of the curve, an epoch that went wrong is not.
REACH = 8.0
# Epochs up to which each has a dot.
MOST_DOTS = 30


class TrainingCurveDisplay:
    """A loss of training rows and of held-out rows, with the epoch that was kept.

    Create it by :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,)
    train_values : ndarray of shape (n_epochs,), default=None
        NaN where an epoch has none.
    valid_values : ndarray of shape (n_epochs,), default=None
    best_epoch : int, default=None
        The epoch whose weights were kept, 0 for those that training began with.
    value_name : str, default="loss"
        With its unit.

    Attributes
    ----------
    train_line_, valid_line_ : matplotlib.lines.Line2D or None
    best_line_ : matplotlib.lines.Line2D or None
        At the best epoch.
    legend_ : matplotlib.legend.Legend
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of rows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import TrainingCurveDisplay
    >>> vae = VAETransformer(2, max_epochs=5, random_state=0).fit(load_wine().data)
    >>> TrainingCurveDisplay.from_estimator(vae)
    <...>
    >>> plt.show()
    """

    ax_: Any
    best_epoch: Any
    best_line_: Any
    figure_: Any
    legend_: Any
    train_line_: Any
    train_values: Any
    valid_line_: Any
    valid_values: Any
    value_name: Any

    def __init__(
        self,
        *,
        epochs: Any,
        train_values: Any = None,
        valid_values: Any = None,
        best_epoch: Any = None,
        value_name: str = "loss",
    ) -> None:
        self.epochs = epochs
        self.train_values = train_values
        self.valid_values = valid_values
        self.best_epoch = best_epoch
        self.value_name = value_name

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metric: str = "loss",
        ax: Any = None,
        train_kwargs: Mapping[str, Any] | None = None,
        valid_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : any autoencoder, or a Pipeline or search that ends in one
            Fitted.
        metric : str, default="loss"
            A measure of ``history_``: "loss", "recon_loss", "kl_loss" or "reg_loss",
            drawn of training and of held-out rows where there are both; "elbo", that of
            held-out rows; or another column, such as "kld_weight" or one of a callback.
        %(ax)s
        train_kwargs, valid_kwargs : dict, default=None
            For ``Axes.plot`` of the two lines.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        TypeError
            If the estimator is no autoencoder of this package.
        ValueError
            If ``history_`` has no such measure.
        """
        need_matplotlib()
        final, _ = _autoencoder(estimator)
        check_is_fitted(final)
        # An epoch that is not in the history is no line in it.
        best = final.best_epoch_ if final.early_stopping else None
        return cls.from_history(
            final.history_,
            metric=metric,
            best_epoch=best,
            value_name=_name(metric, getattr(final, "likelihood_", "gaussian")),
            ax=ax,
            train_kwargs=train_kwargs,
            valid_kwargs=valid_kwargs,
        )

    @classmethod
    @documented
    def from_history(
        cls,
        history: Any,
        *,
        metric: str = "loss",
        best_epoch: Any = None,
        value_name: Any = None,
        ax: Any = None,
        train_kwargs: Mapping[str, Any] | None = None,
        valid_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw a history that is known.

        Parameters
        ----------
        history : list of dict
            A row an epoch, as ``history_`` has them.
        metric : str, default="loss"
            Columns ``train_metric`` and ``valid_metric``, or ``metric`` itself.
        best_epoch : int, default=None
            To mark; 0 is before the first.
        value_name : str, default=None
            Of the axis; ``metric`` by default.
        %(ax)s
        train_kwargs, valid_kwargs : dict, default=None
            For ``Axes.plot`` of the two lines.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        need_matplotlib()
        if not history:
            raise ValueError("The history has no epoch.")
        train, valid = (
            _column(history, f"{rows}_{metric}") for rows in ("train", "valid")
        )
        if train is None and valid is None:
            train = _column(history, metric)
        if train is None and valid is None:
            raise ValueError(
                f"metric={metric!r} is not in the history, which has "
                f"{', '.join(dict.fromkeys(_measures(history)))}."
            )
        epochs = np.array([row.get("epoch", i + 1) for i, row in enumerate(history)])
        display = cls(
            epochs=epochs,
            train_values=train,
            valid_values=valid,
            best_epoch=best_epoch,
            value_name=value_name or metric,
        )
        return display.plot(ax, train_kwargs=train_kwargs, valid_kwargs=valid_kwargs)

    @documented
    def plot(
        self,
        ax: Any = None,
        *,
        train_kwargs: Mapping[str, Any] | None = None,
        valid_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        train_kwargs, valid_kwargs : dict, default=None
            For ``Axes.plot`` of the two lines.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        need_matplotlib()
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        ax = axes_or_new(ax)
        epochs = np.asarray(self.epochs)
        dots = "o" if len(epochs) <= MOST_DOTS else None
        lines: list[Any] = []
        for name, values, colour, own in (
            ("training rows", self.train_values, BLUE, train_kwargs),
            ("held-out rows", self.valid_values, VERMILLION, valid_kwargs),
        ):
            if values is None:
                lines.append(None)
                continue
            default = {"color": colour, "marker": dots, "markersize": 4, "label": name}
            lines += ax.plot(epochs, values, **styled(Line2D, default, own))
        self.train_line_, self.valid_line_ = lines
        self.best_line_ = None
        if self.best_epoch is not None:
            self.best_line_ = ax.axvline(
                self.best_epoch,
                color=HIGHLIGHT,
                linestyle="--",
                linewidth=1.2,
                label=_kept(self.best_epoch),
                zorder=1,
            )
        self._frame(ax)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(alpha=0.3)
        ax.set(xlabel="epoch", ylabel=self.value_name)
        self.legend_ = ax.legend(fontsize=9)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _frame(self, ax) -> None:
        """Frame the curves, not for an epoch that went wrong."""
        drawn = [v for v in (self.train_values, self.valid_values) if v is not None]
        low, high = limits(np.concatenate(drawn), reach=REACH)
        ax.set_ylim(low, high)
        odd = np.zeros(len(drawn[0]), bool)
        for values in drawn:
            odd |= (values < low) | (values > high)
        first = min(np.min(self.epochs), self.best_epoch or np.min(self.epochs))
        if self.best_epoch == 0:
            first = 0
        last = np.max(self.epochs)
        margin = 0.03 * (last - first) or 0.5
        ax.set_xlim(first - margin, last + margin)
        if odd.any():
            note(ax, f"{odd.sum()} of {len(odd)} epochs lie outside", "lower left")


def _kept(epoch: int) -> str:
    return "the start kept" if epoch == 0 else f"epoch {epoch} kept"


def _column(history, name: str) -> np.ndarray | None:
    """Values of a column, NaN where an epoch has none; None if no epoch has one."""
    values = [row.get(name) for row in history]
    if all(value is None for value in values):
        return None
    return np.array([np.nan if value is None else float(value) for value in values])


def _measures(history):
    for row in history:
        for name in row:
            if name != "epoch":
                yield name.removeprefix("train_").removeprefix("valid_")


def _name(metric: str, likelihood: str) -> str:
    """A measure of ours with its unit."""
    element = "squared units of X" if likelihood == "gaussian" else "nats per element"
    units = {
        "loss": f"loss ({element})",
        "recon_loss": f"reconstruction loss ({element})",
        "kl_loss": "KL from the prior (nats per row)",
        "free_bits_loss": "KL that is paid for (nats per row)",
        "reg_loss": "penalty of the codes (before its weight)",
        "decoder_loss": "penalty of the decoder (before its weight)",
        "elbo": "ELBO (nats per row)",
        "iw_bound": "importance-weighted bound (nats per row)",
        "epoch_time": "time of an epoch (seconds)",
    }
    return units.get(metric, metric)
