import numpy as np
import pytest
from scipy import sparse

from skvae._likelihoods.entries import refuse_entries

X = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.5], [7.0, 0.0, 0.0]])


def above(limit):
    return lambda values: values > limit


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_the_first_bad_entry_is_named(make):
    message = r"Column 2 of X has 2.5, and likelihood='odd' is of ones\."
    with pytest.raises(ValueError, match=message):
        refuse_entries(make(X), above(1.0), "odd", "ones.")
    with pytest.raises(ValueError, match="Column 'a' of X has 7, and"):
        refuse_entries(make(X), above(3.0), "odd", "ones.", ["a", "b", "c"])
    refuse_entries(make(X), above(7.0), "odd", "ones.")


def test_zeros_of_sparse_rows_are_not_looked_at():
    looked = []
    refuse_entries(sparse.csr_array(X), lambda v: looked.append(v) or v > 9.0, "", "")
    assert sorted(looked[0]) == [1.0, 2.5, 7.0]
