import numpy as np
import pytest
import sklearn
from sklearn.decomposition import PCA

from skvae import VAETransformer
from skvae._base import _unchanged_on_failure


def test_a_failed_fit_leaves_the_estimator_as_it_was(small, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(small)
    before = dict(vars(vae))
    with pytest.raises(ValueError, match="NaN"):
        vae.fit(np.full((5, 3), np.nan))
    assert vars(vae) == before
    with pytest.raises(RuntimeError), _unchanged_on_failure(vae):
        _set_and_fail(vae)
    assert vars(vae) == before


def _set_and_fail(vae):
    vae.something = 1
    raise RuntimeError


def test_fit_replaces_what_was_fitted(digits, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(digits[:90])
    vae.set_params(latent_dim=2).fit(digits[:90, :30])
    assert vae.transform(digits[:5, :30]).shape == (5, 2)
    assert vae.n_iter_ == 3


def test_parameters_after_fit_do_not_change_what_was_fitted(small, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(small)
    vae.set_params(latent_dim=7)
    assert vae.transform(small).shape == (90, 3)
    assert list(vae.get_feature_names_out()) == [f"vaetransformer{i}" for i in range(3)]


def test_as_many_units_as_features(wine, quick):
    """Every direction has a code, and the likelihood is that of a full Gaussian."""
    params = {**quick, "latent_dim": 13, "lr": 1e-12, "early_stopping": False}
    vae = VAETransformer(**params, likelihood="gaussian").fit(wine)
    assert vae.score(wine) == pytest.approx(PCA(13).fit(wine).score(wine), abs=0.05)
    assert (vae.transform(wine).std(axis=0) > 0.1).all()
    single = VAETransformer(1, random_state=0, likelihood="gaussian").fit(wine[:, :1])
    assert single.transform(wine[:, :1]).std() > 0.1


def test_a_large_offset_changes_nothing(wine, quick):
    X = wine[:, :4]
    expected = VAETransformer(**quick, likelihood="gaussian").fit(X).score(X)
    moved = VAETransformer(**quick, likelihood="gaussian").fit(X + 1e8).score(X + 1e8)
    assert moved == pytest.approx(expected, abs=0.01)


def test_metadata_routing(small, quick):
    with sklearn.config_context(enable_metadata_routing=True):
        VAETransformer(**quick, likelihood="gaussian").fit(small).partial_fit(small)


def test_idle_units_have_no_code(breast_cancer):
    """A weight that leaves few units: the others' codes are 0, and come back as 0."""
    vae = VAETransformer(
        6,
        kld_weight=0.15,
        lr=1e-12,
        max_epochs=1,
        hidden_dims=(),
        random_state=0,
        likelihood="gaussian",
    )
    codes = vae.fit_transform(breast_cancer)
    inactive = codes.std(axis=0) < 1e-6
    assert 1 <= inactive.sum() < 6
    np.testing.assert_allclose(
        vae.inverse_transform(codes), vae.reconstruct(breast_cancer), atol=1e-6
    )


@pytest.mark.parametrize("n_rows", [1, 2, 9000])
def test_large_and_small_tables_are_applied_alike(fitted, digits, n_rows):
    X = np.resize(digits, (n_rows, 64))
    expected = np.resize(fitted.transform(digits), (n_rows, 6))
    np.testing.assert_allclose(fitted.transform(X), expected, atol=1e-10)
