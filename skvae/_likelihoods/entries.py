"""Entries of X that a likelihood cannot explain."""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from .._utils.validation import first_of


def refuse_entries(
    X,
    is_bad: Callable[[np.ndarray], np.ndarray],
    likelihood: str,
    takes: str,
    feature_names=None,
) -> None:
    """Raise if an entry is bad, of which zeros never are.

    Parameters
    ----------
    X : {ndarray, CSR} of shape (n_samples, n_features)
    is_bad : callable
        Of values, or of the nonzeros of a CSR matrix: which of them are bad.
    likelihood : str
        Its name.
    takes : str
        What the likelihood is of, and which one to use instead: the message's end.
    feature_names : sequence of str, optional

    Raises
    ------
    ValueError
        Names the column of the first bad entry.
    """
    values = X.data if sparse.issparse(X) else X
    with np.errstate(invalid="ignore"):
        # What was not observed is explained by anything.
        bad = is_bad(values) & ~np.isnan(values)
    if bad.any():
        found = first_of(X, bad, feature_names)
        raise ValueError(f"{found}, and likelihood={likelihood!r} is of {takes}")
