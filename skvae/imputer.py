"""VAEImputer: gaps of a table, filled by a variational autoencoder."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.impute import MissingIndicator
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, MissingValues
from sklearn.utils.validation import check_is_fitted, validate_data

from ._data.frames import columns_of, has_words, library_of, with_columns
from ._utils.typing import RandomState, Table
from ._utils.validation import float_dtypes, from_torch
from .vae import VAETransformer

# Of the default estimator: columns need units of their own where others are missing,
# and several draws a row a posterior that need not be Gaussian.
UNITS, DRAWS = 20, 5


class VAEImputer(TransformerMixin, BaseEstimator):
    """Imputation by a variational autoencoder.

    Fits a :class:`VAETransformer` to what was observed, and fills gaps with what the
    rest of the row leads it to expect (see :meth:`VAETransformer.impute`). Where
    relations are linear that is what factor analysis by maximum likelihood fills in,
    which training begins at.

    Parameters
    ----------
    estimator : VAETransformer or None, default=None
        What is fitted, a clone of it, with ``missing_values="marginalize"``. None is a
        ``VAETransformer(20, n_importance_samples=5)``, with ``likelihood="mixed"`` for
        a frame that has words or truths in it. Its parameters can be searched as
        ``estimator__latent_dim`` etc.
    missing_values : number, str, None or nan, default=nan
        What stands for a gap; in frames NA, None and NaN do, too.
    sample_posterior : bool, default=False
        Whether gaps are drawn from the posterior predictive distribution, in place of
        its mean: one of several imputations, of which each has a ``random_state`` of
        its own.
    n_samples : int, default=50
        Codes a row that are weighed (see :meth:`VAETransformer.impute`).
    add_indicator : bool, default=False
        Whether :meth:`transform` puts a column behind the others for every one that
        had gaps in training: 1 where there was one
        (:class:`sklearn.impute.MissingIndicator`).
    keep_empty_features : bool, default=False
        Whether columns without any value in training are kept, and filled with 0, or
        left out.
    random_state : int, RandomState instance or None, default=None
        Of the fit, where the estimator has none of its own, and of draws.

    Attributes
    ----------
    estimator_ : VAETransformer
        The fitted one.
    network_share_ : float
        Share of the network in what is filled in, from 0 to 1. The rest is that of the
        linear model that training began at: stacked by what both made of entries of
        held-out rows that were hidden from them [2]_.
    indicator_ : MissingIndicator or None
        Of the training rows, with ``add_indicator``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has some that are all strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : A regression for every column, in turns.
    VAETransformer.impute : Several imputations at once, and of conditions.

    Notes
    -----
    Gaps may depend on what was observed (missing at random), not on the values that are
    missing: the likelihood is of what is there [1]_.

    References
    ----------
    .. [1] Mattei and Frellsen (2019). MIWAE: Deep Generative Modelling and Imputation
       of Incomplete Data Sets. ICML.
    .. [2] Wolpert (1992). Stacked Generalization. Neural Networks 5.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEImputer, VAETransformer
    >>> X = load_iris().data.copy()
    >>> X[::3, 0] = np.nan
    >>> imputer = VAEImputer(VAETransformer(3, max_epochs=5), random_state=0)
    >>> bool(np.isnan(imputer.fit_transform(X)).any())
    False
    """

    estimator_: Any
    network_share_: float
    indicator_: Any
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "impute"]), None],
        "missing_values": [MissingValues()],
        "sample_posterior": ["boolean"],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        missing_values: Any = np.nan,
        sample_posterior: bool = False,
        n_samples: int = 50,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.missing_values = missing_values
        self.sample_posterior = sample_posterior
        self.n_samples = n_samples
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Any = None, *, conditions: Table | None = None) -> Self:
        """Fit the model to what was observed of X.

        Parameters
        ----------
        X : {array-like, frame} of shape (n_samples, n_features)
            Training rows, with gaps.
        y : Ignored
            Not used, present for API consistency.
        conditions : array-like or frame of shape (n_samples, n_conditions), optional
            What is known of the rows beside, as :meth:`VAETransformer.fit` takes it.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError
            If X is invalid, or has no value at all.
        """
        X = self._checked(X, reset=True)
        missing = _missing(X)
        empty = missing.all(axis=0)
        if empty.all():
            raise ValueError("X has no value in any column: there is nothing to learn.")
        self._kept = np.flatnonzero(~empty)
        estimator = self._unfitted(X)
        if self.random_state is not None and estimator.random_state is None:
            estimator.set_params(random_state=self.random_state)
        own = self._columns(X)
        self.estimator_ = estimator.fit(own, conditions=conditions)
        self.network_share_ = self.estimator_._share_of_network(
            own, self.n_samples, conditions
        )
        self.indicator_ = None
        if self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False)
            self.indicator_.fit(np.where(missing, np.nan, 0.0))
        return self

    def transform(self, X: Table, *, conditions: Table | None = None) -> Any:
        """Fill the gaps of X.

        Parameters
        ----------
        X : {array-like, frame} of shape (n_samples, n_features)
            Rows, with gaps; rows without any value, too.
        conditions : array-like or frame of shape (n_samples, n_conditions), optional
            Of the rows, if :meth:`fit` was given some.

        Returns
        -------
        X_imputed : ndarray or frame of shape (n_samples, n_features_out)
            What was observed is as it was. A frame where the model is of
            ``likelihood="mixed"`` and X is one.
        """
        check_is_fitted(self, "estimator_")
        X = self._checked(X, reset=False)
        seed = self.random_state
        found = self.estimator_._impute(
            self._columns(X),
            1 if self.sample_posterior else None,
            self.n_samples,
            0 if seed is None else seed,
            {"conditions": conditions},
            self.network_share_,
        )
        if self.sample_posterior:
            found = found[0]
        if self.keep_empty_features:
            found = self._with_empty(found, X)
        if self.indicator_ is None:
            return found
        told = self.indicator_.transform(np.where(_missing(X), np.nan, 0.0))
        names = self.indicator_.get_feature_names_out(self._names())
        return with_columns(found, told, names)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that :meth:`transform` gives.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X, by default ``feature_names_in_``, or x0, x1 etc.

        Returns
        -------
        names : ndarray of str objects
        """
        check_is_fitted(self, "estimator_")
        names = self._names(input_features)
        kept = names if self.keep_empty_features else names[self._kept]
        if self.indicator_ is None:
            return kept
        told = self.indicator_.get_feature_names_out(names)
        return np.concatenate([kept, told])

    def _names(self, given: Any = None) -> np.ndarray:
        known = getattr(self, "feature_names_in_", None)
        if given is not None:
            given = np.asarray(given, dtype=object)
            if known is not None and not np.array_equal(known, given):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise ValueError(
                    "input_features should have length equal to number of features "
                    f"({self.n_features_in_}), got {len(given)}"
                )
            return given
        if known is not None:
            return known
        return np.array([f"x{j}" for j in range(self.n_features_in_)], dtype=object)

    def _unfitted(self, X: Any) -> VAETransformer:
        """A clone of the estimator that takes gaps, or the one for such columns."""
        if self.estimator is not None:
            return clone(self.estimator).set_params(missing_values="marginalize")
        likelihood = "mixed" if has_words(X) else "auto"
        return VAETransformer(
            UNITS,
            likelihood=likelihood,
            n_importance_samples=DRAWS,
            missing_values="marginalize",
        )

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """X with NaN in its gaps: a frame, or an array."""
        X = from_torch(X)
        marked = self.missing_values
        is_mark = marked is not None and marked == marked
        if library_of(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return _unmarked(X, marked) if is_mark else X
        objects = np.asarray(X).dtype.kind in "OUS"
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=None if objects else float_dtypes(X),
            ensure_all_finite="allow-nan",
        )
        if is_mark:
            X = np.where(marked == X, None if X.dtype.kind in "OUS" else np.nan, X)
        return X

    def _columns(self, X: Any) -> Any:
        """Columns that had values in training."""
        if len(self._kept) == self.n_features_in_:
            return X
        return _safe_indexing(X, self._kept, axis=1)

    def _with_empty(self, found: Any, X: Any) -> Any:
        """With zeros in the places of columns that were left out."""
        empty = np.setdiff1d(np.arange(self.n_features_in_), self._kept)
        if not len(empty):
            return found
        zeros = np.zeros((len(found), len(empty)))
        both = with_columns(found, zeros, self._names()[empty])
        order = np.argsort(np.concatenate([self._kept, empty]))
        return _safe_indexing(both, order, axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _missing(X: Any) -> np.ndarray:
    """Where a frame or an array has gaps, (n, D)."""
    if not library_of(X) and X.dtype.kind == "f":
        return np.isnan(X)
    return np.stack([column.missing for column in columns_of(X)], axis=1)


def _unmarked(X: Any, marked: Any) -> Any:
    """A frame whose entries that stand for gaps are none."""
    if library_of(X) == "pandas":
        return X.mask(marked == X)
    import polars as pl

    same = isinstance(marked, str)
    columns = [c for c in X.columns if (X[c].dtype == pl.String) == same]
    gap = pl.lit(None)
    return X.with_columns(
        pl.when(pl.col(c) == marked).then(gap).otherwise(pl.col(c)).alias(c)
        for c in columns
    )
