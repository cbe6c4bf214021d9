"""Rows with gaps: training, scores, codes and imputation."""

import pickle

import numpy as np
import pytest
import torch
from _kinds import CODES, COUNTS, NAMES, rows_for
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import VAETransformer
from skvae._likelihoods.linear_factors import LinearFactors
from skvae._linear.gaps import ConditionalMean, factors_with_gaps
from skvae.inspection import diagnose

# Few epochs of small networks: there may be nothing to code yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)
QUICK = {"latent_dim": 2, "max_epochs": 8, "hidden_dims": (16,), "random_state": 0}
GAPS = {**QUICK, "missing_values": "marginalize"}
LINEAR = ("gaussian", "gaussian_diag", "student_t", "log_normal")


def with_gaps(X, share=0.25, seed=0):
    """The same with entries missing at random; a row has none."""
    X = np.where(np.random.RandomState(seed).uniform(size=X.shape) < share, np.nan, X)
    X[3] = np.nan
    return X


@pytest.fixture(scope="module")
def cancer():
    return StandardScaler().fit_transform(load_breast_cancer().data)


def params_of(name):
    return {"size_factor": None} if name in COUNTS else {}


@pytest.mark.parametrize("name", ["gaussian", *NAMES])
def test_with_nothing_missing_it_is_the_same_to_the_bit(name):
    X = rows_for(name if name != "gaussian" else "gaussian_diag")
    plain, gaps = (
        VAETransformer(likelihood=name, **params).fit(X) for params in (QUICK, GAPS)
    )
    np.testing.assert_array_equal(gaps.transform(X), plain.transform(X))
    np.testing.assert_array_equal(gaps.score_samples(X), plain.score_samples(X))
    for own, other in zip(gaps.history_, plain.history_, strict=True):
        assert {**own, "epoch_time": 0} == {**other, "epoch_time": 0}


@pytest.mark.parametrize(
    "name", ["gaussian", *(name for name in NAMES if name != "multinomial")]
)
def test_rows_with_gaps(name):
    whole = rows_for(name if name != "gaussian" else "gaussian_diag")
    X = with_gaps(whole)
    vae = VAETransformer(likelihood=name, **params_of(name), **GAPS).fit(X)
    codes, std = vae.transform(X, return_std=True)
    for values in (codes, std, vae.reconstruct(X), vae.score_samples(X)):
        assert np.isfinite(values).all()
    scores = vae.score_samples(X)
    # Nothing was observed: nothing is to be explained.
    assert -6.0 < scores[3] < 0.01
    assert scores[3] < vae.log_likelihood(X[3:4], 500)[0] < 0.3
    assert vae.history_[-1]["valid_elbo"] == pytest.approx(scores.mean(), abs=4.0)
    filled = vae.impute(X)
    there = ~np.isnan(X)
    np.testing.assert_array_equal(filled[there], X[there])
    assert np.isfinite(filled).all()
    drawn = vae.impute(X, 4, random_state=1)
    assert drawn.shape == (4, *X.shape)
    np.testing.assert_array_equal(drawn[:, there], np.repeat(X[there][None], 4, axis=0))
    assert (drawn[0] != drawn[1])[~there].any()
    if name in (*COUNTS, *CODES, "bernoulli"):
        np.testing.assert_array_equal(drawn, np.rint(drawn))
    errors = vae.reconstruction_error(X, per_feature=True)
    np.testing.assert_array_equal(np.isnan(errors), ~there)
    copied = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(copied.score_samples(X), scores)
    np.testing.assert_array_equal(copied.impute(X), filled)
    found = diagnose(vae, X)
    assert found.elbo == pytest.approx(scores.mean())
    assert np.isfinite(found.expected_elbo)
    vae.partial_fit(X[:40])


