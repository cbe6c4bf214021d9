"""The pictures of ``benchmark_ae.py``."""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from skvae.cli.plots import frame_points
from skvae.cli.runs import FinishedRun

MARKERS = "osD^vP*X"
MAX_LABELS = 20
# Shares of the picture's width and height within which points lie on each other.
COINCIDE = 0.02


def _figure(width: float, height: float) -> Figure:
    """The object-oriented interface: no global state, no window system."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_rate_distortion(path: Path, runs: list[FinishedRun]) -> None:
    """Held-out error against rate, one point a run, the best one ringed.

    Parameters
    ----------
    path : Path
    runs : list of FinishedRun
        Best first. Those without a rate (plain autoencoders) are lines at their error.
    """
    points = [r.metrics for r in runs if r.metrics["rate"] is not None]
    figure = _figure(7.6, 5.0)
    axis = figure.subplots()
    norm = _weight_norm([m["kld_weight"] for m in points])
    markers = _markers(points)
    handles = []
    position = np.array([[m["rate"], m["mse"]] for m in points])
    rings = _rings(position)
    for dim, marker in markers.items():
        group = [i for i, m in enumerate(points) if dim in (None, m["latent_dim"])]
        for i in sorted(group, key=lambda i: -rings[i]):
            axis.scatter(
                *position[i],
                c=[max(points[i]["kld_weight"], norm.vmin)],
                norm=norm,
                cmap="viridis",
                marker=marker,
                s=70 * (1 + rings[i]) ** 1.5,
                edgecolors="black",
                linewidths=0.6,
                # Larger ones lie below: all of a heap are seen.
                zorder=3 + 1 / (1 + rings[i]),
            )
        if dim is not None:
            style = {"marker": marker, "markerfacecolor": "white", "linestyle": ""}
            label = f"{dim} unit{'s' * (dim > 1)}"
            handles.append(
                Line2D([], [], markeredgecolor="black", label=label, **style)
            )
    best = points[0]
    ring = {"s": 260, "facecolors": "none", "edgecolors": "red", "linewidths": 2}
    handles.append(
        axis.scatter(best["rate"], best["mse"], label="best ELBO", zorder=2, **ring)
    )
    handles += _plain_lines(axis, runs)
    axis.margins(0.08)
    _count_heaps(axis, position, rings)
    axis.grid(alpha=0.3)
    axis.set(
        xlabel="rate: KL from the prior (nats per row)",
        ylabel="held-out mean squared error (squared units of X)",
        title="Rate and distortion of held-out rows",
    )
    axis.legend(handles=handles, fontsize=9)
    zero = any(m["kld_weight"] == 0 for m in points)
    name = "kld_weight (0 in the lowest colour)" if zero else "kld_weight"
    figure.colorbar(ScalarMappable(norm, "viridis"), ax=axis, label=name)
    figure.savefig(path, dpi=120)


def _heaps(position: np.ndarray) -> list[np.ndarray]:
    """Indices of points (n, 2) that a picture shows in one place, heap by heap."""
    width = np.ptp(position, axis=0)
    unit = position / np.where(width > 0.0, width, 1.0)
    left, heaps = np.arange(len(unit)), []
    while len(left):
        near = np.abs(unit[left] - unit[left[0]]).max(axis=1) <= COINCIDE
        heaps.append(left[near])
        left = left[~near]
    return heaps


def _rings(position: np.ndarray) -> np.ndarray:
    """The number of every point within its heap: each is drawn as a wider ring."""
    rings = np.zeros(len(position), int)
    for heap in _heaps(position):
        rings[heap] = np.arange(len(heap))
    return rings


def _count_heaps(axis, position: np.ndarray, rings: np.ndarray) -> None:
    """Say how many runs lie in one place."""
    for heap in _heaps(position):
        if len(heap) > 1:
            radius = 5.0 * (1 + rings[heap].max()) ** 0.75
            axis.annotate(
                f"{len(heap)} runs",
                position[heap[0]],
                xytext=(radius, radius),
                textcoords="offset points",
                fontsize=8,
                zorder=5,
            )


def _weight_norm(weights: list[float]) -> LogNorm:
    """Colours of weights; a weight of 0, which has no logarithm, gets the lowest."""
    positive = [w for w in weights if w > 0] or [1.0]
    low, high = min(positive), max(positive)
    return LogNorm(low / 10, high * 10) if low == high else LogNorm(low, high)


def _markers(points: list[dict]) -> dict:
    """A marker for each ``latent_dim``, or one for all if there are too many."""
    dims = sorted({m["latent_dim"] for m in points})
    if len(dims) > len(MARKERS):
        return {None: MARKERS[0]}
    return dict(zip(dims, MARKERS, strict=False))


def _plain_lines(axis, runs: list[FinishedRun]) -> list:
    """A line at the least error of every kind of model that has no rate."""
    errors: dict[str, list[float]] = {}
    for run in runs:
        if run.metrics["rate"] is None:
            errors.setdefault(run.metrics["estimator"], []).append(run.metrics["mse"])
    styles = ("--", "-.", ":")
    return [
        axis.axhline(
            min(values), color="grey", linestyle=styles[i % 3], label=name, zorder=1
        )
        for i, (name, values) in enumerate(errors.items())
    ]


def draw_features(path: Path, run: FinishedRun, title: str) -> None:
    """Mean and variance of every feature, of held-out rows and reconstructions."""
    arrays = run.arrays
    figure = _figure(9.6, 4.9)
    figure.suptitle(_wrapped(title, 100), fontsize=10)
    left, right = figure.subplots(1, 2)
    _draw_against(left, arrays["mean"], arrays["reconstructed_mean"], "mean")
    variance = arrays["variance"], arrays["reconstructed_variance"]
    positive = np.concatenate([v[v > 0] for v in variance])
    if not positive.size:
        _draw_against(right, *variance, "variance")
    else:
        # A variance far below all others, or 0, must not take the axes from them.
        floor = max(positive.min(), positive.max() * 1e-6)
        _draw_against(right, *(np.maximum(v, floor) for v in variance), "variance")
        right.set(xscale="log", yscale="log")
        _label_decades(right.xaxis)
        _label_decades(right.yaxis)
        n_low = int(((variance[0] < floor) | (variance[1] < floor)).sum())
        if n_low:
            low = f"{floor:.1g}"
            note = f"{n_low} with a variance below {low}\nare drawn at {low}"
            corner = {"transform": right.transAxes, "ha": "right", "va": "bottom"}
            right.text(0.98, 0.03, note, fontsize=9, **corner)
    figure.savefig(path, dpi=120)


def _label_decades(axis) -> None:
    """Ticks of a logarithmic axis; within two decades, at 2 and 5 as well."""
    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _draw_against(axis, real, rebuilt, what: str) -> None:
    """Reconstructed against real, with the diagonal."""
    # Two points of the diagonal that differ, even if all features are alike.
    low, high = float(real.min()), float(real.max())
    high = high if high > low else abs(low) * 2 + 1.0
    axis.axline((low, low), (high, high), color="grey", linewidth=1, label="equal")
    alpha = 0.6 if len(real) < 500 else 0.3
    style = {"s": 14, "alpha": alpha, "linewidths": 0, "label": "a feature"}
    axis.scatter(real, rebuilt, **style)
    axis.grid(alpha=0.3)
    units = "units of X" if what == "mean" else "squared units of X"
    axis.set(
        xlabel=f"{what}, held-out rows ({units})",
        ylabel=f"{what}, reconstructions ({units})",
        title=f"{what.capitalize()} of each of {len(real)} features",
    )
    legend = axis.legend(fontsize=9, loc="upper left")
    legend.legend_handles[-1].set_alpha(1.0)


def draw_codes(path: Path, run: FinishedRun, title: str) -> None:
    """Codes of held-out rows in two dimensions, coloured by label if there are any."""
    codes, labels = run.arrays["codes"], run.arrays.get("labels")
    figure = _figure(7.4, 5.4)
    axis = figure.subplots()
    flat = codes.shape[1] == 1
    x = codes[:, 0]
    # One unit: heights that mean nothing keep points apart.
    y = np.random.RandomState(0).uniform(size=len(x)) if flat else codes[:, 1]
    style = {"s": 14, "alpha": 0.75, "linewidths": 0}
    if labels is None:
        axis.scatter(x, y, **style)
    else:
        for name, colour, rows in _groups(labels):
            axis.scatter(x[rows], y[rows], color=colour, label=name, **style)
        figure.legend(loc="outside right upper", markerscale=2, fontsize=9)
    own = run.metrics["latent_dim"] <= 2
    names = ("unit 0", "unit 1") if own else ("component 1", "component 2")
    axis.set(xlabel=f"{names[0]} (units of X)", ylabel=f"{names[1]} (units of X)")
    if flat:
        axis.set(yticks=[], ylabel="")
    what = "Codes" if own else "Principal components of the codes"
    axis.set_title(
        f"{what} of {len(x)} held-out rows\n{_wrapped(title, 60)}", fontsize=10
    )
    axis.grid(alpha=0.3)
    frame_points(axis, np.column_stack([x, y]))
    figure.savefig(path, dpi=120)


def _groups(labels) -> list[tuple]:
    """Name, colour and rows of every label; the rarest share one if there are many."""
    names, counts = np.unique(labels, return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")][:MAX_LABELS]
    kept = sorted(kept, key=_number_first)
    colours = matplotlib.colormaps["tab10" if len(kept) <= 10 else "tab20"].colors
    groups = [(n, c, labels == n) for n, c in zip(kept, colours, strict=False)]
    others = ~np.isin(labels, kept)
    if others.any():
        n_others = len(names) - len(kept)
        groups.insert(0, (f"{n_others} others", "black", others))
    return groups


def _number_first(name: str) -> tuple:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _wrapped(title: str, width: int) -> str:
    """Lines of about ``width`` that end at commas: names and numbers stay whole."""
    spaced = title.replace(",", ", ")
    whole = {"break_on_hyphens": False, "break_long_words": False}
    return "\n".join(textwrap.wrap(spaced, width, **whole))
