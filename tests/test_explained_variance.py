"""Codes as PCA's users know them."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._data.rows import Rows
from skvae._likelihoods.gaussian import Gaussian

EVERY = [VAETransformer, AETransformer, RAETransformer, SAETransformer]
# What keeps the linear model that training begins at.
KEPT = {"lr": 1e-12, "max_epochs": 1, "random_state": 0}


def table(n_rows, eigenvalues, seed=0, shift=3.0):
    """Normal rows with these variances along random directions."""
    rng = np.random.RandomState(seed)
    d = len(eigenvalues)
    rotation = np.linalg.qr(rng.randn(d, d))[0]
    return rng.randn(n_rows, d) * np.sqrt(eigenvalues) @ rotation.T + shift


def assert_is_pca(model, pca, rtol=1e-4):
    np.testing.assert_allclose(model.components_, pca.components_, atol=rtol)
    np.testing.assert_allclose(
        model.explained_variance_, pca.explained_variance_, rtol=rtol
    )
    np.testing.assert_allclose(
        model.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=rtol
    )


@pytest.mark.parametrize("n_rows", [60, 5000])
@pytest.mark.parametrize(
    "model",
    [
        VAETransformer(4, **KEPT, likelihood="gaussian"),
        VAETransformer(4, hidden_dims=(), **KEPT, likelihood="gaussian"),
        VAETransformer(4, kld_weight=1e-5, **KEPT, likelihood="gaussian"),
        VAETransformer(4, kld_weight=0.4, **KEPT, likelihood="gaussian"),
        VAETransformer(4, beta=1.5, **KEPT, likelihood="gaussian"),
        AETransformer(4, **KEPT),
        RAETransformer(4, **KEPT),
        SAETransformer(4, reg_weight=0.0, **KEPT),
    ],
    ids=lambda model: str(model)[:50],
)
def test_a_linear_model_is_pca(model, n_rows):
    """Whatever the weight of the KL is, and with more rows than calibration sees."""
    X = table(n_rows, [20, 12, 9, 5, 1, 0.9, 0.8, 0.7])
    model = clone(model).fit(X)
    assert_is_pca(model, PCA(4).fit(X))
    codes = model.transform(X)
    assert np.all(np.diff(codes.var(axis=0)) < 0.0)


@pytest.mark.parametrize("weight", [{}, {"kld_weight": 0.4}, {"beta": 1.5}])
def test_a_trained_linear_model_is_nearly_pca(weight):
    """Its noise follows training, and is measured on some rows."""
    X = table(2000, [20, 12, 9, 5, 1, 0.9, 0.8, 0.7])
    params = {"hidden_dims": (), "early_stopping": False, "max_epochs": 3}
    model = VAETransformer(
        4, **params, **weight, lr=1e-5, random_state=0, likelihood="gaussian"
    ).fit(X)
    assert model.best_epoch_ == 3
    assert_is_pca(model, PCA(4).fit(X), rtol=5e-3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    angle=st.floats(0.0, 2.0 * np.pi),
    ratio=st.floats(1.5, 100.0),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    kind=st.sampled_from([VAETransformer, AETransformer, RAETransformer]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_rotations_of_the_plane(angle, ratio, scale, kind, dtype):
    c, s = np.cos(angle), np.sin(angle)
    X = np.random.RandomState(0).randn(400, 2) * [ratio, 1.0] @ [[c, s], [-s, c]]
    X = (scale * X).astype(dtype)
    params = {"likelihood": "gaussian"} if kind is VAETransformer else {}
    model, pca = kind(1, hidden_dims=(), **KEPT, **params).fit(X), PCA(1).fit(X)
    # Two loadings of one length have no sign that rounding would not change.
    loadings = np.abs(pca.components_[0])
    if abs(loadings[0] - loadings[1]) > 1e-3:
        assert_is_pca(model, pca, rtol=3e-4)
    assert model.components_.dtype == dtype


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_components_are_what_a_code_does_to_a_row(kind, whiten, digits):
    params = {"whiten": whiten} if kind is VAETransformer else {}
    model = kind(
        3, hidden_dims=(24,), max_epochs=10, lr=5e-3, random_state=0, **params
    ).fit(digits[:600])
    assert model.best_epoch_ > 0
    codes = model.transform(digits[:600])
    for unit, component in enumerate(model.components_):
        step = np.zeros(3)
        step[unit] = 0.05 * codes[:, unit].std()
        ahead, behind = (model.inverse_transform(codes + s) for s in (step, -step))
        expected = (ahead - behind).mean(axis=0) / (2 * step[unit])
        off = np.linalg.norm(component - expected)
        assert off < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", EVERY)
def test_units_share_what_the_reconstruction_explains(kind, digits):
    params = {"likelihood": "gaussian"} if kind is VAETransformer else {}
    model = kind(10, max_epochs=20, random_state=0, **params).fit(digits)
    total = digits.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(
        model.explained_variance_ratio_, model.explained_variance_ / total, rtol=1e-4
    )
    explained = model.reconstruct(digits).var(axis=0, ddof=1).sum() / total
    noise = 0.0
    if kind is VAETransformer:  # along every unit, as in PCA's eigenvalues
        noise = 10 * model.noise_variance_ / total
    assert model.explained_variance_ratio_.sum() == pytest.approx(
        explained + noise, rel=0.05
    )


def test_a_bent_decoder_does_not_explain_more_than_there_is():
    """Of a circle, the length of the curve would be three times its variance."""
    angle = np.random.RandomState(0).uniform(-np.pi, np.pi, 2000)
    X = np.c_[np.cos(angle), np.sin(angle)]
    model = AETransformer(
        *(1,), hidden_dims=(64, 64), max_epochs=60, lr=5e-3, random_state=0
    ).fit(X)
    assert model.reconstruction_error(X).mean() < 0.1
    assert 0.8 < model.explained_variance_ratio_.sum() < 1.05
    # where PCA has half of it
    assert PCA(1).fit(X).explained_variance_ratio_.sum() < 0.6


def test_idle_units_explain_nothing_and_stand_last(breast_cancer):
    model = VAETransformer(
        6, kld_weight=0.15, hidden_dims=(), **KEPT, likelihood="gaussian"
    )
    codes = model.fit_transform(breast_cancer)
    idle = codes.std(axis=0) < 1e-6
    assert 1 <= idle.sum() < 6
    assert np.all(np.diff(idle.astype(int)) >= 0)
    assert not model.explained_variance_[idle].any()
    assert not model.components_[idle].any()
    kept = ~idle
    pca = PCA(6).fit(breast_cancer)
    np.testing.assert_allclose(
        model.explained_variance_[kept], pca.explained_variance_[kept], rtol=1e-4
    )


@pytest.mark.parametrize("kind", EVERY)
def test_rows_that_are_all_the_same(kind, quick):
    model = kind(**quick).fit(np.ones((20, 4)))
    assert not model.explained_variance_ratio_.any()
    assert np.isfinite(model.components_).all()


def test_a_mean_that_is_decoded_says_the_same(digits, monkeypatch):
    """The way of means that are not affine."""
    params = {"hidden_dims": (24,), "max_epochs": 5, "lr": 5e-3, "random_state": 0}
    through_readout = VAETransformer(3, **params, likelihood="gaussian").fit(digits)
    monkeypatch.setattr(Gaussian, "mean_is_affine", False)
    decoded = VAETransformer(3, **params, likelihood="gaussian").fit(digits)
    np.testing.assert_allclose(
        decoded.explained_variance_, through_readout.explained_variance_, rtol=0.05
    )
    np.testing.assert_allclose(
        decoded.components_, through_readout.components_, atol=0.01
    )


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_many_units_explain_no_more_than_there_is(likelihood):
    """Nor do they what the sizes of the rows explain."""
    rng = np.random.RandomState(0)
    rates = np.exp(rng.randn(400, 3) @ rng.randn(3, 40) * 0.5)
    counts = rng.poisson(rates * np.exp(rng.randn(400, 1)))
    rows = counts if likelihood == "poisson" else counts > 1
    params = {"hidden_dims": (32,), "max_epochs": 30, "random_state": 0}
    model = VAETransformer(30, likelihood=likelihood, **params).fit(rows)
    explained = model.explained_variance_ratio_.sum()
    assert 0.1 < explained < 1.0
    if likelihood == "poisson":
        everything = np.var(model.reconstruct(rows), axis=0).sum()
        assert explained < 0.9 * everything / np.var(rows, axis=0).sum()


class Exponential(Gaussian):
    """A Gaussian whose mean is not affine in what the decoder gives."""

    mean_is_affine = False

    def mean(self, raw):
        return super().mean(raw.exp())


class ExponentialVAE(VAETransformer):
    _likelihood = Exponential


def test_a_mean_that_is_not_affine_counts(digits):
    params = {"hidden_dims": (16,), "max_epochs": 5, "random_state": 0}
    model = ExponentialVAE(2, **params).fit(digits[:300])
    codes = model.transform(digits[:300])
    step = np.array([0.05 * codes[:, 0].std(), 0.0])
    ahead, behind = (model.inverse_transform(codes + s) for s in (step, -step))
    expected = (ahead - behind).mean(axis=0) / (2 * step[0])
    off = np.linalg.norm(model.components_[0] - expected)
    assert off < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("whiten", [False, True])
def test_std_is_the_posterior_s_in_units_of_the_codes(digits, quick, whiten, dtype):
    X = digits[:300].astype(dtype)
    model = VAETransformer(**quick, whiten=whiten, likelihood="gaussian").fit(X)
    codes, std = model.transform(X, return_std=True)
    assert codes.dtype == std.dtype == dtype
    np.testing.assert_array_equal(codes, model.transform(X))
    units = np.ones(3) if whiten else model.code_scale_
    found = model._evaluate(X)
    np.testing.assert_allclose(std, np.exp(0.5 * found.log_var) * units, rtol=1e-5)
    sparse_rows = model.transform(sparse.csr_array(X), return_std=True)
    np.testing.assert_allclose(sparse_rows[1], std, rtol=1e-4)


def test_std_of_a_linear_model_is_in_closed_form():
    X = table(3000, [20, 12, 9, 1, 0.9, 0.8])
    model = VAETransformer(3, hidden_dims=(), **KEPT, likelihood="gaussian").fit(X)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    noise = eigenvalues[3:].mean()
    expected = np.sqrt(noise * (1.0 - noise / eigenvalues[:3]))
    _, std = model.transform(X, return_std=True)
    np.testing.assert_allclose(std, np.tile(expected, (3000, 1)), rtol=1e-4)


def test_set_output_frames_the_codes_and_leaves_the_std(digits, quick):
    pd = pytest.importorskip("pandas")
    model = (
        VAETransformer(**quick, likelihood="gaussian")
        .set_output(transform="pandas")
        .fit(digits[:90])
    )
    codes, std = model.transform(digits[:90], return_std=True)
    assert isinstance(codes, pd.DataFrame)
    assert list(codes.columns) == list(model.get_feature_names_out())
    assert isinstance(std, np.ndarray)
    assert std.shape == codes.shape
    assert isinstance(model.transform(digits[:90]), pd.DataFrame)


@pytest.mark.parametrize("kind", EVERY[1:])
def test_codes_without_a_posterior_have_no_std(kind, digits, quick):
    model = kind(**quick).fit(digits[:90])
    with pytest.raises(TypeError, match="return_std"):
        model.transform(digits[:90], return_std=True)


@pytest.mark.parametrize("kind", EVERY)
def test_they_are_fitted_attributes(kind, digits, quick):
    model = kind(**quick)
    names = ["components_", "explained_variance_", "explained_variance_ratio_"]
    assert not any(hasattr(model, name) for name in names)
    model.fit(digits[:90])
    copy = pickle.loads(pickle.dumps(model))
    for name in names:
        np.testing.assert_array_equal(getattr(copy, name), getattr(model, name))
    np.testing.assert_array_equal(
        copy.transform(digits[:90]), model.transform(digits[:90])
    )
    # What codes, decodes and draws is the one network.
    rows = copy.inverse_transform(copy.transform(digits[:90]))
    np.testing.assert_allclose(rows, copy.reconstruct(digits[:90]), atol=1e-5)
    with torch.no_grad():
        z = copy.module_.code(copy._fitted.rows(Rows(digits[:90]))[:])
    units = copy._code_units(np.dtype(np.float64))
    codes = copy.transform(digits[:90])
    np.testing.assert_allclose(z.numpy() * units, codes, atol=1e-5)


def test_whitening_takes_effect_at_once(digits, quick):
    model = VAETransformer(**quick, likelihood="gaussian").fit(digits[:300])
    before = model.components_
    model.set_params(whiten=True)
    np.testing.assert_allclose(
        model.components_, before * model.code_scale_[:, None], rtol=1e-5
    )
