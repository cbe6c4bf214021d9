"""Every likelihood through the estimator, on small tables of its kind."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from _kinds import CODES, CONTINUOUS, COUNTS, NAMES, rows_for
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skvae import VAETransformer
from skvae._likelihoods.registry import LIKELIHOODS, likelihood_named

QUICK = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 12, "lr": 0.02}
SIZED = ("poisson", "negative_binomial", "zinb")
pytestmark = pytest.mark.filterwarnings(
    # Some seconds are too few to learn much.
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


def model(name, **params):
    return VAETransformer(likelihood=name, random_state=0, **{**QUICK, **params})


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def X(name):
    return rows_for(name)


@pytest.fixture(scope="module")
def fitted(name, X):
    """Tests must not change it."""
    return model(name).fit(X)


def test_names():
    assert set(NAMES) == set(LIKELIHOODS) - {"gaussian", "mixed"}
    for name in NAMES:
        assert likelihood_named(name).name == name
    with pytest.raises(ValueError, match=r"'normal' is not known; use one of 'gauss"):
        likelihood_named("normal")
    with pytest.raises(ValueError, match="'likelihood' parameter"):
        VAETransformer(likelihood="normal").fit(rows_for("poisson"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_it_gives_is_finite_and_of_its_shape(fitted, X, name, dtype):
    X = X[:40].astype(dtype)
    codes = fitted.transform(X)
    mean, std = fitted.transform(X, return_std=True)
    assert codes.shape == std.shape == (40, 2)
    np.testing.assert_array_equal(codes, mean)
    # No unit changes a reconstruction where the model with no code was best.
    has_codes = fitted.best_epoch_ > 0 or not fitted._likelihood_.is_discrete
    assert (std > 0.0).all() == has_codes
    per_feature = fitted.reconstruction_error(X, per_feature=True)
    found = (
        codes,
        std,
        fitted.inverse_transform(codes),
        fitted.reconstruct(X),
        per_feature,
    )
    for values, width in zip(found, (2, 2, 9, 9, 9), strict=True):
        assert values.shape == (40, width)
        assert values.dtype == dtype
        assert np.isfinite(values).all()
    assert (per_feature >= 0.0).all()
    scores, errors = fitted.score_samples(X), fitted.reconstruction_error(X)
    assert scores.shape == errors.shape == (40,)
    assert scores.dtype == errors.dtype == np.float64
    np.testing.assert_allclose(errors, per_feature.mean(axis=1), rtol=1e-4)
    assert fitted.score(X) == pytest.approx(scores.mean())
    if fitted._likelihood_.is_discrete:
        assert (scores < 0.0).all()  # of probabilities


def test_samples_are_like_the_rows(fitted, X, name):
    drawn = fitted.sample(2000, random_state=0)
    assert drawn.shape == (2000, 9)
    assert drawn.dtype == X.dtype
    assert np.isfinite(drawn).all()
    if name not in CONTINUOUS:
        assert (drawn == np.floor(drawn)).all()
        assert drawn.min() >= 0.0
    if name in ("bernoulli", *CODES):
        assert (drawn.max(axis=0) <= X.max(axis=0)).all()
    noisy = fitted.sample(2000, random_state=0, noise=True)
    spread = X.std(axis=0)
    off = np.abs(noisy.mean(axis=0) - X.mean(axis=0))
    # 120 rows know their means to a tenth of the spread
    assert (off < 0.5 * spread + 0.05).all()
    means = fitted.sample(50, random_state=0, noise=False)
    assert means.shape == (50, 9)
    np.testing.assert_array_equal(fitted.sample(2000, random_state=0), drawn)


def test_sparse_rows_are_the_same(fitted, X, name):
    for kind in (sparse.csr_array, sparse.csr_matrix):
        rows = kind(X)
        np.testing.assert_allclose(
            fitted.transform(rows), fitted.transform(X), atol=1e-4
        )
        np.testing.assert_allclose(
            fitted.score_samples(rows), fitted.score_samples(X), rtol=1e-4
        )
    again = model(name).fit(sparse.csr_array(X))
    np.testing.assert_allclose(again.transform(X), fitted.transform(X), atol=1e-4)
    assert again.score(X) == pytest.approx(fitted.score(X), rel=1e-4)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("size_factor", ["row_sum", None])
def test_few_counts_in_many_columns_stay_sparse_and_the_same(name, size_factor):
    X = np.random.RandomState(0).poisson(0.05, (60, 400)).astype(np.float32)
    wide = {"hidden_dims": (700,), "max_epochs": 2, "size_factor": size_factor}
    if name == "multinomial" and size_factor is None:
        with pytest.raises(ValueError, match="set size_factor='row_sum'"):
            model(name, **wide).fit(X)
        return
    dense, csr = (
        model(name, **wide).fit(kind(X)) for kind in (np.array, sparse.csr_array)
    )
    np.testing.assert_allclose(csr.transform(X), dense.transform(X), atol=1e-3)
    assert csr.score(sparse.csr_array(X)) == pytest.approx(dense.score(X), rel=1e-3)
    found = csr.transform(sparse.csr_array(X))
    np.testing.assert_allclose(found, csr.transform(X), atol=1e-4)


def test_pickles_are_the_same_to_the_bit(fitted, X):
    copied = pickle.loads(pickle.dumps(fitted))
    for method in ("transform", "score_samples", "reconstruct"):
        np.testing.assert_array_equal(
            getattr(copied, method)(X), getattr(fitted, method)(X)
        )
    drawn = (m.sample(5, random_state=1, noise=True) for m in (fitted, copied))
    np.testing.assert_array_equal(*drawn)
    assert copied.partial_fit(X[:50]).n_iter_ == fitted.n_iter_ + 1


def test_the_same_seed_gives_the_same_bits(fitted, X, name):
    again = clone(fitted).fit(X)
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    assert again.score(X) == fitted.score(X)
    other = clone(fitted).set_params(random_state=1).fit(X)
    if other.best_epoch_:
        assert not np.array_equal(other.transform(X), fitted.transform(X))


def test_fit_leaves_parameters_and_rows(X, name):
    vae, rows = model(name), X.copy()
    params, attributes = vae.get_params(), set(vars(vae))
    vae.fit(rows)
    assert vae.get_params() == params
    added = set(vars(vae)) - attributes
    assert all(a.startswith("_") or a.endswith("_") for a in added)
    np.testing.assert_array_equal(rows, X)


def test_training_in_chunks_and_on(X, name):
    streamed = model(name)
    for _ in range(15):
        streamed.partial_fit(X[:60]).partial_fit(X[60:])
    assert streamed.n_iter_ == 30
    assert np.isfinite(streamed.score(X))
    short = model(name, max_epochs=1, warm_start=True, early_stopping=False).fit(X)
    first = short.score(X)
    short.set_params(max_epochs=20).fit(X)
    assert short.score(X) > first - 0.1 * abs(first)


def test_autograd_trains_to_the_same_codes(fitted, X, name, monkeypatch):
    monkeypatch.setenv("SKVAE_ENGINE", "autograd")
    plain = model(name).fit(X)
    np.testing.assert_allclose(
        plain.transform(X), fitted.transform(X), rtol=1e-3, atol=1e-3
    )
    assert plain.score(X) == pytest.approx(fitted.score(X), rel=1e-3)


def test_training_helps(X, name):
    """Rows are better explained by two units than by none."""
    params = {"max_epochs": 30, "batch_size": 16}
    learnt = model(name, **params).fit(X)
    none = model(name, kld_weight=100.0, linear_path=None, **params).fit(X)
    assert learnt.score(X) > none.score(X) + 0.3
    assert learnt.reconstruction_error(X).mean() < none.reconstruction_error(X).mean()


@pytest.mark.parametrize("precision", ["bf16"])
def test_low_precision(X, name, precision):
    assert np.isfinite(model(name, precision=precision).fit(X).score(X))


def test_a_fit_forgets_the_likelihood_before(X, name):
    vae = model("gaussian").fit(rows_for("gaussian_diag"))
    assert vae.noise_variance_ > 0.0
    vae.set_params(likelihood=name).fit(X)
    fresh = model(name).fit(X)
    assert set(vars(vae)) == set(vars(fresh))
    assert vae.likelihood_ == name
    assert vae.score(X) == fresh.score(X)


# -- size factors ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZED)
def test_sizes_of_rows_are_sums_or_none_or_given(name):
    X = rows_for(name)
    sums, none = model(name).fit(X), model(name, size_factor=None).fit(X)
    size = X.sum(axis=1) + 1.0
    given = model(name).fit(X, size_factor=size)
    assert len({m.score(X) for m in (sums, none)}) == 2
    assert np.isfinite(given.score(X, size_factor=size))
    with pytest.raises(ValueError, match="fitted with size_factor= of every row"):
        given.score(X)
    for method in (sums.transform, none.transform):
        with pytest.raises(ValueError, match="fitted without any"):
            method(X, size_factor=size)
    for wrong, match in (
        (size[:-1], "shape"),
        (0.0 * size, "positive"),
        (-1.0, "posi"),
    ):
        with pytest.raises(ValueError, match=match):
            given.score(X, size_factor=wrong)
    with pytest.raises(ValueError, match="size_factor was given, and this model has"):
        none.inverse_transform(none.transform(X), size_factor=2.0)


@pytest.mark.parametrize("size_factor", ["row_sum", None])
def test_training_does_not_go_on_with_other_sizes(size_factor):
    X = rows_for("poisson")
    changed = {"size_factor": None if size_factor else "row_sum"}
    vae = model("poisson", size_factor=size_factor, warm_start=True).fit(X)
    for method in (vae.partial_fit, vae.fit):
        with pytest.raises(ValueError, match="changed since the last fit"):
            vae.set_params(**changed) and method(X)
    vae.set_params(warm_start=False).fit(X)
    given = model("poisson").partial_fit(X, size_factor=2.0)
    given.set_params(size_factor=None).partial_fit(X, size_factor=2.0)
    with pytest.raises(ValueError, match="pass that of these rows, too"):
        given.partial_fit(X)
    with pytest.raises(ValueError, match="likelihood changed since the last fit"):
        given.set_params(likelihood="zinb").partial_fit(X, size_factor=2.0)


@pytest.mark.parametrize("name", COUNTS)
def test_reconstructions_have_the_size_that_is_asked_for(name):
    X = rows_for(name)
    vae = model(name).fit(X)
    codes = vae.transform(X)
    one, ten = (vae.inverse_transform(codes, size_factor=s) for s in (1.0, 10.0))
    np.testing.assert_allclose(10.0 * one, ten, rtol=1e-6)
    normalised = vae.reconstruct(X, size_factor=1.0)
    own = vae.reconstruct(X)
    np.testing.assert_allclose(
        normalised * X.sum(axis=1, keepdims=True), own, rtol=1e-4, atol=1e-6
    )
    usual = np.median(X.sum(axis=1))
    np.testing.assert_allclose(vae.inverse_transform(codes), usual * one, rtol=1e-6)
    drawn = vae.sample(500, random_state=0, size_factor=1000.0)
    if name == "multinomial":
        np.testing.assert_array_equal(drawn.sum(axis=1), 1000.0)
    else:
        assert drawn.sum(axis=1).mean() == pytest.approx(1000.0, rel=0.3)


@pytest.mark.parametrize("name", ["bernoulli", *CODES, *CONTINUOUS])
def test_others_have_no_size(name):
    with pytest.raises(ValueError, match="only likelihoods of counts have one"):
        model(name).fit(rows_for(name), size_factor=1.0)


# -- conditions ------------------------------------------------------------------------


@pytest.mark.parametrize("encodes", [False, True])
def test_conditions(X, name, encodes):
    letters = np.array(["a", "b", "c"])[np.arange(len(X)) % 3]
    shifted = model(name, encode_conditions=encodes).fit(X, conditions=letters)
    csr = model(name, encode_conditions=encodes)
    csr.fit(sparse.csr_array(X), conditions=pd.DataFrame({"batch": letters}))
    score = shifted.score(X, conditions=letters)
    assert np.isfinite(score)
    assert csr.score(sparse.csr_array(X), conditions=letters) == pytest.approx(
        score, rel=1e-4
    )
    if encodes:
        with pytest.raises(ValueError, match="was fitted with conditions"):
            shifted.transform(X)
        codes = shifted.transform(X, conditions=letters)
    else:
        codes = shifted.transform(X)
    for found in (
        shifted.inverse_transform(codes, conditions="a"),
        shifted.reconstruct(X, conditions=letters),
        shifted.reconstruct(X, conditions=letters, to="b"),
        shifted.reconstruction_error(X, True, conditions=letters),
        shifted.sample(len(X), random_state=0, conditions=letters),
    ):
        assert found.shape == X.shape
        assert np.isfinite(found).all()
    copied = pickle.loads(pickle.dumps(shifted))
    assert copied.score(X, conditions=letters) == score
    for wrong, match in (
        (None, "was fitted with conditions"),
        (["d"] * len(X), "unseen category 'd'"),
        (letters[:5], "has 5 rows, and X has 120"),
        (np.arange(120.0), "now has numbers"),
    ):
        with pytest.raises(ValueError, match=match):
            shifted.score(X, conditions=wrong)
    shifted.partial_fit(X[:9], conditions=letters[:9])


def test_conditions_are_learnt(name):
    """A batch that shifts all columns costs nothing if it is given."""
    X = rows_for(name)
    batch = np.arange(len(X)) % 2
    if name == "ordinal":
        X = np.minimum(X + 2.0 * batch[:, None], 3.0)
    elif name == "categorical":
        X = np.where(batch[:, None] == 1, 3.0 - X, X)
    elif name == "bernoulli":
        X = np.where(batch[:, None] == 1, 1.0 - X, X)
    elif name in CONTINUOUS:
        X = X + 20.0 * batch[:, None]
    else:
        X[batch == 1] *= np.array([5.0, 1.0, 0.0] * 3)
    params = {"max_epochs": 40, "early_stopping": False, "batch_size": 16}
    vae = model(name, **params).fit(X, conditions=batch)
    own, other = (vae.score(X, conditions=c) for c in (batch, 1 - batch))
    assert own > other + 0.5
    # what the rows would have been in the other batch
    there = vae.reconstruct(X, conditions=batch, to=1 - batch)
    here = vae.reconstruct(X, conditions=batch)
    moved = (there - here)[batch == 0].mean(axis=0)
    truth = X[batch == 1].mean(axis=0) - X[batch == 0].mean(axis=0)
    assert np.corrcoef(moved, truth)[0, 1] > 0.5 or name in CONTINUOUS
    assert moved @ truth > 0.0


@pytest.mark.parametrize("routed_name", ["negative_binomial", "gaussian_diag"])
def test_conditions_are_routed(routed_name):
    X = rows_for(routed_name)
    letters = np.array(["a", "b"])[np.arange(len(X)) % 2]
    params = {"max_epochs": 2}
    with sklearn.config_context(enable_metadata_routing=True):
        vae = model(routed_name, **params)
        vae = vae.set_fit_request(conditions=True).set_score_request(conditions=True)
        vae.set_transform_request(conditions=True)
        search = GridSearchCV(vae, {"latent_dim": [1, 2]}, cv=2)
        search.fit(X, conditions=letters)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert np.isfinite(search.score(X, conditions=letters))
        pipe = make_pipeline(FunctionTransformer(), clone(vae))
        codes = pipe.fit_transform(X, conditions=letters)
        np.testing.assert_array_equal(pipe.transform(X, conditions=letters), codes)
        assert codes.shape == (len(X), 2)
        if routed_name == "negative_binomial":
            sized = clone(vae).set_fit_request(conditions=False, size_factor=True)
            sized.set_score_request(conditions=False, size_factor=True)
            search = GridSearchCV(sized, {"latent_dim": [1, 2]}, cv=2)
            search.fit(X, size_factor=X.sum(axis=1) + 1.0)
            assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    pipe = make_pipeline(FunctionTransformer(), model(routed_name, **params))
    pipe.fit(X, vaetransformer__conditions=letters)
    assert pipe[-1].score(X, conditions=letters) < np.inf
