"""Rows as users have them, checked, as floats; and floats as such rows again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from ._data.frames import columns_of, in_precision, index_of, library_of
from ._data.mixed_table import decode_table, described, encode_table, fit_table
from ._utils.validation import (
    canonical,
    float_dtypes,
    from_torch,
    name_of,
    refuse_columns,
    refuse_repeated_names,
)


class Tables(BaseEstimator):
    """What estimators take for X, and give for it.

    Attributes
    ----------
    _table : dict or None
        What the training table was, if its columns have likelihoods of their own (see
        ``_data.mixed_table``).
    """

    _table: dict[str, Any] | None = None

    # -- what an estimator asks for ----------------------------------------------------

    def _column_likelihoods(self) -> Sequence[str]:
        """Likelihoods that columns can have; none where all columns have one."""
        return ()

    def _marginalizes(self) -> bool:
        """Whether X may have gaps."""
        return False

    def _takes_gaps(self, *, reset: bool) -> bool:
        """Whether rows may have gaps; not ``reset``, by what the fit knows of them."""
        return self._marginalizes()

    # -- rows --------------------------------------------------------------------------

    def _checked(self, X, *, reset: bool, min_rows: int = 1):
        """Rows of floats, dense or CSR, NaN where there is a gap.

        Raises
        ------
        TypeError, ValueError
            If X is no table, or one that cannot be trained on, or has gaps and may not.
        """
        X = from_torch(X)
        if self._column_likelihoods():
            return self._checked_table(X, reset=reset, min_rows=min_rows)
        refuse_columns(X)
        X = canonical(self._numbers(X, reset=reset, min_rows=min_rows))
        if reset:
            self._refuse_empty_columns(X)
        return X

    def _numbers(self, X, *, reset: bool, min_rows: int, accept_sparse="csr"):
        gaps = "allow-nan" if self._takes_gaps(reset=reset) else True
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=accept_sparse,
            dtype=float_dtypes(X),
            ensure_min_samples=min_rows,
            ensure_all_finite=gaps,
        )

    def _checked_table(self, X, *, reset: bool, min_rows: int) -> np.ndarray:
        """The same of columns of any kind."""
        dtype = np.dtype(np.float64)
        if library_of(X) == "" and not _holds_objects(X):
            X = self._numbers(X, reset=reset, min_rows=min_rows, accept_sparse=False)
            dtype = X.dtype
        else:
            if library_of(X):
                refuse_repeated_names(X)
            else:
                columns_of(X)  # which refuses what is no table
            validate_data(self, X, reset=reset, skip_check_array=True)
        if reset:
            known = self._column_likelihoods()
            self._table = fit_table(
                X,
                self.column_likelihoods,  # type: ignore[attr-defined]
                self.max_categories,  # type: ignore[attr-defined]
                known,
            )
            if self.verbose:  # type: ignore[attr-defined]
                print("columns:", described(self._table))
        assert self._table is not None
        table = encode_table(X, self._table)
        self._check_numbers(table, min_rows, gaps=self._takes_gaps(reset=reset))
        return table.astype(dtype, copy=False)

    def _check_numbers(self, table: np.ndarray, min_rows: int, *, gaps: bool) -> None:
        if len(table) < min_rows:
            raise ValueError(
                f"Found array with {len(table)} sample(s) (shape={table.shape}) while "
                f"a minimum of {min_rows} is required by {type(self).__name__}."
            )
        names = getattr(self, "feature_names_in_", None)
        infinite = np.flatnonzero(np.isinf(table).any(axis=0))
        if len(infinite):
            found = name_of(int(infinite[0]), names)
            raise ValueError(f"Input X contains infinity, in column {found}.")
        if not gaps and np.isnan(table).any():
            j = int(np.flatnonzero(np.isnan(table).any(axis=0))[0])
            raise ValueError(
                f"Input X contains NaN: column {name_of(j, names)} has missing values. "
                "Set missing_values='marginalize', or fill them."
            )

    def _refuse_empty_columns(self, X) -> None:
        """Refuse gaps that nothing can be learnt around."""
        if not self._marginalizes():
            return
        if sparse.issparse(X):
            if np.isnan(X.data).any():
                raise ValueError(
                    "Sparse X has missing values (NaN), which have to be in dense "
                    "rows: pass X.toarray()."
                )
            return
        empty = np.flatnonzero(_is_empty(X))
        if len(empty):
            names = getattr(self, "feature_names_in_", None)
            raise ValueError(
                f"Column {name_of(int(empty[0]), names)} of X has no values: leave it "
                "out, since there is nothing to learn of it."
            )

    # -- and back ----------------------------------------------------------------------

    def _as_given(
        self,
        X: np.ndarray,
        like: Any = None,
        random_state: np.random.RandomState | None = None,
    ) -> Any:
        """Rows of floats as a table like that of ``fit``, with the index of ``like``.

        Rare categories are drawn, with a ``random_state``.
        """
        if self._table is None:
            return X
        found = decode_table(X, self._table, index_of(like), random_state)
        return in_precision(found, X.dtype)


def _holds_objects(X: Any) -> bool:
    """Whether X, which is no frame, has words or objects in it."""
    if sparse.issparse(X):
        return False
    dtype = getattr(X, "dtype", None)
    if dtype is None:
        try:
            dtype = np.asarray(X).dtype
        except ValueError:  # rows of different lengths: scikit-learn says so
            return False
    return getattr(dtype, "kind", "f") in "OUSMm"


def _is_empty(X: np.ndarray) -> np.ndarray:
    """Which columns have nothing but NaN, (D,); X may be a memory map."""
    step = max(1, 500_000 // max(1, X.shape[1]))
    empty = np.ones(X.shape[1], dtype=bool)
    for start in range(0, len(X), step):
        empty &= np.isnan(X[start : start + step]).all(axis=0)
        if not empty.any():
            break
    return empty
