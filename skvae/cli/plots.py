"""The picture of a search. Needs matplotlib (``skvae[plot]``)."""

import numpy as np
from sklearn.model_selection import GridSearchCV

from .._utils.optional import optional_import

DOTS = {"s": 7, "alpha": 0.7, "linewidths": 0}
# More classes than colours that can be told apart.
MOST_CLASSES = 20
# Fewer rows have no tails.
A_HANDFUL = 10


def plot_search(
    path: str,
    grid: GridSearchCV,
    rows: list[dict],
    X,
    labels=None,
    image_shape: tuple[int, int] | None = None,
) -> None:
    """Draw the scores of the grid, the winner's codes, and reconstructions of images.

    Parameters
    ----------
    path : str
        File to write; its ending chooses the format.
    grid : GridSearchCV
        Fitted, its winner refitted on all rows.
    rows : list of dict
        As :func:`skvae._search.results` gives them.
    X : array-like of shape (n_samples, n_features)
    labels : array-like of shape (n_samples,), optional
        Colours of the codes.
    image_shape : tuple of int, optional
        Height and width, if a row is an image.
    """
    optional_import("matplotlib", "plot")
    # The object-oriented interface: no global state, no window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_panels = 2 + (image_shape is not None)
    figure = Figure(figsize=(5.2 * n_panels, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, n_panels)
    _draw_scores(figure, axes[0], rows)
    _draw_codes(figure, axes[1], grid.best_estimator_, X, labels)
    if image_shape is not None:
        _draw_images(axes[2], grid.best_estimator_, np.asarray(X), image_shape)
    figure.savefig(path, dpi=110)


def _draw_scores(figure, axis, rows: list[dict]) -> None:
    """ELBO of every candidate, the winner framed."""
    weights = sorted({r["kld_weight"] for r in rows})
    dims = sorted({r["latent_dim"] for r in rows})
    elbo = np.full((len(dims), len(weights)), np.nan)
    for r in rows:
        elbo[dims.index(r["latent_dim"]), weights.index(r["kld_weight"])] = r["elbo"]
    # A candidate that is hopeless must not take the colours from those that are not.
    low, high = np.nanpercentile(elbo, 25), np.nanmax(elbo)
    if high - low <= 1e-6 * max(1.0, abs(high)):  # colours of rounding, else
        low = high - 1.0
    image = axis.imshow(elbo, aspect="auto", vmin=low, origin="lower", cmap="viridis")
    middle = (low + high) / 2
    for (i, j), value in np.ndenumerate(elbo):
        colour = "black" if value > middle else "white"
        axis.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour)
    best = next(r for r in rows if r["best"])
    i, j = dims.index(best["latent_dim"]), weights.index(best["kld_weight"])
    frame = ([j - 0.46, j + 0.46, j + 0.46, j - 0.46], [i - 0.46] * 2 + [i + 0.46] * 2)
    axis.fill(*frame, fill=False, edgecolor="red", linewidth=2.5)
    axis.set_xticks(range(len(weights)), [f"{w:.2g}" for w in weights])
    axis.set_yticks(range(len(dims)), dims)
    axis.set(
        xlabel="kld_weight",
        ylabel="latent_dim",
        title="Held-out ELBO (nats per row); best framed",
    )
    figure.colorbar(image, ax=axis, extend="min")


def _draw_codes(figure, axis, model, X, labels) -> None:
    """The two widest units of the winner's codes."""
    codes = np.asarray(model.transform(X), dtype=float)
    inner = [_inner_range(unit) for unit in codes.T]
    widest = np.argsort([low - high for low, high in inner], kind="stable")[:2]
    shown = codes[:, [widest[0], widest[-1]]]
    if labels is None:
        axis.scatter(*shown.T, **DOTS)
    else:
        _draw_labelled(figure, axis, shown, np.asarray(labels))
    frame_points(axis, shown)
    axis.set(
        xlabel=f"unit {widest[0]}",
        ylabel=f"unit {widest[-1]}",
        title="Codes of the winner: its two widest units",
    )


