import numpy as np
import pytest
from scipy import sparse

from skvae._data.covariates import RowCovariates
from skvae._data.rows import Rows

X = np.arange(12.0, dtype=np.float32).reshape(4, 3)
GIVEN = RowCovariates(np.arange(8.0).reshape(4, 2), np.arange(4.0))


@pytest.mark.parametrize("index", [[2, 0], slice(1, 3), np.array([3])])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_what_is_known_of_rows_goes_with_them(make, index):
    rows = Rows(make(X), GIVEN)
    assert (len(rows), rows.shape, rows.dtype) == (4, (4, 3), np.float32)
    some = rows[index]
    dense = some.X.toarray() if sparse.issparse(some.X) else some.X
    np.testing.assert_array_equal(dense, X[index])
    np.testing.assert_array_equal(some.covariates.conditions, GIVEN.conditions[index])
    np.testing.assert_array_equal(some.covariates.size, GIVEN.size[index])


def test_rows_of_which_nothing_is_known():
    some = Rows(X)[1:]
    assert len(some) == 3
    assert some.covariates == RowCovariates(None, None)


def test_rows_do_not_change():
    with pytest.raises(AttributeError):
        Rows(X).X = X
