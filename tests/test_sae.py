import numpy as np
import pytest

from skvae import SAETransformer
from skvae.metrics import code_sparsity


def test_a_larger_weight_shortens_codes(digits):
    sizes = [
        np.abs(
            SAETransformer(5, reg_weight=w, max_epochs=10, random_state=0)
            .fit(digits[:600])
            .transform(digits[600:])
        ).mean()
        for w in (0.0, 1e-2, 1e-1)
    ]
    assert sizes[0] > 1.5 * sizes[1] > 2 * sizes[2]


def test_sparsity_counts_near_zero_codes(digits, quick):
    sae = SAETransformer(**quick).fit(digits)
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
