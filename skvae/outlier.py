"""VAEOutlierDetector: rows that are not like the others."""

from numbers import Real
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ._data.frames import (
    NUMBER,
    Column,
    columns_of,
    frame_of,
    has_words,
    index_of,
    library_of,
)
from ._utils.typing import RandomState, Table
from ._utils.validation import from_torch
from .vae import VAETransformer


class VAEOutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier detection by the likelihood of a variational autoencoder.

    Fitted to rows among which outliers may be, without being told which. A network
    that explains its training rows as well as it can explains outliers, too, which is
    what makes autoencoders worse at this than PCA [1]_. Three things are against that:
    units pay ``beta=30`` times for what they know of a row, so that few odd rows are no
    use to them; the hundredth of the rows that scores lowest is left out of a second
    fit; and the score is the mean of the log-densities of the network and of the linear
    model that its training began at (factor analysis, of which one is worse where the
    other is better): a row has to be likely in both.

    Parameters
    ----------
    estimator : VAETransformer or None, default=None
        What is fitted, a clone of it. None is ``VAETransformer(beta=30)``, with
        ``likelihood="mixed"`` for a table that has words or truths in it, which was
        best of several on tables whose outliers are far from other rows; where rows are
        odd only by how columns go together, a smaller ``beta`` is. Its
        parameters can be searched as ``estimator__latent_dim`` etc. Likelihoods without
        a linear model ("mixed", counts) are scored by the network alone.
    contamination : "auto" or float, default="auto"
        Share of the training rows, in (0, 0.5], that :meth:`predict` takes for
        outliers. "auto" takes those below the lower fence of Tukey's boxplot: one and a
        half times the distance of the quartiles of the training rows' scores below the
        first.
    trim : float, default=0.01
        Share of the training rows, in [0, 0.5), that is left out of a second fit: those
        with the lowest score in the first (a concentration step [2]_). More helps where
        outliers are a crowd of their own; where ordinary rows have long tails it takes
        these for outliers. 0 is one fit.
    random_state : int, RandomState instance or None, default=None
        Of the fit, where the estimator has none of its own.

    Attributes
    ----------
    estimator_ : VAETransformer
        The fitted one.
    offset_ : float
        Nats: ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has some that are all strings.

    See Also
    --------
    sklearn.ensemble.IsolationForest : By how soon random splits single a row out.
    sklearn.neighbors.LocalOutlierFactor : By the density of a row's neighbours.

    References
    ----------
    .. [1] Nalisnick, Matsukawa, Teh, Gorur and Lakshminarayanan (2019). Do Deep
       Generative Models Know What They Don't Know? ICLR.
    .. [2] Rousseeuw and Van Driessen (1999). A Fast Algorithm for the Minimum
       Covariance Determinant Estimator. Technometrics 41.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEOutlierDetector, VAETransformer
    >>> X = load_iris().data.copy()
    >>> X[7] = 3.0, 3.0, 5.0, 0.2
    >>> vae = VAETransformer(2, beta=30.0, max_epochs=10, random_state=0)
    >>> detector = VAEOutlierDetector(vae, contamination=0.01)
    >>> np.flatnonzero(detector.fit_predict(X) == -1)[0] == 7
    True
    """

    estimator_: Any
    offset_: float
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "score_samples"]), None],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "trim": [Interval(Real, 0, 0.5, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        contamination: float | str = "auto",
        trim: float = 0.01,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.trim = trim
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Any = None) -> Self:
        """Fit the model to rows, some of which may be outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Training rows.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If X or a parameter is invalid.
        """
        self._fit(X)
        return self

    def fit_predict(self, X: Table, y: Any = None) -> np.ndarray:
        """Fit the model, and tell which rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        is_inlier : ndarray of int of shape (n_samples,)
            -1 for outliers and 1 for others.
        """
        return self.fit(X).predict(X)

    def score_samples(self, X: Table) -> np.ndarray:
        """Mean log-density of rows in the network and in its linear model.

        Of a likelihood without a linear model, of the network alone: the evidence lower
        bound (see :meth:`VAETransformer.score_samples`).

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Nats per row, float64; the lower, the more of an outlier.
        """
        check_is_fitted(self, "estimator_")
        return _scores(self.estimator_, X)

    def decision_function(self, X: Table) -> np.ndarray:
        """How far the score of rows is above the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``, nats; negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Table) -> np.ndarray:
        """Tell which rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        is_inlier : ndarray of int of shape (n_samples,)
            -1 for outliers and 1 for others.
        """
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def reasons(self, X: Table) -> Any:
        """How much every column adds to what makes a row odd.

        The nats that a column costs given the code of the row, less what it costs the
        training rows on average: the columns with the largest values are why a row has
        a low score. What its code costs, as of an unusual but consistent row, is no
        column's.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        nats : ndarray or frame of shape (n_samples, n_features)
            In the order of the columns of X, and of a frame with their names: for a row
            of it, ``nats.iloc[i].nlargest(3)`` are the columns that are oddest. Where X
            has a gap, what such columns cost on average, negative.
        """
        check_is_fitted(self, "estimator_")
        nats = self.estimator_._nats_per_feature(X) - self._usual_nats
        if not library_of(X):
            return nats
        columns = [
            Column(column.name, "float64", NUMBER, own)
            for column, own in zip(columns_of(X), nats.T, strict=True)
        ]
        return frame_of(library_of(X), columns, index_of(X))

    def _fit(self, X: Table) -> np.ndarray:
        """Fit the model; the scores of the training rows."""
        validate_data(self, X, reset=True, skip_check_array=True)
        if self.estimator is not None:
            estimator = clone(self.estimator)
        else:
            likelihood = "mixed" if has_words(X) else "auto"
            estimator = VAETransformer(beta=30.0, likelihood=likelihood)
        if self.random_state is not None and estimator.random_state is None:
            estimator.set_params(random_state=self.random_state)
        # Coarse units, or none, are what this asks for.
        estimator._warns_of_collapse = False
        self.estimator_ = estimator.fit(X)
        scores = _scores(self.estimator_, X)
        n_kept = max(2, len(scores) - int(self.trim * len(scores)))
        if n_kept < len(scores):
            kept = np.sort(np.argsort(-scores, kind="stable")[:n_kept])
            estimator = clone(estimator)
            estimator._warns_of_collapse = False
            self.estimator_ = estimator.fit(_safe_indexing(_indexable(X), kept))
            scores = _scores(self.estimator_, X)
        self._usual_nats = self.estimator_._nats_per_feature(X).mean(axis=0)
        self.offset_ = self._threshold(scores)
        return scores

    def _threshold(self, scores: np.ndarray) -> float:
        if self.contamination != "auto":
            return float(np.percentile(scores, 100.0 * float(self.contamination)))
        first, third = np.percentile(scores, [25, 75])
        return float(first - 1.5 * (third - first))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = VAETransformer() if self.estimator is None else self.estimator
        tags.input_tags = inner.__sklearn_tags__().input_tags
        return tags


def _scores(estimator: VAETransformer, X: Table) -> np.ndarray:
    """Mean log-density in the network and in the linear model, if there is one."""
    scores = estimator.score_samples(X)
    linear = estimator._linear_log_likelihood(X)
    return scores if linear is None else 0.5 * (scores + linear)


def _indexable(X: Any) -> Any:
    """A frame or a matrix as it is, anything else as an array."""
    if sparse.issparse(X):
        return X.tocsr()
    return X if library_of(X) else np.asarray(from_torch(X))
