"""What the decoder makes of a code while one unit moves."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._utils.typing import Table
from ..metrics import _autoencoder
from ..vae import VAETransformer
from ._drawing import (
    axes_or_new,
    documented,
    inner_range,
    need_matplotlib,
    shortened,
    symmetric_limit,
)
from ._fitted import (
    checked_names,
    checked_units,
    dense,
    feature_names_of,
    given,
    in_original_units,
    unit_of_codes,
)
from ._tiles import checked_image_shape, draw_tiles, n_beyond, scale_of, tiled_size

# The inner nine tenths of a normal distribution are so many standard deviations wide.
NINE_TENTHS = 3.29
PRIOR, OWN = "standard deviations of the prior", "standard deviations of the codes"


class TraversalDisplay:
    """Decoded rows along latent units: one unit moves, the others stay.

    Create it by :meth:`from_estimator`. Images are tiles, a strip a unit. Of a table it
    is a heat map of how far every feature moves away from the row in the middle.

    Parameters
    ----------
    decoded : ndarray of shape (n_units, n_steps, n_features)
        Rows of the decoder.
    steps : ndarray of shape (n_steps,)
        Where the unit is.
    units : sequence of int, default=None
        0, 1, ... by default.
    step_name : str, default="standard deviations of the prior"
        The unit of ``steps``.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, channels), if a row is an image.
    feature_names : sequence of str, default=None
        "x0" and so on by default.
    max_features : int, default=20
        Features of a table that are drawn: those that move most, in the order of the
        table.

    Attributes
    ----------
    image_ : matplotlib.image.AxesImage
    features_ : ndarray of int or None
        Those of a table that are drawn.
    colorbar_ : matplotlib.colorbar.Colorbar or None
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import TraversalDisplay
    >>> vae = VAETransformer(8, max_epochs=5, random_state=0).fit(load_digits().data)
    >>> TraversalDisplay.from_estimator(vae, image_shape=(8, 8))
    <...>
    >>> plt.show()
    """

    ax_: Any
    colorbar_: Any
    feature_names: Any
    features_: Any
    figure_: Any
    image_: Any
    image_shape: Any
    max_features: Any
    step_name: Any
    units: Any

    def __init__(
        self,
        decoded: Any,
        *,
        steps: Any,
        units: Any = None,
        step_name: Any = PRIOR,
        image_shape: Any = None,
        feature_names: Any = None,
        max_features: int = 20,
    ) -> None:
        self.decoded = decoded
        self.steps = steps
        self.units = units
        self.step_name = step_name
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.max_features = max_features

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        X: Table = None,
        *,
        units: Any = None,
        n_steps: int = 9,
        span: float = 2.0,
        image_shape: Any = None,
        feature_names: Any = None,
        max_features: int = 20,
        conditions: Table | None = None,
        size_factor: Any = None,
        ax: Any = None,
        cmap: Any = None,
    ) -> Self:
        """Decode along units and draw.

        Without X, units move around the mean of the prior, in its standard deviations.
        With X, around the median of the codes of these rows, in standard deviations of
        the codes, as their inner nine tenths have them; a single row is where they
        start, and then the deviations are again the prior's.

        Images are brought back through the steps in front of the estimator, where all
        of them have an ``inverse_transform``. A table is in the units of what reaches
        it.

        Parameters
        ----------
        estimator : any autoencoder, or a Pipeline or search that ends in one
            Fitted. Those without a likelihood have no prior: they need X, several rows.
        X : array-like of shape (n_samples, n_features), default=None
            Rows.
        units : sequence of int, default=None
            By default the first six, which explain most.
        n_steps : int, default=9
            Decoded rows a unit; an odd number has the middle among them.
        span : float, default=2.0
            How far to both sides, in standard deviations.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, channels), if a row is an image.
        feature_names : sequence of str, default=None
            By default those that the estimator was fitted with.
        max_features : int, default=20
            Features of a table to draw.
        conditions : array-like or frame, default=None
            If the model was fitted with some: one row, under which to decode. X then
            needs none, unless the encoder takes them.
        size_factor : float, default=None
            Of likelihoods of counts: the size of the decoded rows, by default that of
            the median training row.
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default=None
            By default "gray_r" of images, "RdBu_r" of a table.

        Returns
        -------
        display : TraversalDisplay

        Raises
        ------
        TypeError
            If the estimator is no autoencoder of this package.
        ValueError
            If it needs X and there is none, or a parameter does not fit.
        """
        need_matplotlib()
        if not isinstance(n_steps, Integral) or n_steps < 2:
            raise ValueError(f"n_steps must be an integer from 2 on, not {n_steps!r}.")
        if not span > 0.0:
            raise ValueError(f"span must be positive, not {span!r}.")
        final, rows = _autoencoder(estimator, X)
        check_is_fitted(final)
        n_units = final.module_.latent_dim
        units = np.arange(min(n_units, 6)) if units is None else units
        units = checked_units(units, n_units)
        codes = None if rows is None else _codes(final, rows, conditions)
        start, deviation, step_name = _ways(final, codes)
        steps = np.linspace(-span, span, n_steps)
        moved = np.tile(start, (len(units), len(steps), 1))
        for i, unit in enumerate(units):
            moved[i, :, unit] += steps * deviation[unit]
        known = given(conditions, size_factor)
        decoded = dense(final.inverse_transform(moved.reshape(-1, n_units), **known))
        if image_shape is not None:
            decoded = in_original_units(estimator, decoded)
        elif feature_names is None:
            feature_names = feature_names_of(estimator, decoded.shape[1])
        display = cls(
            decoded.reshape(len(units), n_steps, -1),
            steps=steps,
            units=units,
            step_name=step_name,
            image_shape=image_shape,
            feature_names=feature_names,
            max_features=max_features,
        )
        return display.plot(ax, cmap=cmap)

    @documented
    def plot(self, ax: Any = None, *, cmap: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default=None
            By default "gray_r" of images, "RdBu_r" of a table.

        Returns
        -------
        display : TraversalDisplay
        """
        need_matplotlib()
        decoded = np.asarray(self.decoded, dtype=float)
        units = np.arange(len(decoded)) if self.units is None else self.units
        self.features_ = self.colorbar_ = None
        if self.image_shape is not None:
            ax = self._draw_images(ax, decoded, units, cmap or "gray_r")
        else:
            ax = self._draw_table(ax, decoded, units, cmap or "RdBu_r")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_images(self, ax, decoded, units, cmap):
        n_units, n_steps, n_features = decoded.shape
        shape = checked_image_shape(self.image_shape, n_features)
        ax = axes_or_new(ax, tiled_size(n_units, n_steps, shape, below=0.6))
        rows = decoded.reshape(-1, n_features)
        scale = scale_of(rows)
        names = [f"unit {i}" for i in units]
        self.image_, middles = draw_tiles(ax, decoded, shape, names, scale, cmap)
        kept = _few(n_steps)
        ax.set_xticks(middles[kept], [f"{self.steps[i]:.2g}" for i in kept])
        beyond = n_beyond(rows, scale)
        odd = f"\n{beyond} of {len(rows)} have values beyond the colours"
        ax.set_xlabel(self.step_name + (odd if beyond else ""))
        return ax

    def _draw_table(self, ax, decoded, units, cmap):
        """Blocks of steps side by side, a unit each; features below each other."""
        from matplotlib import colormaps

        n_units, n_steps, n_features = decoded.shape
        names = checked_names(self.feature_names, n_features)
        middle = decoded[:, n_steps // 2]
        if n_steps % 2 == 0:
            middle = (middle + decoded[:, n_steps // 2 - 1]) / 2
        change = decoded - middle[:, None]
        largest = np.argsort(-np.abs(change).max(axis=(0, 1)), kind="stable")
        self.features_ = np.sort(largest[: self.max_features])
        blocks = np.full((len(self.features_), n_units * (n_steps + 1) - 1), np.nan)
        starts = np.arange(n_units) * (n_steps + 1)
        for block, at in zip(change, starts, strict=True):
            blocks[:, at : at + n_steps] = block[:, self.features_].T
        high = float(np.clip(1.6 + 0.24 * len(blocks), 3.2, 8.0))
        ax = axes_or_new(ax, (6.4, high))
        limit = symmetric_limit(blocks)
        colours = colormaps.get_cmap(cmap).with_extremes(bad="white")
        style = {"aspect": "auto", "interpolation": "nearest"}
        self.image_ = ax.imshow(blocks, cmap=colours, vmin=-limit, vmax=limit, **style)
        kept = [shortened(names[i]) for i in self.features_]
        ax.set_yticks(np.arange(len(kept)), kept, fontsize=9)
        brief = "unit " if n_units <= 6 else ""
        ax.set_xticks(starts + (n_steps - 1) / 2, [f"{brief}{i}" for i in units])
        ax.tick_params(axis="x", length=0)
        low, high = self.steps[0], self.steps[-1]
        ax.set_xlabel(
            f"latent unit, each from {low:.2g} to {high:.2g}\n{self.step_name}"
        )
        beyond = np.nanmax(np.abs(blocks)) > limit
        self.colorbar_ = ax.figure.colorbar(
            self.image_,
            ax=ax,
            label="change of the decoded row (units of X)",
            extend="both" if beyond else "neither",
        )
        if len(kept) < n_features:
            text = f"{len(kept)} of {n_features} features: those that move most"
            ax.set_title(text, fontsize=10)
        return ax


def _codes(final, rows, conditions) -> np.ndarray:
    """Codes of the rows whose ways are taken."""
    if conditions is None or not final.module_.encodes_conditions:
        return dense(final.transform(rows))
    repeated = np.repeat(np.atleast_2d(np.asarray(conditions)), rows.shape[0], axis=0)
    return dense(final.transform(rows, conditions=repeated))


def _ways(final, codes) -> tuple[np.ndarray, np.ndarray, str]:
    """Where units start (latent_dim,), how far a step takes each, and what it is."""
    has_prior = isinstance(final, VAETransformer)
    if not has_prior and (codes is None or len(codes) < 2):
        raise ValueError(
            f"{type(final).__name__} has no prior to move in: pass X, several rows, "
            "whose codes say how far units go."
        )
    if has_prior and (codes is None or len(codes) < 2):
        whiten = unit_of_codes(final) == "units of the prior"
        scale = np.asarray(final.code_scale_, dtype=float)
        deviation = np.ones_like(scale) if whiten else scale
        return (np.zeros_like(scale) if codes is None else codes[0]), deviation, PRIOR
    widths = np.array([np.ptp(inner_range(unit)) for unit in codes.T]) / NINE_TENTHS
    return np.median(codes, axis=0), widths, OWN


def _few(n_steps: int) -> np.ndarray:
    """Steps with a name: all, or every second or so with both ends and the middle."""
    if n_steps <= 11:
        return np.arange(n_steps)
    return np.unique(np.linspace(0, n_steps - 1, 9).round().astype(int))
