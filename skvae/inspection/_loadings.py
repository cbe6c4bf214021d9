"""Which features the units move."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..metrics import _final
from ._drawing import (
    axes_or_new,
    documented,
    name_some,
    need_matplotlib,
    symmetric_limit,
    write_cells,
)
from ._fitted import checked_names, checked_units, feature_names_of, unit_of_rows


class LoadingsDisplay:
    """Loadings of features on latent units, as a heat map.

    Create it by :meth:`from_estimator`. Loadings are ``components_``: how far the
    reconstruction of a feature moves, on average over rows, per unit of the code.

    Parameters
    ----------
    components : ndarray of shape (n_units, n_features)
    feature_names : sequence of str, default=None
        "x0" and so on by default.
    units : sequence of int, default=None
        The units that ``components`` are of; 0, 1, ... by default.
    explained_variance_ratio : ndarray of shape (n_units,), default=None
        Shares of the variance, which stand below the units.
    max_features : int, default=25
        Features that are drawn, those with the largest loadings, in the order of the
        table.
    loading_name : str, default="loading (units of X per unit of code)"

    Attributes
    ----------
    features_ : ndarray of int
        Those that are drawn.
    image_ : matplotlib.image.AxesImage
    texts_ : list of matplotlib.text.Text
        The numbers in the cells, none where these are too small.
    colorbar_ : matplotlib.colorbar.Colorbar
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import LoadingsDisplay
    >>> X = load_wine(as_frame=True).data
    >>> vae = VAETransformer(3, max_epochs=5, random_state=0)
    >>> model = make_pipeline(StandardScaler(), vae).fit(X)
    >>> LoadingsDisplay.from_estimator(model)
    <...>
    >>> plt.show()
    """

    ax_: Any
    colorbar_: Any
    explained_variance_ratio: Any
    feature_names: Any
    features_: Any
    figure_: Any
    image_: Any
    loading_name: Any
    max_features: Any
    texts_: Any
    units: Any

    def __init__(
        self,
        components: Any,
        *,
        feature_names: Any = None,
        units: Any = None,
        explained_variance_ratio: Any = None,
        max_features: int = 25,
        loading_name: str = "loading (units of X per unit of code)",
    ) -> None:
        self.components = components
        self.feature_names = feature_names
        self.units = units
        self.explained_variance_ratio = explained_variance_ratio
        self.max_features = max_features
        self.loading_name = loading_name

    @classmethod
    @documented
    def from_estimator(
        cls,
        estimator: Any,
        *,
        units: Any = None,
        feature_names: Any = None,
        max_features: int = 25,
        ax: Any = None,
        cmap: str = "RdBu_r",
    ) -> Self:
        """Draw the loadings of a fitted estimator.

        Parameters
        ----------
        estimator : fitted transformer, or a Pipeline or search that ends in one
            An autoencoder of this package, or any other with ``components_``, such as
            :class:`sklearn.decomposition.PCA`.
        units : sequence of int, default=None
            Those to draw; by default all, or the first ten.
        feature_names : sequence of str, default=None
            By default those that the estimator was fitted with.
        max_features : int, default=25
            Features to draw.
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default="RdBu_r"
            A diverging one.

        Returns
        -------
        display : LoadingsDisplay

        Raises
        ------
        TypeError
            If the estimator has no ``components_``.
        ValueError
            If units or names do not fit.
        """
        need_matplotlib()
        final, _ = _final(estimator)
        check_is_fitted(final)
        components = getattr(final, "components_", None)
        if components is None:
            raise TypeError(f"{type(final).__name__} has no components_ to draw.")
        if feature_names is None:
            feature_names = feature_names_of(estimator, components.shape[1])
        if units is None:
            units = np.arange(min(len(components), 10))
        units = checked_units(units, len(components))
        ratio = getattr(final, "explained_variance_ratio_", None)
        whitened = bool(getattr(final, "whiten", False))
        code = "standard deviation of the prior" if whitened else "unit of code"
        display = cls(
            components[units],
            feature_names=feature_names,
            units=units,
            explained_variance_ratio=None if ratio is None else ratio[units],
            max_features=max_features,
            loading_name=f"loading ({unit_of_rows(final)} per {code})",
        )
        return display.plot(ax, cmap=cmap)

    @documented
    def plot(self, ax: Any = None, *, cmap: str = "RdBu_r") -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        cmap : str or matplotlib.colors.Colormap, default="RdBu_r"
            A diverging one.

        Returns
        -------
        display : LoadingsDisplay
        """
        need_matplotlib()
        loadings = np.asarray(self.components, dtype=float).T
        n_features, n_units = loadings.shape
        names = checked_names(self.feature_names, n_features)
        units = np.arange(n_units) if self.units is None else self.units
        size = np.abs(loadings).max(axis=1)
        largest = np.argsort(-size, kind="stable")[: self.max_features]
        self.features_ = np.sort(largest)
        shown = loadings[self.features_]
        # As high as the names need.
        ax = axes_or_new(ax, (6.4, float(np.clip(1.4 + 0.24 * len(shown), 3.2, 8.0))))
        limit = symmetric_limit(shown)
        self.image_ = ax.imshow(
            shown, aspect="auto", vmin=-limit, vmax=limit, cmap=cmap
        )
        texts = np.array(
            [[f"{value:.2f}" for value in row] for row in shown.round(2) + 0.0], object
        )
        fits = np.abs(shown).max() < 1000.0 and limit >= 0.05
        self.texts_ = write_cells(ax, self.image_, texts) if fits else []
        name_some(ax.yaxis, [names[i] for i in self.features_], most=30, fontsize=9)
        labels = [f"unit {i}" if n_units <= 6 else str(i) for i in units]
        ratio = self.explained_variance_ratio
        if ratio is not None and n_units <= 10:
            labels = [f"{name}\n{r:.0%}" for name, r in zip(labels, ratio, strict=True)]
        name_some(ax.xaxis, labels)
        share = ", share of variance" if ratio is not None and n_units <= 10 else ""
        ax.set_xlabel(f"latent unit{share}")
        beyond = np.abs(shown).max() > limit
        self.colorbar_ = ax.figure.colorbar(
            self.image_,
            ax=ax,
            label=self.loading_name,
            extend="both" if beyond else "neither",
        )
        if len(shown) < n_features:
            ax.set_title(
                f"{len(shown)} of {n_features} features: the largest loadings",
                fontsize=10,
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self
