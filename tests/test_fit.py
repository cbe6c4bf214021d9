import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA

from skvae import VAETransformer


def test_warm_start_in_other_units_of_weight(digits, quick):
    """A weight that is changed between warm fits is the new one."""
    vae = VAETransformer(
        **quick, kld_weight=1e-3, warm_start=True, likelihood="gaussian"
    ).fit(digits)
    scale = vae.scale_
    vae.set_params(kld_weight=1e-2).fit(2 * digits)
    assert vae.scale_ == scale
    assert vae.history_[0]["kld_weight"] == pytest.approx(1e-2)


def test_warm_start_that_does_not_help_leaves_the_last_fit(digits, quick):
    vae = VAETransformer(**quick, warm_start=True, tol=1e9, likelihood="gaussian").fit(
        digits
    )
    codes, noise = vae.transform(digits), vae.noise_variance_
    vae.fit(digits[:500])
    np.testing.assert_array_equal(vae.transform(digits), codes)
    assert vae.noise_variance_ == noise
    assert vae.best_epoch_ == 0


def test_more_units_than_features_are_idle(wine):
    vae = VAETransformer(40, max_epochs=2, random_state=0, likelihood="gaussian").fit(
        wine
    )
    assert vae.transform(wine).shape == (178, 40)
    assert np.isfinite(vae.score(wine))


def test_memory_is_flat_over_fifty_fits(digits):
    import gc
    import tracemalloc

    import torch

    def tensors():
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    def fit(seed):
        VAETransformer(
            3, hidden_dims=(16,), max_epochs=1, random_state=seed, likelihood="gaussian"
        ).fit(digits[:100]).transform(digits)

    fit(0)
    before = tensors()
    tracemalloc.start()
    sizes = []
    for seed in range(50):
        fit(seed)
        # Caches fill in the first fits.
        if seed in (10, 49):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert tensors() <= before
    # A leak of a net would be 10 kB a fit and more.
    assert sizes[1] - sizes[0] < 100_000


@pytest.mark.parametrize("early_stopping", [True, False])
def test_no_row_scores_far_below_pca(breast_cancer, early_stopping):
    """However odd the row: it is the linear start's to explain, then."""
    X = breast_cancer
    vae = VAETransformer(
        8,
        max_epochs=15,
        early_stopping=early_stopping,
        random_state=0,
        likelihood="gaussian",
    ).fit(X)
    assert vae.best_epoch_ > 0
    odd = X[:100].copy()
    odd[np.arange(100), np.arange(100) % 30] += np.geomspace(10, 1e4, 100)
    pca = PCA(8).fit(X)
    assert (vae.score_samples(odd) > pca.score_samples(odd) - 5).all()
    alone = clone(vae).set_params(background_weight=0.0).fit(X)
    assert (alone.score_samples(odd) < pca.score_samples(odd) - 10).any()


def test_a_fit_that_is_its_start_has_no_other(digits, quick):
    plain = VAETransformer(**quick, tol=0, linear_path=None, likelihood="gaussian").fit(
        digits
    )
    vae = VAETransformer(**quick, lr=1e-12, likelihood="gaussian").fit(digits)
    assert vae.best_epoch_ == 0
    for model in (plain, vae):
        assert not model.background_responsibility(digits).any()


def test_warm_starts_go_on_from_what_was_held_out(digits):
    """With another split each time, epoch 0 had seen what was to judge it."""
    vae = VAETransformer(
        10, max_epochs=15, warm_start=True, random_state=0, likelihood="gaussian"
    )
    scores, splits = [], []
    for _ in range(3):
        vae.fit(digits[:1500])
        scores.append(vae.score(digits[1500:]))
        splits.append(np.sort(vae._fitted.state.split.held_out))
        assert vae.best_epoch_ > 0
    assert scores[1] > scores[0] + 0.5
    assert scores[2] > scores[1]
    for split in splits[1:]:
        np.testing.assert_array_equal(split, splits[0])
