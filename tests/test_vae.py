import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.exceptions import DivergenceWarning, PosteriorCollapseWarning
from skvae.metrics import active_units, kl_per_unit


def test_only_latent_dim_is_positional():
    parameters = inspect.signature(VAETransformer).parameters.values()
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    assert positional == ["latent_dim"]


def test_defaults_beat_pca_on_held_out_rows(digits, breast_cancer, wine):
    for X, codes in ((digits, 10), (breast_cancer, 10), (wine, 8)):
        test = np.arange(len(X)) % 5 == 0
        vae = VAETransformer(codes, random_state=0, likelihood="gaussian").fit(X[~test])
        pca = PCA(codes).fit(X[~test])
        assert vae.score(X[test]) > pca.score(X[test])


def test_fitted_attributes(fitted):
    assert fitted.n_features_in_ == 64
    assert fitted.mean_.shape == (64,)
    assert fitted.code_scale_.shape == (6,)
    assert fitted.module_ is fitted.net_.module_
    assert fitted.n_iter_ == len(fitted.history_) == 15
    assert 0 < fitted.best_epoch_ <= 15
    assert fitted.beta_ == pytest.approx(1.0)
    assert fitted.kld_weight_ == pytest.approx(2 * fitted.noise_variance_ / 64)
    row = fitted.history_[-1]
    for key in ("train_loss", "train_recon_loss", "train_kl_loss", "epoch_time"):
        assert row[key] > 0
        assert key.startswith("epoch") or key.replace("train", "valid") in row
    loss = row["train_recon_loss"] + row["kld_weight"] * row["train_kl_loss"]
    assert row["train_loss"] == pytest.approx(loss, rel=1e-4)
    assert len(pd.DataFrame(fitted.history_)) == 15


def test_history_is_in_the_units_of_X(digits, quick):
    """Training does not depend on the units: the numbers scale, the bits do not."""
    one = VAETransformer(**quick, likelihood="gaussian").fit(digits)
    sixteen = VAETransformer(**quick, likelihood="gaussian").fit(16 * digits)
    assert sixteen.history_[-1]["train_recon_loss"] == pytest.approx(
        256 * one.history_[-1]["train_recon_loss"], rel=1e-5
    )
    assert sixteen.score(16 * digits) == pytest.approx(
        one.score(digits) - 64 * np.log(16), abs=1e-3
    )


def test_beta_of_a_fixed_weight(digits, quick):
    vae = VAETransformer(**quick, kld_weight=1e-3, likelihood="gaussian").fit(digits)
    assert vae.kld_weight_ == 1e-3
    assert vae.beta_ == pytest.approx(1e-3 * 64 / (2 * vae.noise_variance_))
    assert vae.history_[0]["kld_weight"] == pytest.approx(1e-3)


def test_inverse_transform_is_the_inverse(fitted, digits):
    for whiten in (False, True):
        vae = clone(fitted).set_params(whiten=whiten)
        vae.__dict__.update({**vars(fitted), "whiten": whiten})
        codes = vae.transform(digits)
        np.testing.assert_allclose(
            vae.inverse_transform(codes), vae.reconstruct(digits), atol=1e-9
        )


def test_codes_have_the_decoder_s_gain(fitted, digits):
    """A step along a unit moves the reconstruction about as far as the code."""
    codes = fitted.transform(digits)
    for unit in range(6):
        step = np.zeros(6)
        step[unit] = 0.05 * fitted.code_scale_[unit]
        moved = fitted.inverse_transform(codes + step) - fitted.inverse_transform(codes)
        distance = np.sqrt(np.square(moved).sum(axis=1).mean())
        assert distance == pytest.approx(step[unit], rel=0.1)


def test_linear_codes_are_pca_s(breast_cancer):
    """Up to sign, and to the shrinkage of a posterior mean."""
    vae = VAETransformer(
        4,
        hidden_dims=(),
        lr=1e-12,
        max_epochs=1,
        early_stopping=False,
        random_state=0,
        likelihood="gaussian",
    )
    codes = vae.fit_transform(breast_cancer)
    pca = PCA(4).fit(breast_cancer)
    shrinkage = 1 - vae.noise_variance_ / pca.explained_variance_
    expected = np.abs(pca.transform(breast_cancer)) * shrinkage
    np.testing.assert_allclose(np.abs(codes), expected, atol=0.05)


