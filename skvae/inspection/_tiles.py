"""Rows that are images, as tiles in one picture."""

import math
from collections.abc import Sequence

import numpy as np

# Tiles whose values lie farther from the usual than so many usual ranges are odd.
REACH = 3.0


def checked_image_shape(image_shape, n_features: int) -> tuple[int, ...]:
    """Height, width and, of colours, channels.

    Raises
    ------
    ValueError
        If rows are no such images.
    """
    shape = tuple(int(side) for side in image_shape)
    colours = len(shape) == 3 and shape[2] in (1, 3, 4)
    if not (len(shape) == 2 or colours) or min(shape) < 1:
        raise ValueError(
            f"image_shape={image_shape!r} must be (height, width), or (height, width, "
            "channels) with 1, 3 or 4 channels."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} has {math.prod(shape)} pixels, and rows have "
            f"{n_features} features."
        )
    return shape[:2] if shape[2:] == (1,) else shape


def scale_of(rows: np.ndarray) -> tuple[float, float]:
    """Least and greatest value of images (n, n_features), not those of odd ones."""
    low, high = np.nanmin(rows, axis=1), np.nanmax(rows, axis=1)
    usual_low, usual_high = np.nanmedian(low), np.nanmedian(high)
    reach = REACH * (usual_high - usual_low)
    if reach <= 0.0:
        return float(np.nanmin(low)), float(np.nanmax(high)) or 1.0
    least = low[np.abs(low - usual_low) <= reach].min()
    greatest = high[np.abs(high - usual_high) <= reach].max()
    return float(least), float(greatest)


def tiled_size(
    n_strips: int, n_tiles: int, image_shape: tuple[int, ...], below: float = 0.2
) -> tuple[float, float]:
    """Width and height of a figure for so many tiles, in inches."""
    height, width = image_shape[:2]
    high = 5.3 * n_strips * (height + 1) / (n_tiles * (width + 1))
    return 6.4, float(np.clip(high, 0.9, 7.0)) + below


def n_beyond(rows: np.ndarray, scale: tuple[float, float]) -> int:
    """Images with values outside of the scale."""
    return int(((rows < scale[0]) | (rows > scale[1])).any(axis=1).sum())


def draw_tiles(
    ax,
    strips: Sequence[np.ndarray],
    image_shape: tuple[int, ...],
    names: Sequence[str],
    scale: tuple[float, float],
    cmap: str = "gray_r",
):
    """Draw strips of images, each (n_tiles, n_features), below each other.

    Returns
    -------
    image : matplotlib.image.AxesImage
    middles : ndarray of shape (n_tiles,)
        Where the tiles are along x.
    """
    from matplotlib import colormaps

    height, width = image_shape[:2]
    n_tiles = max(len(strip) for strip in strips)
    channels = image_shape[2:]
    canvas = np.full(
        (len(strips) * (height + 1) - 1, n_tiles * (width + 1) - 1, *channels), np.nan
    )
    for i, strip in enumerate(strips):
        for j, row in enumerate(strip):
            at = slice(i * (height + 1), (i + 1) * (height + 1) - 1)
            across = slice(j * (width + 1), (j + 1) * (width + 1) - 1)
            canvas[at, across] = row.reshape(image_shape)
    low, high = scale
    if channels:
        canvas = np.clip((canvas - low) / ((high - low) or 1.0), 0.0, 1.0)
        image = ax.imshow(np.where(np.isnan(canvas), 1.0, canvas))
    else:
        colours = colormaps.get_cmap(cmap).with_extremes(bad="white")
        image = ax.imshow(
            canvas, cmap=colours, vmin=low, vmax=high, interpolation="nearest"
        )
    ax.set_yticks(np.arange(len(strips)) * (height + 1) + (height - 1) / 2, names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image, np.arange(n_tiles) * (width + 1) + (width - 1) / 2
