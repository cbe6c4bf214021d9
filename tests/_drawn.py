"""Pictures as a reader has them: rendered, 600 pixels wide."""

from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

matplotlib.use("Agg")

WIDTH = 600
# Pixels: a letter of 7.5 is 4 wide.
LEAST_TEXT = 7.5


def pixels(figure):
    """The rendered figure, (height, 600, 3) from 0 to 255."""
    figure.set_dpi(WIDTH / figure.get_size_inches()[0])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def assert_legible(figure):
    """Something is drawn, no text is cut or tiny, and no names of ticks overlap."""
    picture = pixels(figure)
    assert abs(picture.shape[1] - WIDTH) <= 1
    assert (picture != 255).any(axis=2).mean() > 0.005
    for text in _texts(figure):
        box = text.get_window_extent()
        where = f"{text.get_text()!r} at {box}"
        assert box.x0 >= -2, where
        assert box.y0 >= -2, where
        assert box.x1 <= figure.bbox.x1 + 2, where
        assert box.y1 <= figure.bbox.y1 + 2, where
        assert text.get_fontsize() * figure.dpi / 72 >= LEAST_TEXT, where
    for ax in _all_axes(figure):
        _assert_apart(_shown_labels(ax.xaxis), "x")
        _assert_apart(_shown_labels(ax.yaxis), "y")
    return picture


def _all_axes(figure):
    found = list(figure.axes)
    for ax in figure.axes:
        found += ax.child_axes
    return found


def _shown_labels(axis):
    """Names of the ticks that lie within the view."""
    if not axis.get_visible() or not axis.axes.axison:
        return []
    low, high = sorted(axis.get_view_interval())
    margin = 1e-6 * (high - low)
    return [
        tick.label1
        for tick in axis.get_major_ticks()
        if low - margin <= tick.get_loc() <= high + margin
        and tick.label1.get_visible()
        and tick.label1.get_text()
    ]


def _texts(figure):
    """All that is written, but for ticks that are not in the view."""
    ticks, shown = set(), set()
    for ax in _all_axes(figure):
        for axis in (ax.xaxis, ax.yaxis):
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                ticks |= {tick.label1, tick.label2}
            shown |= set(_shown_labels(axis))
    hidden = {
        part
        for ax in _all_axes(figure)
        if not ax.axison
        for axis in (ax.xaxis, ax.yaxis)
        for part in axis.findobj(Text)
    }
    for text in figure.findobj(Text):
        is_written = text.get_text().strip() and text.get_visible()
        is_out_of_view = text in ticks and text not in shown
        if is_written and not is_out_of_view and text not in hidden:
            yield text


def _assert_apart(labels, direction):
    if any(label.get_rotation() % 90 for label in labels):
        return  # boxes of slanted names overlap, the names do not
    boxes = [label.get_window_extent() for label in labels]
    ends = sorted(
        (box.x0, box.x1) if direction == "x" else (box.y0, box.y1) for box in boxes
    )
    for first, second in pairwise(ends):
        assert first[1] <= second[0] + 1, [label.get_text() for label in labels]


def texts_of(ax):
    return [text.get_text() for text in ax.texts]
