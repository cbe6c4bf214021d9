import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skvae._objectives.schedules import (
    constant,
    cyclical,
    linear,
    make_schedule,
    settled,
)

progress = st.floats(0.0, 1.0)
warmups = st.floats(0.01, 0.99)


@given(progress, warmups)
def test_linear_rises_to_one_at_the_end_of_the_warm_up(p, warmup):
    assert 0.0 <= linear(p, warmup) <= 1.0
    assert linear(p, warmup) <= linear(min(1.0, p + 0.01), warmup)
    assert linear(0.0, warmup) == 0.0
    assert linear(warmup + p * (1 - warmup), warmup) == pytest.approx(1.0)


@given(progress)
def test_cyclical_is_four_cycles_of_ramp_and_plateau(p):
    assert 0.0 <= cyclical(p) <= 1.0
    within = (p * 4) % 1.0 if p < 1.0 else 1.0
    assert cyclical(p) == pytest.approx(min(1.0, 2 * within), abs=1e-9)


@given(progress, st.integers(1, 9), st.floats(0.05, 1.0))
def test_cyclical_ends_at_the_full_weight(p, n_cycles, ramp):
    assert cyclical(1.0, n_cycles, ramp) == 1.0
    assert cyclical(0.0, n_cycles, ramp) == 0.0
    shifted = min(1.0, p / n_cycles + (n_cycles - 1) / n_cycles)
    assert cyclical(shifted, n_cycles, ramp) == pytest.approx(
        min(1.0, p / ramp), abs=1e-6
    )


@given(progress)
def test_constant_is_one(p):
    assert constant(p) == 1.0


@pytest.mark.parametrize(
    ("name", "settled_at"),
    [("constant", 0.0), ("linear", 0.3), ("cyclical", 0.875)],
)
def test_named_schedules_settle_where_they_say(name, settled_at):
    schedule, at = make_schedule(name, 0.3)
    assert at == pytest.approx(settled_at)
    later = np.linspace(settled_at, 1.0, 50)
    assert [schedule(p) for p in later] == pytest.approx([1.0] * 50)
    assert pickle.loads(pickle.dumps(schedule))(0.1) == schedule(0.1)
    if settled_at:
        assert schedule(settled_at - 0.05) < 1.0


def test_callables_are_taken_as_they_are():
    schedule, at = make_schedule(lambda p: min(1.0, 4 * p), 0.3)
    assert schedule(0.125) == 0.5
    assert at == pytest.approx(0.25)
    assert make_schedule(lambda p: p, 0.3)[1] == 1.0
    assert make_schedule(lambda p: 1, 0.3)[1] == 0.0
    assert settled([0.0, 1.0, 1.0]) == 0.5


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("quadratic", "'constant', 'linear', 'cyclical'"),
        (lambda p: -p, "0 or more"),
        (lambda p: float("nan"), "finite"),
        (lambda p: "much", "finite"),
    ],
)
def test_bad_schedules_are_clear_errors(schedule, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(schedule, 0.3)


@pytest.mark.parametrize("warmup", [0.0, 1.0, 1.5, -0.1])
def test_a_warm_up_ends_before_training_does(warmup):
    with pytest.raises(ValueError, match="before training does"):
        make_schedule("linear", warmup)
