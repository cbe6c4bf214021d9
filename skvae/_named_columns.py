"""Names of columns as the first step of a pipeline."""

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._utils.names import some


class NamedColumns(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """The names that columns had when a model was fitted, as its first step.

    Sparse rows and arrays have no names of their own, so the names are a parameter.
    Rows go through as they are, but for a data frame: its columns are put in the order
    of the names.

    Parameters
    ----------
    names : sequence of str
        One a column, all different.

    Attributes
    ----------
    feature_names_in_ : ndarray of shape (n_features,)
    n_features_in_ : int
    """

    def __init__(self, names):
        self.names = names

    def fit(self, X, y=None):
        """Note the names.

        Raises
        ------
        ValueError
            If there are not as many as X has columns.
        """
        n_columns = np.shape(X)[1]
        if n_columns != len(self.names):
            raise ValueError(f"X has {n_columns} columns, but {len(self.names)} names.")
        self.feature_names_in_ = np.asarray(list(self.names), dtype=object)
        self.n_features_in_ = n_columns
        return self

    def transform(self, X):
        """Put the columns of a data frame in order; anything else has no names.

        Raises
        ------
        ValueError
            If a data frame's columns are not those that the model was fitted on.
        """
        check_is_fitted(self, "feature_names_in_")
        if not hasattr(X, "columns"):
            return X
        names = list(map(str, X.columns))
        order = order_of_columns(list(self.feature_names_in_), names)
        # Without the names, which the next step was not fitted with.
        X = np.asarray(X)
        return X if order is None else X[:, order]

    def inverse_transform(self, X):
        """Rows as they are."""
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def order_of_columns(fitted: Sequence[str], given: Sequence[str]) -> np.ndarray | None:
    """Where a model's columns are in a table; None if they are in their places.

    Raises
    ------
    ValueError
        If names are missing, there are others, or one appears more than once.
    """
    if list(fitted) == list(given):
        return None
    at = {name: i for i, name in enumerate(given)}
    known = set(fitted)
    missing = [name for name in fitted if name not in at]
    others = [name for name in given if name not in known]
    if missing or others:
        reasons = []
        if missing:
            reasons.append(f"columns of the model are missing: {some(missing)}")
        if others:
            reasons.append(
                f"the model was not fitted on columns {some(others)}; take them out, "
                "or name labels by --label and names of rows by --index"
            )
        raise ValueError("; ".join(reasons))
    if len(at) < len(given):
        repeated = [name for i, name in enumerate(given) if at[name] != i]
        raise ValueError(f"names of columns appear more than once: {some(repeated)}")
    return np.array([at[name] for name in fitted])
