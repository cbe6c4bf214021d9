import pytest

from skvae._verdicts import (
    VERDICTS,
    advise,
    collapse_advice,
    guide_verdict,
    is_collapsed,
    judge,
)

HEALTHY = {
    "active_units": 8,
    "latent_dim": 10,
    "n_features": 64,
    "shuffle_loss": 50.0,
    "rate": 20.0,
    "beta": 1.0,
    "noise_share": 0.3,
    "weakest_kl": 0.01,
}


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({}, "healthy"),
        ({"active_units": 0}, "collapsed"),
        ({"shuffle_loss": 0.05}, "collapsed"),
        ({"shuffle_loss": 0.05, "beta": 0.01}, "collapsed"),
        ({"shuffle_loss": 1.9, "beta": 0.01}, "collapsed"),  # random codes
        ({"beta": 0.09}, "nearly deterministic"),
        ({"noise_share": 1e-8}, "nearly deterministic"),
        ({"active_units": 10, "weakest_kl": 0.6}, "starved"),
        ({"active_units": 10, "weakest_kl": 0.4}, "healthy"),
        ({"active_units": 9, "weakest_kl": 0.6}, "healthy"),
        ({"active_units": 10, "weakest_kl": 0.6, "n_features": 10}, "healthy"),
        ({"active_units": 10, "weakest_kl": 0.9, "beta": 0.2}, "healthy"),
        ({"active_units": 10, "weakest_kl": 0.9, "beta": 5.0}, "starved"),
        ({"active_units": 4}, "over-wide"),
        ({"active_units": 5}, "healthy"),
    ],
)
def test_verdicts(numbers, verdict):
    assert judge(**{**HEALTHY, **numbers}) == verdict
    assert verdict in VERDICTS


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


NUMBERS = {
    "active_units": 4,
    "latent_dim": 10,
    "beta": 1.0,
    "weakest_kl": 0.7,
    "kld_weight": 0.02,
    "balanced_weight": 0.005,
    "first_weight": 0.03,
    "rate": 20.0,
    "expected_rate": 25.0,
}


@pytest.mark.parametrize(
    ("verdict", "beta", "parts"),
    [
        ("collapsed", 1.0, ["lower kld_weight from 0.02", "kld_schedule", "free_bits"]),
        ("nearly deterministic", 0.05, ["Raise kld_weight from 0.02 towards 0.005"]),
        ("nearly deterministic", 1.0, ["Lower latent_dim from 10", "raise kld_weight"]),
        ("starved", 1.0, ["Raise latent_dim from 10, to 20"]),
        ("over-wide", 2.0, ["Lower latent_dim to 5", "lower kld_weight from 0.02"]),
        ("healthy", 2.0, ["Nothing has to change", "lower kld_weight from 0.02"]),
        ("healthy", 0.5, ["raise kld_weight from 0.02"]),
    ],
)
def test_advice_names_what_to_change(verdict, beta, parts):
    advice = advise(verdict, **{**NUMBERS, "beta": beta})
    for part in parts:
        assert part in advice


@pytest.mark.parametrize("verdict", ["over-wide", "healthy"])
def test_no_word_of_the_weight_at_maximum_likelihood(verdict):
    assert "kld_weight" not in advise(verdict, **NUMBERS)


def test_a_rate_below_a_linear_model_s_asks_for_training():
    few = {**NUMBERS, "rate": 5.0}
    assert advise("healthy", **few).startswith("The rate is 5 nats, where")
    wide = advise("over-wide", **few)
    assert wide.index("Lower latent_dim") < wide.index("train for longer")


def test_collapse():
    assert "lower" not in collapse_advice(0.0)
    assert "max_epochs" in collapse_advice(0.0)
    assert "all the same" in collapse_advice(1e-3, 0.0)
    assert is_collapsed(0)
    assert not is_collapsed(1)
    assert is_collapsed(1, 0.01)
    # Theory has units at this weight: the weight is the last thing to change.
    assert collapse_advice(0.01, 0.5).index("warm up") < collapse_advice(
        0.01, 0.5
    ).index("lower kld_weight")
    assert "linear model" not in collapse_advice(0.01)
    assert "at 0.5," in collapse_advice(0.4, 0.5)