def frame_points(axis, shown: np.ndarray) -> None:
    """Frame points (n, 2) so that a few odd ones do not squeeze the others.

    How many lie outside stands in a corner.
    """
    limits = [_limits(column) for column in shown.T]
    axis.set(xlim=limits[0], ylim=limits[1])
    low, high = np.transpose(limits)
    n_outside = int(((shown < low) | (shown > high)).any(axis=1).sum())
    if n_outside:
        text = f"{n_outside} of {len(shown)} rows lie outside"
        place = {"transform": axis.transAxes, "ha": "right", "va": "bottom"}
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        axis.text(0.98, 0.02, text, fontsize=8, bbox=box, **place)


def _inner_range(values: np.ndarray) -> tuple[float, float]:
    """The middle nine tenths; of a handful of rows, all."""
    if len(values) < A_HANDFUL:
        return float(values.min()), float(values.max())
    low = np.quantile(values, 0.05, method="higher")
    high = np.quantile(values, 0.95, method="lower")
    return float(low), float(high)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """An axis for these values, not for those far from all the others."""
    low, high = _inner_range(values)
    width = high - low
    if width > 0.0:
        values = values[(values >= low - width) & (values <= high + width)]
    least, greatest = float(values.min()), float(values.max())
    margin = 0.05 * (greatest - least) or 0.5
    return least - margin, greatest + margin


def _draw_labelled(figure, axis, shown: np.ndarray, labels: np.ndarray) -> None:
    """Colours by label: a class each, or a scale for numbers of many values."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    if len(names) > MOST_CLASSES and _numeric(names):
        values = labels.astype(float)
        low, high = _limits(values)
        dots = axis.scatter(*shown.T, c=values, vmin=low, vmax=high, **DOTS)
        figure.colorbar(dots, ax=axis, label="label", extend="both")
        return
    frequent = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    classes: list[str] = names[frequent].tolist()
    classes = sorted(classes, key=float) if _numeric(classes) else sorted(classes)
    others = ~np.isin(labels.astype(str), classes)
    if others.any():
        n_others = len(names) - len(classes)
        style = DOTS | {"s": 2, "color": "black"}
        axis.scatter(*shown[others].T, label=f"{n_others} others", **style)
    from matplotlib import colormaps

    colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
    for i, name in enumerate(classes):
        rows = labels.astype(str) == name
        axis.scatter(*shown[rows].T, label=name, color=colours(i), **DOTS)
    axis.legend(markerscale=2, fontsize=7, ncols=2 if len(names) > 10 else 1)


def _numeric(names) -> bool:
    try:
        return bool(np.isfinite([float(name) for name in names]).all())
    except ValueError:
        return False


def _draw_images(axis, model, X, shape: tuple[int, int]) -> None:
    """Rows above their reconstructions, twice, and draws from the model, as tiles."""
    n_tiles = 6
    shown = X[np.linspace(0, len(X) - 1, 2 * n_tiles).astype(int)]
    rebuilt = model.inverse_transform(model.transform(shown))
    draws = model[-1].sample(2 * n_tiles, random_state=0)
    drawn = model[:-1].inverse_transform(draws)
    pairs = zip(np.split(shown, 2), np.split(rebuilt, 2), strict=True)
    strips = [strip for pair in pairs for strip in pair] + np.split(drawn, 2)
    pad = ((0, 1), (0, 1))
    tiles = [
        np.hstack([np.pad(r.reshape(shape), pad, constant_values=X.min()) for r in s])
        for s in strips
    ]
    axis.imshow(np.vstack(tiles), cmap="gray_r", vmin=X.min(), vmax=X.max())
    names = ["data", "reconstr.", "data", "reconstr.", "drawn", "drawn"]
    axis.set_yticks([(shape[0] + 1) * (i + 0.5) - 1 for i in range(6)], names)
    axis.set_xticks([])
    axis.set_title("Rows, their reconstructions, new draws")
