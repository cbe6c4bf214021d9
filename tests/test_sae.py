import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from skvae import AETransformer, SAETransformer
from skvae.metrics import code_sparsity


def soft(a, t):
    return np.sign(a) * np.maximum(np.abs(a) - t, 0.0)


def zeros(codes):
    return (codes == 0.0).mean()


def test_the_share_of_zeros_grows_with_the_weight(digits):
    X, test = digits[:1200], digits[1200:]
    shares, errors = [], []
    for weight in (0.0, 1e-4, 1e-3, 5e-3, 2e-2):
        sae = SAETransformer(32, reg_weight=weight, max_epochs=30, random_state=0)
        codes = sae.fit(X).transform(test)
        shares.append(zeros(codes))
        errors.append(-sae.score(test))
    assert shares[0] == 0.0
    assert np.all(np.diff(shares) > 0.0)
    assert shares[3] > 0.5
    assert shares[4] > 0.85
    variance = test.var(axis=0).mean()
    assert errors[3] < 0.25 * variance
    # As an L1 penalty alone leaves them.
    plain = SAETransformer(
        32, code_penalty="l1", reg_weight=5e-3, max_epochs=30, random_state=0
    ).fit(X)
    assert zeros(plain.transform(test)) == 0.0
    assert plain.sparsity_ < 0.05


@pytest.mark.parametrize("linear_path", ["pca", None])
def test_the_default_is_sparse_and_still_reconstructs(digits, linear_path):
    X, test = digits[:1200], digits[1200:]
    params = {"linear_path": linear_path, "max_epochs": 30, "random_state": 0}
    sae = SAETransformer(32, **params).fit(X)
    assert zeros(sae.transform(test)) > 0.3
    assert sae.sparsity_ > 0.3
    assert -sae.score(test) < 0.2 * test.var(axis=0).mean()
    assert sae.reg_weight_ == pytest.approx(sae.scale_ / (2 * np.sqrt(64 * 32)))


def test_starts_as_the_lasso_of_pca(breast_cancer):
    X = breast_cancer
    sae = SAETransformer(5, reg_weight=0.05, lr=1e-12, max_epochs=1, random_state=0)
    codes = sae.fit(X).transform(X)
    assert sae.best_epoch_ == 0
    expected = soft(PCA(5).fit(X).transform(X), 0.05 * X.shape[1] / 2)
    assert 0.1 < zeros(expected) < 0.9
    np.testing.assert_allclose(np.abs(codes), np.abs(expected), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [np.asarray, sparse.csr_array])
def test_zeros_are_exact_and_reconstruct(digits, quick, dtype, rows):
    X = rows(digits[:300].astype(dtype))
    sae = SAETransformer(**quick).fit(X)
    codes = sae.transform(X)
    assert codes.dtype == dtype
    assert 0.05 < zeros(codes) < 0.95
    # nothing in between
    assert np.abs(codes[codes != 0.0]).min() > 1e-6
    np.testing.assert_allclose(
        sae.inverse_transform(codes), sae.reconstruct(X), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(sae.transform(X), codes)


@pytest.mark.parametrize("weight", ["scale", 2e-3])
def test_a_weight_means_the_same_in_other_units(digits, weight):
    params = {"latent_dim": 8, "max_epochs": 3, "random_state": 0}
    one = SAETransformer(**params, reg_weight=weight).fit(digits)
    scaled = weight if weight == "scale" else 100 * weight
    hundred = SAETransformer(**params, reg_weight=scaled).fit(100 * digits)
    assert hundred.reg_weight_ == pytest.approx(100 * one.reg_weight_)
    codes, other = one.transform(digits), hundred.transform(100 * digits) / 100
    assert 0.05 < zeros(codes) < 0.95
    np.testing.assert_allclose(other, codes, atol=2e-3)
    assert zeros(other) == pytest.approx(zeros(codes), abs=1e-3)


def test_units_that_start_at_zero_come_back(digits):
    """A network without a linear path starts with codes below the threshold."""
    sae = SAETransformer(
        8, reg_weight=1e-2, linear_path=None, max_epochs=15, random_state=0
    )
    start = SAETransformer(
        8, reg_weight=1e-2, linear_path=None, max_epochs=1, lr=1e-12, random_state=0
    )
    with pytest.warns(UserWarning, match="Every code is zero"):
        start.fit(digits)
    codes = sae.fit(digits).transform(digits)
    assert (codes != 0.0).any(axis=0).all()


def test_a_weight_that_leaves_nothing_is_told(digits, quick):
    with pytest.warns(UserWarning, match="reg_weight=1e.03 is too large.*a tenth"):
        sae = SAETransformer(**quick, reg_weight=1e3).fit(digits)
    assert sae.sparsity_ == 1.0
    SAETransformer(**quick).fit(np.ones((20, 4)))  # nothing to code: no warning


def test_partial_fit_takes_another_weight_and_penalty(digits, quick):
    sae = SAETransformer(**quick, reg_weight=1e-3).partial_fit(digits)
    few = zeros(sae.transform(digits))
    sae.set_params(reg_weight=2e-2).partial_fit(digits)
    assert sae.reg_weight_ == 2e-2
    assert zeros(sae.transform(digits)) > few + 0.1
    copy = pickle.loads(pickle.dumps(sae))
    np.testing.assert_array_equal(copy.transform(digits), sae.transform(digits))
    sae.set_params(code_penalty="l1").partial_fit(digits)
    assert zeros(sae.transform(digits)) == 0.0


def test_the_preset_is_the_plain_penalty(small):
    sae = SAETransformer.from_preset(
        "sae", hidden_dims=(16,), latent_dim=4, max_epochs=2, random_state=0
    )
    assert (sae.code_penalty, sae.reg_weight) == ("l1", 1e-4)
    assert zeros(sae.fit(small).transform(small)) == 0.0


def test_without_a_weight_it_is_the_plain_autoencoder(small, quick):
    expected = AETransformer(**quick).fit(small).transform(small)
    sae = SAETransformer(**quick, code_penalty="l1", reg_weight=0.0).fit(small)
    np.testing.assert_array_equal(sae.transform(small), expected)


def test_a_larger_weight_of_the_plain_penalty_shortens_codes(digits):
    sizes = [
        np.abs(
            SAETransformer(
                5, code_penalty="l1", reg_weight=w, max_epochs=10, random_state=0
            )
            .fit(digits[:600])
            .transform(digits[600:])
        ).mean()
        for w in (0.0, 1e-2, 1e-1)
    ]
    assert sizes[0] > 1.5 * sizes[1] > 2 * sizes[2]


def test_sparsity_counts_near_zero_codes(digits, quick):
    sae = SAETransformer(**quick, code_penalty="l1").fit(digits)
    assert sae.sparsity_ == code_sparsity(sae, digits)
    codes = sae.transform(digits)
    limit = 0.3 * np.sqrt(np.square(codes).mean())
    expected = (np.abs(codes) <= limit).mean()
    assert code_sparsity(sae, digits, threshold=0.3) == pytest.approx(expected)
    assert code_sparsity(sae, digits, threshold=1e9) == 1.0


def test_units_beyond_the_rank_are_all_zero(quick):
    X = np.outer(np.arange(40.0), np.ones(6))
    sae = SAETransformer(**{**quick, "lr": 1e-12}).fit(X)
    assert sae.sparsity_ >= 2 / 3
