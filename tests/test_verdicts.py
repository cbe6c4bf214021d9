import math

import pytest

from skvae._evaluation.verdicts import (
    VERDICTS,
    Measured,
    Training,
    guide_verdict,
    is_collapsed,
    judge,
    judge_collapse,
)

MEASURED = Measured(
    active_units=8,
    latent_dim=10,
    n_features=64,
    shuffle_loss=50.0,
    rate=20.0,
    expected_rate=25.0,
    beta=1.0,
    noise_share=0.3,
    weakest_kl=0.01,
    balanced_weight=0.005,
    gain=5.0,
    gain_error=1.0,
)
TRAINING = Training(kld_weight=0.02, first_weight=0.5, lr=2e-3, n_steps=600)


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({}, "healthy"),
        ({"active_units": 0}, "collapsed"),
        ({"shuffle_loss": 0.05}, "collapsed"),
        ({"shuffle_loss": 0.05, "beta": 0.01}, "collapsed"),
        ({"shuffle_loss": 1.9, "beta": 0.01}, "collapsed"),  # random codes
        ({"beta": 0.09}, "nearly deterministic"),
        ({"beta": 0.09, "gain": -50.0}, "nearly deterministic"),
        ({"noise_share": 1e-8}, "nearly deterministic"),
        ({"gain": -20.0}, "worse than linear"),
        ({"gain": -1.9}, "healthy"),  # within two standard errors
        ({"gain": -2.1}, "worse than linear"),
        ({"gain": -0.9, "gain_error": 0.0}, "healthy"),  # less than a nat
        ({"gain": math.nan, "gain_error": math.nan}, "healthy"),  # no linear model
        ({"active_units": 10, "weakest_kl": 0.6, "gain": -9.0}, "worse than linear"),
        ({"active_units": 10, "weakest_kl": 0.6}, "too few units"),
        ({"active_units": 10, "weakest_kl": 0.4}, "healthy"),
        ({"active_units": 9, "weakest_kl": 0.6}, "healthy"),
        ({"active_units": 10, "weakest_kl": 0.6, "n_features": 10}, "healthy"),
        ({"active_units": 10, "weakest_kl": 0.9, "beta": 0.2}, "healthy"),
        ({"active_units": 10, "weakest_kl": 0.9, "beta": 5.0}, "too few units"),
        ({"active_units": 4}, "too many units"),
        ({"active_units": 5}, "healthy"),
    ],
)
def test_verdicts(numbers, verdict):
    assert judge(MEASURED._replace(**numbers), TRAINING) == verdict
    assert verdict in VERDICTS


def test_divergence_comes_before_all():
    diverged = TRAINING._replace(diverged=True)
    assert judge(MEASURED, diverged) == "diverged"
    assert judge(MEASURED._replace(active_units=0), diverged) == "diverged"
    assert judge_collapse(diverged) == "diverged"


@pytest.mark.parametrize(
    ("weight", "n_steps", "verdict"),
    [
        (0.4, 10, "collapsed"),  # near the threshold: units would carry little
        (0.6, 10, "collapsed"),
        (0.02, 10, "untrained"),
        (0.0, 10, "untrained"),
        (0.02, 49, "untrained"),
        (0.02, 51, "collapsed"),  # trained, and a poor optimum
    ],
)
def test_what_collapse_comes_from(weight, n_steps, verdict):
    training = TRAINING._replace(kld_weight=weight, n_steps=n_steps)
    assert judge_collapse(training) == verdict
    silent = MEASURED._replace(shuffle_loss=0.01)
    assert judge(silent, training) == verdict


def test_short_training_is_to_blame_before_the_weight():
    """Of an ELBO below PCA's, whatever beta is; not where training began at PCA."""
    short = TRAINING._replace(n_steps=10)
    for numbers in ({"beta": 1e-3}, {"beta": 1.0}, {"noise_share": 1e-8}):
        few = MEASURED._replace(**numbers)
        assert judge(few._replace(gain=-30.0), short) == "untrained"
        assert judge(few, short) != "untrained"


def test_what_free_bits_grant_says_nothing():
    """Where a linear model has no unit, a rate that free bits pay for is no code."""
    training = TRAINING._replace(kld_weight=5.0, free_nats=1.0)
    kept = MEASURED._replace(active_units=10, rate=1.1, shuffle_loss=0.9)
    assert judge(kept, training, 0) == "collapsed"
    assert judge(kept, training, 3) == "healthy"
    assert judge(kept._replace(rate=3.0), training, 0) == "healthy"


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [
        (0.5, "collapsed"),
        (5, "between collapsed and healthy"),
        (10, "healthy"),
        (100, "healthy"),
        (300, "between healthy and nearly deterministic"),
        (501, "nearly deterministic"),
    ],
)
def test_the_fixed_bounds(rate, verdict):
    assert guide_verdict(rate) == verdict


def test_collapse():
    assert is_collapsed(0)
    assert not is_collapsed(1)
    assert is_collapsed(1, 0.0, 0.01)
    assert is_collapsed(1, 10.0, 0.9)
    assert not is_collapsed(1, 10.0, 1.1)
