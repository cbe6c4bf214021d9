import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from skvae import RAETransformer


def test_a_larger_weight_shortens_codes(digits):
    lengths = [
        np.square(
            RAETransformer(5, reg_weight=w, max_epochs=10, random_state=0)
            .fit(digits[:600])
            .transform(digits[600:])
        )
        .sum(axis=1)
        .mean()
        for w in (0.0, 1e-2, 1.0)
    ]
    assert lengths[0] > 1.2 * lengths[1] > 2 * lengths[2]


@pytest.mark.parametrize(
    ("penalty", "weight"), [("l2", 1e-4), ("gradient", 1e-2), ("spectral", 1e-2)]
)
def test_decoder_penalties_are_lowered_by_their_weight(digits, penalty, weight):
    ends = [
        RAETransformer(
            5,
            decoder_penalty=penalty,
            decoder_penalty_weight=w,
            max_epochs=8,
            early_stopping=False,
            random_state=0,
        )
        .fit(digits[:600])
        .history_[-1]
        for w in (0.0, weight)
    ]
    assert ends[1]["train_decoder_loss"] < 0.9 * ends[0]["train_decoder_loss"]
    loss = (
        ends[1]["train_recon_loss"]
        + 1e-4 * ends[1]["train_reg_loss"]
        + weight * ends[1]["train_decoder_loss"]
    )
    assert ends[1]["train_loss"] == pytest.approx(loss, rel=1e-4)


def test_samples_look_like_the_data(digits):
    rae = RAETransformer(8, max_epochs=20, random_state=0).fit(digits[:1200])
    samples = rae.sample(300, random_state=0)
    assert samples.shape == (300, 64)
    np.testing.assert_array_equal(samples, rae.sample(300, random_state=0))
    assert not np.array_equal(samples, rae.sample(300, random_state=1))
    neighbours = NearestNeighbors(n_neighbors=1).fit(digits[:1200])
    near = neighbours.kneighbors(samples)[0].mean()
    held_out = neighbours.kneighbors(digits[1200:])[0].mean()
    noise = np.random.default_rng(0).permuted(digits[:300], axis=0)
    assert near < 1.2 * held_out < neighbours.kneighbors(noise)[0].mean()
    np.testing.assert_allclose(samples.mean(axis=0), digits.mean(axis=0), atol=0.1)


def test_samples_leave_the_density_and_the_global_generator_alone(small, quick):
    rae = RAETransformer(**quick).fit(small)
    state, before = rae.density_.random_state, np.random.get_state()[1].copy()
    rae.sample(3)
    assert rae.density_.random_state == state
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    with pytest.raises(ValueError, match="positive integer"):
        rae.sample(0)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_samples_do_not_depend_on_the_units(unit):
    """numpy takes covariances of a million squared for asymmetric ones, and warns."""
    X = np.random.RandomState(0).randn(40, 3)
    samples = [
        RAETransformer(3, hidden_dims=(), reg_weight=0.0, max_epochs=3, random_state=0)
        .fit(X * scale)
        .sample(5, random_state=0)
        / scale
        for scale in (1.0, unit)
    ]
    np.testing.assert_allclose(*samples, rtol=0.05, atol=0.05)
