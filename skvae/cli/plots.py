"""The picture of a search. Needs matplotlib (``skvae[plot]``)."""

import numpy as np
from sklearn.model_selection import GridSearchCV

from .._utils.optional import optional_import
from ..inspection import LatentSpaceDisplay, SearchHeatmapDisplay
from ..inspection._drawing import inner_range
from ..inspection._tiles import draw_tiles

# Rows, reconstructions and draws that stand beside each other.
N_TILES = 6


def plot_search(
    path: str,
    grid: GridSearchCV,
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
    SearchHeatmapDisplay.from_estimator(grid, score="elbo", ax=axes[0])
    axes[0].set_title("Held-out ELBO (nats per row); best framed")
    _draw_codes(axes[1], grid.best_estimator_, X, labels)
    if image_shape is not None:
        _draw_images(axes[2], grid.best_estimator_, np.asarray(X), image_shape)
    figure.savefig(path, dpi=110)


def _draw_codes(axis, model, X, labels) -> None:
    """The two widest units of the winner's codes."""
    codes = np.asarray(model.transform(X), dtype=float)
    widths = [np.ptp(inner_range(unit)) for unit in codes.T]
    widest = np.argsort(-np.array(widths), kind="stable")[:2]
    LatentSpaceDisplay.from_predictions(codes, labels, units=widest, ax=axis)
    axis.set_title("Codes of the winner: its widest units")


def _draw_images(axis, model, X, shape: tuple[int, int]) -> None:
    """Rows above their reconstructions, twice, and draws from the model, as tiles."""
    shown = X[np.linspace(0, len(X) - 1, 2 * N_TILES).astype(int)]
    rebuilt = model.inverse_transform(model.transform(shown))
    draws = model[-1].sample(2 * N_TILES, random_state=0)
    drawn = model[:-1].inverse_transform(draws)
    pairs = zip(np.split(shown, 2), np.split(rebuilt, 2), strict=True)
    strips = [strip for pair in pairs for strip in pair] + np.split(drawn, 2)
    names = ["data", "reconstr.", "data", "reconstr.", "drawn", "drawn"]
    draw_tiles(axis, strips, shape, names, (float(X.min()), float(X.max())))
    axis.set_title("Rows, their reconstructions, new draws")