def test_reconstruction_error(fitted, digits):
    matrix = fitted.reconstruction_error(digits, per_feature=True)
    expected = np.square(digits - fitted.reconstruct(digits))
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    np.testing.assert_allclose(fitted.reconstruction_error(digits), matrix.mean(axis=1))


def test_score_does_not_depend_on_the_neighbours_of_a_row(fitted, digits):
    whole = fitted.score_samples(digits)
    np.testing.assert_allclose(fitted.score_samples(digits[5:6]), whole[5:6])
    np.testing.assert_array_equal(fitted.score_samples(digits), whole)
    assert fitted.score(digits) == pytest.approx(whole.mean())


def test_sample(fitted, digits):
    draws = fitted.sample(500, random_state=0)
    assert draws.shape == (500, 64)
    assert draws.dtype == digits.dtype
    np.testing.assert_array_equal(draws, fitted.sample(500, random_state=0))
    assert not np.array_equal(fitted.sample(3), fitted.sample(3))
    # Draws look like digits: their mean and spread are those of the data.
    assert np.abs(draws.mean(axis=0) - digits.mean(axis=0)).max() < 0.15
    noisy = fitted.sample(500, random_state=0, noise=True)
    # Some rows are the background's, and have other codes.
    variance = np.median(np.square(noisy - draws).mean(axis=1))
    assert variance == pytest.approx(fitted.noise_variance_, rel=0.05)
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(0)


