"""VAEImputer: scikit-learn's habits of imputers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skvae
from skvae import VAEImputer, VAETransformer

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)
VAE = VAETransformer(2, max_epochs=8, hidden_dims=(16,))


@pytest.fixture
def iris():
    return load_iris().data


@pytest.fixture
def X(iris):
    missing = np.random.RandomState(0).uniform(size=iris.shape) < 0.2
    return np.where(missing, np.nan, iris)


def test_gaps_are_filled_and_nothing_else(iris, X):
    imputer = VAEImputer(random_state=0)
    filled = imputer.fit_transform(X)
    there = ~np.isnan(X)
    np.testing.assert_array_equal(filled[there], X[there])
    of_means = SimpleImputer().fit_transform(X)

    def off(found):
        return np.sqrt(np.mean((found - iris)[~there] ** 2))

    assert off(filled) < 0.6 * off(of_means)
    np.testing.assert_array_equal(imputer.transform(X), filled)
    assert isinstance(imputer.estimator_, VAETransformer)
    assert imputer.estimator_.random_state == 0
    assert np.isfinite(imputer.transform(np.full((2, 4), np.nan))).all()
    assert imputer.transform(X[:7].astype(np.float32)).dtype == np.float32


def test_draws_differ_by_their_seed(X):
    drawn = [
        VAEImputer(VAE, sample_posterior=True, random_state=seed).fit_transform(X)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2])[np.isnan(X)].mean() > 0.9


def test_indicators_and_empty_columns(X):
    X = np.column_stack([X, np.full(len(X), np.nan)])
    X[:, 1] = np.where(np.isnan(X[:, 1]), 3.0, X[:, 1])
    kept = VAEImputer(VAE, random_state=0, add_indicator=True, keep_empty_features=True)
    left_out = VAEImputer(VAE, random_state=0, add_indicator=True)
    theirs = SimpleImputer(add_indicator=True, keep_empty_features=True).fit(X)
    found = kept.fit_transform(X)
    assert found.shape == theirs.transform(X).shape == (150, 5 + 4)
    np.testing.assert_array_equal(found[:, 4], 0.0)
    np.testing.assert_array_equal(found[:, 5:], theirs.transform(X)[:, 5:])
    assert list(kept.get_feature_names_out()) == list(theirs.get_feature_names_out())
    others = left_out.fit_transform(X)
    assert others.shape == (150, 4 + 4)
    np.testing.assert_array_equal(others[:, :4], found[:, :4])
    names = ["x0", "x1", "x2", "x3"]
    told = [f"missingindicator_x{j}" for j in (0, 2, 3, 4)]
    assert list(left_out.get_feature_names_out()) == names + told


def test_frames(X):
    frame = pd.DataFrame(X, columns=list("abcd"), index=[f"r{i}" for i in range(150)])
    imputer = VAEImputer(VAE, random_state=0, add_indicator=True)
    found = imputer.set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns[:4]) == list("abcd")
    assert found.columns[4] == "missingindicator_a"
    assert list(found.index) == list(frame.index)
    assert not found.isna().any().any()
    with pytest.raises(ValueError, match="input_features is not equal"):
        imputer.get_feature_names_out(list("dcba"))


def test_tables_of_words(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    names = np.repeat(["setosa", "versicolor", "virginica"], 50)
    hidden = np.random.RandomState(1).uniform(size=150) < 0.2
    frame["kind"] = np.where(hidden, None, names)
    frame["big"] = pd.array(X[:, 2] > 3.0, dtype="boolean")
    frame.loc[np.isnan(X[:, 2]), "big"] = pd.NA
    imputer = VAEImputer(random_state=0, add_indicator=True)
    found = imputer.fit_transform(frame)
    assert imputer.estimator_.likelihood == "mixed"
    assert (found["kind"] == names)[hidden].mean() > 0.7
    assert found["big"].dtype == frame["big"].dtype
    there = frame.notna()
    for name in frame.columns:
        own = there[name]
        assert (found[name][own] == frame[name][own]).all()
    assert list(found.columns) == list(imputer.get_feature_names_out())


@pytest.mark.parametrize("marked", [-1.0, -1])
def test_numbers_may_stand_for_gaps(X, marked):
    other = np.where(np.isnan(X), -1.0, X)
    found = VAEImputer(VAE, missing_values=marked, random_state=0).fit_transform(other)
    np.testing.assert_array_equal(
        found, VAEImputer(VAE, random_state=0).fit_transform(X)
    )
    frame = pd.DataFrame(other, columns=list("abcd"))
    of_frame = VAEImputer(VAE, missing_values=marked, random_state=0)
    np.testing.assert_array_equal(np.asarray(of_frame.fit_transform(frame)), found)


def test_words_may_stand_for_gaps():
    frame = pd.DataFrame(
        {"w": ["a", "?", "b", "a"] * 20, "x": [1.0, 2.0, 3.0, 1.0] * 20}
    )
    imputer = VAEImputer(missing_values="?", random_state=0)
    assert set(imputer.fit_transform(frame)["w"]) == {"a", "b"}
    pl = pytest.importorskip("polars")
    found = clone(imputer).fit_transform(pl.from_pandas(frame))
    assert set(found["w"]) == {"a", "b"}


def test_it_pipes_searches_and_is_kept(iris, X, tmp_path):
    pipe = make_pipeline(VAEImputer(VAE, random_state=0), LinearRegression())
    grid = {"vaeimputer__estimator__latent_dim": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise")
    search.fit(X[:, :3], iris[:, 3])
    imputer = VAEImputer(VAE, random_state=0).fit(X)
    skvae.save(imputer, tmp_path / "imputer.safetensors")
    loaded = skvae.load(tmp_path / "imputer.safetensors")
    np.testing.assert_array_equal(loaded.transform(X), imputer.transform(X))


def test_conditions(X):
    batch = np.arange(150) % 2
    imputer = VAEImputer(VAE, random_state=0).fit(X, conditions=batch)
    assert np.isfinite(imputer.transform(X, conditions=batch)).all()
    with pytest.raises(ValueError, match="was fitted with conditions"):
        imputer.transform(X)


def test_bad_tables_are_refused(X):
    with pytest.raises(ValueError, match="X has no value in any column"):
        VAEImputer(VAE).fit(np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        VAEImputer(VAE).fit(np.where(np.isnan(X), np.inf, X))
    with pytest.raises(ValueError, match="'estimator' parameter"):
        VAEImputer("mean").fit(X)


def test_the_network_and_the_linear_model_are_stacked():
    """A line through two columns is the linear model's; a parabola is not."""
    rng = np.random.RandomState(0)
    z = rng.randn(600, 1)
    line = z @ np.ones((1, 4)) + 0.3 * rng.randn(600, 4)
    bent = np.column_stack([z, z**2, z + z**2, -(z**2)]) + 0.2 * rng.randn(600, 4)
    shares = []
    for whole in (line, bent):
        hidden = rng.uniform(size=whole.shape) < 0.15
        X = np.where(hidden, np.nan, whole)
        imputer = VAEImputer(VAETransformer(2, max_epochs=60), random_state=0).fit(X)
        shares.append(imputer.network_share_)
        model = imputer.estimator_

        def off(found, hidden=hidden, whole=whole):
            return np.sqrt(np.mean((found - whole)[hidden] ** 2))

        network, linear = (
            off(model._impute(X, None, 50, 0, {}, share)) for share in (1.0, 0.0)
        )
        assert off(imputer.transform(X)) < min(network, linear) + 0.02
    # Of the line, the linear model itself may be what was kept: all is its own then.
    assert 0.0 <= shares[0] <= 1.0
    assert shares[1] > 0.5
    words = pd.DataFrame({"w": ["a", "b", None] * 30, "x": rng.randn(90)})
    assert VAEImputer(random_state=0).fit(words).network_share_ == 1.0


def test_arrays_of_objects():
    X = np.array([["a", 1.0], ["b", None], [None, 2.0], ["a", 3.0]] * 20, dtype=object)
    filled = VAEImputer(random_state=0).fit_transform(X)
    assert filled.dtype == object
    assert set(filled[:, 0]) == {"a", "b"}
    assert all(isinstance(value, float) for value in filled[:, 1])
