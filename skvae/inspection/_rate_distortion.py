"""Rate against distortion: what codes cost, and what they leave unexplained."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .._utils.typing import Table
from ..metrics import _vae
from ._cv_results import column, parameter, values_of
from ._drawing import (
    BLUE,
    HIGHLIGHT,
    MUTED,
    axes_or_new,
    documented,
    frame_points,
    label_decades,
    need_matplotlib,
    styled,
)
from ._heaps import count_heaps, heaps, rings, size_of_ring

MARKERS = "osD^vP*X"
MOST_LINES = 5


class RateDistortionDisplay:
    """Rate against distortion of several fits, or of the candidates of a search.

    Create it by :meth:`from_estimators`, :meth:`from_estimator` or
    :meth:`from_cv_results`. In the terms of Alemi et al. [1]_, per row and in nats,
    ``ELBO = -(distortion + rate)``, so fits of one ELBO lie on a falling diagonal:
    these are drawn. Fits that lie in one place are rings around each other.

    Parameters
    ----------
    rate : array-like of shape (n_fits,)
        KL of the posteriors from the prior, nats per row.
    distortion : array-like of shape (n_fits,)
        Nats per row.
    elbo : array-like of shape (n_fits,), default=None
        By which the best is ringed; minus the sum of the two by default.
    weights : array-like of shape (n_fits,), default=None
        For the colours: ``kld_weight`` or ``beta``.
    weight_name : str, default="kld_weight"
    latent_dims : array-like of shape (n_fits,), default=None
        For the markers.
    distortion_name : str, default="distortion (nats per row)"
        Of the axis. With another measure than nats there are no lines of equal ELBO.
    fit_name : str, default="fits"
        What points are, in the plural.

    Attributes
    ----------
    points_ : list of matplotlib.collections.PathCollection
        One a fit.
    best_ : matplotlib.collections.PathCollection
        The ring around the best.
    elbo_lines_ : list of matplotlib.lines.Line2D
    colorbar_ : matplotlib.colorbar.Colorbar or None
    legend_ : matplotlib.legend.Legend
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    References
    ----------
    .. [1] Alemi et al. (2018). Fixing a Broken ELBO. ICML.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import RateDistortionDisplay
    >>> X = load_wine().data
    >>> fits = [
    ...     VAETransformer(2, beta=beta, max_epochs=5, random_state=0).fit(X[::2])
    ...     for beta in (0.5, 2.0)
    ... ]
    >>> RateDistortionDisplay.from_estimators(fits, X[1::2], weight="beta")
    <...>
    >>> plt.show()
    """

    ax_: Any
    best_: Any
    colorbar_: Any
    distortion_name: Any
    elbo: Any
    elbo_lines_: Any
    figure_: Any
    fit_name: Any
    latent_dims: Any
    legend_: Any
    points_: Any
    weight_name: Any
    weights: Any

    def __init__(
        self,
        *,
        rate: Any,
        distortion: Any,
        elbo: Any = None,
        weights: Any = None,
        weight_name: str = "kld_weight",
        latent_dims: Any = None,
        distortion_name: str = "distortion (nats per row)",
        fit_name: str = "fits",
    ) -> None:
        self.rate = rate
        self.distortion = distortion
        self.elbo = elbo
        self.weights = weights
        self.weight_name = weight_name
        self.latent_dims = latent_dims
        self.distortion_name = distortion_name
        self.fit_name = fit_name

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        X: Table,
        *,
        weight: str | None = "kld_weight",
        conditions: Table | None = None,
        size_factor: Any = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Measure one fit and draw it.

        Parameters
        ----------
        estimator : VAETransformer, or a Pipeline or search that ends in one
            Fitted.
        %(rows)s
        weight : {"kld_weight", "beta"}, default="kld_weight"
            Which of the two, as fitted, decides on the colour.
        %(given)s
        %(ax)s
        scatter_kwargs : dict, default=None
            For ``Axes.scatter``.

        Returns
        -------
        display : RateDistortionDisplay
        """
        return cls.from_estimators(
            [estimator],
            X,
            weight=weight,
            conditions=conditions,
            size_factor=size_factor,
            ax=ax,
            scatter_kwargs=scatter_kwargs,
        )

    @classmethod
    @documented
    def from_estimators(
        cls,
        estimators: Any,
        X: Table,
        *,
        weight: str | None = "kld_weight",
        conditions: Table | None = None,
        size_factor: Any = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Measure several fits on the same rows and draw them.

        Parameters
        ----------
        estimators : list of VAETransformer, or of Pipelines or searches that end in one
            Fitted. Rates and distortions compare where the likelihoods are all
            densities, or all probabilities of the same counts, bits or categories.
        %(rows)s
        weight : {"kld_weight", "beta"}, default="kld_weight"
            Which of the two, as fitted, decides on the colours.
        %(given)s
        %(ax)s
        scatter_kwargs : dict, default=None
            For ``Axes.scatter``.

        Returns
        -------
        display : RateDistortionDisplay

        Raises
        ------
        TypeError
            If an estimator has no likelihood.
        ValueError
            If there is no estimator, or densities are mixed with probabilities.
        """
        need_matplotlib()
        if weight not in ("kld_weight", "beta"):
            raise ValueError(f"weight must be 'kld_weight' or 'beta', not {weight!r}.")
        models = [_vae(estimator, X) for estimator in estimators]
        if not models:
            raise ValueError("There is no estimator to draw.")
        found = [m._evaluate(rows, conditions, size_factor) for m, rows in models]
        if len({m._likelihood_.is_discrete for m, _ in models}) > 1:
            raise ValueError(
                "Distortions of densities do not compare with those of counts, bits or "
                "categories: draw them apart."
            )
        display = cls(
            rate=np.array([f.rate.mean() for f in found]),
            distortion=np.array([f.distortion.mean() for f in found]),
            weights=np.array([getattr(m, f"{weight}_") for m, _ in models]),
            weight_name=weight,
            latent_dims=np.array([m.module_.latent_dim for m, _ in models]),
        )
        return display.plot(ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    @documented
    def from_cv_results(
        cls,
        cv_results: Any,
        *,
        weight: str | None = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the candidates of a search.

        Parameters
        ----------
        cv_results : dict
            ``cv_results_`` of a search whose ``scoring`` gave "rate" and "distortion",
            as :func:`skvae.metrics.rate_distortion_scorer` does.
        weight : str, default=None
            The searched parameter that decides on the colours; by default the
            ``kld_weight`` or the ``beta`` that was searched, if one was.
        %(ax)s
        scatter_kwargs : dict, default=None
            For ``Axes.scatter``.

        Returns
        -------
        display : RateDistortionDisplay

        Raises
        ------
        ValueError
            If the search has no such scores, or none that is finite.
        """
        need_matplotlib()
        if "mean_test_rate" not in cv_results:
            raise ValueError(
                "The search has no held-out rate and distortion: give it "
                "scoring=skvae.metrics.rate_distortion_scorer, refit='elbo'."
            )
        rate, distortion = column(cv_results, "rate"), column(cv_results, "distortion")
        kept = np.isfinite(rate) & np.isfinite(distortion)
        if not kept.any():
            raise ValueError("No candidate of the search has a finite rate.")
        names = ("kld_weight", "beta") if weight is None else (weight,)
        full = [p for name in names if (p := parameter(cv_results, name)) is not None]
        if weight is not None and not full:
            raise ValueError(f"The search has no parameter {weight!r}.")
        weights = _floats(values_of(cv_results, full[0]), kept) if full else None
        dims = parameter(cv_results, "latent_dim")
        display = cls(
            rate=rate[kept],
            distortion=distortion[kept],
            weights=weights,
            weight_name=full[0].split("__")[-1] if full else "kld_weight",
            latent_dims=None
            if dims is None
            else np.array(values_of(cv_results, dims))[kept],
        )
        return display.plot(ax, scatter_kwargs=scatter_kwargs)

    @documented
    def plot(
        self, ax: Any = None, *, scatter_kwargs: Mapping[str, Any] | None = None
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        scatter_kwargs : dict, default=None
            For ``Axes.scatter``.

        Returns
        -------
        display : RateDistortionDisplay
        """
        need_matplotlib()
        from matplotlib.cm import ScalarMappable

        ax = axes_or_new(ax)
        position = np.column_stack([self.rate, self.distortion]).astype(float)
        frame_points(ax, position, self.fit_name)
        _widen(ax)
        handles = self._draw_points(ax, position, scatter_kwargs)
        nats = self.distortion_name == "distortion (nats per row)"
        self.elbo_lines_ = _draw_elbo_lines(ax) if nats else []
        if self.elbo_lines_:
            handles.append(self.elbo_lines_[0])
        ax.grid(alpha=0.2)
        ax.set_axisbelow(True)
        ax.set(xlabel="rate: KL from the prior (nats per row)")
        ax.set(ylabel=self.distortion_name)
        self.legend_ = ax.legend(handles=handles, fontsize=8)
        self.colorbar_ = None
        if self.weights is not None and len(np.unique(self.weights)) > 1:
            zero = np.min(self.weights) == 0
            name = f"{self.weight_name}{' (0 in the lowest colour)' if zero else ''}"
            scale = ScalarMappable(weight_norm(self.weights), "viridis")
            self.colorbar_ = ax.figure.colorbar(scale, ax=ax, label=name)
            label_decades(self.colorbar_.ax.yaxis)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_points(self, ax, position: np.ndarray, scatter_kwargs) -> list:
        """The fits, and the ring around the best; returns what a legend explains."""
        from matplotlib.collections import PathCollection
        from matplotlib.lines import Line2D

        frame = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
        found = heaps(position, frame)
        numbers = rings(found, len(position))
        markers, handles = self._markers(), []
        norm = None if self.weights is None else weight_norm(self.weights)
        self.points_ = []
        for i in sorted(range(len(position)), key=lambda i: -numbers[i]):
            own = {
                "marker": markers[i],
                "s": size_of_ring(numbers[i]),
                "edgecolors": "black",
                "linewidths": 0.6,
                # Larger ones lie below: all of a heap are seen.
                "zorder": 3 + 1 / (1 + numbers[i]),
            }
            if norm is None:
                own["color"] = BLUE
            else:
                weight = max(self.weights[i], norm.vmin)
                own |= {"c": [weight], "norm": norm, "cmap": "viridis"}
            style = styled(PathCollection, own, scatter_kwargs)
            self.points_.append(ax.scatter(*position[i], **style))
        dims = {}
        if self.latent_dims is not None:
            dims = dict(zip(self.latent_dims, markers, strict=True))
        if len(set(markers)) > 1 or len(dims) == 1:
            for dim in sorted(dims):
                style = {"markerfacecolor": "white", "markeredgecolor": "black"}
                label = f"{dim} unit{'' if dim == 1 else 's'}"
                style |= {"marker": dims[dim], "linestyle": "", "label": label}
                handles.append(Line2D([], [], **style))
        elbo = -position.sum(axis=1) if self.elbo is None else np.asarray(self.elbo)
        best = position[int(np.nanargmax(elbo))]
        ring = {"facecolors": "none", "edgecolors": HIGHLIGHT, "linewidths": 2}
        self.best_ = ax.scatter(*best, s=260, label="best ELBO", zorder=4, **ring)
        count_heaps(ax, position, found, numbers, self.fit_name)
        return [*handles, self.best_]

    def _markers(self) -> list[str]:
        """One a fit: of its own for each number of units, if there are not too many."""
        n = len(np.atleast_1d(self.rate))
        if self.latent_dims is None:
            return [MARKERS[0]] * n
        dims = sorted(set(self.latent_dims))
        if len(dims) > len(MARKERS):
            return [MARKERS[0]] * n
        return [MARKERS[dims.index(dim)] for dim in self.latent_dims]


def _floats(weights: list, kept: np.ndarray) -> np.ndarray | None:
    """Weights as numbers; None if one is none, such as "auto"."""
    try:
        return np.array(weights, dtype=float)[kept]
    except (TypeError, ValueError):
        return None


def weight_norm(weights):
    """Colours of weights; a weight of 0, which has no logarithm, gets the lowest."""
    from matplotlib.colors import LogNorm

    weights = np.asarray(weights, dtype=float)
    positive = weights[weights > 0] if (weights > 0).any() else np.ones(1)
    low, high = float(positive.min()), float(positive.max())
    return LogNorm(low / 10, high * 10) if low == high else LogNorm(low, high)


def _widen(ax) -> None:
    """Room for whole markers at the edges."""
    for low, high, put in (
        (*ax.get_xlim(), ax.set_xlim),
        (*ax.get_ylim(), ax.set_ylim),
    ):
        margin = 0.04 * (high - low)
        put(low - margin, high + margin)


def _draw_elbo_lines(ax) -> list:
    """Lines of equal ELBO, named where they leave the picture at the lower right."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    levels = MaxNLocator(MOST_LINES).tick_values(left + low, right + high)
    lines = []
    for level in levels:
        # From the frame's left or upper edge to its lower or right one.
        start, end = max(left, level - high), min(right, level - low)
        if end - start < 0.12 * (right - left):
            continue
        style = {"color": MUTED, "linewidth": 0.8, "linestyle": ":", "zorder": 1}
        ends = ([start, end], [level - start, level - end])
        lines += ax.plot(*ends, label="equal ELBO (nats per row)", **style)
        at = start + 0.82 * (end - start)
        ax.text(
            at,
            level - at,
            f"{0.0 - level:.4g}",
            fontsize=8,
            color=MUTED,
            ha="center",
            va="center",
            zorder=1.5,
            clip_on=True,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )
    ax.set(xlim=(left, right), ylim=(low, high))
    return lines
