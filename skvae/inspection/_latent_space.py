"""Rows in the space of their codes."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from .._base import BaseAutoencoder
from .._utils.typing import Table
from .._utils.validation import from_torch
from ..metrics import _final
from ._drawing import (
    BLUE,
    axes_or_new,
    documented,
    frame_points,
    limits,
    need_matplotlib,
    styled,
)
from ._fitted import checked_units, dense, given, unit_of_codes
from ._labels import draw_labelled, styled_dots


class LatentSpaceDisplay:
    """Codes of rows in two dimensions, by label or by a value.

    Create it by :meth:`from_estimator` or :meth:`from_predictions`. Labels are classes,
    or a scale of colours where they are more than twenty numbers; of other labels the
    twenty most frequent have colours; rows without one (None, NaN) are grey crosses. A
    few rows far from all others do not decide the frame: how many lie outside is
    written into it.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2) or (n_samples, 1)
        Where rows are drawn. One unit is drawn with heights that mean nothing.
    labels : array-like of shape (n_samples,), default=None
    axis_names : sequence of str, default=None
        Of the one or two axes, with their unit.
    label_name : str, default="label"

    Attributes
    ----------
    legend_ : matplotlib.legend.Legend or None
    colorbar_ : matplotlib.colorbar.Colorbar or None
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = VAETransformer(2, max_epochs=5, random_state=0).fit(X)
    >>> LatentSpaceDisplay.from_estimator(vae, X, y)
    <...>
    >>> plt.show()
    """

    ax_: Any
    axis_names: Any
    colorbar_: Any
    figure_: Any
    label_name: Any
    labels: Any
    legend_: Any

    def __init__(
        self,
        points: Any,
        *,
        labels: Any = None,
        axis_names: Any = None,
        label_name: str | None = "label",
    ) -> None:
        self.points = points
        self.labels = labels
        self.axis_names = axis_names
        self.label_name = label_name

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        X: Table,
        y: Any = None,
        *,
        reducer: Any = None,
        units: Any = None,
        label_name: str | None = None,
        conditions: Table | None = None,
        size_factor: Any = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Code rows and draw them.

        Parameters
        ----------
        estimator : fitted transformer, or a Pipeline or search that ends in one
            An autoencoder of this package, or any other with ``transform``.
        %(rows)s
        y : array-like of shape (n_samples,), default=None
            Labels or values for the colours.
        reducer : transformer, default=None
            What brings codes of more than two units to two dimensions by its
            ``fit_transform``, such as ``TSNE()``; it is cloned. None is PCA, of the
            rows that are not far from all others.
        units : sequence of int, default=None
            One or two units to draw as they are.
        label_name : str, default=None
            What the legend or the scale says; the name of y, if it has one.
        %(given)s
        %(ax)s
        scatter_kwargs : dict, default=None
            For ``Axes.scatter``.

        Returns
        -------
        display : LatentSpaceDisplay

        Raises
        ------
        TypeError
            If the estimator has no ``transform``.
        ValueError
            If rows, labels, units or what the reducer returns do not fit.
        """
        need_matplotlib()
        final, rows = _final(estimator, X)
        if not hasattr(final, "transform"):
            raise TypeError(
                f"{type(final).__name__} has no transform: it codes no rows."
            )
        check_is_fitted(final)
        codes = final.transform(rows, **given(conditions, size_factor))
        own = isinstance(final, BaseAutoencoder)
        return cls.from_predictions(
            codes,
            y,
            reducer=reducer,
            units=units,
            code_unit=unit_of_codes(final) if own else "units of X",
            label_name=label_name,
            ax=ax,
            scatter_kwargs=scatter_kwargs,
        )

    @classmethod
    @documented
    def from_predictions(
        cls,
        codes: Any,
        y: Any = None,
        *,
        reducer: Any = None,
        units: Any = None,
        code_unit: str = "units of X",
        label_name: str | None = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw codes that are known.

        Parameters
        ----------
        codes : array-like of shape (n_samples, latent_dim)
        y : array-like of shape (n_samples,), default=None
            Labels or values for the colours.
        reducer : transformer, default=None
            As in :meth:`from_estimator`.
        units : sequence of int, default=None
            As in :meth:`from_estimator`.
        code_unit : str, default="units of X"
            The unit of codes.
        label_name : str, default=None
            As in :meth:`from_estimator`.
        %(ax)s
        scatter_kwargs : dict, default=None
            For ``Axes.scatter``.

        Returns
        -------
        display : LatentSpaceDisplay
        """
        need_matplotlib()
        codes = dense(codes)
        if codes.ndim != 2 or not len(codes):
            raise ValueError(
                f"codes must be a table with rows; they are {codes.shape}."
            )
        if y is not None and len(from_torch(y)) != len(codes):
            raise ValueError(
                f"y has {len(y)} values, and there are {len(codes)} codes."
            )
        points, names = _in_the_plane(codes, reducer, units, code_unit)
        if label_name is None:
            label_name = getattr(y, "name", None) or "label"
        display = cls(points, labels=y, axis_names=names, label_name=str(label_name))
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
        display : LatentSpaceDisplay
        """
        need_matplotlib()
        ax = axes_or_new(ax)
        points, names = np.asarray(self.points, dtype=float), self.axis_names
        flat = points.shape[1] == 1
        if names is None:
            names = [f"dimension {i}" for i in range(points.shape[1])]
        if flat:  # heights that mean nothing keep points apart
            heights = np.random.RandomState(0).uniform(size=len(points))
            points = np.column_stack([points, heights])
        style = {"s": 18.0 if len(points) < 3000 else 5.0}
        self.legend_ = self.colorbar_ = None
        frame_points(ax, points)
        if self.labels is None:
            ax.scatter(*points.T, **_plain(style, scatter_kwargs))
        else:
            from matplotlib.collections import PathCollection

            style = styled(PathCollection, style, scatter_kwargs)
            self.legend_, self.colorbar_ = draw_labelled(
                ax, points, self.labels, self.label_name, style
            )
        ax.grid(alpha=0.3)
        ax.set_axisbelow(True)
        ax.set(xlabel=names[0], ylabel="" if flat else names[1])
        if flat:
            ax.set_yticks([])
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _plain(style: dict, given_style) -> dict:
    """The style of points without labels."""
    own = styled_dots({"color": BLUE, **style}, given_style or {})
    if "c" in own:
        own.pop("color")
    return own


def _in_the_plane(codes: np.ndarray, reducer, units, unit: str):
    """Codes (n, 1) or (n, 2) to draw, and the names of their axes."""
    if units is not None:
        if reducer is not None:
            raise ValueError("units are drawn as they are: set units or reducer.")
        units = checked_units(units, codes.shape[1])
        if len(units) > 2:
            raise ValueError(f"units has {len(units)} units, and the picture two axes.")
    elif codes.shape[1] <= 2 and reducer is None:
        units = np.arange(codes.shape[1])
    if units is not None:
        return codes[:, units], [f"unit {i} ({unit})" for i in units]
    if reducer is None:
        points, shares = _principal_components(codes)
        return points, [
            f"component {i + 1} of the codes: {share:.0%} ({unit})"
            for i, share in enumerate(shares)
        ]
    name = type(reducer).__name__
    points = dense(clone(reducer).fit_transform(codes))
    if points.ndim != 2 or points.shape[1] not in (1, 2) or len(points) != len(codes):
        raise ValueError(
            f"{name} made {points.shape} of {codes.shape}: not two columns."
        )
    return points, [f"{name} {i + 1}" for i in range(points.shape[1])]


def _principal_components(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two of the rows that are not far from the others; shares of variance.

    Not by :class:`sklearn.decomposition.PCA`, which divides by the variance: that of a
    collapsed model's codes is 0.
    """
    frame = np.array([limits(unit) for unit in codes.T])
    near = np.all((codes >= frame[:, 0]) & (codes <= frame[:, 1]), axis=1)
    kept = codes[near] if near.sum() > 2 else codes
    centre = kept.mean(axis=0)
    _, values, directions = np.linalg.svd(kept - centre, full_matrices=False)
    # The largest part of each is positive, as in scikit-learn's PCA.
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    directions = (directions * signs[:, None])[:2]
    total = float((values**2).sum()) or 1.0
    return (codes - centre) @ directions.T, values[:2] ** 2 / total
