"""Frames of numbers, truths, words and gaps, as they are."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skvae
from skvae import VAETransformer
from skvae._data.column_kinds import likelihood_of
from skvae._data.frames import columns_of
from skvae.inspection import (
    LoadingsDisplay,
    ReconstructionDisplay,
    UnitActivityDisplay,
    diagnose,
)

# Few epochs of small networks: there may be nothing to code yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)
QUICK = {"latent_dim": 3, "max_epochs": 12, "hidden_dims": (16,), "random_state": 0}


def table(n=300, seed=0, gaps=True):
    """Two factors, and columns of every kind that depend on them."""
    rng = np.random.RandomState(seed)
    size, wealth = rng.randn(2, n)
    frame = pd.DataFrame(
        {
            "height": 170.0 + 8.0 * size + 2.0 * rng.randn(n),
            "income": np.exp(10.0 + 0.8 * wealth + 0.2 * rng.randn(n)),
            "owner": wealth + 0.5 * rng.randn(n) > 0.0,
            "city": np.array(["Ulm", "Bonn", "Kiel"])[
                np.digitize(wealth + 0.4 * rng.randn(n), [-0.7, 0.7])
            ],
            "grade": pd.Categorical.from_codes(
                np.digitize(size + 0.4 * rng.randn(n), [-1.0, 0.0, 1.0]),
                ["low", "fair", "good", "best"],
                ordered=True,
            ),
            "visits": rng.poisson(np.exp(1.5 + 0.9 * wealth)) * 3,
            "children": pd.array(rng.poisson(1.0, n).clip(0, 4), dtype="Int64"),
        },
        index=[f"r{i}" for i in range(n)],
    )
    if gaps:
        for j, name in enumerate(frame.columns):
            where = rng.uniform(size=n) < 0.1
            if frame[name].dtype == bool:
                frame[name] = frame[name].astype("boolean")
            if frame[name].dtype == np.int64:
                frame[name] = frame[name].astype("Int64")
            frame.iloc[np.flatnonzero(where), j] = pd.NA if j else np.nan
    return frame


@pytest.fixture(scope="module")
def frame():
    return table()


@pytest.fixture(scope="module")
def fitted(frame):
    """Tests must not change it."""
    return VAETransformer(likelihood="mixed", **QUICK).fit(frame)


def test_kinds_are_inferred(fitted):
    found = {
        name: likelihood
        for _, likelihood, names in fitted.column_likelihoods_
        for name in names
    }
    assert found == {
        "height": "gaussian_diag",
        "income": "log_normal",
        "owner": "bernoulli",
        "city": "categorical",
        "grade": "ordinal",
        "visits": "negative_binomial",
        "children": "ordinal",
    }
    assert "log_normal" in str(fitted.column_likelihoods_)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 0], "bernoulli"),
        ([0.0, 1.0, np.nan, 1.0], "bernoulli"),
        ([1, 2, 3, 1], "ordinal"),
        (list(range(0, 300)), "negative_binomial"),
        (list(range(1000, 1300)), "gaussian_diag"),
        (np.exp(np.linspace(0.0, 9.0, 50)).tolist(), "log_normal"),
        ([0.5, -2.0, 3.25, 1.5], "gaussian_diag"),
        ([2.5, 2.5, 2.5, 2.5], "gaussian_diag"),
        (["a", "b", None, "a"], "categorical"),
        ([True, False, None, True], "bernoulli"),
    ],
    ids=str,
)
def test_kinds_of_columns(values, expected):
    column = columns_of(pd.DataFrame({"a": pd.Series(values)}))[0]
    assert likelihood_of(column) == expected


def test_rows_go_in_and_come_back_as_frames(frame, fitted):
    codes = fitted.transform(frame)
    assert codes.shape == (len(frame), 3)
    assert np.isfinite(codes).all()
    drawn = fitted.sample(50, random_state=0)
    for found, index in (
        (fitted.reconstruct(frame), frame.index),
        (fitted.inverse_transform(pd.DataFrame(codes, frame.index)), frame.index),
        (drawn, range(50)),
    ):
        assert list(found.columns) == list(frame.columns)
        assert found.dtypes.to_dict() == frame.dtypes.to_dict()
        assert list(found.index) == list(index)
        assert not found.isna().any().any()
    assert set(drawn["city"]) <= {"Ulm", "Bonn", "Kiel"}
    assert (drawn["income"] > 0.0).all()
    assert (drawn["visits"] >= 0).all()
    assert (
        fitted.sample(3, random_state=0, noise=False)["city"].isin(drawn["city"]).all()
    )


def test_codes_know_what_goes_with_what(frame, fitted):
    whole = table(600, seed=1, gaps=False)
    vae = clone(fitted).set_params(max_epochs=40).fit(whole)
    drawn = vae.sample(2000, random_state=0)
    rich = drawn["income"] > drawn["income"].median()
    assert drawn["owner"][rich].mean() > drawn["owner"][~rich].mean() + 0.3
    tall = drawn["height"] > drawn["height"].median()
    better = drawn["grade"].cat.codes
    assert better[tall].mean() > better[~tall].mean() + 0.5
    assert vae.score(whole) > vae.score(drawn.sample(frac=1.0, random_state=0)) - 1.0
    shuffled = whole.apply(
        lambda c: c.sample(frac=1.0, random_state=len(c.name)).values
    )
    assert vae.score(whole) > vae.score(shuffled[whole.columns]) + 0.5


def test_scores_add_up_over_columns(frame, fitted):
    scores = fitted.score_samples(frame)
    assert scores.shape == (len(frame),)
    assert np.isfinite(scores).all()
    assert fitted.history_[-1]["valid_elbo"] == pytest.approx(scores.mean(), abs=4.0)
    found = diagnose(fitted, frame)
    assert found.elbo == pytest.approx(scores.mean())
    assert np.isfinite(found.expected_elbo)
    bound = fitted.log_likelihood(frame[:20], 50)
    assert bound.mean() >= scores[:20].mean() - 0.1
    error = fitted.reconstruction_error(frame, per_feature=True)
    np.testing.assert_array_equal(np.isnan(error), frame.isna().to_numpy())
    assert 0.0 < fitted.explained_variance_ratio_.sum() < 1.5


def test_units_do_not_decide(frame):
    """A column in other units changes the score by a logarithm, and no code."""
    other = frame.assign(height=1000.0 * frame["height"])
    a, b = (VAETransformer(likelihood="mixed", **QUICK).fit(f) for f in (frame, other))
    shift = np.log(1000.0) * frame["height"].notna().mean()
    assert b.score(other) == pytest.approx(a.score(frame) - shift, abs=0.02)
    np.testing.assert_allclose(b.transform(other), a.transform(frame), atol=0.05)


def test_columns_get_what_they_are_given(frame):
    listed = [
        ("tails", "student_t", ["height"]),
        ("whole", "poisson", [5]),
        ("words", "categorical", make_column_selector(dtype_include="category")),
        ("ends", "categorical", slice(-1, None)),
    ]
    vae = VAETransformer(likelihood="mixed", column_likelihoods=listed, **QUICK)
    vae.fit(frame)
    found = {name: (lik, cols) for name, lik, cols in vae.column_likelihoods_}
    assert found["tails"] == ("student_t", ["height"])
    assert found["whole"] == ("poisson", ["visits"])
    assert found["words"] == ("categorical", ["grade"])
    assert found["ends"] == ("categorical", ["children"])
    assert found["log_normal"] == ("log_normal", ["income"])
    assert vae.reconstruct(frame).dtypes.to_dict() == frame.dtypes.to_dict()
    for wrong, match in (
        ([("a", "normal", [0])], "has the likelihood 'normal' for 'a'"),
        ([("a", "gaussian", [0])], "has the likelihood 'gaussian' for 'a'"),
        ([("a", "student_t")], "list of \\(name, likelihood, columns\\)"),
        ([("a", "student_t", [0]), ("b", "poisson", [0])], "column 0 of X twice"),
        ([("a", "student_t", ["city"])], "Column 'city' of X holds words"),
        ([("a", "bernoulli", ["city"])], "Column 'city' of X has 3 categories"),
        ([("a", "log_normal", ["visits"])], "Column 'visits' of X has 0"),
        ([("a", "student_t", ["nowhere"])], "not a column|nowhere"),
    ):
        with pytest.raises(ValueError, match=match):
            clone(vae).set_params(column_likelihoods=wrong).fit(frame)


def test_rare_and_unseen_categories_have_a_place():
    rng = np.random.RandomState(0)
    words = rng.choice(list("abcdef"), 400, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    frame = pd.DataFrame({"word": words, "x": rng.randn(400)})
    vae = VAETransformer(likelihood="mixed", max_categories=3, **QUICK).fit(frame)
    places = vae._table["columns"][0]
    assert places["categories"] == ["a", "b"]
    assert places["rare"] == ["c", "d", "e", "f"]
    drawn = vae.sample(3000, random_state=0)["word"]
    assert set(drawn) <= set("abcdef")
    assert drawn.isin(list("cdef")).mean() == pytest.approx(0.2, abs=0.06)
    assert (drawn == "c").sum() > (drawn == "f").sum()
    new = frame[:5].assign(word=["zebra", "c", "a", "b", "c"])
    assert np.isfinite(vae.transform(new)).all()
    # Not known is not likely; a word that is filled stays what it was.
    whole = VAETransformer(likelihood="mixed", **QUICK).fit(frame)
    assert whole.score_samples(new)[0] < whole.score_samples(new)[2] - 2.0
    assert whole.impute(new)["word"].tolist() == new["word"].tolist()
    assert set(whole.sample(500, random_state=0)["word"]) <= set("abcdef")


def test_balance_learns_rare_flags(frame):
    vae = VAETransformer(likelihood="mixed", balance="columns", **QUICK).fit(frame)
    parts = vae._likelihood_.params["parts"]
    assert len({part["weight"] for part in parts}) > 3
    assert np.isfinite(vae.score(frame))
    # Scores are in nats, whatever training weighed.
    plain = VAETransformer(likelihood="mixed", **QUICK).fit(frame)
    assert vae.score(frame) == pytest.approx(plain.score(frame), abs=1.5)


@pytest.mark.parametrize("how", ["pickle", "file"])
def test_it_is_kept(frame, fitted, how, tmp_path):
    if how == "pickle":
        copied = pickle.loads(pickle.dumps(fitted))
    else:
        skvae.save(fitted, tmp_path / "model.safetensors")
        copied = skvae.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(copied.transform(frame), fitted.transform(frame))
    assert copied.score(frame) == fitted.score(frame)
    drawn = (m.sample(9, random_state=1) for m in (fitted, copied))
    pd.testing.assert_frame_equal(*drawn)
    pd.testing.assert_frame_equal(copied.impute(frame), fitted.impute(frame))
    copied.partial_fit(frame[:50])


def test_it_pipes_clones_and_searches(frame):
    pipe = make_pipeline(VAETransformer(likelihood="mixed", **QUICK))
    codes = clone(pipe).set_output(transform="pandas").fit_transform(frame)
    assert list(codes.index) == list(frame.index)
    grid = {"latent_dim": [1, 2], "balance": ["nats"]}
    vae = VAETransformer(likelihood="mixed", **QUICK).set_params(max_epochs=3)
    search = GridSearchCV(vae, grid, cv=3).fit(frame)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_conditions_and_chunks(frame):
    batch = np.arange(len(frame)) % 2
    vae = VAETransformer(likelihood="mixed", encode_conditions=True, **QUICK)
    vae.fit(frame, conditions=batch)
    assert np.isfinite(vae.score(frame, conditions=batch))
    drawn = vae.sample(7, random_state=0, conditions=1)
    assert drawn.dtypes.to_dict() == frame.dtypes.to_dict()
    streamed = VAETransformer(likelihood="mixed", **QUICK)
    for start in (0, 100, 200):
        streamed.partial_fit(frame[start : start + 100])
    assert np.isfinite(streamed.score(frame[:100]))


def test_warm_starts_go_on(frame):
    vae = VAETransformer(likelihood="mixed", warm_start=True, **QUICK).fit(frame)
    first = vae.score(frame)
    assert vae.fit(frame).score(frame) >= first - 0.05


def test_polars_frames():
    rows = table(gaps=False).reset_index(drop=True).drop(columns=["grade", "children"])
    frame = pl.DataFrame(
        {name: rows[name].to_numpy().tolist() for name in rows.columns}
    ).with_columns(pl.col("city").cast(pl.Categorical))
    vae = VAETransformer(likelihood="mixed", **QUICK).fit(frame)
    drawn = vae.sample(20, random_state=0)
    assert isinstance(drawn, pl.DataFrame)
    assert drawn.schema == frame.schema
    with_gap = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 3)
        .then(None)
        .otherwise(pl.col("city"))
        .alias("city")
    )
    filled = vae.impute(with_gap)
    assert filled["city"].null_count() == 0
    assert filled.schema == frame.schema
    assert filled["height"].equals(frame["height"])


def test_arrays_of_objects_and_of_numbers():
    words = np.array(
        [["a", 1.5], ["b", 2.5], ["a", 0.5], ["b", 3.5]] * 20, dtype=object
    )
    vae = VAETransformer(likelihood="mixed", **QUICK).fit(words)
    drawn = vae.sample(5, random_state=0)
    assert drawn.dtype == object
    assert set(drawn[:, 0]) <= {"a", "b"}
    np.testing.assert_array_equal(vae.transform(words.tolist()), vae.transform(words))
    numbers = np.random.RandomState(0).poisson(3.0, (80, 3)).astype(np.float32)
    vae = VAETransformer(likelihood="mixed", **QUICK).fit(numbers)
    assert vae.transform(numbers).dtype == np.float32
    assert vae.sample(5, random_state=0).dtype == np.float32
    assert vae.sample(5, random_state=0).shape == (5, 3)


def test_bad_tables_are_refused(frame, fitted):
    vae = VAETransformer(likelihood="mixed", **QUICK)
    cases = [
        (frame[:0], "0 sample"),
        (frame[:1], "1 sample"),
        (frame.assign(empty=np.nan), "Column 'empty' of X has no values"),
        (
            frame.assign(when=pd.Timestamp("2020-01-01")),
            "Column 'when' of X holds times",
        ),
        (frame.assign(far=np.inf), "infinity, in column 'far'"),
        (pd.concat([frame, frame[["city"]]], axis=1), "more than once: city"),
    ]
    for X, match in cases:
        with pytest.raises(ValueError, match=match):
            vae.fit(X)
    names = pd.DataFrame({"id": [f"n{i}" for i in range(1200)], "x": np.arange(1200.0)})
    with pytest.raises(ValueError, match="Column 'id' of X has 1200 categories"):
        vae.fit(names)
    with pytest.warns(UserWarning, match="Column 'id' of X has 300 categories in 300"):
        clone(vae).set_params(max_epochs=1).fit(names[:300])
    with pytest.raises(TypeError, match=r"X is a dict: pass a frame of it"):
        vae.fit(frame.to_dict("list"))
    with pytest.raises(ValueError, match="Reshape your data"):
        fitted.transform(frame.iloc[0])
    with pytest.raises(ValueError, match=r"likelihood='mixed'\) takes it as it is"):
        VAETransformer(**QUICK).fit(frame[["city"]])
    # At transform.
    with pytest.raises(ValueError, match="same order"):
        fitted.transform(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="missing"):
        fitted.transform(frame.drop(columns="city"))
    with pytest.raises(ValueError, match="Column 'city' of X holds numbers"):
        fitted.transform(frame.assign(city=1.0))
    with pytest.raises(ValueError, match="Column 'height' of X holds words"):
        fitted.transform(frame.assign(height="tall"))
    with pytest.raises(ValueError, match="unseen category 'worst'"):
        fitted.transform(frame.assign(grade="worst"))
    with pytest.raises(TypeError, match="Sparse data was passed"):
        vae.fit(sparse.csr_matrix(np.eye(9)))


def test_a_column_of_one_category(frame):
    one = frame.assign(city="Ulm", owner=True)
    vae = VAETransformer(likelihood="mixed", **QUICK).fit(one)
    assert set(vae.sample(20, random_state=0)["city"]) == {"Ulm"}
    assert np.isfinite(vae.score(one))


def test_types_may_change_where_values_do_not(frame, fitted):
    """A fold without gaps has other types, and the same values."""
    whole = frame.dropna()
    other = whole.assign(
        children=whole["children"].astype(float),
        owner=whole["owner"].astype(bool),
        visits=whole["visits"].astype(np.int32),
        city=whole["city"].astype("category"),
    )
    np.testing.assert_array_equal(fitted.transform(other), fitted.transform(whole))


def test_the_choice_is_printed_and_shown(frame, capsys):
    vae = VAETransformer(likelihood="mixed", verbose=1, **QUICK).fit(frame)
    printed = capsys.readouterr().out
    assert (
        "columns: gaussian_diag height; log_normal income; bernoulli owner" in printed
    )
    assert "column_likelihoods_" in vae._repr_html_() or sklearn.__version__ < "1.9"


def test_pictures(frame, fitted):
    pytest.importorskip("matplotlib").use("Agg")
    display = LoadingsDisplay.from_estimator(fitted)
    assert display.loading_name == "loading (standard deviations per unit of code)"
    assert list(display.feature_names) == list(frame.columns)
    UnitActivityDisplay.from_estimator(fitted, frame)
    with pytest.raises(ValueError, match="picture is of numbers, and the table has wo"):
        ReconstructionDisplay.from_estimator(fitted, frame)
