"""What the displays share: axes, styles, frames that odd values do not squeeze."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._utils.docs import filled
from .._utils.optional import optional_import

# Okabe and Ito (2008), Color Universal Design: told apart with every common deficiency
# of colour vision. Without its yellow, which small dots on white lose.
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#e69f00", "#009e73", "#cc79a7"
SKY, VERMILLION, BLACK = "#56b4e9", "#d55e00", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILLION, BLACK)
MUTED = "#6b6b6b"
# Of what a frame or a ring points out; far from every colour of "viridis".
HIGHLIGHT = "#d3006c"
SMALL = 8
# Fewer values have no tails, and fewer than that no middle.
A_HANDFUL = 10
A_FEW = 4
# One of a handful is odd if it is farther from the others than so many of their ranges.
ODD = 100.0
# Features with names of their own on an axis; more than this no one reads.
MOST_NAMES = 40

#: Fills into docstrings what every display has.
documented = filled(
    {
        "ax": """
ax : matplotlib.axes.Axes, default=None
    To draw on; a new figure's if None.
""",
        "drawn": """
ax_ : matplotlib.axes.Axes
figure_ : matplotlib.figure.Figure
""",
        "rows": """
X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
    Rows, as the estimator takes them.
""",
        "given": """
conditions : array-like or frame of shape (n_samples, n_conditions), default=None
    Of the rows, if the model was fitted with some.
size_factor : array-like of shape (n_samples,), default=None
    Of the rows, if the model was fitted with those of its own.
""",
    }
)


def need_matplotlib() -> None:
    """An error that names the extra, before anything is computed."""
    optional_import("matplotlib", "plot")


def axes_or_new(ax, figsize: tuple[float, float] = (6.4, 4.8)):
    """The axes to draw on; of pyplot, as scikit-learn's displays, if none are given."""
    if ax is not None:
        return ax
    pyplot = optional_import("matplotlib.pyplot", "plot")
    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def styled(artist: type, default: Mapping[str, Any], given) -> dict[str, Any]:
    """The default style with what a user set, by whichever of matplotlib's names."""
    from matplotlib.cbook import normalize_kwargs

    return {
        **normalize_kwargs(dict(default), artist),
        **normalize_kwargs(dict(given or {}), artist),
    }


def note(ax, text: str, corner: str = "lower right"):
    """A small text in a corner of the axes."""
    vertical, horizontal = corner.split()
    x = 0.98 if horizontal == "right" else 0.02
    y = 0.02 if vertical == "lower" else 0.98
    return ax.text(
        x,
        y,
        text,
        transform=ax.transAxes,
        ha=horizontal,
        va="bottom" if vertical == "lower" else "top",
        fontsize=SMALL,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        zorder=6,
    )


def legend_beside(ax, **options):
    """A legend that hides nothing, where the figure makes room for it."""
    if ax.figure.get_layout_engine() is None:  # it would be cut off
        return ax.legend(**options)
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    return ax.legend(frameon=False, **place, **options)


def inner_range(values: np.ndarray) -> tuple[float, float]:
    """The middle nine tenths; of a handful of values all, or all but an odd one."""
    if len(values) >= A_HANDFUL:
        low = np.quantile(values, 0.05, method="higher")
        high = np.quantile(values, 0.95, method="lower")
        return float(low), float(high)
    if len(values) >= A_FEW:
        rest = np.delete(values, np.abs(values - np.median(values)).argmax())
        low, high = float(rest.min()), float(rest.max())
        gap = max(low - values.min(), values.max() - high)
        # Values that all but coincide make no odd one of another.
        width = max(high - low, 0.1 * abs(float(np.median(rest))))
        values = rest if 0.0 < ODD * width < gap else values
    return float(values.min()), float(values.max())


def limits(values: np.ndarray, reach: float = 1.0) -> tuple[float, float]:
    """An axis for these values, not for those far from all the others.

    Far is more than ``reach`` times the inner range beyond it. What is not finite does
    not count.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return -0.5, 0.5
    low, high = inner_range(values)
    width = (high - low) * reach
    if width > 0.0:
        values = values[(values >= low - width) & (values <= high + width)]
    least, greatest = float(values.min()), float(values.max())
    margin = 0.05 * (greatest - least) or max(0.5, 1e-6 * abs(greatest))
    return least - margin, greatest + margin


def frame_points(ax, shown: np.ndarray, what: str = "rows") -> None:
    """Frame points (n, 2) so that a few odd ones do not squeeze the others.

    How many lie outside stands in a corner.
    """
    frame = [limits(column) for column in shown.T]
    ax.set(xlim=frame[0], ylim=frame[1])
    low, high = np.transpose(frame)
    inside = ((shown >= low) & (shown <= high)).all(axis=1)
    n_outside = int((~inside).sum())
    if n_outside:
        note(ax, f"{n_outside} of {len(shown)} {what} lie outside")


def symmetric_limit(values: np.ndarray) -> float:
    """End of a diverging scale of colours, not for what is far from all the others."""
    size = np.abs(values[np.isfinite(values)])
    if not size.any():
        return 1.0
    low, high = limits(size, reach=3.0)
    return float(size[(size >= low) & (size <= high)].max()) or float(size.max())


def write_cells(ax, image, texts: np.ndarray) -> list:
    """Write into the cells of a heat map, if they are wide enough to be read."""
    n_rows, n_columns = texts.shape
    longest = max((len(t) for t in texts.flat), default=0)
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    # A letter is 0.6 of its size wide; labels and a bar of colours come off the axes.
    points = 0.75 * 72 / dpi
    size = min(
        10.0,
        0.9 * points * box.width / n_columns / (0.6 * max(longest, 1)),
        0.7 * points * box.height / n_rows,
    )
    if size < 6.0:
        return []
    written = []
    for (i, j), text in np.ndenumerate(texts):
        if not text:
            continue
        red, green, blue, _ = image.cmap(image.norm(image.get_array()[i, j]))
        is_light = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
        colour = "black" if is_light else "white"
        place = {"ha": "center", "va": "center", "fontsize": size, "color": colour}
        written.append(ax.text(j, i, text, **place))
    return written


def shortened(name, most: int = 18) -> str:
    """A name that leaves room for the picture: both ends, where names differ."""
    name = str(name)
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - end - 1]}…{name[-end:]}"


def name_some(axis, names, most: int = 20, **options) -> None:
    """Ticks with names, at most so many, evenly spaced."""
    step = -(-len(names) // most)
    at = np.arange(0, len(names), step)
    axis.set_ticks(at, [shortened(names[i]) for i in at], **options)


def number(value) -> str:
    """A number, or a name, on a tick."""
    try:
        return f"{float(value):.3g}"
    except (TypeError, ValueError):
        return shortened(value)


def label_decades(axis) -> None:
    """Ticks of a logarithmic axis; within two decades, at 2 and 5 as well."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
