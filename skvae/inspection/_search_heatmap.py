"""Scores of a search over two parameters."""

from typing import Any, Self

import numpy as np

from ._cv_results import (
    column,
    in_order,
    index_of,
    parameter,
    results_of,
    searched,
    values_of,
)
from ._drawing import (
    HIGHLIGHT,
    axes_or_new,
    documented,
    name_some,
    need_matplotlib,
    note,
    number,
    write_cells,
)

# Spreads of scores, as a share of their size, that are rounding.
ROUNDING = 1e-6


class SearchHeatmapDisplay:
    """Held-out scores over a grid of two parameters, the best one framed.

    Create it by :meth:`from_estimator` or :meth:`from_cv_results`. The lower quarter of
    the scores shares the darkest colours, so that a hopeless candidate does not take
    them from those that are not. Candidates that failed are left blank.

    Parameters
    ----------
    scores : ndarray of shape (n_y_values, n_x_values)
        Greater is better; NaN where there is none.
    x_values, y_values : sequence
        Of the parameters, in order.
    x_name, y_name : str
    score_name : str, default="held-out score"

    Attributes
    ----------
    image_ : matplotlib.image.AxesImage
    texts_ : list of matplotlib.text.Text
        The numbers in the cells, none where these are too small.
    frame_ : matplotlib.patches.Rectangle or None
        Around the best.
    colorbar_ : matplotlib.colorbar.Colorbar
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import SearchHeatmapDisplay
    >>> grid = GridSearchCV(
    ...     VAETransformer(max_epochs=3, random_state=0),
    ...     {"beta": [0.5, 1.0, 2.0], "latent_dim": [2, 4]},
    ...     cv=2,
    ... ).fit(load_wine().data)
    >>> SearchHeatmapDisplay.from_estimator(grid)
    <...>
    >>> plt.show()
    """

    ax_: Any
    colorbar_: Any
    figure_: Any
    frame_: Any
    image_: Any
    score_name: Any
    texts_: Any

    def __init__(
        self,
        *,
        scores: Any,
        x_values: Any,
        y_values: Any,
        x_name: Any,
        y_name: Any,
        score_name: str | None = "held-out score",
    ) -> None:
        self.scores = scores
        self.x_values = x_values
        self.y_values = y_values
        self.x_name = x_name
        self.y_name = y_name
        self.score_name = score_name

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        *,
        x: Any = None,
        y: Any = None,
        score: str | None = None,
        score_name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw a fitted search.

        Parameters
        ----------
        estimator : a search, such as GridSearchCV
            Fitted.
        x, y : str, default=None
            The parameters of the axes, by their whole names or the last part. By
            default ``kld_weight`` or ``beta``, and ``latent_dim``, or else the first
            two.
        score : str, default=None
            Which score, where the search has several; by default the one of ``refit``.
        score_name : str, default=None
            Of the scale of colours, with its unit.
        %(ax)s

        Returns
        -------
        display : SearchHeatmapDisplay

        Raises
        ------
        TypeError
            If the estimator is no fitted search.
        ValueError
            If it has no such parameters or score.
        """
        need_matplotlib()
        results = results_of(estimator)
        refit = getattr(estimator, "refit", None)
        if score is None and isinstance(refit, str):
            score = refit
        return cls.from_cv_results(
            results, x=x, y=y, score=score, score_name=score_name, ax=ax
        )

    @classmethod
    @documented
    def from_cv_results(
        cls,
        cv_results: Any,
        *,
        x: Any = None,
        y: Any = None,
        score: str | None = None,
        score_name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the results of a search.

        Where more than two parameters were searched, a cell is the best over the
        others.

        Parameters
        ----------
        cv_results : dict
            ``cv_results_`` of a search.
        x, y : str, default=None
            As in :meth:`from_estimator`.
        score : str, default=None
            Which score, where the search has several; by default "score", or else
            "elbo".
        score_name : str, default=None
            As in :meth:`from_estimator`.
        %(ax)s

        Returns
        -------
        display : SearchHeatmapDisplay

        Raises
        ------
        ValueError
            If the results have no such parameters or score.
        """
        need_matplotlib()
        if score is None:
            score = "score" if "mean_test_score" in cv_results else "elbo"
        means = column(cv_results, score)
        x, y = _axes_of(cv_results, x, y)
        columns, rows = values_of(cv_results, x), values_of(cv_results, y)
        x_values, y_values = in_order(columns), in_order(rows)
        scores = np.full((len(y_values), len(x_values)), np.nan)
        for mean, across, up in zip(means, columns, rows, strict=True):
            at = index_of(up, y_values), index_of(across, x_values)
            scores[at] = np.fmax(scores[at], mean if np.isfinite(mean) else np.nan)
        if score_name is None:
            nats = score in ("elbo", "rate", "distortion")
            name = "ELBO" if score == "elbo" else score
            score_name = f"held-out {name}{' (nats per row)' if nats else ''}"
        display = cls(
            scores=scores,
            x_values=x_values,
            y_values=y_values,
            x_name=x.split("__")[-1],
            y_name=y.split("__")[-1],
            score_name=score_name,
        )
        return display.plot(ax)

    @documented
    def plot(self, ax: Any = None, *, cmap: str = "viridis") -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default="viridis"

        Returns
        -------
        display : SearchHeatmapDisplay

        Raises
        ------
        ValueError
            If there is no score.
        """
        need_matplotlib()
        from matplotlib.patches import Rectangle

        scores = np.asarray(self.scores, dtype=float)
        if not np.isfinite(scores).any():
            raise ValueError("No candidate has a score.")
        ax = axes_or_new(ax)
        low, high = _scale(scores)
        self.image_ = ax.imshow(
            scores, aspect="auto", vmin=low, vmax=high, origin="lower", cmap=cmap
        )
        self.texts_ = write_cells(ax, self.image_, _texts(scores))
        i, j = np.unravel_index(np.nanargmax(scores), scores.shape)
        style: dict[str, Any] = {
            "fill": False,
            "edgecolor": HIGHLIGHT,
            "linewidth": 3,
            "zorder": 3,
        }
        self.frame_ = Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, **style)
        ax.add_patch(self.frame_)
        crowded = len(self.x_values) > 6
        turned: dict[str, Any] = {
            "rotation": 45,
            "ha": "right",
            "rotation_mode": "anchor",
        }
        name_some(
            ax.xaxis, [number(v) for v in self.x_values], **(turned if crowded else {})
        )
        name_some(ax.yaxis, [number(v) for v in self.y_values])
        ax.set(xlabel=self.x_name, ylabel=self.y_name)
        extend = "min" if np.nanmin(scores) < low else "neither"
        self.colorbar_ = ax.figure.colorbar(
            self.image_, ax=ax, extend=extend, label=self.score_name
        )
        self.colorbar_.formatter.set_useOffset(False)
        self.colorbar_.update_ticks()
        n_failed = int(np.isnan(scores).sum())
        if n_failed:
            ax.set_facecolor("#e6e6e6")
            note(ax, f"{n_failed} without a score", "upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _axes_of(results, x: str | None, y: str | None) -> tuple[str, str]:
    """Whole names of the two parameters.

    Raises
    ------
    ValueError
        If the search has no such parameters, or not two.
    """
    names = searched(results)
    found: list[str | None] = []
    for wanted, usual in ((x, ("kld_weight", "beta")), (y, ("latent_dim",))):
        if wanted is not None:
            name = parameter(results, wanted)
            if name is None:
                raise ValueError(
                    f"The search has no parameter {wanted!r}; it has "
                    f"{', '.join(names)}."
                )
            found.append(name)
        else:
            known = [parameter(results, name) for name in usual]
            found.append(next((name for name in known if name is not None), None))
    for i, name in enumerate(found):
        if name is None:
            others = [other for other in names if other not in found]
            if not others:
                raise ValueError(
                    "The picture has two axes, and the search one parameter: "
                    f"{', '.join(names)}."
                )
            found[i] = others[0]
    first, second = found
    if first is None or first == second or second is None:
        raise ValueError(f"x and y are both {first!r}: name two parameters.")
    return first, second


def _scale(scores: np.ndarray) -> tuple[float, float]:
    """Colours for the candidates that are not hopeless."""
    low, high = np.nanpercentile(scores, 25), np.nanmax(scores)
    if high - low <= ROUNDING * max(1.0, abs(high)):  # colours of rounding, else
        low = high - 1.0
    return float(low), float(high)


def _texts(scores: np.ndarray) -> np.ndarray:
    """Scores with as many decimals as tell them apart."""
    low, high = _scale(scores)
    decimals = int(np.clip(2 - np.floor(np.log10(high - low)), 1, 4))
    texts = np.empty(scores.shape, dtype=object)
    for at, score in np.ndenumerate(scores):
        # A hopeless one needs no decimals, which would make all of them small.
        long = np.isfinite(score) and low - score > 100 * (high - low)
        texts[at] = "" if np.isnan(score) else f"{score:.{0 if long else decimals}f}"
        if len(texts[at]) > 9:
            texts[at] = f"{score:.2g}"
    return texts
