"""Rows beside their reconstructions."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._base import BaseAutoencoder
from .._utils.typing import Table
from .._utils.validation import from_torch
from ..metrics import _final
from ._drawing import (
    BLUE,
    MOST_NAMES,
    MUTED,
    VERMILLION,
    axes_or_new,
    documented,
    limits,
    need_matplotlib,
    note,
    shortened,
    styled,
)
from ._fitted import (
    checked_names,
    dense,
    feature_names_of,
    given_of,
    in_original_units,
    some_rows,
)
from ._tiles import checked_image_shape, draw_tiles, n_beyond, scale_of, tiled_size

# Rows that are shown by default, as images and as bars.
N_IMAGES, N_BARS = 8, 3
REACH = 3.0


class ReconstructionDisplay:
    """Some rows and what the model makes of them, as images or as bars.

    Create it by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    X, X_reconstructed : ndarray of shape (n_rows, n_features)
    image_shape : tuple of int, default=None
        (height, width) or (height, width, channels), if a row is an image.
    feature_names : sequence of str, default=None
        For bars; "x0" and so on by default.
    row_names : sequence of str, default=None
        For bars.

    Attributes
    ----------
    image_ : matplotlib.image.AxesImage or None
        The images, above their reconstructions.
    axes_ : ndarray of matplotlib.axes.Axes of shape (n_rows,) or None
        Those with the bars of a row each, inside ``ax_``.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import ReconstructionDisplay
    >>> X = load_digits().data
    >>> vae = VAETransformer(8, max_epochs=5, random_state=0).fit(X)
    >>> ReconstructionDisplay.from_estimator(vae, X, image_shape=(8, 8))
    <...>
    >>> plt.show()
    """

    ax_: Any
    axes_: Any
    feature_names: Any
    figure_: Any
    image_: Any
    image_shape: Any
    row_names: Any

    def __init__(
        self,
        X: Table,
        X_reconstructed: Any,
        *,
        image_shape: Any = None,
        feature_names: Any = None,
        row_names: Any = None,
    ) -> None:
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.row_names = row_names

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        X: Table,
        *,
        rows: Any = None,
        image_shape: Any = None,
        feature_names: Any = None,
        conditions: Table | None = None,
        size_factor: Any = None,
        ax: Any = None,
        cmap: str = "gray_r",
        bar_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Reconstruct some rows and draw them.

        Images are brought back through the steps in front of the estimator, where all
        of them have an ``inverse_transform``. Bars are in the units of what reaches it.

        Parameters
        ----------
        estimator : any autoencoder, or a Pipeline or search that ends in one
            Fitted; or another transformer with ``inverse_transform``.
        %(rows)s
        rows : sequence of int, default=None
            Which; by default evenly spaced ones, eight images or three rows of bars.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, channels), if a row is an image.
        feature_names : sequence of str, default=None
            For bars; by default those that the estimator was fitted with.
        %(given)s
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default="gray_r"
            Of images without colours.
        bar_kwargs : dict, default=None
            For ``Axes.bar``.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        TypeError
            If the estimator has no way back from codes.
        ValueError
            If rows, names or shapes do not fit.
        """
        need_matplotlib()
        X = from_torch(X)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        n_shown = N_BARS if image_shape is None else N_IMAGES
        if rows is None:
            rows = np.unique(np.linspace(0, n_rows - 1, n_shown).round().astype(int))
        rows = np.atleast_1d(np.asarray(rows, dtype=int))
        final, shown = _final(estimator, some_rows(X, rows))
        own = given_of(rows, conditions, size_factor)
        real, rebuilt = dense(shown), _reconstructed(final, shown, own)
        if image_shape is None and feature_names is None:
            feature_names = feature_names_of(estimator, real.shape[1])
        if image_shape is not None:
            real, rebuilt = (in_original_units(estimator, r) for r in (real, rebuilt))
        return cls.from_predictions(
            real,
            rebuilt,
            image_shape=image_shape,
            feature_names=feature_names,
            row_names=[f"row {row}" for row in rows],
            ax=ax,
            cmap=cmap,
            bar_kwargs=bar_kwargs,
        )

    @classmethod
    @documented
    def from_predictions(
        cls,
        X: Table,
        X_reconstructed: Any,
        *,
        image_shape: Any = None,
        feature_names: Any = None,
        row_names: Any = None,
        ax: Any = None,
        cmap: str = "gray_r",
        bar_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw reconstructions that are known, all of them.

        Parameters
        ----------
        X, X_reconstructed : array-like of shape (n_rows, n_features)
        image_shape : tuple of int, default=None
            As in :meth:`from_estimator`.
        feature_names, row_names : sequence of str, default=None
            For bars.
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default="gray_r"
            Of images without colours.
        bar_kwargs : dict, default=None
            For ``Axes.bar``.

        Returns
        -------
        display : ReconstructionDisplay
        """
        need_matplotlib()
        X, X_reconstructed = dense(X), dense(X_reconstructed)
        if X.shape != X_reconstructed.shape or X.ndim != 2 or not X.size:
            raise ValueError(
                f"X {X.shape} and X_reconstructed {X_reconstructed.shape} must be "
                "tables of one shape, with rows."
            )
        display = cls(
            X,
            X_reconstructed,
            image_shape=image_shape,
            feature_names=feature_names,
            row_names=row_names,
        )
        return display.plot(ax, cmap=cmap, bar_kwargs=bar_kwargs)

    @documented
    def plot(
        self,
        ax: Any = None,
        *,
        cmap: str = "gray_r",
        bar_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default="gray_r"
            Of images without colours.
        bar_kwargs : dict, default=None
            For ``Axes.bar``.

        Returns
        -------
        display : ReconstructionDisplay
        """
        need_matplotlib()
        self.image_ = self.axes_ = None
        if self.image_shape is not None:
            ax = self._draw_images(ax, cmap)
        else:
            ax = self._draw_bars(ax, bar_kwargs)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_images(self, ax, cmap):
        shape = checked_image_shape(self.image_shape, self.X.shape[1])
        ax = axes_or_new(ax, tiled_size(2, len(self.X), shape))
        scale = scale_of(self.X)
        strips, names = (self.X, self.X_reconstructed), ("rows", "reconstructed")
        self.image_, _ = draw_tiles(ax, strips, shape, names, scale, cmap)
        n = n_beyond(self.X, scale)
        if n:
            ax.set_xlabel(f"{n} of {len(self.X)} rows have values beyond the colours")
        return ax

    def _draw_bars(self, ax, bar_kwargs):
        """A panel a row: its values, and those of its reconstruction beside them."""
        n_rows, n_features = self.X.shape
        names = checked_names(self.feature_names, n_features)
        ax = axes_or_new(ax, (6.4, min(8.0, 1.6 + 1.3 * n_rows)))
        ax.set_axis_off()
        self.axes_ = np.empty(n_rows, dtype=object)
        for i, (real, rebuilt) in enumerate(
            zip(self.X, self.X_reconstructed, strict=True)
        ):
            place = (0.0, 1.0 - (i + 0.9) / n_rows, 1.0, 0.8 / n_rows)
            panel = self.axes_[i] = ax.inset_axes(place)
            _draw_row(panel, real, rebuilt, bar_kwargs)
            if self.row_names is not None:
                panel.set_title(self.row_names[i], fontsize=9, loc="left", pad=3)
            if i < n_rows - 1:
                panel.tick_params(labelbottom=False)
        last = self.axes_[-1]
        if n_features <= MOST_NAMES:
            turned = {"rotation": 90} if n_features > 5 else {}
            last.set_xticks(
                np.arange(n_features), [shortened(n) for n in names], **turned
            )
            last.tick_params(axis="x", labelsize=8)
        else:
            last.set_xlabel("feature, by its number")
        self.axes_[n_rows // 2].set_ylabel("value (units of X)")
        self.axes_[0].legend(
            fontsize=8,
            ncols=2,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )
        return ax


def _reconstructed(final, rows, own: dict) -> np.ndarray:
    """Of an autoencoder of this package, or of any transformer with a way back."""
    check_is_fitted(final)
    if isinstance(final, BaseAutoencoder):
        return dense(final.reconstruct(rows, **own))
    if not hasattr(final, "inverse_transform"):
        raise TypeError(
            f"{type(final).__name__} has no inverse_transform: it reconstructs no rows."
        )
    return dense(final.inverse_transform(final.transform(rows)))


def _draw_row(panel, real, rebuilt, bar_kwargs) -> None:
    """One row: bars side by side, or lines where there are too many features."""
    from matplotlib.patches import Rectangle

    at = np.arange(len(real))
    if len(real) <= MOST_NAMES:
        for values, shift, colour, name in (
            (real, -0.2, MUTED, "row"),
            (rebuilt, 0.2, BLUE, "reconstruction"),
        ):
            default = {"width": 0.4, "color": colour, "label": name}
            panel.bar(at + shift, values, **styled(Rectangle, default, bar_kwargs))
        margin = 0.6
    else:
        panel.plot(at, real, color=MUTED, linewidth=1.0, label="row")
        panel.plot(at, rebuilt, color=VERMILLION, linewidth=1.0, label="reconstruction")
        margin = 0.02 * len(real)
    drawn = np.concatenate([real, rebuilt, [0.0]])
    low, high = limits(drawn, reach=REACH)
    panel.set(ylim=(low, high), xlim=(-margin, len(real) - 1 + margin))
    odd = (real < low) | (real > high) | (rebuilt < low) | (rebuilt > high)
    if odd.any():
        note(panel, f"{odd.sum()} of {len(real)} features lie outside", "upper right")
    panel.axhline(0.0, color="black", linewidth=0.6)
    panel.tick_params(axis="y", labelsize=8)
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