def test_nothing_works_before_fit(digits):
    vae = VAETransformer(likelihood="gaussian")
    for method in ("transform", "inverse_transform", "reconstruct", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(vae, method)(digits)
    with pytest.raises(NotFittedError):
        vae.sample(2)
    with pytest.raises(NotFittedError):
        vae.get_feature_names_out()


def test_global_generators_are_untouched_and_irrelevant(small, quick):
    np.random.seed(3)
    torch.manual_seed(3)
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = VAETransformer(**quick, dropout_rate=0.2, likelihood="gaussian").fit(small)
    first.sample(3)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.random.seed(4)
    torch.manual_seed(4)
    second = VAETransformer(**quick, dropout_rate=0.2, likelihood="gaussian").fit(small)
    np.testing.assert_array_equal(first.transform(small), second.transform(small))


def test_random_state_decides(small, quick):
    def codes(seed):
        # Where no epoch helps, PCA is left, whatever the seed: keep the last epoch.
        params = {**quick, "random_state": seed, "early_stopping": False}
        return VAETransformer(**params, likelihood="gaussian").fit_transform(small)

    np.testing.assert_array_equal(codes(1), codes(1))
    np.testing.assert_array_equal(
        codes(np.random.RandomState(1)), codes(np.random.RandomState(1))
    )
    assert not np.array_equal(codes(1), codes(2))
    assert not np.array_equal(codes(None), codes(None))


def test_early_stopping_restores_the_best_epoch(digits):
    vae = VAETransformer(
        8,
        linear_path=None,
        lr=0.01,
        lr_schedule="constant",
        n_iter_no_change=4,
        random_state=0,
        likelihood="gaussian",
    ).fit(digits[:400])
    elbos = [row["valid_elbo"] for row in vae.history_]
    assert vae.n_iter_ < 60
    assert vae.best_epoch_ == int(np.argmax(elbos)) + 1
    assert vae.n_iter_ >= vae.best_epoch_ + 4


def test_a_network_that_does_not_help_leaves_pca(breast_cancer):
    """Then PCA of all rows, the held-out ones too."""
    X, test = breast_cancer[:450], breast_cancer[450:]
    vae = VAETransformer(
        8, lr=1.0, n_iter_no_change=2, random_state=0, likelihood="gaussian"
    )
    with pytest.warns(DivergenceWarning):
        vae.fit(X)
    assert vae.best_epoch_ == 0
    pca = PCA(8).fit(X)
    # Not to the bit: the noise is what new rows are expected to show.
    assert vae.score(test) == pytest.approx(pca.score(test), abs=0.1)
    overlap = np.abs(
        np.corrcoef(vae.transform(X).T, pca.transform(X).T)[:8, 8:].diagonal()
    )
    np.testing.assert_allclose(overlap, 1.0, atol=1e-3)


def test_without_early_stopping_no_row_is_held_out(small, quick):
    vae = VAETransformer(**quick, early_stopping=False, likelihood="gaussian").fit(
        small
    )
    assert vae.best_epoch_ == vae.n_iter_ == 3
    assert "valid_loss" not in vae.history_[-1]


def test_warm_start_goes_on(digits, quick):
    X = digits[:400]
    vae = VAETransformer(
        **{**quick, "max_epochs": 8}, warm_start=True, lr=5e-3, likelihood="gaussian"
    )
    vae.set_params(early_stopping=False).fit(X)
    first = vae.history_[-1]["train_loss"]
    weights = vae.module_.decoder.out.weight.detach().clone()
    vae.set_params(max_epochs=1, lr=1e-9).fit(X)
    assert vae.history_[-1]["train_loss"] == pytest.approx(first, rel=0.1)
    torch.testing.assert_close(vae.module_.decoder.out.weight, weights)
    with pytest.raises(ValueError, match="latent_dim changed since the last fit"):
        vae.set_params(latent_dim=5).fit(X)
    assert vae.transform(X).shape == (400, 3)


def test_partial_fit_learns_from_chunks(digits):
    vae = VAETransformer(6, random_state=0, likelihood="gaussian")
    chunks = np.array_split(digits[:1500], 5)
    vae.partial_fit(chunks[0])
    first = vae.score(digits[1500:])
    for _ in range(8):
        for chunk in chunks:
            vae.partial_fit(chunk)
    assert vae.score(digits[1500:]) > first + 5
    assert vae.n_iter_ == 41
    vae.partial_fit(digits[:1])  # a tail of one row is a user's chunk
    assert np.isfinite(vae.score(digits[1500:]))


def test_partial_fit_after_fit(digits):
    """At the learning rate of the parameter, not at what the schedule ended with."""
    vae = VAETransformer(6, max_epochs=3, random_state=0, likelihood="gaussian").fit(
        digits
    )
    before = vae.score(digits)
    for _ in range(10):
        vae.partial_fit(digits)
    assert vae.n_iter_ == 13
    assert vae.score(digits) > before + 2
    weights = vae.module_.decoder.out.weight.detach().clone()
    vae.set_params(lr=1e-12).partial_fit(digits)
    torch.testing.assert_close(vae.module_.decoder.out.weight, weights)


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_set_output(small, quick, container):
    library = container.__module__.split(".")[0]
    frame = container(small, **{_columns(container): [f"p{i}" for i in range(64)]})
    vae = VAETransformer(**quick, likelihood="gaussian").set_output(transform=library)
    codes = vae.fit_transform(frame)
    assert isinstance(codes, container)
    assert list(codes.columns) == [f"vaetransformer{i}" for i in range(3)]
    assert list(vae.feature_names_in_) == [f"p{i}" for i in range(64)]


def _columns(container):
    return "columns" if container is pd.DataFrame else "schema"


def test_pipelines_unions_and_column_transformers(digits, quick):
    X, y = digits[:200], np.arange(200) % 2
    model = make_pipeline(
        StandardScaler(),
        VAETransformer(**quick, likelihood="gaussian"),
        LogisticRegression(),
    )
    assert model.fit(X, y).predict(X).shape == (200,)
    union = make_union(VAETransformer(**quick, likelihood="gaussian"), PCA(2))
    assert union.fit_transform(X).shape == (200, 5)
    columns = make_column_transformer(
        (VAETransformer(**quick, likelihood="gaussian"), slice(0, 30)),
        remainder="passthrough",
    )
    assert columns.fit_transform(X).shape == (200, 3 + 34)
    assert cross_val_score(
        VAETransformer(**quick, likelihood="gaussian"), X, cv=2
    ).shape == (2,)


def test_jobs_do_not_change_scores(digits, quick):
    scores = [
        GridSearchCV(
            VAETransformer(**quick, likelihood="gaussian"),
            {"kld_weight": [1e-4, 1e-2], "latent_dim": [2, 4]},
            cv=2,
            n_jobs=n_jobs,
        )
        .fit(digits[:200])
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


def test_sparse_rows_are_never_densified_whole(quick, monkeypatch):
    X = sparse.random(3000, 5000, density=0.01, random_state=0, format="csr")
    X = sparse.csr_array(X)
    original = sparse.csr_array.toarray
    largest = 0

    def watch(self, *args, **kwargs):
        nonlocal largest
        largest = max(largest, self.shape[0])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", watch)
    vae = VAETransformer(**{**quick, "max_epochs": 1}, likelihood="gaussian").fit(X)
    vae.transform(X)
    assert 0 < largest < 2000


def test_no_training_data_is_kept(small, quick):
    import pickle

    few = VAETransformer(**quick, likelihood="gaussian").fit(small)
    many = VAETransformer(**quick, likelihood="gaussian").fit(np.tile(small, (20, 1)))
    assert len(pickle.dumps(many)) < len(pickle.dumps(few)) + 5_000


def test_warm_up_ends_before_the_best_epoch(digits, quick):
    vae = VAETransformer(
        **{**quick, "max_epochs": 10},
        kld_weight=1e-3,
        kld_schedule="linear",
        likelihood="gaussian",
    ).fit(digits)
    weights = [row["kld_weight"] for row in vae.history_]
    np.testing.assert_allclose(weights[:3], [1e-3 / 3, 2e-3 / 3, 1e-3], rtol=1e-6)
    np.testing.assert_allclose(weights[2:], 1e-3)
    assert vae.best_epoch_ == 0 or vae.best_epoch_ >= 3
    first = vae.history_[0]
    full = first["valid_recon_loss"] + 1e-3 * first["valid_kl_loss"]
    assert first["valid_loss"] == pytest.approx(full, rel=1e-5)
    trained = first["train_recon_loss"] + weights[0] * first["train_kl_loss"]
    assert first["train_loss"] == pytest.approx(trained, rel=1e-5)


def test_patience_waits_for_the_warm_up(digits, quick):
    """No epoch is an improvement; counting starts when the weight is full."""
    params = {**quick, "max_epochs": 20, "n_iter_no_change": 2, "tol": 1e9}
    plain = VAETransformer(**params, likelihood="gaussian").fit(digits)
    warm = VAETransformer(
        **params, kld_schedule="linear", kld_warmup=0.5, likelihood="gaussian"
    ).fit(digits)
    assert plain.n_iter_ == 2
    assert warm.n_iter_ == 11


def test_partial_fit_has_no_warm_up(small, quick):
    vae = VAETransformer(
        **quick, kld_weight=1e-3, kld_schedule="linear", likelihood="gaussian"
    )
    vae.partial_fit(small)
    assert vae.history_[0]["kld_weight"] == pytest.approx(1e-3)


def test_partial_fit_takes_today_s_free_bits(small, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").partial_fit(small)
    row = vae.set_params(free_bits=3.0).partial_fit(small).history_[-1]
    assert row["train_free_bits_loss"] >= 9.0


def test_free_bits_keep_units_alive(digits):
    """A weight under which every unit of a plain network collapses."""
    params = {"linear_path": None, "max_epochs": 20, "early_stopping": False}
    params |= {"kld_weight": 0.1, "latent_dim": 4, "random_state": 0}
    with pytest.warns(PosteriorCollapseWarning, match="free_bits"):
        plain = VAETransformer(**params, likelihood="gaussian").fit(digits)
    with pytest.warns(PosteriorCollapseWarning, match="no more .* free_bits grant"):
        free = VAETransformer(**params, free_bits=0.5, likelihood="gaussian").fit(
            digits
        )
    assert kl_per_unit(plain, digits).max() < 0.05
    assert kl_per_unit(free, digits).min() > 0.2
    row = free.history_[-1]
    assert row["train_free_bits_loss"] >= row["train_kl_loss"]
    loss = row["train_recon_loss"] + 0.1 * row["train_free_bits_loss"]
    assert row["train_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kld_schedule": "quadratic"}, "kld_schedule"),
        ({"kld_schedule": "linear", "kld_warmup": 1.5}, "kld_warmup"),
        ({"kld_schedule": lambda progress: -1.0}, "0 or more"),
        ({"free_bits": -1.0}, "free_bits"),
        ({"free_bits": 1e300}, "free_bits"),
    ],
)
def test_bad_schedules_are_errors_before_training(small, quick, params, message):
    vae = VAETransformer(**quick, **params, likelihood="gaussian")
    with pytest.raises(ValueError, match=message):
        vae.fit(small)
    assert not hasattr(vae, "net_")


def test_collapse_warns_once_and_says_what_to_change(digits, quick):
    vae = VAETransformer(**quick, kld_weight=10.0, likelihood="gaussian")
    with pytest.warns(
        PosteriorCollapseWarning, match=r"lower kld_weight from 10"
    ) as got:
        vae.fit(digits)
    assert len(got) == 1
    assert got[0].filename == __file__
    assert active_units(vae, digits) == 0


def test_rows_without_differences_are_not_blamed_on_the_weight(quick):
    VAETransformer(**quick, likelihood="gaussian").fit(np.ones((20, 4)))
