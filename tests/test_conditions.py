import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse

from skvae import VAETransformer
from skvae._data.conditions import encode_conditions, fit_conditions, n_columns


def encoded(conditions, fitted_to=None, n_rows=None):
    known = fit_conditions(conditions if fitted_to is None else fitted_to)
    n_rows = len(np.atleast_1d(conditions)) if n_rows is None else n_rows
    found = encode_conditions(conditions, known, n_rows)
    assert found.dtype == np.float32
    assert found.shape == (n_rows, n_columns(known))
    return found


LETTERS = np.array(["b", "a", "c", "a"])
ONE_HOT = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    "conditions",
    [
        LETTERS,
        LETTERS.astype(object),
        LETTERS.tolist(),
        LETTERS[:, None],
        np.array([7, 3, 9, 3]),
        np.array([7, 3, 9, 3], dtype=np.uint8),
        pd.Series(LETTERS, name="batch"),
        pd.Series(LETTERS, dtype="category"),
        pd.DataFrame({"batch": LETTERS}),
        pl.Series("batch", LETTERS.tolist()),
        pl.DataFrame({"batch": LETTERS.tolist()}),
        torch.tensor([7, 3, 9, 3]),
        np.array(["2021-02-01", "2021-01-01", "2021-03-01", "2021-01-01"], "M8[D]"),
    ],
    ids=lambda c: type(c).__module__.split(".")[0] + "-" + str(getattr(c, "dtype", "")),
)
def test_categories_are_one_hot(conditions):
    np.testing.assert_array_equal(encoded(conditions), ONE_HOT)


def test_numbers_are_standardised():
    found = encoded(np.array([1.0, 2.0, 3.0, 6.0]))[:, 0]
    np.testing.assert_allclose(found, (np.array([1, 2, 3, 6]) - 3.0) / np.sqrt(3.5))
    same = encoded(np.full(4, 3.0))
    np.testing.assert_array_equal(same, 0.0)
    as_objects = encoded(np.array([1.0, 2.0, 3.0, 6.0], dtype=object))[:, 0]
    np.testing.assert_array_equal(as_objects, found)


def test_booleans_are_categories():
    np.testing.assert_array_equal(
        encoded(np.array([True, False])), [[0.0, 1.0], [1.0, 0.0]]
    )


def test_frames_have_columns_of_both_kinds():
    frame = pd.DataFrame({"batch": LETTERS, "age": [1.0, 2.0, 3.0, 6.0]})
    found = encoded(frame)
    np.testing.assert_array_equal(found[:, :3], ONE_HOT)
    np.testing.assert_allclose(found[:, 3], encoded(frame["age"])[:, 0])
    np.testing.assert_array_equal(found, encoded(pl.from_pandas(frame)))


def test_one_hot_columns_may_be_sparse():
    dense = encoded(ONE_HOT * 1.0)
    np.testing.assert_array_equal(
        encoded(sparse.csr_array(ONE_HOT * 1.0), n_rows=4), dense
    )


@pytest.mark.parametrize("one", ["a", ["a"], np.array([["a"]]), np.array("a")])
def test_one_row_stands_for_all(one):
    found = encoded(one, LETTERS, n_rows=5)
    np.testing.assert_array_equal(found, np.tile([1.0, 0.0, 0.0], (5, 1)))
    # torch takes no memory that is read-only
    assert found.flags.writeable
    assert encoded(LETTERS).flags.writeable


def test_what_was_learnt_is_plain():
    frame = pd.DataFrame({"batch": LETTERS, "age": [1.0, 2.0, 3.0, 6.0]})
    assert fit_conditions(frame) == [
        {"name": "batch", "categories": ["a", "b", "c"]},
        {"name": "age", "mean": 3.0, "scale": np.sqrt(3.5)},
    ]


@pytest.mark.parametrize(
    "conditions",
    [
        np.array([1.0, np.nan]),
        np.array([1.0, np.inf]),
        np.array(["a", None], dtype=object),
        np.array(["a", np.nan], dtype=object),
        pd.Series(["a", pd.NA], dtype="string"),
        pd.Series([1, pd.NA], dtype="Int64"),
        pd.Series(["a", None], dtype="category"),
        np.array(["2021-01-01", "NaT"], "M8[D]"),
    ],
)
def test_missing_values_are_refused(conditions):
    with pytest.raises(ValueError, match="missing"):
        fit_conditions(conditions)
    numeric = getattr(conditions, "dtype", None) == np.float64
    known = fit_conditions(np.arange(3.0) if numeric else LETTERS)
    with pytest.raises(ValueError, match="missing"):
        encode_conditions(conditions, known, 2)


@pytest.mark.parametrize(
    ("conditions", "match"),
    [
        (None, "was fitted with conditions"),
        (["a", "d", "a", "a"], r"unseen category 'd'.*'a', 'b', 'c'"),
        (["a", "b"], "has 2 rows, and X has 4"),
        (np.array([[*"ab"]] * 4), "has 2 columns"),
        (np.arange(4.0), "now has numbers"),
        (np.zeros((2, 2, 2)), "has the shape"),
        (np.zeros((4, 0)), "has the shape"),
    ],
)
def test_others_than_fit_s_are_refused(conditions, match):
    with pytest.raises(ValueError, match=match):
        encode_conditions(conditions, fit_conditions(LETTERS), 4)


def test_columns_of_frames_keep_their_names_and_order():
    frame = pd.DataFrame({"batch": LETTERS, "sex": list("mffm")})
    with pytest.raises(ValueError, match="'sex' where the model was fitted with 'bat"):
        encode_conditions(frame[["sex", "batch"]], fit_conditions(frame), 4)
    with pytest.raises(ValueError, match="fitted to numbers"):
        encode_conditions(LETTERS, fit_conditions(np.arange(4.0)), 4)


def test_long_lists_of_categories_are_cut():
    known = fit_conditions([f"plate{i}" for i in range(9)])
    with pytest.raises(ValueError, match="and 4 more"):
        encode_conditions(["plate99"], known, 1)


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_categories_that_are_rows_are_worth_a_word(rng):
    X = rng.randn(60, 4)
    model = VAETransformer(1, max_epochs=1, hidden_dims=(4,), random_state=0)
    with pytest.warns(UserWarning, match="has 60 categories in 60 rows"):
        model.fit(X, conditions=np.arange(60))
