"""Labels of points: classes with colours that are told apart, or a scale."""

import re
from dataclasses import dataclass

import numpy as np

from ._drawing import MUTED, PALETTE, legend_beside, limits, shortened, styled

# More are no longer told apart: the rarest share a colour.
MOST_CLASSES = 20
MARKERS = "o^s"
MISSING = {"color": "#bbbbbb", "marker": "x", "linewidths": 0.8}


@dataclass(frozen=True)
class Classes:
    """Rows by class: the frequent ones, those of all others, those without a label."""

    names: list[str]
    rows: list[np.ndarray]
    others: np.ndarray
    n_others: int
    missing: np.ndarray


@dataclass(frozen=True)
class Scale:
    """A number a row, NaN where there is none."""

    values: np.ndarray


def read_labels(labels) -> Classes | Scale:
    """Classes, or a scale where there are many numbers."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.ravel()
    if labels.ndim != 1:
        raise ValueError(f"Labels must have one value a row; they are {labels.shape}.")
    missing = _missing(labels)
    texts = labels.astype(str)
    if labels.dtype.kind == "f":  # 1.0 is a class named 1
        texts = np.array([f"{value:g}" for value in labels], dtype=str)
    names, counts = np.unique(texts[~missing], return_counts=True)
    if len(names) > MOST_CLASSES and _numeric(names):
        values = np.full(len(labels), np.nan)
        values[~missing] = labels[~missing].astype(float)
        return Scale(values)
    frequent = names[np.argsort(-counts, kind="stable")[:MOST_CLASSES]].tolist()
    kept = sorted(frequent, key=float if _numeric(frequent) else _natural)
    others = ~np.isin(texts, kept) & ~missing
    rows = [(texts == name) & ~missing for name in kept]
    return Classes(kept, rows, others, len(names) - len(kept), missing)


def _missing(labels: np.ndarray) -> np.ndarray:
    """Whether a label is None, NaN, NaT or empty, as frames and files have them."""
    if labels.dtype.kind in "biu":
        return np.zeros(len(labels), bool)
    if labels.dtype.kind in "US":
        return labels == ""
    if labels.dtype.kind in "fcmM":
        return np.isnan(labels)
    return np.array([_is_missing(value) for value in labels], bool)


def _is_missing(value) -> bool:
    if value is None or (isinstance(value, str) and value == ""):
        return True
    try:
        return bool(value != value)  # only what is missing differs from itself
    except TypeError:  # pandas.NA says neither
        return True


def _natural(name: str) -> list:
    """For an order in which B2 stands before B10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


def _numeric(names) -> bool:
    try:
        return bool(np.isfinite([float(name) for name in names]).all())
    except ValueError:
        return False


def draw_labelled(ax, points: np.ndarray, labels, name: str, style: dict):
    """Scatter points (n, 2) by label; returns legend and colour bar, either None."""
    found = read_labels(labels)
    if isinstance(found, Scale):
        return None, _draw_scale(ax, points, found, name, style)
    return _draw_classes(ax, points, found, name, style), None


def _draw_scale(ax, points, scale: Scale, name: str, style: dict):
    known = np.isfinite(scale.values)
    if not known.all():
        _draw_missing(ax, points[~known], style)
        ax.legend(fontsize=8)
    low, high = limits(scale.values)
    values = scale.values[known]
    own = {"cmap": "viridis", "vmin": low, "vmax": high}
    own = styled_dots(own, style)
    own.pop("color", None)
    dots = ax.scatter(*points[known].T, c=values, **own)
    below, above = (values < low).any(), (values > high).any()
    ends = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}
    extend = ends[int(below), int(above)]
    return ax.figure.colorbar(dots, ax=ax, label=name, extend=extend)


def _draw_classes(ax, points, classes: Classes, name: str, style: dict):
    if classes.missing.any():
        _draw_missing(ax, points[classes.missing], style)
    if classes.others.any():
        own = styled_dots({"color": MUTED, "s": 4}, style)
        ax.scatter(*points[classes.others].T, label=f"{classes.n_others} others", **own)
    for i, (label, rows) in enumerate(zip(classes.names, classes.rows, strict=True)):
        own = {
            "color": PALETTE[i % len(PALETTE)],
            "marker": MARKERS[i // len(PALETTE)],
        }
        ax.scatter(*points[rows].T, label=shortened(label), **styled_dots(own, style))
    n_names = len(classes.names) + classes.others.any() + classes.missing.any()
    legend = legend_beside(
        ax,
        title=shortened(name),
        fontsize=8,
        title_fontsize=8,
        markerscale=1.6,
        labelspacing=0.3,
        ncols=2 if n_names > 24 else 1,
    )
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)
    return legend


def _draw_missing(ax, points, style: dict) -> None:
    own = styled_dots(MISSING, style)
    ax.scatter(*points.T, label=f"no label ({len(points)})", **own)


def styled_dots(own: dict, style: dict) -> dict:
    """The style of a group of points: its own, under what a user set."""
    from matplotlib.collections import PathCollection

    default = {"s": 18, "alpha": 0.75, "linewidths": 0, "rasterized": True}
    return styled(PathCollection, {**default, **own}, style)
