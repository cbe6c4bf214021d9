"""What every latent unit says of the rows."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .._evaluation.verdicts import ACTIVE_VARIANCE
from .._utils.typing import Table
from ..metrics import _vae
from ._drawing import (
    BLUE,
    MUTED,
    SMALL,
    axes_or_new,
    documented,
    limits,
    need_matplotlib,
    styled,
)
from ._fitted import dense

# Units whose names all stand below the picture.
MOST_TICKS = 25
REACH = 4.0
# A single bar that is so many times the next is cut.
TALLEST = 10.0
# Nats: a bar that no picture need show.
NOTHING = 1e-3
# Rows: their KL has a long tail, which is part of the mean.
FAR = 20.0
INACTIVE = "#d0d0d0"


class UnitActivityDisplay:
    """KL of every latent unit, and which units are active.

    Create it by :meth:`from_estimator` or :meth:`from_predictions`. A bar is the mean
    over rows, and a tick across it the median row. A few rows whose KL is far from that
    of all others are left out of the means, and the legend says how many. A bar much
    taller than the others is cut and has its value written into it. A unit is active if
    the variance over rows of its posterior mean, in units of the prior, exceeds a
    threshold [1]_.

    Parameters
    ----------
    kl : ndarray of shape (n_samples, latent_dim)
        KL of every row's posterior, by unit, in nats.
    variance : ndarray of shape (latent_dim,)
        Of the posterior means over rows, in squared units of the prior.
    threshold : float, default=0.01

    Attributes
    ----------
    n_left_out_ : int
        Rows that are not in the means.
    bars_ : matplotlib.container.BarContainer
    median_ : matplotlib.collections.LineCollection
    active_ : ndarray of bool of shape (latent_dim,)
    legend_ : matplotlib.legend.Legend
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    skvae.metrics.kl_per_unit : Means over all rows.
    skvae.metrics.active_units : The number of active units.
    skvae.inspection.diagnose : What to change.

    References
    ----------
    .. [1] Burda, Grosse and Salakhutdinov (2016). Importance Weighted Autoencoders.
       ICLR.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import UnitActivityDisplay
    >>> X = load_wine().data
    >>> vae = VAETransformer(4, max_epochs=5, random_state=0).fit(X)
    >>> UnitActivityDisplay.from_estimator(vae, X)
    <...>
    >>> plt.show()
    """

    active_: Any
    ax_: Any
    bars_: Any
    figure_: Any
    legend_: Any
    median_: Any
    n_left_out_: Any
    threshold: Any

    def __init__(
        self, *, kl: Any, variance: Any, threshold: Any = ACTIVE_VARIANCE
    ) -> None:
        self.kl = kl
        self.variance = variance
        self.threshold = threshold

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        X: Table,
        *,
        threshold: Any = ACTIVE_VARIANCE,
        conditions: Table | None = None,
        size_factor: Any = None,
        ax: Any = None,
        bar_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Measure the units of a fit and draw them.

        Parameters
        ----------
        estimator : VAETransformer, or a Pipeline or search that ends in one
            Fitted.
        %(rows)s
        threshold : float, default=0.01
            Least variance of an active unit.
        %(given)s
        %(ax)s
        bar_kwargs : dict, default=None
            For ``Axes.bar``.

        Returns
        -------
        display : UnitActivityDisplay

        Raises
        ------
        TypeError
            If the estimator has no likelihood: codes of other autoencoders are no
            distributions, and have no KL.
        """
        need_matplotlib()
        vae, rows = _vae(estimator, X)
        found = vae._evaluate(rows, conditions, size_factor)
        variance = found.mean.var(axis=0, dtype=np.float64)
        display = cls(kl=found.kl, variance=variance, threshold=threshold)
        return display.plot(ax, bar_kwargs=bar_kwargs)

    @classmethod
    @documented
    def from_predictions(
        cls,
        mean: Any,
        std: Any,
        *,
        threshold: Any = ACTIVE_VARIANCE,
        ax: Any = None,
        bar_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the units of posteriors that are known.

        Parameters
        ----------
        mean, std : array-like of shape (n_samples, latent_dim)
            Means and standard deviations, in units of the prior: what ``transform(X,
            return_std=True)`` gives with ``whiten=True``.
        threshold : float, default=0.01
            As in :meth:`from_estimator`.
        %(ax)s
        bar_kwargs : dict, default=None
            For ``Axes.bar``.

        Returns
        -------
        display : UnitActivityDisplay

        Raises
        ------
        ValueError
            If shapes differ, or a standard deviation is not positive.
        """
        need_matplotlib()
        mean, std = dense(mean), dense(std)
        if mean.shape != std.shape or mean.ndim != 2:
            raise ValueError(
                f"mean {mean.shape} and std {std.shape} must be tables of one shape."
            )
        if not (std > 0.0).all():
            raise ValueError("std must be positive.")
        kl = 0.5 * (mean**2 + std**2 - 1.0) - np.log(std)
        display = cls(kl=kl, variance=mean.var(axis=0), threshold=threshold)
        return display.plot(ax, bar_kwargs=bar_kwargs)

    @documented
    def plot(
        self, ax: Any = None, *, bar_kwargs: Mapping[str, Any] | None = None
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        bar_kwargs : dict, default=None
            For ``Axes.bar``.

        Returns
        -------
        display : UnitActivityDisplay
        """
        need_matplotlib()
        from matplotlib.patches import Patch, Rectangle
        from matplotlib.ticker import MaxNLocator

        ax = axes_or_new(ax)
        kl = np.atleast_2d(self.kl)
        near = _near(kl.sum(axis=1))
        self.n_left_out_ = int((~near).sum())
        mean, median = kl[near].mean(axis=0), np.median(kl, axis=0)
        units = np.arange(len(mean))
        self.active_ = np.asarray(self.variance) > self.threshold
        colours = [BLUE if active else INACTIVE for active in self.active_]
        default = {"width": 0.8, "color": colours, "edgecolor": MUTED, "linewidth": 0.5}
        self.bars_ = ax.bar(units, mean, **styled(Rectangle, default, bar_kwargs))
        ends = (units - 0.3, units + 0.3)
        self.median_ = ax.hlines(
            median, *ends, color="black", linewidth=1.5, label="median row"
        )
        high = _height(mean)
        ax.set(ylim=(0.0, 1.08 * high), xlim=(-0.7, len(units) - 0.3))
        for unit in np.flatnonzero(mean > 1.08 * high):
            place = {"ha": "center", "va": "top", "fontsize": 8, "rotation": 90}
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
            text = f"mean {mean[unit]:.3g}"
            ax.text(unit, 1.06 * high, text, bbox=box, zorder=4, **place)
        if len(units) <= MOST_TICKS:
            ax.set_xticks(units)
        else:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y", alpha=0.3)
        ax.set_axisbelow(True)
        ax.set(xlabel="latent unit", ylabel="KL from the prior (nats per row)")
        n_active = int(self.active_.sum())
        handles = [Patch(facecolor=BLUE, label=f"active ({n_active})")]
        if n_active < len(units):
            label = f"not active ({len(units) - n_active})"
            handles.append(Patch(facecolor=INACTIVE, label=label))
        handles.append(self.median_)
        self.legend_ = ax.legend(handles=handles, fontsize=9, title_fontsize=SMALL)
        if self.n_left_out_:
            odd = f"without {self.n_left_out_} of {len(kl)} rows, far from all others"
            self.legend_.set_title(odd)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _near(total: np.ndarray) -> np.ndarray:
    """Rows whose KL is not far from that of all others."""
    low, high = limits(total, reach=FAR)
    return (total >= low) & (total <= high)


def _height(mean: np.ndarray) -> float:
    """Of the picture: that of the tallest bar, or of those that are not cut."""
    high = limits(mean, reach=REACH)[1]
    if len(mean) > 1:
        second, tallest = np.sort(mean)[-2:]
        if tallest > TALLEST * second > TALLEST * NOTHING:
            high = min(high, 1.3 * float(second))
    return max(high, NOTHING)