@pytest.mark.parametrize("name", LINEAR)
def test_an_entry_that_is_missing_changes_nothing(name):
    """Whatever stood there: what is masked is neither seen nor explained."""
    X = rows_for(name if name != "gaussian" else "gaussian_diag")
    vae = VAETransformer(likelihood=name, **GAPS).fit(with_gaps(X))
    one, other = X[:10].copy(), 7.0 * X[:10]
    one[:, 2] = other[:, 2] = np.nan
    keep = np.arange(9) != 2
    other[:, keep] = X[:10, keep]
    np.testing.assert_array_equal(vae.score_samples(one), vae.score_samples(other))


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
def test_linear_and_gaussian_it_is_the_exact_marginal_likelihood(cancer, likelihood):
    """Of the linear model, whose gaps are integrated out, and by importance."""
    X = with_gaps(cancer[:, :10])
    vae = VAETransformer(
        3,
        hidden_dims=(),
        likelihood=likelihood,
        missing_values="marginalize",
        max_epochs=1,
        lr=1e-12,
        random_state=0,
    ).fit(X)
    model = vae._fitted.state.linear_model
    units = vae._likelihood_.linear_units()
    exact = vae._linear_log_likelihood(X)
    codes, _, decode = model.maps(torch.float64)
    assert len(codes) == 3
    noise = model._variances if likelihood == "gaussian_diag" else None
    if noise is not None:
        scales, decode = units.scale, decode.numpy()
        covariance = decode @ decode.T + np.diag(model.factors.noise)
        covariance = covariance * np.outer(scales, scales)
        own = LinearFactors(model.factors).log_likelihood(X, units)
        for i in (0, 1, 50):
            there = ~np.isnan(X[i])
            dense = multivariate_normal(
                units.mean[there], covariance[np.ix_(there, there)]
            ).logpdf(X[i, there])
            assert own[i] == pytest.approx(dense, abs=1e-5)
    assert exact[3] == 0.0
    # The noise is a little larger, so that it holds for other rows.
    bound = vae.log_likelihood(X[:200], 2000)
    assert bound.mean() == pytest.approx(exact[:200].mean(), abs=0.25)
    # Gaussian posteriors of one width for all rows lose some of it.
    assert vae.score_samples(X[:200]).mean() < bound.mean() + 0.02
    assert vae.score_samples(X[:200]).mean() > bound.mean() - 0.6


def test_training_begins_as_factor_analysis_fills_gaps(cancer):
    X = with_gaps(cancer[:, :10])
    vae = VAETransformer(
        3, missing_values="marginalize", max_epochs=1, lr=1e-12, random_state=0
    ).fit(X)
    filled = vae.impute(X, n_samples=400)
    scales = vae.scale_
    z = (X - vae.mean_) / scales
    factors = factors_with_gaps(
        z, 3, floor=vae._likelihood_.noise_floor, random_state=np.random.RandomState(0)
    )
    x = torch.from_numpy(z)
    linear = ConditionalMean(factors)(x.nan_to_num(), ~torch.isnan(x)).numpy()
    off = (filled - (linear * scales + vae.mean_))[np.isnan(X)]
    assert np.sqrt(np.mean(off**2)) < 0.1


def test_imputation_is_better_than_means_and_linear_models(cancer):
    missing = np.random.RandomState(0).uniform(size=cancer.shape) < 0.3
    X = np.where(missing, np.nan, cancer)
    vae = VAETransformer(10, missing_values="marginalize", random_state=0).fit(X)

    def error(filled):
        return np.sqrt(np.mean((filled - cancer)[missing] ** 2))

    factors = factors_with_gaps(X, 10, random_state=np.random.RandomState(0))
    x = torch.from_numpy(X)
    linear = ConditionalMean(factors)(x.nan_to_num(), ~torch.isnan(x)).numpy()
    assert error(vae.impute(X)) < error(linear) < 0.5
    # Draws are as far apart as means are off.
    drawn = vae.impute(X, 40)
    low, high = np.quantile(drawn[:, missing], [0.05, 0.95], axis=0)
    held = ((low <= cancer[missing]) & (cancer[missing] <= high)).mean()
    assert 0.84 < held < 0.95
    assert error(drawn.mean(axis=0)) == pytest.approx(error(vae.impute(X)), rel=0.05)


def test_a_column_with_gaps_that_depend_on_another():
    """Missing at random: what was observed of the column is above its mean."""
    rng = np.random.RandomState(0)
    a = rng.randn(2000)
    X = np.column_stack([a, a + 0.3 * rng.randn(2000), a + 0.3 * rng.randn(2000)])
    X[a < 0.0, 1] = np.nan
    vae = VAETransformer(1, missing_values="marginalize", max_epochs=5, random_state=0)
    assert vae.fit(X).mean_[1] == pytest.approx(0.0, abs=0.1)
    assert np.nanmean(X[:, 1]) > 0.7
    assert vae.impute(X)[:, 1].mean() == pytest.approx(0.0, abs=0.12)


