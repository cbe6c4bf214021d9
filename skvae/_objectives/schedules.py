"""Weight of the KL term over training, as pure functions.

A schedule maps progress, the share of all training steps that are done, in [0, 1], to
the share of the full weight that the next step has.
"""

import math
from collections.abc import Callable
from functools import partial
from numbers import Real

Schedule = Callable[[float], float]

N_CYCLES = 4
RAMP = 0.5
# Points of [0, 1] at which a user's schedule is looked at.
_GRID = [i / 1000 for i in range(1001)]


def constant(progress: float) -> float:
    """The full weight, always."""
    return 1.0


def linear(progress: float, warmup: float) -> float:
    """From 0 to the full weight during the first ``warmup`` of training, in (0, 1)."""
    return min(1.0, progress / warmup)


def cyclical(progress: float, n_cycles: int = N_CYCLES, ramp: float = RAMP) -> float:
    """From 0 to the full weight again and again (Fu et al., 2019).

    Each of ``n_cycles`` equal cycles ramps up during its first ``ramp`` and stays at
    the full weight for the rest. The end of training is the end of the last cycle.
    """
    position = progress * n_cycles
    within = position - min(math.floor(position), n_cycles - 1)
    return min(1.0, within / ramp)


def make_schedule(name: str | Schedule, warmup: float) -> tuple[Schedule, float]:
    """A schedule, and the progress from which on it stays at its final value.

    Raises
    ------
    ValueError
        If the warm-up would not end before training does, or a callable gives anything
        but finite numbers of 0 or more.
    """
    if name == "constant":
        return constant, 0.0
    if name == "linear":
        if not 0.0 < warmup < 1.0:
            raise ValueError(
                f"kld_warmup={warmup!r} must be a share of training, more than 0 and "
                "less than 1: the warm-up has to end before training does."
            )
        return partial(linear, warmup=warmup), warmup
    if name == "cyclical":
        return cyclical, (N_CYCLES - 1 + RAMP) / N_CYCLES
    if not callable(name):
        raise ValueError(
            f"kld_schedule={name!r} must be 'constant', 'linear', 'cyclical' or a "
            "callable of progress in [0, 1]."
        )
    return name, settled(_checked_values(name))


def _checked_values(schedule: Schedule) -> list[float]:
    values: list[float] = []
    for progress in _GRID:
        value = schedule(progress)
        if not isinstance(value, Real) or not 0.0 <= value < math.inf:
            raise ValueError(
                f"kld_schedule gave {value!r} at a progress of {progress}; it must "
                "give a share of kld_weight, a finite number of 0 or more."
            )
        values.append(float(value))
    return values


def settled(values: list[float]) -> float:
    """Progress from which on values on an even grid of [0, 1] stay as the last one."""
    last = len(values) - 1
    while last > 0 and math.isclose(values[last - 1], values[-1], abs_tol=1e-9):
        last -= 1
    return last / (len(values) - 1)
