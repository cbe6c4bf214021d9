"""The plain autoencoder, and what all deterministic ones share."""

import inspect

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.metrics import elbo_scorer, reconstruction_scorer

KINDS = [AETransformer, RAETransformer, SAETransformer]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_explicit_and_shared(kind):
    parameters = inspect.signature(kind).parameters
    assert [n for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY] == [
        "latent_dim"
    ]
    vae = inspect.signature(VAETransformer).parameters
    for name in set(parameters) & set(vae):
        assert parameters[name].default == vae[name].default, name
    only_vae = set(vae) - set(parameters)
    assert only_vae == {
        "kld_weight",
        "beta",
        "background_weight",
        "kld_schedule",
        "kld_warmup",
        "free_bits",
        "whiten",
        "n_importance_samples",
        "likelihood",
        "column_likelihoods",
        "balance",
        "max_categories",
        "missing_values",
        "size_factor",
        "encode_conditions",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_reconstructs_better_than_pca(kind, digits):
    X, test = digits[:1200], digits[1200:]
    model = kind(8, max_epochs=25, random_state=0)
    if kind is SAETransformer:
        # of the usual threshold's size, zeros are worth more to it than errors
        model.set_params(reg_weight=1e-4)
    model.fit(X)
    pca = PCA(8).fit(X)
    error = np.square(test - pca.inverse_transform(pca.transform(test))).mean()
    assert -model.score(test) < 0.8 * error
    assert model.score(test) == reconstruction_scorer(model, test)
    codes = model.transform(test)
    np.testing.assert_allclose(model.inverse_transform(codes), model.reconstruct(test))


@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_pca(kind, breast_cancer):
    X = breast_cancer
    model = kind(5, lr=1e-12, max_epochs=1, random_state=0)
    if kind is SAETransformer:
        model.set_params(reg_weight=0.0)
    model.fit(X)
    assert model.best_epoch_ == 0
    pca = PCA(5).fit(X)
    codes, expected = model.transform(X), pca.transform(X)
    np.testing.assert_allclose(np.abs(codes), np.abs(expected), atol=1e-4)
    error = np.square(X - pca.inverse_transform(expected)).mean()
    assert model.score(X) == pytest.approx(-error, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_does_not_depend_on_the_units(kind, digits):
    """The loss is in units of X: weights that scale with them give the same fit."""
    params = {"latent_dim": 3, "max_epochs": 3, "random_state": 0}
    one, sixteen = kind(**params), kind(**params)
    if kind is SAETransformer:
        one.set_params(reg_weight=1e-3)
        sixteen.set_params(reg_weight=16e-3)
    one.fit(digits)
    sixteen.fit(16 * digits)
    assert sixteen.score(16 * digits) == pytest.approx(
        256 * one.score(digits), rel=1e-4
    )
    np.testing.assert_allclose(
        sixteen.transform(16 * digits), 16 * one.transform(digits), rtol=1e-3, atol=1e-3
    )
    for key in ("train_loss", "valid_loss", "train_recon_loss"):
        assert sixteen.history_[-1][key] == pytest.approx(
            256 * one.history_[-1][key], rel=1e-4
        )


@pytest.mark.parametrize("kind", KINDS)
def test_streams_warm_starts_and_survives_a_pickle(kind, small, quick, tmp_path):
    model = kind(**quick).partial_fit(small).partial_fit(small[:1])
    assert model.n_iter_ == 2
    model.set_params(warm_start=True).fit(small)
    joblib.dump(model, tmp_path / "model.joblib")
    other = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(other.transform(small), model.transform(small))
    codes = kind(**quick).fit(sparse.csr_matrix(small)).transform(small)
    assert np.isfinite(codes).all()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits(kind, small, quick):
    first, second = (kind(**quick).fit(small) for _ in range(2))
    np.testing.assert_array_equal(first.transform(small), second.transform(small))


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_likelihood(kind, small, quick):
    model = kind(**quick).fit(small)
    assert not hasattr(model, "score_samples")
    assert not hasattr(model, "noise_variance_")
    with pytest.raises(TypeError, match=f"{kind.__name__} has no likelihood"):
        elbo_scorer(model, small)
    with pytest.raises(TypeError, match="free_bits"):
        kind(free_bits=0.1)
    with pytest.raises(ValueError, match="free_bits"):
        kind().set_params(free_bits=0.1)


def test_all_four_are_compared_by_their_error(digits, quick):
    X, test = digits[:300], digits[300:600]
    scores = [
        reconstruction_scorer(kind(**quick).fit(X), test)
        for kind in (VAETransformer, *KINDS)
    ]
    assert all(-1 < score < 0 for score in scores)
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), AETransformer(**quick)),
        {"aetransformer__latent_dim": [1, 6]},
        scoring=reconstruction_scorer,
        cv=2,
    ).fit(X)
    assert grid.best_params_ == {"aetransformer__latent_dim": 6}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_in_and_out(kind, library, small, quick):
    """Names of columns, and none of them in what ``fit`` computes on its own."""
    frame = pd.DataFrame(small, columns=[f"pixel{i}" for i in range(64)])
    model = kind(**quick).set_output(transform=library).fit(frame).partial_fit(frame)
    assert list(model.transform(frame).columns) == list(model.get_feature_names_out())


def test_partial_fit_takes_today_s_penalty(small, quick):
    model = RAETransformer(**quick).partial_fit(small)
    model.set_params(decoder_penalty="l2", decoder_penalty_weight=1.0)
    row = model.partial_fit(small).history_[-1]
    assert row["train_loss"] > row["train_decoder_loss"] > 0
    row = model.set_params(decoder_penalty=None).partial_fit(small).history_[-1]
    assert "train_decoder_loss" not in row