def test_gaps_that_training_had_not(cancer):
    vae = VAETransformer(3, missing_values="marginalize", max_epochs=10, random_state=0)
    vae.fit(cancer)
    X = with_gaps(cancer[:100])
    assert np.isfinite(vae.transform(X)).all()
    filled = vae.impute(X)
    off = (filled - cancer[:100])[np.isnan(X) & (np.arange(100) != 3)[:, None]]
    assert np.sqrt(np.mean(off**2)) < 0.8 * cancer[:100].std()


def test_conditions_with_gaps(cancer):
    batch = np.arange(len(cancer)) % 2
    X = with_gaps(cancer[:, :8]) + 3.0 * batch[:, None]
    for encodes in (False, True):
        vae = VAETransformer(
            2, encode_conditions=encodes, missing_values="marginalize", random_state=0
        ).fit(X, conditions=batch)
        filled = vae.impute(X, conditions=batch)
        truth = cancer[:, :8] + 3.0 * batch[:, None]
        off = (filled - truth)[np.isnan(X)]
        assert np.sqrt(np.mean(off**2)) < 0.85
        own, other = (vae.score(X, conditions=c) for c in (batch, 1 - batch))
        assert own > other + 5.0


@pytest.mark.parametrize("params", [{}, {"n_importance_samples": 3}, {"beta": 2.0}])
def test_the_engine_and_autograd_agree(cancer, params, monkeypatch):
    X = with_gaps(cancer[:200, :6])
    one = VAETransformer(**GAPS, **params).fit(X)
    monkeypatch.setenv("SKVAE_ENGINE", "autograd")
    other = VAETransformer(**GAPS, **params).fit(X)
    np.testing.assert_allclose(one.transform(X), other.transform(X), atol=2e-3)
    assert one.score(X) == pytest.approx(other.score(X), abs=2e-3)


def test_on_disk_in_chunks_saved_and_searched(cancer, tmp_path):
    X = with_gaps(cancer)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    vae = VAETransformer(**GAPS).fit(X)
    on_disk = clone(vae).fit(mapped)
    np.testing.assert_allclose(on_disk.transform(X), vae.transform(X), atol=1e-3)
    skvae.save(vae, tmp_path / "model.safetensors")
    loaded = skvae.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.score_samples(X), vae.score_samples(X))
    search = GridSearchCV(
        clone(vae).set_params(max_epochs=2), {"beta": [1.0, 2.0]}, cv=2
    )
    assert np.isfinite(search.fit(X).cv_results_["mean_test_score"]).all()
    warm = clone(vae).set_params(warm_start=True).fit(X)
    assert warm.fit(X).score(X) >= vae.score(X) - 0.05
    checked = clone(vae).fit(X, checkpoint_dir=tmp_path / "fits")
    np.testing.assert_array_equal(checked.transform(X), vae.transform(X))


def test_a_seed_repeats(cancer):
    X = with_gaps(cancer[:150])
    one, other = (VAETransformer(**GAPS).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    np.testing.assert_array_equal(one.impute(X, 3), other.impute(X, 3))
    assert not np.array_equal(one.impute(X, random_state=5), one.impute(X))


def test_bad_gaps_are_refused(cancer):
    X = with_gaps(cancer[:50])
    with pytest.raises(ValueError, match="contains NaN"):
        VAETransformer(**QUICK).fit(X)
    empty = np.where(np.arange(30) == 4, np.nan, X)
    with pytest.raises(ValueError, match="Column 4 of X has no values"):
        VAETransformer(**GAPS).fit(empty)
    with pytest.raises(ValueError, match="infinity"):
        VAETransformer(**GAPS).fit(np.where(np.isnan(X), np.inf, X))
    with pytest.raises(
        ValueError, match=r"Sparse X has missing values .* pass X.toarr"
    ):
        VAETransformer(**GAPS).fit(sparse.csr_array(X))
    counts = with_gaps(rows_for("poisson"))
    with pytest.raises(ValueError, match="sums of its rows are not known"):
        VAETransformer(likelihood="poisson", **GAPS).fit(counts)
    plain = VAETransformer(**QUICK).fit(cancer[:50])
    with pytest.raises(ValueError, match="contains NaN"):
        plain.transform(X)
    with pytest.raises(ValueError, match="contains NaN"):
        plain.set_params(missing_values="marginalize").transform(X)
    with pytest.raises(ValueError, match="n_samples=0 must be a positive integer"):
        VAETransformer(**GAPS).fit(X).impute(X, 0)
