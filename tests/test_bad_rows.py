"""Rows that a likelihood cannot explain: refused by name, or finite numbers."""

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from _kinds import CONTINUOUS, COUNTS, NAMES, rows_for
from scipy import sparse

from skvae import VAETransformer
from skvae.exceptions import PosteriorCollapseWarning

QUICK = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 2, "random_state": 0}
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning",
    "ignore:X looks like counts:UserWarning",
)


def model(name, **params):
    return VAETransformer(likelihood=name, **{**QUICK, **params})


def with_entry(name, value):
    X = rows_for(name, 40)
    X[11, 4] = value
    return X


REFUSED = [
    *((name, -1.0, "Negative values in data.*gaussian_diag") for name in COUNTS),
    *((name, 0.5, "has 0.5.*counts.*gaussian_diag") for name in COUNTS),
    ("bernoulli", -1.0, "Negative values in data.*gaussian_diag"),
    ("bernoulli", 255.0, "has 255.*divide pixels.*negative_binomial"),
    ("categorical", -1.0, "Negative values in data.*OrdinalEncoder"),
    ("categorical", 0.5, "has 0.5.*OrdinalEncoder.*gaussian_diag"),
    ("categorical", 1e6, "has 1000000.*OrdinalEncoder"),
    *((name, np.nan, "NaN") for name in NAMES),
    *((name, np.inf, "infinity") for name in NAMES),
]


@pytest.mark.parametrize(("name", "value", "match"), REFUSED)
@pytest.mark.parametrize("kind", [np.array, sparse.csr_array])
def test_what_cannot_be_is_refused(name, value, match, kind):
    """At once, with the column's name, and nothing is changed."""
    X = rows_for(name, 40)
    names = [f"gene{j}" for j in range(9)]
    bad = with_entry(name, value)
    fitted = model(name).fit(
        pd.DataFrame(X, columns=names) if kind is np.array else kind(X)
    )
    before = dict(vars(fitted))
    as_fitted = pd.DataFrame(bad, columns=names) if kind is np.array else kind(bad)
    for method in (fitted.fit, fitted.partial_fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=match) as error:
            method(as_fitted)
        assert vars(fitted) == before
        if np.isfinite(value):
            column = "'gene4'" if kind is np.array else "olumn 4"
            assert column in str(error.value)
    fresh = model(name)
    with pytest.raises(ValueError, match=match):
        fresh.fit(as_fitted)
    assert not hasattr(fresh, "n_features_in_")


def test_unseen_categories_are_refused():
    X = rows_for("categorical", 40)
    fitted = model("categorical").fit(X)
    before = dict(vars(fitted))
    for method in (fitted.transform, fitted.score, fitted.partial_fit):
        with pytest.raises(ValueError, match="Column 4 of X has the unseen category 7"):
            method(with_entry("categorical", 7.0))
        assert vars(fitted) == before
    again = model("categorical", warm_start=True).fit(X)
    with pytest.raises(ValueError, match="unseen category 7"):
        again.fit(with_entry("categorical", 7.0))
    assert again.set_params(warm_start=False).fit(with_entry("categorical", 7.0))


def assert_all_is_finite(fitted, X):
    for found in (
        fitted.transform(X),
        fitted.score_samples(X),
        fitted.reconstruct(X),
        fitted.reconstruction_error(X),
        fitted.sample(20, random_state=0, noise=True),
    ):
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    ["one column", "two rows", "zero rows", "zero column", "zeros", "same rows"],
)
@pytest.mark.parametrize("kind", [np.array, sparse.csr_array])
def test_small_and_empty_tables_give_finite_numbers(name, change, kind):
    X = rows_for(name, 40)
    if name == "log_normal" and change.startswith("zero"):
        with pytest.raises(ValueError, match="has 0, and likelihood='log_normal' is"):
            model(name).fit(kind(np.where(np.arange(9) == 2, 0.0, X)))
        return
    if change == "one column":
        X = X[:, :1]
    elif change == "two rows":
        X = X[:2]
    elif change == "zero rows":
        X[::2] = 0.0
    elif change == "zero column":
        X[:, 3] = 0.0
    elif change == "zeros":
        X[:] = 0.0
    else:
        X[:] = X[0]
    fitted = model(name).fit(kind(X))
    assert_all_is_finite(fitted, kind(X))
    if name != "log_normal":
        assert_all_is_finite(fitted, kind(0.0 * X))
    assert_all_is_finite(fitted, kind(X[:1]))


@pytest.mark.parametrize("name", NAMES)
def test_one_row_is_too_few_to_fit(name):
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        model(name).fit(rows_for(name, 1))


@pytest.mark.parametrize("name", [*COUNTS, *CONTINUOUS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_million_in_one_cell_gives_finite_numbers(name, dtype):
    X = with_entry(name, 1e6).astype(dtype)
    assert_all_is_finite(model(name, max_epochs=10, lr=0.02).fit(X), X)
    fitted = model(name).fit(rows_for(name, 40).astype(dtype))
    assert_all_is_finite(fitted, X)


@pytest.mark.parametrize("name", ["bernoulli", *COUNTS, "categorical"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, np.int64, np.uint16])
def test_integers_are_floats(name, dtype):
    X = np.minimum(rows_for(name, 40), 100.0)
    expected, found = model(name).fit(X), model(name).fit(X.astype(dtype))
    codes = found.transform(X.astype(dtype))
    np.testing.assert_allclose(codes, expected.transform(X), rtol=1e-3, atol=1e-4)
    assert found.score(X.astype(dtype)) == pytest.approx(expected.score(X), rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_orders_of_memory_are_the_same(name):
    X = rows_for(name, 40)
    expected = model(name).fit(X).transform(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    for rows in (np.asfortranarray(X), X[::-1][::-1], read_only):
        codes = model(name).fit(rows).transform(rows)
        np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_booleans_are_bits():
    X = rows_for("bernoulli", 40)
    found = model("bernoulli").fit(X.astype(bool)).score(X.astype(bool))
    assert found == pytest.approx(model("bernoulli").fit(X).score(X), rel=1e-4)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_that_are_no_numbers_are_named(frame, rng):
    rows = {"a": rng.randn(60), "b": rng.randn(60)}
    days = [datetime.datetime(2020, 1, 1)] * 60
    model = VAETransformer(1, max_epochs=1)
    for column, match in ((["x"] * 60, "'c' of X holds text"), (days, "holds times")):
        with pytest.raises(ValueError, match=match):
            model.fit(frame({**rows, "c": column}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        model.fit(frame({**rows, "c": ["1", "2.5"] * 30}))
    assert model.n_features_in_ == 3


def test_names_that_repeat_are_named(rng):
    frame = pd.DataFrame(rng.randn(60, 3), columns=["a", "b", "a"])
    with pytest.raises(ValueError, match="appear more than once: a"):
        VAETransformer(1, max_epochs=1).fit(frame)
